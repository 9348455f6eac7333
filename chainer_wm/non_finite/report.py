"""What is said about a number that is not finite."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import Any

import chainer
import numpy as np
from chainer import backend

Index = tuple[int, ...]


def raw(value: Any) -> Any:
    """The array of a variable; anything else as it is."""
    return value.array if isinstance(value, chainer.Variable) else value


def is_finite(value: Any) -> bool:
    """Whether all of a variable or an array is; nothing and integers are."""
    array = raw(value)
    if array is None or array.dtype.kind != 'f':
        return True
    return bool(backend.get_array_module(array).isfinite(array).all())


@dataclasses.dataclass(frozen=True)
class ArraySummary:
    """What an array holds.

    Attributes:
        name: its part in the function, and its path where it is a parameter.
        shape, dtype: as NumPy has them.
        bad: how many of its values are not finite.
        first, last: index of the first and of the last such value, the last
            axis running fastest, or None.
        low, high: least and greatest finite value, None if there is none.
    """

    name: str
    shape: Index
    dtype: str
    bad: int
    first: Index | None
    last: Index | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, name: str, array: Any) -> ArraySummary:
        """Look at a variable or an array, on whatever device it is."""
        values = np.asarray(backend.CpuDevice().send(raw(array)))
        finite = np.isfinite(values)
        good = values[finite]
        bad = np.argwhere(~finite)
        return cls(
            name,
            values.shape,
            str(values.dtype),
            len(bad),
            tuple(bad[0].tolist()) if len(bad) else None,
            tuple(bad[-1].tolist()) if len(bad) else None,
            float(good.min()) if good.size else None,
            float(good.max()) if good.size else None,
        )

    def __str__(self) -> str:
        text = f'{self.name}, {self.dtype} {self.shape}: '
        if self.first is not None and self.last is not None:
            text += f'{self.bad} not finite, first at {list(self.first)}, '
            text += f'last at {list(self.last)}; '
        if self.low is None:
            return text + 'no finite value'
        return text + f'finite from {self.low:.6g} to {self.high:.6g}'


def summaries(
    named: Iterable[tuple[str, Any]],
) -> tuple[ArraySummary, ...]:
    """Summaries of the floating point arrays among (name, array) pairs."""
    return tuple(
        ArraySummary.of(name, array)
        for name, array in named
        if raw(array) is not None and raw(array).dtype.kind == 'f'
    )


class NonFiniteError(FloatingPointError):
    """An infinity or NaN turned up.

    Args:
        message: what happened, in one line.
        details: any of the attributes below.

    Attributes:
        phase: 'forward', 'backward' or 'update'.
        culprit: the array with the first such value.
        inputs: the arrays that went into it.
        function: label of the Chainer function.
        link: path and class of the link whose method called the function.
        call: how often that link had been called like a function since the
            search began. For one called in each time step, ``call - 1`` is
            the step.
        stage: what was running.
        snapshot: path of the last good snapshot.

    All are None (``inputs``: empty) where they are not known. A training loop
    fills in stage and snapshot; the text shows whatever is there.
    """

    def __init__(self, message: str, **details: Any):
        super().__init__(message)
        self.phase: str | None = None
        self.culprit: ArraySummary | None = None
        self.inputs: Sequence[ArraySummary] = ()
        self.function: str | None = None
        self.link: str | None = None
        self.call: int | None = None
        self.stage: str | None = None
        self.snapshot: str | os.PathLike | None = None
        unknown = details.keys() - vars(self).keys()
        if unknown:
            raise TypeError(f'unknown details {sorted(unknown)}')
        vars(self).update(details)

    @property
    def step(self) -> int | None:
        """Index along axis 0 of a culprit with three axes or more.

        That is the time step where axis 0 is time, as in a whole sequence
        (T, B, X). A gradient travels backwards in time: there it is the
        last such index.
        """
        if self.culprit is None or self.culprit.first is None:
            return None
        if len(self.culprit.shape) < 3:
            return None
        end = self.culprit.last if self.phase == 'backward' else None
        return (end or self.culprit.first)[0]

    def __str__(self) -> str:
        call = '' if self.call is None else f', call {self.call}'
        facts = {
            'stage': self.stage,
            'link': self.link and self.link + call,
            'function': self.function,
            'array': self.culprit,
            'time step, where axis 0 is time': self.step,
        }
        lines = [str(self.args[0])]
        lines += [f'{k}: {v}' for k, v in facts.items() if v is not None]
        lines += [f'beside it: {array}' for array in self.inputs]
        if self.snapshot is not None:
            lines.append(f'last good snapshot: {self.snapshot}')
        return '\n  '.join(lines)
