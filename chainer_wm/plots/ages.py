"""At which age episodes end, in the dream and in the game."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from chainer_wm.plots import style
from chainer_wm.plots.curves import Rows

COLUMNS = 3
LEAST = 500  # steps lived in a band, for a rate to be drawn


def deaths_by_age(path: str | os.PathLike, rows: Rows, title: str = '') -> None:
    """Deaths per 1,000 steps against an episode's age, a panel per policy.

    Where the two lines part, the dream is kinder or harsher than the game at
    that age. Bars are 95 % intervals (of a Poisson distribution whose mean is
    the number of deaths); ages at which fewer than 500 steps were lived are
    left out.

    Args:
        rows: one per policy: 'name', and 'dream' and 'game', each a sequence
            of ``evaluation.Band``.

    Raises:
        ValueError: there is no policy.
    """
    if not rows:
        raise ValueError('no policy was scored in both dream and game')
    down = -(-len(rows) // COLUMNS)
    chart = style.figure(11.0, 0.6 + 2.7 * down)
    panels = chart.subplots(down, COLUMNS, squeeze=False).ravel()
    for axes, row in zip(panels, rows):
        style.dress(axes, title=row['name'].replace('_', ' '))
        for where, marker in (('game', 'o'), ('dream', 's')):
            _line(axes, where, row[where], marker)
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
    for axes in panels[len(rows) :]:
        axes.set_visible(False)
    for axes in panels[::COLUMNS]:
        axes.set_ylabel('deaths per 1,000 steps', fontsize=style.LABEL, color=style.INK)
    for axes in panels[max(0, len(rows) - COLUMNS) : len(rows)]:
        axes.set_xlabel('age (steps)', fontsize=style.LABEL, color=style.INK)
    style.legend(panels[0], loc='upper left')
    style.heading(chart, title)
    style.save(path, chart)


def _line(axes: Axes, where: str, bands: Sequence[Any], marker: str) -> None:
    lived = [band for band in bands if band.steps >= LEAST]
    (colour,) = style.colours([where])
    axes.errorbar(
        [(band.first + band.last) / 2 for band in lived],
        [band.rate for band in lived],
        [1.96 * band.rate / max(band.deaths, 1) ** 0.5 for band in lived],
        color=colour,
        marker=marker,
        markersize=6,
        linewidth=1.4,
        capsize=3,
        label=where,
    )
