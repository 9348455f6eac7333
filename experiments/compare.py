"""Finished runs of one experiment side by side: models, rewards or budgets over seeds.

    compare.py data/addition/laptop-lstm-0 data/addition/laptop-dnc-0 ... --out FOLDER

takes folders of runs, their results.json, or the comparison.json that it wrote before. It prints
the table and writes comparison.json and figures. Runs that differ in nothing but the seed are
pooled; ``--by`` names the settings that may differ, and any other is refused.
"""

from __future__ import annotations

import argparse
import pathlib

from chainer_wm import files
from chainer_wm.runs import comparison, comparison_figures
from chainer_wm.runs.command_line import main


def script(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('runs', nargs='+', type=pathlib.Path, metavar='RUN')
    parser.add_argument('--by', nargs='+', help='settings that may differ (default: any)')
    parser.add_argument('--out', type=pathlib.Path, help='folder of table and figures')
    given = parser.parse_args(argv)
    runs = [run for path in given.runs for run in comparison.read(path)]
    found = comparison.compare(runs, given.by)
    print(comparison.as_text(found))
    if given.out:
        files.write_json(given.out / 'comparison.json', found, seal=False)
        for path in comparison_figures.draw(given.out, runs, given.by):
            print(f'figure: {path}')


if __name__ == '__main__':
    main(script)
