"""Shares between 0 and 1 in squares: what is known after what."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from chainer_wm.plots import style

_UNKNOWN = '#e8e8e8'


def share_matrices(
    path: str | os.PathLike,
    panels: Mapping[str, np.ndarray],
    rows: str = 'after level',
    columns: str = 'on level',
    title: str = '',
) -> None:
    """Matrices beside each other, every share written in its square.

    Args:
        panels: name -> (n, m) of shares; NaN is unknown and stays grey.
        rows, columns: what the axes count.

    Raises:
        ValueError: no panels, or not matrices of one shape.
    """
    shapes = {np.shape(panel) for panel in panels.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise ValueError(f'panels have shapes {sorted(shapes)}, expected one (n, m)')
    height, width = shapes.pop()
    chart = style.figure(max(4.0, (0.55 * width + 0.75) * len(panels)), 0.55 * height + 1.25)
    style.heading(chart, title)
    every = chart.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, panel) in zip(every, panels.items()):
        _matrix(axes, np.asarray(panel, float))
        axes.set_title(name, fontsize=style.LABEL, color=style.INK, loc='left')
        axes.set_xlabel(columns, fontsize=style.LABEL, color=style.INK)
    every[0].set_ylabel(rows, fontsize=style.LABEL, color=style.INK)
    style.save(path, chart)


def _matrix(axes: Axes, shares: np.ndarray) -> None:
    axes.imshow(np.ma.masked_invalid(shares), cmap='viridis', vmin=0, vmax=1)
    axes.set_facecolor(_UNKNOWN)
    axes.set_xticks(range(shares.shape[1]))
    axes.set_yticks(range(shares.shape[0]))
    axes.tick_params(labelsize=style.TICK, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            axes.text(
                column,
                row,
                f'{share:.2f}' if share < 0.995 else '1',
                ha='center',
                va='center',
                fontsize=style.TICK,
                color='white' if share < 0.6 else style.INK,
            )
