"""Means and deviations of data that arrive in parts, exactly and stably.

Two parts are joined by Chan, Golub and LeVeque's formula (1979), in float64
on the CPU: the sums of squared deviations add, and so does the squared gap between the means,
weighted by n1 n2 / (n1 + n2). The squares of the data themselves never meet, so a large common
offset costs no digits.

``ddof`` is NumPy's: a deviation is sqrt(sum of squares / (n - ddof)), 0 for the population's, 1
for the estimate from a sample. A formula that expects the one and is fed the other is wrong for
every finite n.
"""

from __future__ import annotations

from typing import Any

import chainer
import numpy as np

from chainer_wm.devices import to_cpu


def merge(n1, mean1, std1, n2, mean2, std2, ddof: int = 0):
    """Count, mean and deviation of two parts taken together.

    Args:
        n1, n2: how many values each part has; 0 and 1 are allowed.
        mean1, mean2: their means, numbers or arrays of one shape. The mean of an empty part is not
            looked at.
        std1, std2: their deviations, both with this ``ddof``. Where n <= ddof a deviation is
            undefined and not looked at, so NumPy's NaN is welcome there.
        ddof: 0 or 1.

    Returns:
        (n, mean, std): an integer and two float64 values or arrays, equal to NumPy's ``mean`` and
        ``std(ddof=ddof)`` of all n values. A mean of no values is NaN, and so is a deviation of n
        <= ddof.

    Raises:
        ValueError: a count is negative or no integer, ``ddof`` is something else, or the shapes
            differ.
    """
    if ddof not in (0, 1):
        raise ValueError(f'ddof is {ddof}, but must be 0 or 1')
    n1, n2 = _count(n1, 'n1'), _count(n2, 'n2')
    shapes = {np.shape(value) for value in (mean1, std1, mean2, std2)}
    if len(shapes) > 1:
        raise ValueError(
            f'mean1, std1, mean2 and std2 have shapes {sorted(shapes)}, but '
            'must have one: are these statistics of the same thing?'
        )
    n, mean, squares = _join(
        (n1, np.asarray(mean1, np.float64), _squares(n1, std1, ddof)),
        (n2, np.asarray(mean2, np.float64), _squares(n2, std2, ddof)),
    )
    return n, mean[()], _deviation(n, squares, ddof)


def _count(n, name: str) -> int:
    if n < 0 or n != int(n):
        raise ValueError(f'{name} is {n}, but counts values: 0, 1, 2, ...')
    return int(n)


def _squares(n: int, std, ddof: int) -> np.ndarray:
    """Sum of squared deviations, from a deviation."""
    std = np.asarray(std, np.float64)
    return (n - ddof) * std**2 if n > ddof else np.zeros(std.shape)


def _deviation(n: int, squares: np.ndarray, ddof: int) -> Any:
    if n <= ddof:
        return np.full(np.shape(squares), np.nan)[()]
    return np.sqrt(squares / (n - ddof))[()]


def _join(first, second):
    """(count, mean, sum of squared deviations) of two such parts."""
    if not first[0] or not second[0]:
        n, mean, squares = second if second[0] else first
        return n, (mean if n else np.full(mean.shape, np.nan)), squares
    (n1, mean1, squares1), (n2, mean2, squares2) = first, second
    n = n1 + n2
    gap = mean2 - mean1
    mean = mean1 + gap * (n2 / n)  # (n1 mean1 + n2 mean2) / n
    # S = S1 + S2 + gap^2 n1 n2 / n, Chan, Golub and LeVeque
    return n, mean, squares1 + squares2 + gap * gap * (n1 * (n2 / n))


class RunningStatistics:
    """Mean and variance of every feature, over all batches seen so far.

    ::

        seen = RunningStatistics(observations.shape[1:])
        seen.update(observations)
        scaled = seen.normalize(observations, clip=5)

    Batches may have any size, be float32, integers, or on a GPU; the sums are float64 on the CPU.
    ``serialize`` makes it part of a Chainer snapshot.

    Args:
        shape: of one value, () for a scalar.
    """

    def __init__(self, shape: tuple[int, ...] = ()):
        self.count = 0
        self._mean = np.zeros(shape)
        self._squares = np.zeros(shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one value."""
        return self._mean.shape

    @property
    def mean(self) -> np.ndarray:
        """Mean of each feature, ``shape``; NaN while nothing was seen."""
        return self._mean.copy() if self.count else np.full(self.shape, np.nan)

    @property
    def variance(self) -> np.ndarray:
        """Population variance (ddof 0) of each feature, ``shape``."""
        return self.std() ** 2

    def std(self, ddof: int = 0) -> np.ndarray:
        """Deviation of each feature, ``shape``; NaN where n <= ddof."""
        return np.asarray(_deviation(self.count, self._squares, ddof))

    def update(self, batch) -> None:
        """Take in a batch (B, *shape); B may be 0.

        Raises:
            ValueError: wrong shape, or values that are not finite; the statistics are then as they
                were.
        """
        batch = np.asarray(to_cpu(batch), np.float64)
        if batch.ndim == 0 or batch.shape[1:] != self.shape:
            raise ValueError(
                f'batch has shape {batch.shape}, but (B, ...) of values '
                f'shaped {self.shape} is wanted'
            )
        if not len(batch):
            return
        finite = np.isfinite(batch).reshape(len(batch), -1).all(axis=1)
        if not finite.all():
            bad = np.flatnonzero(~finite)
            raise ValueError(
                f'batch has values that are not finite in {bad.size} of its '
                f'{len(batch)} rows, the first is row {bad[0]}'
            )
        mean = batch.mean(axis=0)
        squares = ((batch - mean) ** 2).sum(axis=0)
        self._take((len(batch), mean, squares))

    def merge(self, other: RunningStatistics) -> None:
        """Take in all that ``other`` has seen.

        Raises:
            ValueError: it has seen values of another shape.
        """
        if other.shape != self.shape:
            raise ValueError(
                f'cannot merge statistics of shape {other.shape} into those of shape {self.shape}'
            )
        self._take((other.count, other._mean, other._squares))

    def _take(self, part) -> None:
        if part[0]:
            own = self.count, self._mean, self._squares
            self.count, self._mean, self._squares = _join(own, part)

    def normalize(self, x, clip: float | None = None, epsilon: float = 1e-8):
        """(x - mean) / sqrt(variance + epsilon), in x's dtype and device.

        Args:
            x: (..., *shape) floating point.
            clip: largest absolute value of the result, if any.

        Raises:
            ValueError: nothing was seen yet.
        """
        if not self.count:
            raise ValueError('nothing was seen yet: call update first')
        device = chainer.backend.get_device_from_array(x)
        scale = np.sqrt(self.variance + epsilon)
        mean, scale = (device.send(np.asarray(value, x.dtype)) for value in (self._mean, scale))
        scaled = (x - mean) / scale
        return scaled if clip is None else scaled.clip(-clip, clip)

    def serialize(self, serializer) -> None:
        """Save or load the whole state with one of Chainer's serializers."""
        self.count = int(serializer('count', np.asarray(self.count)))
        self._mean = serializer('mean', self._mean)
        self._squares = serializer('squares', self._squares)
