"""Which kernels run the fused engine: the one place that chooses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from chainer.backends import cuda

from dnc.cpu import loops as cpu_loops
from dnc.cpu.controller import Controller
from dnc.cuda.controller import CudaController
from dnc.cuda.launch import CudaLauncher, Launcher
from dnc.cuda.loops import CudaLoops
from dnc.engine.tape import Arena

MOST_SLOTS = 32768  # N^2 and its multiples by a block count in 32 bits


class Backend(NamedTuple):
    """What `dnc.engine.sequence` needs beside array operations."""

    loops: Callable[[Arena], Any]  # -> `cpu_loops` or its twin
    controller: Callable[..., Any]  # `Controller` or its twin


def _cpu_loops(arena: Arena) -> Any:
    return cpu_loops


def cuda_backend(launch: Launcher) -> Backend:
    return Backend(functools.partial(CudaLoops, launch), functools.partial(CudaController, launch))


def backend_for(array: Any) -> Backend:
    """The kernels of the device that an array lives on."""
    if isinstance(array, np.ndarray):
        return Backend(_cpu_loops, Controller)
    return cuda_backend(CudaLauncher(array.dtype))


def has_kernels(xp: Any, slots: int) -> bool:
    """Whether the fused engine runs on this array module's arrays."""
    modules = [np, cuda.cupy] if cuda.available else [np]
    return xp in modules and slots <= MOST_SLOTS
