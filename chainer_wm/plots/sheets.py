"""A contact sheet: an episode at one look."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from chainer_wm import files
from chainer_wm.plots import style, text
from chainer_wm.plots.frames import as_frames, enlarged

GAP, EDGE = 8, 4  # pixels between cells; width of a mark around one
MAX_CELLS = 1000


def contact_sheet(
    path: str | os.PathLike,
    frames: np.ndarray,
    captions: Sequence[str],
    notes: Sequence[str] = (),
    marks: Sequence[str] = (),
    columns: int = 8,
    scale: int = 2,
    title: str = '',
) -> None:
    """Write frames with words under them as one PNG.

    Args:
        frames: (N, H, W, 3) uint8 or (N, 3, H, W) float in [0, 1], N up to 1,000.
        captions: N lines for the left end under each frame, e.g. 't 120'.
        notes: none, or N for the right end, e.g. an action and a reward.
        marks: none, or N: a frame with a mark gets a coloured edge and the mark in its picture,
            e.g. 'died'.
        columns: frames per row; scale: whole-number enlargement.

    Raises:
        ValueError: other numbers of words than frames, or too many frames.
    """
    frames = as_frames(frames)
    count = len(frames)
    _check(count, captions=captions, notes=notes, marks=marks)
    columns = max(1, min(columns, count))
    face = text.font(max(10, 6 * scale))
    size = frames.shape[2] * scale, frames.shape[1] * scale
    cell = size[0] + GAP, size[1] + GAP + round(face.size * 1.5)
    top = GAP + (round(face.size * 2.2) if title else 0)
    sheet = Image.new(
        'RGB', (columns * cell[0] + GAP, -(-count // columns) * cell[1] + top), 'white'
    )
    draw = ImageDraw.Draw(sheet)
    large = text.font(face.size + 3)
    title = text.fitted(title, large, sheet.width - 2 * GAP)
    draw.text((GAP, GAP), title, style.INK, font=large)
    for index in range(count):
        at = (GAP + index % columns * cell[0], top + index // columns * cell[1])
        sheet.paste(Image.fromarray(enlarged(frames[index], scale)), at)
        note = notes[index] if notes else ''
        _words(draw, at, size, captions[index], note, face)
        if marks and marks[index]:
            _mark(draw, at, size, marks[index], face)
    with files.atomic_write(path) as file:
        sheet.save(file, 'PNG')


def _check(count: int, **words: Sequence[str]) -> None:
    for name, each in words.items():
        if len(each) != count and (len(each) or name == 'captions'):
            raise ValueError(f'{len(each)} {name} for {count} frames: one each is needed')
    if count > MAX_CELLS:
        raise ValueError(
            f'{count} frames are more than the {MAX_CELLS} that fit on a sheet: show every n-th'
        )


def _words(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    size: tuple[int, int],
    left: str,
    right: str,
    face,
) -> None:
    y = at[1] + size[1] + round(face.size * 0.7)
    left = text.fitted(left, face, size[0])
    draw.text((at[0], y), left, style.INK, font=face, anchor='lm')
    room = size[0] - face.getlength(left + ' ')
    if right:
        draw.text(
            (at[0] + size[0], y),
            text.fitted(right, face, int(room)),
            style.PALE_INK,
            font=face,
            anchor='rm',
        )


def _mark(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], size: tuple[int, int], words: str, face
) -> None:
    """A coloured edge around the frame, and a label in its corner."""
    right, bottom = at[0] + size[0] - 1, at[1] + size[1] - 1
    draw.rectangle((*at, right, bottom), outline=style.VERMILLION, width=EDGE)
    wide = face.getlength(words) + 3 * EDGE
    tall = round(face.size * 1.4)
    draw.rectangle((*at, at[0] + wide, at[1] + tall), style.VERMILLION)
    draw.text((at[0] + wide / 2, at[1] + tall / 2), words, 'white', font=face, anchor='mm')
