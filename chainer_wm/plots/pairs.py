"""What V makes of frames."""

from __future__ import annotations

import os

import numpy as np

from chainer_wm.plots import style
from chainer_wm.plots.frames import as_frames, grid, same_shape
from chainer_wm.plots.page import GAP, LINE, MARGIN, Page


def reconstructions(
    path: str | os.PathLike,
    frames: np.ndarray,
    reconstructions: np.ndarray,
    columns: int = 8,
    scale: int = 2,
    title: str = '',
) -> None:
    """Frames in rows, and under each of them what V makes of it.

    Args:
        frames, reconstructions: (N, H, W, 3) uint8 or (N, 3, H, W) float in
            [0, 1], of equal shape. N up to about 32 reads well.
        columns: frames per row.
        scale: whole-number enlargement.
    """
    truth = as_frames(frames, 'frames')
    rebuilt = as_frames(reconstructions, 'reconstructions')
    same_shape(truth, rebuilt, 'frames and reconstructions')
    columns = min(columns, len(truth))
    pairs = [
        _pair(truth[at : at + columns], rebuilt[at : at + columns], scale)
        for at in range(0, len(truth), columns)
    ]
    height, width, _ = pairs[0].shape
    top = LINE + 6 if title else 6
    page = Page(MARGIN + width + 6, top + len(pairs) * (height + 3 * GAP))
    page.words(6, LINE / 2 + 3, title, fontsize=style.TITLE)
    for index, pair in enumerate(pairs):
        y = top + index * (height + 3 * GAP)
        page.picture(MARGIN, y, pair)
        page.words(MARGIN - 10, y + height / 4, 'game', 'right')
        page.words(MARGIN - 10, y + height * 3 / 4, 'rebuilt by V', 'right')
    page.save(path)


def _pair(truth: np.ndarray, rebuilt: np.ndarray, scale: int) -> np.ndarray:
    return grid(np.concatenate([truth, rebuilt]), len(truth), scale, GAP)
