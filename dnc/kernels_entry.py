"""What the engine calls from Python: parallel kernels, compiled once.

Numba keeps compiled kernels on disk and compiles one again when its own file
changed, but not when a function in another file that was compiled into it did.
Here the stamp of every kernel file is looked at.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

from numba import njit

from dnc.kernels_math import OPTIONS


def _stamp() -> tuple[tuple[str, int, int], ...]:
    files = sorted(pathlib.Path(__file__).parent.glob('*.py'))
    stats = [(file.name, file.stat()) for file in files]
    return tuple((name, s.st_mtime_ns, s.st_size) for name, s in stats)


STAMP = _stamp()


def entry(function: Callable) -> Any:
    """Compile for both cores, on first use, and keep the result on disk.

    The body should be a ``prange`` over calls and nothing else: Numba's
    parallel compiler may move array statements around calls, or drop them.
    """
    dispatcher = njit(**OPTIONS, parallel=True, cache=True)(function)
    files = getattr(dispatcher._cache, '_cache_file', None)
    if files is not None and hasattr(files, '_source_stamp'):
        files._source_stamp = (files._source_stamp, STAMP)
    return dispatcher
