"""Pictures of the iterative procedure: returns, and generated rollouts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from chainer_wm.plots import style
from chainer_wm.plots.frames import as_frames, enlarged, grid, picked

Levels = Mapping[str, float]


def iteration_returns(
    path: str | os.PathLike,
    curves: Mapping[str, Sequence[Sequence[float]]],
    levels: Levels,
    title: str = '',
    ylabel: str = 'return of an episode',
) -> None:
    """Mean return after every iteration, of one run or of several seeds.

    Args:
        curves: name -> one row of means per seed, each (iterations,), which
            may differ in length. Seeds are thin lines, their mean (over
            those that got so far) a thick one.
        levels: name -> return of something to compare with, a line each.

    Raises:
        ValueError: no curve, or one without a number.
    """
    if not curves or not all(len(row) for rows in curves.values() for row in rows):
        raise ValueError('there is no iteration to draw yet')
    chart = style.figure(7.4, 4.2)
    axes = style.dress(chart.add_subplot(), 'iteration', ylabel, title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for (name, rows), colour in zip(curves.items(), style.colours(curves)):
        most = max(map(len, rows))
        table = np.full((len(rows), most), np.nan)
        for seed, row in enumerate(rows):
            table[seed, : len(row)] = row
        at = np.arange(1, most + 1)
        if len(rows) > 1:
            axes.plot(at, table.T, color=colour, linewidth=0.9, alpha=0.45)
            name = f'{name}, mean of {len(rows)} seeds'
        axes.plot(
            at,
            np.nanmean(table, axis=0),
            color=colour,
            linewidth=2.2,
            marker='o',
            markersize=5,
            label=name,
        )
    for (name, value), dashes in zip(levels.items(), _dashes(len(levels))):
        axes.axhline(
            value,
            color=style.COLOURS['random'],
            linewidth=1.5,
            linestyle=dashes,
            label=f'{name}, {value:.0f}',
        )
    style.legend(axes, loc='upper left', bbox_to_anchor=(-0.09, -0.14), ncol=2)
    style.save(path, chart)


def _dashes(count: int) -> list[tuple]:
    known = [(0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (2, 1))]
    return [known[n % len(known)] for n in range(count)]


def film_rows(
    path: str | os.PathLike,
    rows: Mapping[str, np.ndarray],
    count: int = 12,
    scale: int = 1,
    title: str = '',
    step: float = 1.0,
    unit: str = 'step',
) -> None:
    """Films under each other, each with its name, at the same moments.

    Args:
        rows: name -> (T, H, W, 3) uint8 or (T, 3, H, W) float in [0, 1].
            Where one is shorter than the longest, nothing is shown. The
            names may have several lines.
        count: frames of each.
        step, unit: what one frame is worth on the axis of time.

    Raises:
        ValueError: frames of different shapes, or no film.
    """
    films = {name: as_frames(frames, name) for name, frames in rows.items()}
    shapes = {frames.shape[1:] for frames in films.values()}
    if len(shapes) != 1:
        raise ValueError(f'frames have shapes {sorted(shapes)}, but need to be of one')
    shown = picked(max(map(len, films.values())), count)
    chart = style.figure(10.0, 0.86 * len(films) + 0.75, constrained=True)
    panels = chart.subplots(len(films), 1, squeeze=False)[:, 0]
    for axes, (name, frames) in zip(panels, films.items()):
        there = frames[shown[shown < len(frames)]]
        strip = grid(enlarged(there, scale), len(shown))
        axes.imshow(strip, interpolation='nearest', aspect='equal')
        axes.set_ylabel(
            name, fontsize=style.TICK, color=style.INK, rotation=0, ha='right', va='center'
        )
        axes.set_yticks([])
        axes.set_xticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
    cell = shapes.pop()[1] * scale + 2
    panels[-1].set_xticks(
        [(n + 0.5) * cell for n in range(len(shown))],
        [f'{moment * step:g}' for moment in shown],
        fontsize=style.TICK,
    )
    panels[-1].tick_params(length=0)
    panels[-1].set_xlabel(unit, fontsize=style.LABEL, color=style.INK)
    style.heading(chart, title)
    style.save(path, chart)
