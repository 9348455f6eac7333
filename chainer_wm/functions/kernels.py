"""Fused element-wise kernels, for the CPU (numba) and the GPU (CuPy)."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from chainer_wm.functions import kernels_cpu, kernels_gpu


def kernels_for(array) -> ModuleType:
    """The kernels of the device that an array lives on: ``cpu`` or ``gpu``."""
    return kernels_cpu if isinstance(array, np.ndarray) else kernels_gpu
