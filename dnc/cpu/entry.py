"""What the engine calls from Python: kernels compiled once, lanes in threads.

The threads are Python's, and each runs its lanes through a whole sequence:
a parallel loop in every step would wait for its slowest thread several
hundred times, and Numba's parallel compiler takes longer than the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba

from dnc.cpu.elementary import OPTIONS
from dnc.kernel_cache import cached_njit


def entry(function: Callable) -> Any:
    """Compile ``function(lo, hi, ...)`` on first use, keep it on disk.

    It works on the lanes from lo to hi and on nothing that belongs to others, without Python's
    lock.
    """
    return cached_njit(**OPTIONS, nogil=True)(function)


def over_lanes(kernel: Callable, lanes: int, *arguments) -> None:
    """Run an entry on all lanes, in as many threads as Numba has.

    The threads live as long as the call: they cost some 0.1 ms, and nothing
    is left behind that a fork or a pickle could break.
    """
    parts = min(numba.get_num_threads(), lanes)
    bounds = [lanes * part // parts for part in range(parts + 1)]
    if parts == 1:
        kernel(0, lanes, *arguments)
        return
    with ThreadPoolExecutor(parts - 1) as pool:
        others = [
            pool.submit(kernel, lo, hi, *arguments) for lo, hi in itertools.pairwise(bounds[1:])
        ]
        kernel(0, bounds[1], *arguments)
    for other in others:
        other.result()
