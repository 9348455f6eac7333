"""How much the cells of a memory tell of a sequence: mutual information, in nats.

Three estimators, for a memory whose C cells were seen at T steps, beside a label per step:

- ``binned_information``: every cell in bins of equal counts, then the counts themselves. It is
  never 0 by chance: what is no information has a null distribution well above 0.
- ``neighbour_information``: from distances to nearest neighbours (Ross 2014, "Mutual Information
  between Discrete and Continuous Data Sets"), scikit-learn's; about 0 where there is none.
- ``label_information``: every number is a label of its own. This is what an estimator for labels
  makes of a continuous cell: the entropy of the sequence, whatever the cell holds; and 0 for
  numbers between -1 and 1 that were cast to integers.

``permutation_test`` says whether an estimate is more than chance, for one cell and for the largest
of all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dnc.kernel_cache import cached_njit

#: How the labels of a null distribution come about, see ``null_labels``.
NULLS = ('shuffle', 'shift')


def binned(cells: np.ndarray, bins: int = 8) -> np.ndarray:
    """The bin of each number among those of its cell: (T, C) -> (T, C) uint8.

    Bins hold equally many steps, but equal numbers share one.

    Raises:
        ValueError: fewer than 2 bins, or more than 256.
    """
    if not 2 <= bins <= 256:
        raise ValueError(f'bins is {bins}, but must be 2 to 256')
    edges = np.quantile(cells, np.arange(1, bins) / bins, axis=0)  # (bins - 1, C)
    return (cells[None] > edges[:, None]).sum(axis=0, dtype=np.uint8)


def binned_information(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """I(cell; label) of counts.

    Args:
        codes: (T, C) uint8, see ``binned``.
        labels: (..., T) integers from 0, as they are or permuted.

    Returns:
        (..., C) float64.
    """
    rows = np.ascontiguousarray(labels, np.int64).reshape(-1, len(codes))
    by_cell = np.ascontiguousarray(codes.T)
    n = np.arange(len(codes) + 1)
    n_log_n = n * np.log(np.maximum(n, 1))
    counts = np.zeros((int(codes.max(initial=0)) + 1, int(rows.max(initial=0)) + 1), np.int64)
    found = np.empty((len(rows), codes.shape[1]))
    _count(by_cell, rows, n_log_n, counts, found)
    return found.reshape(*np.shape(labels)[:-1], codes.shape[1])


@cached_njit(nogil=True)
def _count(codes, labels, n_log_n, counts, found):
    """I = log T + (sum n_cl log n_cl - sum n_c log n_c - sum n_l log n_l) / T."""
    steps = codes.shape[1]
    for row in range(len(labels)):
        for cell in range(len(codes)):
            counts[:] = 0
            for t in range(steps):
                counts[codes[cell, t], labels[row, t]] += 1
            total = 0.0
            for code in range(counts.shape[0]):
                marginal = 0
                for label in range(counts.shape[1]):
                    marginal += counts[code, label]
                    total += n_log_n[counts[code, label]]
                total -= n_log_n[marginal]
            for label in range(counts.shape[1]):
                marginal = 0
                for code in range(counts.shape[0]):
                    marginal += counts[code, label]
                total -= n_log_n[marginal]
            found[row, cell] = max(0.0, np.log(steps) + total / steps)


def neighbour_information(
    cells: np.ndarray, labels: np.ndarray, seed: int, neighbours: int = 3
) -> np.ndarray:
    """I(cell; label) from nearest neighbours, not below 0.

    Args:
        cells: (T, C).
        labels: (..., T) integers, as they are or permuted.
        seed: of the noise that parts equal numbers.

    Returns:
        (..., C) float64.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn.feature_selection import mutual_info_classif
    except ImportError as error:
        raise ImportError(
            'nearest-neighbour information needs scikit-learn, which is not installed: '
            'pip install scikit-learn, or the extra: pip install -e ".[probes]"'
        ) from error
    options = dict(discrete_features=False, n_neighbors=neighbours, random_state=seed)
    rows = labels.reshape(-1, len(cells))
    found = np.stack([mutual_info_classif(cells, row, **options) for row in rows])
    return found.reshape(*labels.shape[:-1], cells.shape[1])


