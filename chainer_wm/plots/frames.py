"""Frames as every picture here wants them: (T, H, W, 3) uint8."""

from __future__ import annotations

import numpy as np


def as_frames(frames: np.ndarray, name: str = 'frames') -> np.ndarray:
    """Frames in any of the project's two layouts, as (T, H, W, 3) uint8.

    Args:
        frames: (T, H, W, 3) uint8 as in the cache, or (T, 3, H, W) float in [0, 1] as inside the
            models (or (T, H, W, 3) float). Values that leave [0, 1] are clipped.
        name: what to call them in an error.

    Raises:
        ValueError: another shape or type, no frames, or a value that is not finite.
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or 3 not in (frames.shape[1], frames.shape[3]):
        raise ValueError(
            f'{name} has shape {frames.shape}, but (T, H, W, 3) or '
            '(T, 3, H, W) is needed: is it one frame, or already a picture?'
        )
    if not len(frames):
        raise ValueError(f'{name} holds no frame: is the episode empty?')
    if frames.shape[3] != 3:
        frames = frames.transpose(0, 2, 3, 1)
    if frames.dtype == np.uint8:
        return frames
    if frames.dtype.kind != 'f':
        raise ValueError(
            f'{name} is {frames.dtype}, but uint8 in 0..255 or float in [0, 1] is needed'
        )
    if not np.isfinite(frames).all():
        raise ValueError(
            f'{name} holds values that are not finite: did the training that made them diverge?'
        )
    return (frames.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def same_shape(first: np.ndarray, second: np.ndarray, names: str) -> None:
    """Refuse two film strips that do not show the same thing."""
    if first.shape != second.shape:
        raise ValueError(
            f'{names} have shapes {first.shape} and {second.shape}, which must be equal'
        )


def picked(length: int, count: int) -> np.ndarray:
    """At most ``count`` indices of ``range(length)``, even, with both ends."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int))


def grid(
    frames: np.ndarray, columns: int, scale: int = 1, gap: int = 2, background: int = 255
) -> np.ndarray:
    """Frames (T, H, W, 3) side by side in rows: one (H', W', 3) picture."""
    count, height, width, _ = frames.shape
    rows = -(-count // columns)
    cell = (height * scale + gap, width * scale + gap)
    sheet = np.full((rows * cell[0] - gap, columns * cell[1] - gap, 3), background, np.uint8)
    for index, frame in enumerate(enlarged(frames, scale)):
        top, left = index // columns * cell[0], index % columns * cell[1]
        sheet[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
    return sheet


def enlarged(frames: np.ndarray, scale: int) -> np.ndarray:
    """Nearest-neighbour enlargement of (..., H, W, 3) by a whole number."""
    return frames.repeat(scale, axis=-3).repeat(scale, axis=-2)
