"""Numbers in squares: what is known after what, and how often places were visited."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from chainer_wm.plots import style

_NOTHING = '#e8e8e8'
WRITTEN = 15  # rows or columns: of larger matrices no number is written


def matrices(
    path: str | os.PathLike,
    panels: Mapping[str, Any],
    rows: str = '',
    columns: str = '',
    title: str = '',
    label: str = '',
    row_names: Sequence | None = None,
    column_names: Sequence | None = None,
    limits: tuple[float, float] | None = (0, 1),
    log: bool = False,
    marks: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Matrices of one scale, wide ones under each other, others side by side.

    In matrices of up to 15 rows and columns every number is written in its square; larger ones,
    and those with marks, are maps with a bar of colours.

    Args:
        panels: name -> (n, m), all of one shape. What is not finite is grey, and on a logarithmic
            scale what is not positive.
        rows, columns: what the axes count; row_names, column_names: theirs.
        label: what the numbers are, for the bar.
        limits: of the colours; None: from 1 to the largest number.
        log: logarithmic colours.
        marks: a letter -> (row, column) to write it on, in every matrix.

    Raises:
        ValueError: no panels, or not matrices of one shape.
    """
    arrays = {name: np.array(panel, float) for name, panel in panels.items()}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise ValueError(f'panels have shapes {sorted(shapes)}, expected one (n, m)')
    height, width = shapes.pop()
    low, high = limits or (1, max(2, *(float(np.nanmax(a)) for a in arrays.values())))
    scale = (LogNorm if log else Normalize)(low, high, clip=True)
    written, wide = max(height, width) <= WRITTEN and not marks, width > 3 * height
    chart, every = _panels(len(arrays), height, width, written, wide)
    style.heading(chart, title)
    for axes, (name, array) in zip(every, arrays.items()):
        seen = np.ma.masked_invalid(np.where(array > 0, array, np.nan) if log else array)
        image = axes.imshow(seen, cmap='viridis', norm=scale)
        _look(axes, name, row_names, column_names, written)
        if written:
            _write(axes, image, {at: _short(x) for at, x in np.ndenumerate(array)}, seen)
        _write(axes, image, {tuple(at): word for word, at in (marks or {}).items()}, seen)
    for axes in every[-1:] if wide else every:
        axes.set_xlabel(columns, fontsize=style.LABEL, color=style.INK)
    for axes in every if wide else every[:1]:
        axes.set_ylabel(rows, fontsize=style.LABEL, color=style.INK)
    if not written:
        bar = chart.colorbar(image, ax=list(every), shrink=0.8, pad=0.01)
        bar.set_label(label, fontsize=style.LABEL, color=style.INK)
        bar.ax.tick_params(labelsize=style.TICK, labelcolor=style.INK)
    style.save(path, chart)


def _panels(count: int, height: int, width: int, written: bool, wide: bool) -> tuple:
    """A figure of the size that the matrices need, and its axes (count,)."""
    across, down = (1, count) if wide else (count, 1)
    each = (0.55 * width + 0.95, 0.5 * height + 0.9)
    if not written:
        each = (8.0, 8.0 * height / width + 0.5) if wide else (3.4, 3.4 * height / width + 0.7)
    chart = style.figure(max(4.0, each[0] * across + 0.6), each[1] * down + 0.6)
    return chart, chart.subplots(down, across, squeeze=False).ravel()


def _look(axes: Axes, name: str, row_names: Any, column_names: Any, written: bool) -> None:
    axes.set_facecolor(_NOTHING)
    axes.set_title(name, fontsize=style.LABEL, color=style.INK, loc='left')
    axes.tick_params(labelsize=style.TICK, length=0)
    for spine in axes.spines.values():
        spine.set_visible(not written)
        spine.set_color(style.PALE_INK)
    for axis, names in ((axes.yaxis, row_names), (axes.xaxis, column_names)):
        if names is not None:
            axis.set_ticks(range(len(names)), [str(each) for each in names])
        elif not written:
            axis.set_ticks([])
        else:
            axis.set_major_locator(MaxNLocator(integer=True))
    if column_names is not None and max(len(str(each)) for each in column_names) > 4:
        axes.tick_params(axis='x', labelrotation=40)


def _write(
    axes: Axes, image: AxesImage, words: Mapping[Any, str], values: np.ma.MaskedArray
) -> None:
    """Words on squares, pale on dark ones."""
    for (row, column), word in words.items():
        colour = image.to_rgba(values[row : row + 1, column : column + 1])
        red, green, blue, alpha = colour[0, 0]
        dark = alpha > 0 and 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        look: Any = dict(ha='center', va='center', fontsize=style.TICK)
        axes.text(column, row, word, color='white' if dark else style.INK, **look)


def _short(value: float) -> str:
    if not np.isfinite(value):
        return ''
    return f'{value:.0f}' if value >= 9.95 or value == round(value) else f'{value:.2f}'
