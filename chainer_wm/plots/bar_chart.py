"""Bars: one number for each of some things, by whom."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainer_wm.plots import style


def bars(
    path: str | os.PathLike,
    labels: Sequence[str],
    series: Mapping[str, Any],
    ylabel: str = '',
    title: str = '',
    limits: tuple[float, float] | None = (0, 1),
) -> None:
    """Groups of bars side by side; seeds are dots over the bar of their mean.

    Args:
        labels: n names of what is measured.
        series: name -> (n,), or (seeds, n). What is not finite has no bar, but a dash.
        limits: of the vertical axis; None: of the numbers.

    Raises:
        ValueError: nothing to draw, or numbers that do not fit the labels.
    """
    rows = {name: np.atleast_2d(np.array(each, float)) for name, each in series.items()}
    shapes = {name: row.shape for name, row in rows.items()}
    if not rows or any(row.ndim != 2 or row.shape[1] != len(labels) for row in rows.values()):
        raise ValueError(f'bars have shapes {shapes}, expected (seeds, {len(labels)})')
    chart = style.figure(max(6.0, 1.6 + 0.32 * len(labels) * (len(rows) + 1)), 4.2)
    axes = style.dress(chart.add_subplot(), '', ylabel)
    style.heading(chart, title)
    width = 0.8 / len(rows)
    for place, (colour, (name, row)) in enumerate(zip(style.colours(rows), rows.items())):
        at = np.arange(len(labels)) + (place - (len(rows) - 1) / 2) * width
        known = np.isfinite(row).sum(axis=0)
        mean = np.nansum(row, axis=0) / np.maximum(known, 1)
        axes.bar(at, mean, width * 0.92, color=colour, label=name)
        if len(row) > 1:
            axes.plot(at, row.T, 'o', color=style.INK, alpha=0.55, markersize=3)
        for x in at[known == 0]:
            look: Any = dict(ha='center', va='bottom', fontsize=style.TICK, color=style.PALE_INK)
            axes.annotate('–', (x, 0), xycoords=('data', 'axes fraction'), **look)
    axes.set_xticks(range(len(labels)), labels, rotation=25, ha='right')
    if limits is not None:
        axes.set_ylim(*limits)
    style.common_legend(chart, 4)
    style.save(path, chart)
