"""Which device and precision runs.

The only module that knows about backends: all others ask a link
(``link.xp``, ``link.device``) or an array (``chainer.backend.get_array_module``).
"""

from __future__ import annotations

import re
from typing import Any

import chainer
import numpy as np
from chainer import backend
from chainer.backends import cuda

from dnc import runtime

DTYPES = ('float32', 'float64')
_INSTALL = (
    "pip install -e '.[gpu]' brings CuPy and the CUDA libraries (sh setup.sh "
    'with EXTRAS=dev,gpu); the NVIDIA driver is installed separately and '
    'nvidia-smi shows it; @numpy runs everywhere'
)


class DeviceError(RuntimeError):
    """The device that was asked for is not to be had here."""


def use(device_spec: str = '@numpy', dtype: str = 'float32') -> backend.Device:
    """Make a device and a precision current, for this thread.

    Args:
        device_spec: ``@numpy`` or ``@cupy:N`` (``@cuda:N`` means the same).
        dtype: ``float32`` or ``float64``: links that are made from now on
            have parameters of this type.

    Returns:
        The device: ``link.to_device(device)``, ``device.send(array)``.

    Raises:
        ValueError: a device or a precision that this project does not know.
        DeviceError: no CuPy, no driver, or no such GPU here; says what to install.
    """
    if dtype not in DTYPES:
        raise ValueError(
            f'dtype {dtype!r} is not one of {", ".join(DTYPES)}: half precision is not supported'
        )
    device = get_device(device_spec)
    device.use()
    chainer.config.dtype = np.dtype(dtype)
    return device


def get_device(device_spec: str) -> backend.Device:
    """The device of that name, checked; :func:`use` names the errors."""
    if device_spec == '@numpy':
        return chainer.get_device('@numpy')
    match = re.fullmatch(r'@(?:cupy|cuda):(\d+)', device_spec)
    if match is None:
        raise ValueError(
            f'unknown device {device_spec!r}: it is @numpy, or @cupy:0 for '
            'the first GPU, @cupy:1 for the second'
        )
    index = int(match.group(1))
    count = _count_gpus(device_spec)
    if index >= count:
        raise DeviceError(
            f'{device_spec} asked for, but {count} GPU(s) are here, numbered '
            'from 0: is CUDA_VISIBLE_DEVICES set?'
        )
    return chainer.get_device(f'@cupy:{index}')


def _count_gpus(device_spec: str) -> int:
    # CuPy imports without a GPU, so that Chainer calls it available: only
    # the driver knows
    reasons = []
    if not cuda.available:
        reasons.append(str(cuda._resolution_error))
    else:
        try:
            return cuda.cupy.cuda.runtime.getDeviceCount()
        except cuda.cupy.cuda.runtime.CUDARuntimeError as error:
            reasons.append(str(error))
    reasons += runtime.load_shared_libraries(['libcuda.so.1'])  # the driver
    raise DeviceError(
        f'{device_spec} asked for, but CuPy does not run here '
        f'({"; ".join(reasons)}). What it needs: {_INSTALL}'
    )


def to_cpu(value: Any) -> np.ndarray:
    """A variable or an array of any device as a NumPy array."""
    array = value.array if isinstance(value, chainer.Variable) else value
    return chainer.get_device('@numpy').send(array)
