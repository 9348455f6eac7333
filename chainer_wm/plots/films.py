"""Animated GIFs of frames, small enough to put in a README."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from chainer_wm import files
from chainer_wm.plots import text
from chainer_wm.plots.frames import as_frames, enlarged

GREYS = 8  # palette entries for the captions; the film has the other 248
MAX_FRAMES = 1000  # what one GIF is ever made of; bounds the memory
SHOTS = 96  # frames that the palette is chosen from


class Animation(NamedTuple):
    """What was written: a GIF of ``frames`` frames, every ``every``-th one."""

    frames: int
    every: int
    size: int  # bytes


class _Clip(NamedTuple):
    frames: np.ndarray  # (T, H, W, 3) uint8
    captions: Sequence[str]  # one per frame, or none at all
    name: str  # what remains on show when it has ended


def gif(
    path: str | os.PathLike,
    frames: np.ndarray,
    fps: float = 30.0,
    scale: int = 4,
    captions: str | Sequence[str] | None = None,
    max_bytes: int = 8 << 20,
) -> Animation:
    """Write frames as an animated GIF with one palette for the whole film.

    Args:
        frames: (T, H, W, 3) uint8, or (T, 3, H, W) float in [0, 1].
        fps: frames per second of the game. A GIF counts hundredths of a second: 35 becomes 33.3,
            50 is the most.
        scale: whole-number enlargement, nearest neighbour.
        captions: a line under the film, one for all frames (then the number
            of the step is written beside it) or one per frame.
        max_bytes: frames are left out evenly (and shown longer, so the film keeps its length)
            until the file is at most this big.

    Raises:
        ValueError: wrong shape, no frames, scale or fps not positive, or a number of captions
            other than T.
    """
    return _write(path, [_clip(frames, captions, 'frames')], fps, scale, max_bytes)


def side_by_side(
    path: str | os.PathLike,
    left: np.ndarray,
    right: np.ndarray,
    captions: Sequence[str | Sequence[str]] = ('game', 'dream'),
    fps: float = 30.0,
    scale: int = 4,
    max_bytes: int = 8 << 20,
) -> Animation:
    """Write two films beside each other, step by step, as an animated GIF.

    Where one is shorter, its last frame stays, dimmed, and its caption says when it ended.
    ``captions`` has one entry per film; the rest is as in
    :func:`gif`.
    """
    return gif_row(path, (left, right), captions, fps, scale, max_bytes)


def gif_row(
    path: str | os.PathLike,
    films: Sequence[np.ndarray],
    captions: Sequence[str | Sequence[str]],
    fps: float = 30.0,
    scale: int = 4,
    max_bytes: int = 8 << 20,
) -> Animation:
    """`side_by_side` of any number of films of one size, each with its own caption.

    Raises:
        ValueError: as `gif`, or another size.
    """
    if len(films) != len(captions):
        raise ValueError(f'{len(captions)} captions for {len(films)} films: one each is needed')
    clips = [
        _clip(film, words, f'film {number}')
        for number, (film, words) in enumerate(zip(films, captions))
    ]
    sizes = {clip.frames.shape[1:] for clip in clips}
    if len(sizes) > 1:
        raise ValueError(f'the films have frames of {sorted(sizes)}: they must be of one size')
    return _write(path, clips, fps, scale, max_bytes)


def _clip(frames: np.ndarray, captions: str | Sequence[str] | None, name: str) -> _Clip:
    frames = as_frames(frames, name)
    if captions is None:
        return _Clip(frames, (), '')
    if isinstance(captions, str):
        return _Clip(frames, [f'{captions}\t{step}' for step in range(len(frames))], captions)
    if len(captions) != len(frames):
        raise ValueError(
            f'{len(captions)} captions for {len(frames)} frames of {name}: one each is needed'
        )
    return _Clip(frames, list(captions), '')


def _write(
    path: str | os.PathLike, clips: list[_Clip], fps: float, scale: int, max_bytes: int
) -> Animation:
    if not (fps > 0 and scale >= 1 and max_bytes > 0):
        raise ValueError(
            f'fps {fps}, scale {scale} and max_bytes {max_bytes} must all be positive'
        )
    length = max(len(clip.frames) for clip in clips)
    palette = _palette(clips)
    every = -(-length // MAX_FRAMES)
    while True:
        data, count = _encode(clips, palette, range(0, length, every), scale, every * 100 / fps)
        if len(data) <= max_bytes or count == 1:
            break
        every = max(every + 1, round(every * len(data) / max_bytes))
    with files.atomic_write(path) as file:
        file.write(data)
    return Animation(count, every, len(data))


def _palette(clips: list[_Clip]) -> Image.Image:
    """One palette for all: 248 colours of the films, then 8 greys.

    Maximum coverage keeps rare bright things in their colour, where a median cut gives nearly all
    entries to the walls.
    """
    shots = [clip.frames[:: max(1, len(clip.frames) // SHOTS)] for clip in clips]
    shots += [_dimmed(clip.frames[-1:]) for clip in clips]
    pixels = np.concatenate([shot.reshape(-1, 3) for shot in shots])[None]
    chosen = Image.fromarray(pixels).quantize(
        256 - GREYS, method=Image.Quantize.MAXCOVERAGE, kmeans=1
    )
    colours = (chosen.getpalette() or [])[: 3 * (256 - GREYS)]
    colours += colours[:3] * (256 - GREYS - len(colours) // 3)
    for level in range(GREYS):
        colours += [round(level * 255 / (GREYS - 1))] * 3
    palette = Image.new('P', (1, 1))
    palette.putpalette(colours)
    return palette


def _encode(
    clips: list[_Clip], palette: Image.Image, steps: range, scale: int, hundredths: float
) -> tuple[bytes, int]:
    """The film at these steps as the bytes of a GIF, and its frame count."""
    pictures = _pictures(clips, palette, steps, scale)
    first = next(pictures)
    file = io.BytesIO()
    first.save(
        file,
        'GIF',
        save_all=True,
        append_images=pictures,
        loop=0,
        duration=10 * max(2, round(hundredths)),
        optimize=False,
    )
    return file.getvalue(), len(steps)


def _pictures(
    clips: list[_Clip], palette: Image.Image, steps: range, scale: int
) -> Iterator[Image.Image]:
    face = text.font(max(9, round(3.5 * min(5, scale))))
    gap = np.int64(256 - GREYS)  # black, between the films
    for step in steps:
        parts = [_picture(clip, palette, step, scale, face) for clip in clips]
        bar = np.full((parts[0].shape[0], scale), gap, np.uint8)
        joined = [parts[0]]
        for part in parts[1:]:
            joined += [bar, part]
        picture = Image.fromarray(np.concatenate(joined, axis=1), 'P')
        picture.putpalette(palette.getpalette() or [])
        yield picture


def _picture(clip: _Clip, palette: Image.Image, step: int, scale: int, face) -> np.ndarray:
    """One film at one step, caption below: (H', W') palette indices."""
    last = len(clip.frames) - 1
    frame, caption = clip.frames[min(step, last)], ''
    if clip.captions:
        caption = clip.captions[min(step, last)]
    if step > last:
        frame = _dimmed(frame)
        caption = f'{clip.name}\tended at {last}' if clip.name else caption
    indices = np.asarray(
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
    )
    picture = enlarged(indices[..., None], scale)[..., 0]
    if not clip.captions:
        return picture
    height = round(face.size * 1.6)
    left, _, right = caption.partition('\t')
    ink = text.line(left, right, picture.shape[1], height, face)
    shade = (256 - GREYS) + (ink.astype(int) * (GREYS - 1) + 127) // 255
    return np.concatenate([picture, shade.astype(np.uint8)])


def _dimmed(frames: np.ndarray) -> np.ndarray:
    return (frames * 0.45).astype(np.uint8)
