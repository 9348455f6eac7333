"""The covariance C of a search distribution, and its root: full or diagonal.

C = B D^2 B^T. Sampling and whitening use B and D of the last refresh, which
may lag behind C.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

BLOCK = 128  # rows of C that are updated at once


class Covariance(Protocol):
    """C and its root, as far as the strategy needs them."""

    axes: np.ndarray  # (N,) the diagonal of D

    def colour(self, z: np.ndarray) -> np.ndarray:
        """B D z for each row of z, (lambda, N)."""

    def whiten(self, y: np.ndarray) -> np.ndarray:
        """C^-1/2 y, (N,)."""

    def update(self, decay: float, rows: np.ndarray) -> None:
        """C <- decay C + rows^T rows, with rows (K, N)."""

    def refresh(self) -> None:
        """Decompose C anew."""

    def variances(self) -> np.ndarray:
        """The diagonal of C, (N,)."""

    def matrix(self) -> np.ndarray:
        """A copy of C, (N, N)."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The whole state, for a file."""

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take up the state that ``arrays`` gave."""


class _Stored:
    """State as attributes named in ``_names``, each a float64 array."""

    _names: tuple[str, ...]

    def arrays(self):
        return {name: getattr(self, name) for name in self._names}

    def restore(self, arrays):
        for name in self._names:
            wanted = getattr(self, name).shape
            if arrays[name].shape != wanted:
                raise ValueError(
                    f'{name} has shape {arrays[name].shape}, not {wanted}'
                )
            setattr(self, name, arrays[name])


class Full(_Stored):
    """All of C, starting as the identity."""

    _names = ('c', 'basis', 'axes')

    def __init__(self, n: int):
        self.c = np.eye(n)
        self.basis = np.eye(n)  # B, one eigenvector per column
        self.axes = np.ones(n)
        self._product = np.empty((min(n, BLOCK), n))

    def colour(self, z):
        return np.dot(z * self.axes, self.basis.T)

    def whiten(self, y):
        return np.dot(self.basis, np.dot(y, self.basis) / self.axes)

    def update(self, decay, rows):
        # one matrix product, in blocks that stay in the cache: no N x N
        # temporary. The copy is for speed: NumPy takes rows^T rows to BLAS's
        # symmetric product, and then mirrors it slowly.
        right = rows.copy()
        for start in range(0, len(self.c), BLOCK):
            block = self.c[start : start + BLOCK]
            product = self._product[: len(block)]
            np.dot(rows.T[start : start + BLOCK], right, out=product)
            block *= decay
            block += product

    def refresh(self):
        values, basis = np.linalg.eigh(self.c)
        self.basis = np.ascontiguousarray(basis)
        self.axes = _roots(values)

    def variances(self):
        return np.diagonal(self.c).copy()

    def matrix(self):
        return self.c.copy()


class Diagonal(_Stored):
    """Only the diagonal of C; B is the identity."""

    _names = ('c', 'axes')

    def __init__(self, n: int):
        self.c = np.ones(n)
        self.axes = np.ones(n)

    def colour(self, z):
        return z * self.axes

    def whiten(self, y):
        return y / self.axes

    def update(self, decay, rows):
        self.c *= decay
        self.c += np.einsum('kn,kn->n', rows, rows)

    def refresh(self):
        self.axes = _roots(self.c)

    def variances(self):
        return self.c.copy()

    def matrix(self):
        return np.diag(self.c)


def _roots(values: np.ndarray) -> np.ndarray:
    # below the largest's rounding error an eigenvalue is noise, or negative
    floor = np.finfo(np.float64).eps * values.max()
    return np.sqrt(np.maximum(values, floor))
