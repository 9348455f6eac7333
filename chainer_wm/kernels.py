"""The element-wise kernels of the device that an array lives on."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from chainer_wm import cpu_kernels, gpu_kernels


def kernels_for(array) -> ModuleType:
    """``cpu_kernels`` or ``gpu_kernels``: the same functions, by device."""
    return cpu_kernels if isinstance(array, np.ndarray) else gpu_kernels
