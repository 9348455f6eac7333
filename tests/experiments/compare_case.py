"""Runs of a script side by side, by experiments/compare.py."""

import json

from ppo_script_case import check_picture

from experiments import compare


def side_by_side(data, experiment, *names, by=None, figures=('scores', 'curves')):
    """comparison.json of the runs named, which says nothing of this machine."""
    out = data / 'out'
    flags = ['--by', *by] if by else []
    compare.script([*(str(data / experiment / name) for name in names), '--out', str(out), *flags])
    text = (out / 'comparison.json').read_text()
    assert str(data) not in text, 'a folder of this machine'
    for name in figures:
        check_picture(out / f'{name}.png')
    return json.loads(text)
