"""A film of what somebody plays, as a GIF."""

from __future__ import annotations

import asyncio
import pathlib
import tempfile

import numpy as np

from chainer_wm import plots

LONGEST = 1000  # steps of a film
LARGE = 128  # rows above which every second pixel is kept
WIDTH = 256  # pixels that a small picture is enlarged to, about


class Recorder:
    """Keeps frames while it is asked to, and has the film made beside the play."""

    def __init__(self) -> None:
        self._frames: list[np.ndarray] | None = None  # while it records
        self._fps = 0.0
        self._making: asyncio.Future[bytes] | None = None

    @property
    def on(self) -> bool:
        """Whether it records."""
        return self._frames is not None

    def ask(self, on: bool) -> None:
        """Begin a film, or end it."""
        if not on:
            self._end()
        elif self._frames is None:
            self._frames = []

    def add(self, frame: np.ndarray, fps: float) -> None:
        """Keep a frame, (H, W, 3) uint8; a film that is long enough ends."""
        if self._frames is None:
            return
        kept = frame[::2, ::2] if len(frame) > LARGE else frame
        if self._frames and kept.shape != self._frames[0].shape:  # another place
            self._end()
            return
        self._frames.append(kept.copy())
        self._fps = fps
        if len(self._frames) >= LONGEST:
            self._end()

    def film(self) -> bytes | None:
        """A film that has been made since it was last asked for."""
        if self._making is None or not self._making.done():
            return None
        made, self._making = self._making.result(), None
        return made

    def _end(self) -> None:
        frames, self._frames = self._frames, None
        if frames and self._making is None:
            work = asyncio.to_thread(gif_of, np.stack(frames), self._fps)
            self._making = asyncio.ensure_future(work)


def gif_of(frames: np.ndarray, fps: float) -> bytes:
    """Frames (T, H, W, 3) uint8 as the bytes of a GIF."""
    scale = max(1, round(WIDTH / frames.shape[2]))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, 'film.gif')
        plots.gif(path, frames, min(fps, 50.0), scale)
        return path.read_bytes()
