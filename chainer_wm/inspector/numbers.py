"""Means, deviations and histograms as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np

BINS = 12
MAX_CODES = 16  # that many different whole numbers are listed one by one


def spread(values: np.ndarray, bins: int = BINS) -> dict[str, Any]:
    """Count, mean, std (n - 1), min, max, histogram; None without values."""
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return dict.fromkeys(('mean', 'std', 'min', 'max', 'histogram')) | {'count': 0}
    low, high = float(values.min()), float(values.max())
    counts, edges = np.histogram(values, bins, (low, high if high > low else low + 1))
    return {
        'count': len(values),
        'mean': float(values.mean()),
        'std': float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        'min': low,
        'max': high,
        'histogram': {'edges': edges.tolist(), 'counts': counts.tolist()},
    }


class ActionCounter:
    """Statistics of actions, one episode at a time.

    Its memory does not grow with the episodes: sums, a histogram over
    [-1, 1], and how often each whole number came up while there are few.
    """

    def __init__(self, size: int):
        self.steps = 0
        self.size = size
        self._sum, self._squares = np.zeros(size), np.zeros(size)
        self._low, self._high = np.full(size, np.inf), np.full(size, -np.inf)
        self._edges = np.linspace(-1, 1, BINS + 1)
        self._counts = np.zeros((size, BINS), np.int64)
        self._thirds = np.zeros((size, 3), np.int64)
        self._codes: list[dict[float, int] | None] = [{} for _ in range(size)]

    def add(self, actions: np.ndarray) -> None:
        """Count the actions (T, A) of one episode.

        Raises:
            ValueError: another number of dimensions than before.
        """
        actions = np.asarray(actions, np.float64)
        if actions.shape[1] != self.size:
            raise ValueError(
                f'actions have {actions.shape[1]} dimensions, but '
                f'{self.size} in the episodes before'
            )
        self.steps += len(actions)
        self._sum += actions.sum(axis=0)
        self._squares += (actions**2).sum(axis=0)
        self._low = np.minimum(self._low, actions.min(axis=0))
        self._high = np.maximum(self._high, actions.max(axis=0))
        for axis, values in enumerate(actions.T):
            self._counts[axis] += np.histogram(values.clip(-1, 1), self._edges)[0]
            self._thirds[axis] += [
                (values < -1 / 3).sum(),
                ((values >= -1 / 3) & (values <= 1 / 3)).sum(),
                (values > 1 / 3).sum(),
            ]
            self._add_codes(axis, values)

    def _add_codes(self, axis: int, values: np.ndarray) -> None:
        codes = self._codes[axis]
        if codes is None:
            return
        found, counts = np.unique(values, return_counts=True)
        if (found != found.round()).any():
            self._codes[axis] = None
            return
        for code, count in zip(found.tolist(), counts.tolist()):
            codes[code] = codes.get(code, 0) + count
        if len(codes) > MAX_CODES:
            self._codes[axis] = None

    def summary(self) -> list[dict[str, Any]]:
        """Per dimension: mean, std, min, max, and what came up how often.

        'histogram' for real-valued actions (ends count what lies beyond), 'shares' of each value
        for whole-numbered ones; real-valued single actions also have the 'thirds' below -1/3,
        between, and above 1/3.
        """
        return [self._dimension(axis) for axis in range(self.size)]

    def _dimension(self, axis: int) -> dict[str, Any]:
        mean = self._sum[axis] / self.steps
        variance = self._squares[axis] / self.steps - mean**2
        found: dict[str, Any] = {
            'mean': float(mean),
            'std': float(max(0.0, variance) ** 0.5),
            'min': float(self._low[axis]),
            'max': float(self._high[axis]),
        }
        codes = self._codes[axis]
        if codes:
            found['shares'] = {
                f'{code:g}': count / self.steps for code, count in sorted(codes.items())
            }
        else:
            found['histogram'] = {
                'edges': self._edges.tolist(),
                'counts': self._counts[axis].tolist(),
            }
            if self.size == 1:
                found['thirds'] = (self._thirds[axis] / self.steps).tolist()
        return found
