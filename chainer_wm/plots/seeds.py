"""The same thing from several seeds: each one pale, their mean strong."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from chainer_wm.plots import style

_LINES = ((0, (1, 2)), (0, (5, 2)), (0, (6, 2, 1, 2)))  # dots, dashes, both
_WIDE_DPI = 80  # of three panels and more, which else make a large file
Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]


def seed_curves(
    path: str | os.PathLike,
    panels: Mapping[str, Curves],
    xlabel: str = 'steps of all environments',
    title: str = '',
    levels: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Panels side by side, in each a curve per seed and the mean per name.

    Args:
        panels: label of the y axis -> name -> (x (n,), ys (seeds, n)). What
            is not finite leaves a gap, and out of the mean.
        levels: label of a y axis -> name -> a value worth a dotted line.

    Raises:
        ValueError: no panels, or x and ys that do not fit.
    """
    if not panels:
        raise ValueError('no panels to draw: are there any runs?')
    levels = levels or {}
    # a long legend needs a place of its own, below the panels
    below = max(map(len, levels.values()), default=0) > 1
    chart = style.figure(4.4 * len(panels) + 1.6, 5.2 if below else 3.7)
    style.heading(chart, title)
    every = chart.subplots(1, len(panels), squeeze=False)[0]
    for axes, (ylabel, curves) in zip(every, panels.items()):
        style.dress(axes, xlabel, ylabel)
        axes.xaxis.set_major_formatter(EngFormatter(sep=''))
        for (name, (x, ys)), colour in zip(curves.items(), style.colours(curves)):
            _seeds(axes, name, np.asarray(x), np.asarray(ys, float), colour)
        lines = zip(levels.get(ylabel, {}).items(), itertools.cycle(_LINES))
        for (name, value), line in lines:
            style.limit(axes, value, label=name, linestyle=line)
        place: dict = {'loc': 'best'}
        if below:
            place = {'loc': 'upper left', 'bbox_to_anchor': (-0.05, -0.16)}
        style.legend(axes, **place)
    style.save(path, chart, style.DPI if len(panels) < 3 else _WIDE_DPI)


def _seeds(axes: Axes, name: str, x, ys: np.ndarray, colour: str) -> None:
    if ys.ndim != 2 or ys.shape[1:] != x.shape or not ys.size:
        raise ValueError(
            f'{name!r} has x {x.shape} and ys {ys.shape}, expected (n,) and (seeds, n)'
        )
    for y in ys:
        axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.35)
    known = np.isfinite(ys)
    count = known.sum(axis=0)
    mean = np.where(known, ys, 0).sum(axis=0) / np.maximum(count, 1)
    seeds = f'{len(ys)} seeds' if len(ys) > 1 else '1 seed'
    axes.plot(
        x,
        np.where(count > 0, mean, np.nan),
        color=colour,
        linewidth=2.2,
        label=f'{name} ({seeds})',
    )
