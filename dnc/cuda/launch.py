"""How the engine's CUDA kernels are started."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from chainer.backends import cuda

from dnc.cuda.source import MOST_THREADS, cuda_source
from dnc.engine.tape import address

OPTIONS = ('-std=c++14',)  # and neither fast-math nor relaxed division


class Launcher(Protocol):
    """Starts a kernel; tests have one that runs them on the CPU."""

    def __call__(self, name: str, blocks: int, threads: int, shared: int, args: tuple) -> None:
        """Args are arrays and NumPy scalars of the kernel's own types."""

    def threads(self, slots: int) -> int:
        """Of a block that runs one lane."""


class CudaLauncher:
    """Kernels of one dtype on the current device and stream.

    CuPy compiles the source at the first launch on a device (tens of
    seconds) and keeps the result on disk.
    """

    def __init__(self, dtype: Any):
        self.dtype = np.dtype(dtype)
        self._source = cuda_source(dtype)
        self._kernels: dict[str, Any] = {}

    def __call__(self, name, blocks, threads, shared, args):
        kernel = self._kernels.get(name)
        if kernel is None:
            kernel = cuda.raw(self._source, name, OPTIONS)
            self._kernels[name] = kernel
        kernel((blocks,), (threads,), args, shared_mem=shared)

    def threads(self, slots: int) -> int:
        """Four per slot where that many fit, in whole warps."""
        warps = -(-4 * slots // 32) * 32
        return min(MOST_THREADS[self.dtype.name], max(64, warps))


def table(arrays: tuple, xp: Any) -> Any:
    """The addresses of arrays as an array: a struct of pointers."""
    return xp.asarray(np.array([address(a) for a in arrays], np.uint64))
