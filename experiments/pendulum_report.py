"""Several runs of ``pendulum_swing_up.py`` side by side."""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from chainer_wm import files, plots
from chainer_wm.play.evaluation import summary
from chainer_wm.runs.command_line import settings


def summarise(data: pathlib.Path, patterns: Sequence[str], results: pathlib.Path) -> None:
    """Sum up finished runs: a table and a picture, seeds side by side.

    Runs whose settings differ in nothing but the seed belong together; they
    are named by their core, and by their curiosity.

    Args:
        data: folder of the runs.
        patterns: of their names, as for glob.
        results: where summary.json and the pictures go, among them the
            generated rollouts of each group's first run.

    Raises:
        SystemExit: a pattern names no finished run.
    """
    found = _finished(data, patterns)
    groups = {name: _sum_up(runs) for name, runs in found.items()}
    files.write_json(results / 'summary.json', groups)
    levels = next(iter(found.values()))[0]['levels']
    plots.iteration_returns(
        results / 'returns.png',
        {
            name: [[row['game']['mean'] for row in run['iterations']] for run in runs]
            for name, runs in found.items()
        },
        {name: row['mean'] for name, row in levels.items()},
        'Pendulum from pixels: mean return in the game',
    )
    for name, runs in found.items():
        _copy_pictures(data / runs[0]['run'] / 'figures', results, name)
    for name, group in groups.items():
        print(f'{name}: ' + ', '.join(f'{mean:.0f}' for mean in group['mean_over_seeds']))


def _finished(data: pathlib.Path, patterns: Sequence[str]) -> dict[str, list[dict]]:
    """Results of the runs, by group."""
    found: dict[str, list[dict]] = {}
    for pattern in patterns:
        paths = sorted(data.glob(f'{pattern}/results.json'))
        runs = [run for run in map(files.read_json, paths) if 'levels' in run]
        if not runs:
            raise SystemExit(f'--summary {pattern}: no finished run in {data}')
        for run in runs:
            found.setdefault(_group(run['config']), []).append(run)
    return found


def _copy_pictures(figures: pathlib.Path, results: pathlib.Path, group: str) -> None:
    stem = group.lower().replace(', ', '_').replace(' ', '_')
    with (
        Image.open(figures / 'generated.png') as picture,
        files.atomic_write(results / f'generated_{stem}.png') as file,
    ):  # in few colours: a third of the size
        picture.convert('RGB').quantize(128).save(file, 'png', optimize=True)


def _group(config: Mapping[str, Any]) -> str:
    curious = config['curiosity']
    name = config['model'].upper()
    return name + (f', curiosity {curious:g}' if curious else '')


def _sum_up(runs: Sequence[dict]) -> dict[str, Any]:
    """Numbers worth keeping of the runs of one group, in order of seeds."""
    runs = sorted(runs, key=lambda run: run['seed'])
    length = min(len(run['iterations']) for run in runs)
    means = [[row['game']['mean'] for row in run['iterations']] for run in runs]
    kept = ('episodes', 'mean', 'std', 'standard_error')
    return {
        'seeds': [run['seed'] for run in runs],
        'config': settings(runs[0]['config']),
        'versions': runs[0]['versions'],
        'minutes': [sum(run['seconds'].values()) / 60 for run in runs],
        'mean_over_seeds': np.mean([m[:length] for m in means], 0).tolist(),
        'last': {
            name: value for name, value in summary([m[-1] for m in means]).items() if name in kept
        },
        'levels': {
            name: {key: row[key] for key in kept} for name, row in runs[0]['levels'].items()
        },
        'iterations': [[_short(row, kept) for row in run['iterations']] for run in runs],
    }


def _short(row: Mapping[str, Any], kept: Sequence[str]) -> dict[str, Any]:
    """A row without the returns of single episodes."""
    return {
        name: {key: value[key] for key in kept} if name in ('game', 'dream') else value
        for name, value in row.items()
    }
