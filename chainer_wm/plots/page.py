"""A figure laid out in pixels, so that frames keep their own pixels."""

from __future__ import annotations

import os

import numpy as np
from matplotlib.axes import Axes

from chainer_wm.plots import style

GAP = 4  # pixels between two frames
MARGIN = 128  # pixels for the words at the left
LINE = 28  # pixels for a line of text
POINT = 72 / style.DPI  # points in a pixel of the page


class Page:
    """A white page of ``width`` x ``height`` pixels; y grows downwards."""

    def __init__(self, width: float, height: float):
        self.width, self.height = width, height
        self.figure = style.figure(width / style.DPI, height / style.DPI, constrained=False)

    def box(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes that cover this rectangle."""
        return self.figure.add_axes(
            (
                left / self.width,
                1 - (top + height) / self.height,
                width / self.width,
                height / self.height,
            )
        )

    def picture(self, left: float, top: float, pixels: np.ndarray) -> None:
        """An (H, W, 3) uint8 picture, one pixel to a pixel."""
        axes = self.box(left, top, pixels.shape[1], pixels.shape[0])
        axes.imshow(pixels, interpolation='nearest', aspect='auto')
        axes.set_axis_off()

    def words(self, x: float, y: float, words: str, side: str = 'left', **options) -> None:
        """Text with its ``side`` ('left', 'center', 'right') at x."""
        self.figure.text(
            x / self.width,
            1 - y / self.height,
            words,
            ha=side,
            va='center',
            **{'fontsize': style.TICK, 'color': style.INK, **options},
        )

    def stroke(self, x: float, top: float, bottom: float, **options) -> None:
        """A vertical line from top to bottom."""
        axes = self.box(0, 0, self.width, self.height)
        axes.set_axis_off()
        axes.set_xlim(0, self.width)
        axes.set_ylim(self.height, 0)
        axes.plot([x, x], [top, bottom], solid_capstyle='butt', **options)

    def save(self, path: str | os.PathLike) -> None:
        """As PNG at twice the pixels: sharp on fine screens, text too."""
        style.save(path, self.figure, dpi=2 * style.DPI)
