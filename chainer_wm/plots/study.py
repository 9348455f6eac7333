"""Several runs of one study: scores over generations, dream against game."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from chainer_wm.plots import style
from chainer_wm.plots.curves import Rows

MARKERS = 'osD^vPX<>'


def score_bands(
    path: str | os.PathLike,
    groups: Mapping[str, Rows],
    ends: Mapping[str, Sequence[tuple[float, float]]],
    levels: Mapping[str, float],
    title: str = '',
    ylabel: str = 'score in the game (time steps survived)',
) -> None:
    """Scores over the generations of several groups of seeds.

    Args:
        groups: name -> rows of 'generation', 'mean' over the seeds, 'values'
            (one per seed) and 'interval' (low, high), None for one seed. A
            group may have no rows.
        ends: name -> (generation, score) of each seed's final evaluation.
        levels: what to compare with -> score, a line each.

    Raises:
        ValueError: there is no group.
    """
    if not groups:
        raise ValueError('there are no runs to draw')
    chart = style.figure(7.4, 4.6)
    axes = style.dress(chart.add_subplot(), 'generation', ylabel, title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for (name, rows), colour in zip(groups.items(), style.colours(groups)):
        if rows:
            _band(axes, name, rows, colour)
        finals = ends.get(name, ())
        axes.scatter(
            [at for at, _ in finals],
            [score for _, score in finals],
            marker='*',
            s=90,
            color=colour,
            edgecolors='white',
            linewidths=0.6,
            zorder=3,
            label=f'{name}: final evaluation' if finals else None,
        )
    for (name, value), dashes in zip(levels.items(), ((1, 2), (5, 2))):
        axes.axhline(
            value,
            color=style.INK,
            linewidth=1.2,
            linestyle=(0, dashes),
            label=f'{name}, {value:.0f}',
        )
    seen = [
        *levels.values(),
        *(score for finals in ends.values() for _, score in finals),
        *(v for rows in groups.values() for row in rows for v in row['values']),
    ]
    # the interval of two seeds is so wide that nothing else could be read
    axes.set_ylim(0, 1.25 * max(seen))
    style.legend(axes, loc='upper left', bbox_to_anchor=(-0.09, -0.14), ncol=2)
    style.save(path, chart)


def _band(axes: Axes, name: str, rows: Rows, colour: str) -> None:
    at = [row['generation'] for row in rows]
    seeds = max(len(row['values']) for row in rows)
    label = f'{name}, 1 seed'
    if seeds > 1:
        label = f'{name}, mean of {seeds} seeds and its 95 % interval'
        axes.plot(at, [row['values'] for row in rows], color=colour, linewidth=0.8, alpha=0.45)
        low, high = zip(*(row['interval'] for row in rows))
        axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(
        at,
        [row['mean'] for row in rows],
        color=colour,
        linewidth=2.2,
        marker='o',
        markersize=5,
        label=label,
    )


def dream_against_game(
    path: str | os.PathLike,
    groups: Mapping[str, Rows],
    levels: Mapping[str, float],
    title: str = '',
) -> None:
    """What C scores in the dream against the game, a mark per round.

    Args:
        groups: name -> rows of 'dream' and 'game', means.
        levels: scores in the game to compare with, a line each.

    Raises:
        ValueError: there is no row.
    """
    every = [row for rows in groups.values() for row in rows]
    if not every:
        raise ValueError('no run was scored in both dream and game')
    chart = style.figure(6.4, 5.2)
    axes = style.dress(
        chart.add_subplot(),
        'score in the dream (time steps survived)',
        'score in the game (time steps survived)',
        title,
        grid='both',
    )
    for (name, rows), colour, marker in zip(
        groups.items(), style.colours(groups), MARKERS * (1 + len(groups) // len(MARKERS))
    ):
        axes.scatter(
            [row['dream'] for row in rows],
            [row['game'] for row in rows],
            color=colour,
            marker=marker,
            s=42,
            alpha=0.85,
            label=name,
        )
    _lines(axes, every, levels)
    style.legend(axes, loc='upper left')
    style.save(path, chart)


def _lines(axes: Axes, rows: Rows, levels: Mapping[str, float]) -> None:
    """The diagonal and the levels, within what was scored."""
    right = 1.06 * max(row['dream'] for row in rows)
    top = 1.25 * max(*(row['game'] for row in rows), *levels.values(), 1)
    reach = np.array([0, min(right, top)])
    axes.plot(
        reach,
        reach,
        color=style.PALE_INK,
        linewidth=1.0,
        linestyle=(0, (5, 2)),
        label='dream = game',
    )
    for (name, value), dashes in zip(levels.items(), ((1, 2), (5, 2))):
        axes.axhline(
            value,
            color=style.INK,
            linewidth=1.0,
            linestyle=(0, dashes),
            label=f'{name}, {value:.0f}',
        )
    axes.set_xlim(0, right)
    axes.set_ylim(0, top)
