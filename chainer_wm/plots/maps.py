"""How often places were visited: maps under each other, one colour scale."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from matplotlib.colors import LogNorm

from chainer_wm.plots import style

_NEVER = '#e8e8e8'
Marks = Mapping[str, tuple[int, int]]


def visit_maps(
    path: str | os.PathLike,
    maps: Mapping[str, np.ndarray],
    marks: Marks | None = None,
    title: str = '',
    label: str = 'visits',
) -> None:
    """Draw counts on a grid in logarithmic colours; grey is never.

    Args:
        maps: name -> (H, W) counts, all of one shape.
        marks: a letter -> (row, column) to write it on, in every map.

    Raises:
        ValueError: no maps, or of different shapes.
    """
    shapes = {np.shape(one) for one in maps.values()}
    if len(shapes) != 1 or any(len(shape) != 2 for shape in shapes):
        raise ValueError(f'maps have shapes {sorted(shapes)}, expected one (H, W)')
    height, width = shapes.pop()
    each = 8.0 * height / width + 0.5
    chart = style.figure(9.4, each * len(maps) + 0.5)
    style.heading(chart, title)
    most = max(1, *(int(one.max()) for one in maps.values()))
    scale = LogNorm(1, max(most, 2))
    every = chart.subplots(len(maps), 1, squeeze=False)[:, 0]
    for axes, (name, counts) in zip(every, maps.items()):
        drawn = axes.imshow(np.ma.masked_equal(counts, 0), cmap='viridis', norm=scale)
        axes.set_facecolor(_NEVER)
        axes.set(xticks=[], yticks=[])
        axes.set_title(name, fontsize=style.LABEL, color=style.INK, loc='left')
        for spine in axes.spines.values():
            spine.set_color(style.PALE_INK)
        for letter, (row, column) in (marks or {}).items():
            dark = counts[row, column] < most**0.7
            pale = counts[row, column] > 0 and dark
            axes.text(
                column,
                row,
                letter,
                ha='center',
                va='center',
                fontsize=style.TICK,
                color='white' if pale else style.INK,
            )
    bar = chart.colorbar(drawn, ax=list(every), shrink=0.8, pad=0.01)
    bar.set_label(label, fontsize=style.LABEL, color=style.INK)
    bar.ax.tick_params(labelsize=style.TICK, labelcolor=style.INK)
    style.save(path, chart)
