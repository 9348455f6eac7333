"""Working memory that is used again: fresh pages cost more than arithmetic."""

from __future__ import annotations

import sys
import threading

import numpy as np

_ALIGNMENT = 64  # bytes: a vector register, and a line of the cache


class Arena:
    """Arrays that are handed out again once nobody else holds them.

    ``take`` returns the memory of an earlier array if that array and every view of it are gone, so
    an array is safe for as long as it is held: in a graph that waits for its backward pass, or as
    a parameter's gradient.
    Sizes are rounded up to powers of two, which bounds the memory whatever sizes are asked for
    (pages never touched cost nothing).

    Copies and pickles of an arena are new and empty.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, list[np.ndarray]] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Arena], tuple]:
        return Arena, ()

    def take(self, shape: int | tuple[int, ...], dtype: np.dtype | type | str) -> np.ndarray:
        """A contiguous, aligned NumPy array with arbitrary contents."""
        dtype = np.dtype(dtype)
        size = int(np.prod(shape)) * dtype.itemsize
        block = self._free_block(1 << max(size - 1, 1).bit_length())
        start = -block.ctypes.data % _ALIGNMENT
        return block[start : start + size].view(dtype).reshape(shape)

    def _free_block(self, size: int) -> np.ndarray:
        with self._lock:
            blocks = self._blocks.setdefault(size, [])
            for block in blocks:
                # the list, this loop and the call below, and no view of it
                if sys.getrefcount(block) == 3:
                    return block
            blocks.append(np.empty(size + _ALIGNMENT, np.uint8))
            return blocks[-1]