def label_information(cells: np.ndarray, labels: np.ndarray, cast: type = float) -> np.ndarray:
    """I(cell; label) where each different number of a cell is a label of its own.

    Args:
        cells: (T, C).
        labels: (T,) integers from 0.
        cast: the type that the numbers are cast to before.

    Returns:
        (C,) float64.
    """
    found = np.empty(cells.shape[1])
    for cell, numbers in enumerate(cells.astype(cast).T):
        _, codes = np.unique(numbers, return_inverse=True)
        pairs = codes.astype(np.int64) * (int(labels.max()) + 1) + labels
        found[cell] = entropy(codes) + entropy(labels) - entropy(pairs)
    return np.maximum(found, 0.0)


def entropy(labels: np.ndarray) -> float:
    """Of the shares of labels (T,), in nats."""
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-np.sum(shares * np.log(shares)))


def null_labels(
    labels: np.ndarray, count: int, rng: np.random.Generator, kind: str = 'shuffle'
) -> np.ndarray:
    """Labels that have lost their relation to the cells: (T,) -> (count, T).

    Args:
        kind: 'shuffle' permutes the steps, for sequences whose steps are independent; 'shift'
            moves the sequence round by a random number of steps, not 0, for those that are not: a
            memory that drifts tells something of any other sequence that drifts.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in NULLS:
        raise ValueError(f'kind is {kind!r}, but must be one of {NULLS}')
    if kind == 'shuffle':
        return rng.permuted(np.tile(labels, (count, 1)), axis=1)
    shifts = rng.integers(1, len(labels), size=count)
    return labels[(np.arange(len(labels)) + shifts[:, None]) % len(labels)]


class Significance(NamedTuple):
    """Estimates beside those of a null distribution."""

    p: np.ndarray  # (C,) of each cell for itself
    p_max: np.ndarray  # (C,) of the largest of all cells: corrected for how many there are
    null_mean: float  # of all cells
    null_max: float  # the mean of the largest


class Estimates(NamedTuple):
    """Of C cells; those of several sequences are added up."""

    observed: np.ndarray  # (C,)
    control: np.ndarray  # (C,) beside another sequence of the same kind
    null: np.ndarray  # (P, C) beside P null sequences

    def plus(self, other: Estimates) -> Estimates:
        """Of both sequences together."""
        return Estimates(*(one + two for one, two in zip(self, other)))

    def over(self, sequences: int) -> Estimates:
        """The means over so many sequences."""
        return Estimates(*(each / sequences for each in self))


def estimates(
    estimator: Callable[[np.ndarray], np.ndarray],
    labels: np.ndarray,
    control: np.ndarray,
    null: np.ndarray,
) -> Estimates:
    """An estimator beside chance.

    Args:
        estimator: (..., T) -> (..., C).
        labels: (T,) the sequence; control: (T,) another one; null: (P, T), see ``null_labels``.
    """
    found = estimator(np.concatenate([labels[None], control[None], null]))
    return Estimates(found[0], found[1], found[2:])


def summary(found: Estimates, level: float = 0.05) -> dict[str, float]:
    """An estimate over all cells beside chance, for people, in nats.

    Args:
        level: of significance.

    Returns:
        The mean and the largest of the cells as they are, beside the control and beside the null
        (mean over its draws); 'excess', the mean beyond the null's; the shares of cells that are
        significant, each for itself ('significant') and corrected for their number ('corrected'),
        and of the control ('control_significant'); the smallest corrected p.
    """
    test = permutation_test(found.observed, found.null)
    other = permutation_test(found.control, found.null)
    return {
        'cells': len(found.observed),
        'mean': float(found.observed.mean()),
        'largest': float(found.observed.max()),
        'excess': float(found.observed.mean()) - test.null_mean,
        'control_mean': float(found.control.mean()),
        'control_largest': float(found.control.max()),
        'null_mean': test.null_mean,
        'null_largest': test.null_max,
        'significant': float((test.p <= level).mean()),
        'corrected': float((test.p_max <= level).mean()),
        'control_significant': float((other.p <= level).mean()),
        'control_corrected': float((other.p_max <= level).mean()),
        'smallest_corrected_p': float(test.p_max.min()),
    }


def permutation_test(observed: np.ndarray, null: np.ndarray) -> Significance:
    """How often chance gives as much or more.

    Args:
        observed: (C,) estimates.
        null: (P, C) estimates for P null sequences; p is at the least 1 / (P + 1).
    """
    largest = null.max(axis=1)
    draws = len(null) + 1
    return Significance(
        p=(1 + (null >= observed).sum(axis=0)) / draws,
        p_max=(1 + (largest[:, None] >= observed).sum(axis=0)) / draws,
        null_mean=float(null.mean()),
        null_max=float(largest.mean()),
    )


class CellInformation:
    """What the cells of a memory tell of sequences: estimates and chance, over several of them.

    Args:
        kind: of the null sequences, see ``null_labels``.
        bins: see ``binned``.
        permutations: null sequences.
        neighbours: see ``neighbour_information``; 0 leaves that estimator out.
        some_cells: for the estimators that are slow, evenly spread.
        some_permutations: null sequences of the nearest neighbours.
    """

    def __init__(
        self,
        kind: str = 'shuffle',
        *,
        bins: int = 8,
        permutations: int = 100,
        neighbours: int = 3,
        some_cells: int = 64,
        some_permutations: int = 19,
    ) -> None:
        self.kind, self.bins, self.permutations = kind, bins, permutations
        self.neighbours = neighbours
        self.some_cells, self.some_permutations = some_cells, some_permutations
        self._sequences = 0
        self._entropy = 0.0
        self._estimates: dict[str, Estimates] = {}
        self._as_labels: dict[str, np.ndarray] = {}

    def add(
        self, cells: np.ndarray, labels: np.ndarray, control: np.ndarray, rng: np.random.Generator
    ) -> None:
        """A sequence: cells (T, C), what they may tell of (T,), and another such sequence."""
        null = null_labels(labels, self.permutations, rng, self.kind)
        codes = binned(cells, self.bins)
        self._count(
            'binned',
            estimates(lambda each: binned_information(codes, each), labels, control, null),
        )
        last = cells.shape[1] - 1
        few = cells[:, np.unique(np.linspace(0, last, min(last + 1, self.some_cells)).astype(int))]
        seed = int(rng.integers(2**31))
        if self.neighbours:
            null = null_labels(labels, self.some_permutations, rng, self.kind)
            self._count(
                'neighbours',
                estimates(
                    lambda each: neighbour_information(few, each, seed, self.neighbours),
                    labels,
                    control,
                    null,
                ),
            )
        for name, cast in (('as floats', float), ('as integers', int)):
            told = label_information(few, labels, cast)
            self._as_labels[name] = self._as_labels.get(name, 0.0) + told
        self._entropy += entropy(labels)
        self._sequences += 1

    def _count(self, name: str, found: Estimates) -> None:
        before = self._estimates.get(name)
        self._estimates[name] = found if before is None else before.plus(found)

    def excess(self) -> np.ndarray:
        """The binned information of each cell (C,) beyond the mean of its null."""
        found = self._estimates['binned'].over(self._sequences)
        return found.observed - found.null.mean(axis=0)

    def summary(self) -> dict[str, Any]:
        """'entropy' of the sequences, ``summary`` of 'binned' and 'neighbours', and the least,
        mean and largest of ``label_information`` 'as floats' and 'as integers'."""
        found: dict[str, Any] = {'entropy': self._entropy / self._sequences}
        for name, each in self._estimates.items():
            found[name] = summary(each.over(self._sequences))
        for name, told in self._as_labels.items():
            told = told / self._sequences
            found[name] = {'least': told.min(), 'mean': told.mean(), 'largest': told.max()}
        return found
