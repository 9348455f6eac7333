"""What a curriculum leaves of its earlier lessons: tables and charts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm

from chainer_wm.plots import style
from chainer_wm.runs.task_figures import Models, Panel
from chainer_wm.runs.task_summaries import Seeds

SCORES = ('loss', 'error', 'exact')
INKS = ('#ffffff', '#f6c9a0', style.VERMILLION, '#5a2000')
LEAST, MOST = 0.03, 10.0  # of the colours' scale, in absolute error


def lesson_scores(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The scores of lessons 1, 2, ... in one row: 'loss 1', 'error 1', ..."""
    return {
        f'{name} {lesson}': values[name]
        for lesson, values in enumerate(scores, 1)
        for name in SCORES
    }


def retained(log: Sequence[dict], batch: int, switch: int, lessons: int) -> list[dict[str, Any]]:
    """Every lesson's scores after each ``switch`` sequences.

    Args:
        log: rows of ``train`` with the scores of ``lesson_scores``.
        batch: sequences per update.

    Returns:
        Per switch: 'sequences', 'met' (lessons so far), and 'loss', 'error',
        'exact', each a list over all lessons, those not yet met too.
    """
    rows = []
    for row in log:
        sequences = row['iteration'] * batch
        if sequences % switch:
            continue
        rows.append(
            {
                'sequences': sequences,
                'met': min(sequences // switch, lessons),
                **{
                    name: [row[f'held_out/{name} {lesson}'] for lesson in range(1, lessons + 1)]
                    for name in SCORES
                },
            }
        )
    return rows


def ratios(models: Models) -> dict[str, dict[str, Any]]:
    """How many times the DNC's the errors of the others are at the end.

    Returns:
        By model and error: 'values', one per seed that both have, and
        'geometric_mean'. Empty without a DNC.
    """
    ours = {run['seed']: _ends(run) for run in models.get('DNC', ())}
    found: dict[str, dict[str, Any]] = {}
    for name, runs in models.items():
        theirs = {run['seed']: _ends(run) for run in runs}
        seeds = sorted(set(ours) & set(theirs))
        if name == 'DNC' or not seeds:
            continue
        for error in ours[seeds[0]]:
            values = [theirs[seed][error] / ours[seed][error] for seed in seeds]
            found[f'{name}, {error}'] = {
                'seeds': seeds,
                'values': values,
                'geometric_mean': float(np.exp(np.mean(np.log(values)))),
            }
    return found


def _ends(run: Mapping[str, Any]) -> dict[str, float]:
    """A run's errors at the end of training."""
    last, training = run['retention'][-1], run['training']
    since = last['sequences'] - run['config']['switch']
    recent = [loss for at, loss in zip(training['sequences'], training['loss']) if at > since]
    return {
        'training loss since the last switch': float(np.mean(recent)),
        'squared error, hardest task': last['loss'][-1],
        'squared error, all tasks': float(np.mean(last['loss'])),
        'absolute error, all tasks': float(np.mean(last['error'])),
    }


def curriculum_panels(models: Models) -> list[Panel]:
    """The training error, and the error on the tasks so far."""
    config = next(iter(models.values()))[0]['config']
    switches = [('', lesson * config['switch']) for lesson in range(1, len(config['lengths']))]
    return [
        Panel(
            {
                name: Seeds.of(
                    [(run['training']['sequences'], run['training']['loss']) for run in runs]
                )
                for name, runs in models.items()
            },
            'sequences',
            'squared error per sequence',
            'Training on the task of the moment',
            floor=1e-3,
            marks=switches,
        ),
        Panel(
            {name: Seeds.of([_so_far(run) for run in runs]) for name, runs in models.items()},
            'sequences, at each switch',
            'absolute error of the sum',
            'Mean over all tasks met so far, held out',
            floor=1e-2,
            marks=switches,
        ),
    ]


def _so_far(run: Mapping[str, Any]) -> tuple[list[int], list[float]]:
    rows = run['retention']
    return (
        [row['sequences'] for row in rows],
        [float(np.mean(row['error'][: row['met']])) for row in rows],
    )


def draw_retention(path: str | os.PathLike, models: Models) -> None:
    """A table per model: each task's error at each switch, mean over seeds.

    Tasks that are not met yet are left out.
    """
    chart = style.figure(1.0 + 4.4 * len(models), 3.9)
    row = chart.subplots(1, len(models), squeeze=False)[0]
    for axes, (name, runs) in zip(row, models.items()):
        _table(axes, name, runs, first=axes is row[0])
    style.heading(chart, 'Absolute error of the sum on every task so far, at each switch')
    style.save(path, chart, dpi=95)


def _table(axes: Axes, name: str, runs: Sequence[dict], first: bool) -> None:
    config, rows = runs[0]['config'], runs[0]['retention']
    errors = np.mean([[row['error'] for row in run['retention']] for run in runs], axis=0)
    met = np.array([row['met'] for row in rows])
    seen = np.arange(errors.shape[1]) < met[:, None]
    style.dress(axes, 'sequences seen', title=name, grid='')
    axes.imshow(
        np.where(seen, errors, np.nan).T,
        aspect='auto',
        origin='lower',
        cmap=LinearSegmentedColormap.from_list('error', INKS),
        norm=LogNorm(LEAST, MOST, clip=True),
    )
    for at, task in zip(*np.nonzero(seen)):
        value = errors[at, task]
        axes.text(
            at,
            task,
            f'{value:.2f}' if value < 9.95 else f'{value:.0f}',
            ha='center',
            va='center',
            fontsize=8.5,
            color='white' if value > 1 else style.INK,
        )
    axes.set_xticks(range(len(rows)), [f'{row["sequences"]:,}' for row in rows])
    axes.tick_params(axis='x', labelrotation=40)
    axes.set_yticks(range(len(config['lengths'])), config['lengths'])
    if first:
        axes.set_ylabel('symbols in the sum, up to', fontsize=style.LABEL)
