"""What a trace keeps: which internals, of which steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import chainer
import numpy as np

from dnc.access import Addresses, Interface
from dnc.addressing import Array
from dnc.state import DNCState

NAMES = ('output', *DNCState._fields, *Interface._fields, *Addresses._fields)


class Record:
    """Chosen internals at chosen steps, as NumPy arrays.

    Args:
        names: of `NAMES`; None is all.
        length: T, steps that are run.
        steps: those that are kept: a slice or their numbers, -1 the last; None is all.

    Attributes:
        names: those that are kept, in the order of `NAMES`.
        arrays: by name, (steps kept, B, ...), steps in the order of time.

    Raises:
        ValueError: a name is unknown, or a step is not among the T.
    """

    def __init__(self, names: Sequence[str] | None, length: int, steps: Any):
        asked = set(NAMES if names is None else names)
        self.names = tuple(name for name in NAMES if name in asked)
        if not asked or asked - set(self.names):
            raise ValueError(f'names are {names!r} but must be some of {NAMES}')
        self._steps = _numbers(steps, length)
        self.arrays: dict[str, np.ndarray] = {}

    def add(self, start: int, arrays: Mapping[str, Array]) -> None:
        """Copy what is kept of consecutive steps.

        Args:
            start: number of the first.
            arrays: by name, (steps, B, ...); those that are not kept are ignored.
        """
        for name in self.names:
            array = chainer.as_array(arrays[name])
            if name not in self.arrays:
                shape = (len(self._steps), *array.shape[1:])
                self.arrays[name] = np.empty(shape, array.dtype)
            places = slice(*np.searchsorted(self._steps, [start, start + len(array)]))
            rows = (self._steps[places] - start).tolist()
            if len(rows) < len(array):
                array = array[rows]
            self.arrays[name][places] = chainer.get_device('@numpy').send(array)


def _numbers(steps: Any, length: int) -> np.ndarray:
    """Of the chosen among T steps, upwards."""
    index = slice(None) if steps is None else steps
    try:
        chosen = np.arange(length)[index if isinstance(index, slice) else np.array(index)]
    except IndexError:
        chosen = np.array([])
    if not chosen.size:
        raise ValueError(
            f'steps are {steps} but must choose among the {length} steps of xs: '
            f'whole numbers from {-length} to {length - 1}, or a slice'
        )
    return np.unique(chosen)
