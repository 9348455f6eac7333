"""Words on pictures of pixels, in the font that Matplotlib brings along."""

from __future__ import annotations

import pathlib

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont


def font(size: float) -> ImageFont.FreeTypeFont:
    """DejaVu Sans at ``size`` pixels."""
    folder = pathlib.Path(matplotlib.get_data_path(), 'fonts', 'ttf')
    return ImageFont.truetype(str(folder / 'DejaVuSans.ttf'), round(size))


def fitted(words: str, face: ImageFont.FreeTypeFont, width: int) -> str:
    """``words``, cut with an ellipsis where they are wider than ``width``."""
    if face.getlength(words) <= width:
        return words
    while words and face.getlength(words + '…') > width:
        words = words[:-1]
    return words + '…'


def line(
    left: str, right: str, width: int, height: int, face: ImageFont.FreeTypeFont
) -> np.ndarray:
    """One line of text, (height, width) uint8: 255 ink on 0, two ends.

    The right words are drawn only where they leave room for the left ones.
    """
    picture = Image.new('L', (width, height))
    draw = ImageDraw.Draw(picture)
    margin = max(2, height // 5)
    room = width - 2 * margin
    left = fitted(left, face, room)
    draw.text((margin, height / 2), left, 255, font=face, anchor='lm')
    if right and face.getlength(left + '  ' + right) <= room:
        draw.text((width - margin, height / 2), right, 255, font=face, anchor='rm')
    return np.asarray(picture)
