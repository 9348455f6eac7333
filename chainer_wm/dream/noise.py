"""Noise for many lanes, from one generator or from one for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Streams = np.random.Generator | Sequence[np.random.Generator]


class Noise:
    """Float64 noise for E streams, drawn on the CPU.

    Args:
        rng: one generator for all streams, or a sequence of E, one each.
        streams: E.

    Raises:
        ValueError: the sequence has not E generators.
    """

    def __init__(self, rng: Streams, streams: int) -> None:
        self._rng = rng
        self._streams = streams
        if not isinstance(rng, np.random.Generator) and len(rng) != streams:
            raise ValueError(f'{len(rng)} generators for {streams} lanes')

    def draw(self, method: str, *shape: int, only=None) -> np.ndarray:
        """(E, *shape) numbers of a method of Generator; ``only`` some rows."""
        rows = range(self._streams) if only is None else only
        if isinstance(self._rng, np.random.Generator):
            return getattr(self._rng, method)(size=(len(rows), *shape))
        return np.stack(
            [getattr(self._rng[n], method)(size=shape) for n in rows]
        )
