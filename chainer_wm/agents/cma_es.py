"""CMA-ES: evolution of a Gaussian by ask and tell, exactly resumable.

The (mu/mu_w, lambda) strategy of Hansen's tutorial (arXiv 1604.00772) with positive weights, in
float64, and its separable variant (Ros and Hansen 2008), which keeps only the diagonal of C and
therefore learns (n + 2) / 3 times faster. Higher fitness is better throughout.

Symbols: m mean, sigma step size, C covariance, y = (x - m) / sigma, p_s and p_c the two evolution
paths; numbers of equations are the tutorial's.
C = B D^2 B^T, full or diagonal. Sampling and whitening use B and D of the last refresh, which may
lag behind C.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from chainer_wm.files.archives import built_from, read_archive, write_archive
from chainer_wm.files.npz import check_finite


class Constants(NamedTuple):
    """The strategy's constants, in the tutorial's symbols (its table 1)."""

    weights: np.ndarray  # (mu,) positive, falling, sum 1
    mu_eff: float
    c_c: float
    c_s: float
    c_1: float
    c_mu: float
    damping: float
    chi_n: float  # E |N(0, I)|
    refresh: float  # evaluations between two decompositions of C


def strategy_constants(
    n: int, population_size: int, parent_fraction: float = 0.5, separable: bool = False
) -> Constants:
    """Hansen's defaults for ``n`` parameters (tutorial, table 1).

    Raises:
        ValueError: the fraction leaves no parent, or more than all.
    """
    if not 0 < parent_fraction <= 1:
        raise ValueError(f'parent_fraction is {parent_fraction}, but must lie in (0, 1]')
    parents = population_size * parent_fraction
    if parents < 1:
        raise ValueError(
            f'population_size {population_size} x '
            f'parent_fraction {parent_fraction} leaves no parent'
        )
    ranks = np.arange(1, int(parents) + 1)
    weights = np.log(parents + 0.5) - np.log(ranks)  # eq. 49; (lambda + 1) / 2 = mu + 1 / 2
    weights /= weights.sum()  # eq. 53
    mu = 1 / float((weights**2).sum())  # mu_eff = 1 / sum_i w_i^2
    c_c = (4 + mu / n) / (n + 4 + 2 * mu / n)  # eq. 56
    c_s = (mu + 2) / (n + mu + 5)  # eq. 55
    c_1 = 2 / ((n + 1.3) ** 2 + mu)  # eq. 57, alpha_cov = 2
    c_mu = min(1 - c_1, 2 * (mu - 2 + 1 / mu) / ((n + 2) ** 2 + mu))  # eq. 58
    if separable:  # Ros and Hansen: learning rates (n + 2) / 3 times as large
        c_1 = min(1.0, c_1 * (n + 2) / 3)
        c_mu = min(1 - c_1, c_mu * (n + 2) / 3)
    damping = 1 + 2 * max(0.0, math.sqrt((mu - 1) / (n + 1)) - 1) + c_s  # d_s, eq. 55
    chi_n = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))  # about E |N(0, I)|
    refresh = population_size / (c_1 + c_mu) / n / 10
    return Constants(weights, mu, c_c, c_s, c_1, c_mu, damping, chi_n, refresh)


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
            found = arrays[name]
            if found.shape != wanted or found.dtype != np.float64:
                raise ValueError(f'{name} is {found.dtype} {found.shape}, not float64 {wanted}')
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
        return np.dot(self.basis, np.dot(y, self.basis) / self.axes)  # B D^-1 B^T y

    def update(self, decay, rows):
        # one matrix product, in blocks that stay in the cache: no N x N
        # temporary. The copy is for speed: NumPy takes rows^T rows to BLAS's symmetric product,
        # and then mirrors it slowly.
        right = rows.copy()
        for start in range(0, len(self.c), BLOCK):
            block = self.c[start : start + BLOCK]
            product = self._product[: len(block)]
            np.dot(rows.T[start : start + BLOCK], right, out=product)
            block *= decay
            block += product

    def refresh(self):
        values, basis = np.linalg.eigh(self.c)  # C = B D^2 B^T
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


KIND = 'cma_es/1'
_GENERATORS = ('PCG64', 'PCG64DXSM', 'MT19937', 'Philox', 'SFC64')
_MOST_CANDIDATES = 1_000_000  # of a file that is believed
MAX_CONDITION = 1e14
#: Step sizes, relative to the first one, at which a search is over.
STEP_TINY, STEP_HUGE = 1e-12, 1e8

_SCALARS = (
    'population_size',
    'parent_fraction',
    'separable',
    'evaluations',
    'best_fitness',
    '_sigma',
    '_first_sigma',
    '_decomposed_at',
)
_ARRAYS = ('_mean', '_path_sigma', '_path_c', '_best', '_pending')


class CMAES:
    """A Gaussian search distribution N(mean, sigma^2 C) that evolves.

    ::

        search = CMAES(np.zeros(10), sigma=0.1, seed=1)
        while not search.stop_reasons(target=-1e-10):
            candidates = search.ask()                  # (lambda, N)
            search.tell(candidates, fitness(candidates))  # higher is better

    Args:
        mean: starting point m, (N,).
        sigma: starting step size, in the units of the parameters.
        population_size: lambda; by default 4 + floor(3 ln N).
        parent_fraction: mu / lambda, the part that is recombined.
        seed: of the sampling, an integer or a ``numpy.random.Generator``.
        separable: keep C diagonal: cheap, and far fewer generations for many parameters, but blind
            to their correlations.

    Raises:
        ValueError: an argument makes no search.
    """

    def __init__(
        self,
        mean,
        sigma: float,
        population_size: int | None = None,
        parent_fraction: float = 0.5,
        seed: int | np.random.Generator = 0,
        separable: bool = False,
    ):
        mean = np.array(mean, dtype=np.float64)
        if mean.ndim != 1 or not mean.size or not np.isfinite(mean).all():
            raise ValueError(
                'mean must be a vector of finite numbers, not '
                f'an array of shape {mean.shape} with '
                f'{np.isfinite(mean).sum()} finite entries'
            )
        if not 0 < sigma < math.inf:
            raise ValueError(f'sigma must be positive and finite, not {sigma}')
        n = mean.size
        if population_size is None:
            population_size = 4 + int(3 * math.log(n))
        self.population_size = population_size
        self.parent_fraction = parent_fraction
        self.separable = separable
        self.constants = strategy_constants(n, population_size, parent_fraction, separable)
        self._mean = mean
        self._sigma = self._first_sigma = float(sigma)
        self._path_sigma, self._path_c = np.zeros(n), np.zeros(n)
        self._covariance: Covariance = (Diagonal if separable else Full)(n)
        self._rng = np.random.default_rng(seed)
        self._decomposed_at = 0
        self.evaluations = 0
        self.best_fitness = -math.inf
        self._best: np.ndarray | None = None
        self._pending: np.ndarray | None = None

    def ask(self) -> np.ndarray:
        """New candidates (lambda, N), drawn from N(mean, sigma^2 C)."""
        candidates = self.sample(self._rng, self.population_size)
        self._pending = candidates.copy()
        return candidates

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Vectors of the distribution as it is, (count, N), for other uses."""
        z = rng.standard_normal((count, self._mean.size))
        vectors = self._covariance.colour(z)  # y = B D z, eq. 39
        vectors *= self._sigma
        vectors += self._mean  # x = m + sigma y, eq. 40
        return vectors

    def tell(self, candidates, fitness) -> None:
        """Move the distribution towards the better candidates.

        Candidates of equal fitness rank in the order given. The arguments
        are only read.

        Args:
            candidates: (lambda, N), as ``ask`` returned them.
            fitness: (lambda,), higher is better.

        Raises:
            ValueError: wrong shapes, or numbers that are not finite. The search is then as it was
                before.
        """
        candidates, fitness = self._checked(candidates, fitness)
        order = np.argsort(-fitness, kind='stable')
        parents = candidates[order[: self.constants.weights.size]]
        self._remember(candidates[order[0]], fitness[order[0]])
        self.evaluations += self.population_size
        steps = (parents - self._mean) / self._sigma  # y_i of the mu best
        step = np.dot(self.constants.weights, steps)  # <y>_w = sum_i w_i y_i, eq. 41
        self._mean = self._mean + self._sigma * step  # eq. 42, c_m = 1
        self._adapt(step, steps)
        self._pending = None

    def _adapt(self, step: np.ndarray, steps: np.ndarray) -> None:
        """Paths, C and sigma (tutorial, figure 6)."""
        k, covariance = self.constants, self._covariance
        # p_s <- (1 - c_s) p_s + sqrt(c_s (2 - c_s) mu_eff) C^-1/2 <y>_w, eq. 43
        self._path_sigma *= 1 - k.c_s
        self._path_sigma += math.sqrt(k.c_s * (2 - k.c_s) * k.mu_eff) * covariance.whiten(step)
        length = math.sqrt(np.dot(self._path_sigma, self._path_sigma))
        unbiased = length / math.sqrt(1 - (1 - k.c_s) ** (2 * self.generation))
        calm = unbiased / k.chi_n < 1.4 + 2 / (step.size + 1)  # h_s
        spread = k.c_c * (2 - k.c_c)
        # p_c <- (1 - c_c) p_c + h_s sqrt(c_c (2 - c_c) mu_eff) <y>_w, eq. 45
        self._path_c *= 1 - k.c_c
        if calm:
            self._path_c += math.sqrt(spread * k.mu_eff) * step
        # C <- decay C + c_1 p_c p_c^T + c_mu sum_i w_i y_i y_i^T, eq. 47
        decay = 1 - k.c_1 - k.c_mu + (0.0 if calm else k.c_1 * spread)
        covariance.update(
            decay,
            np.vstack(
                [math.sqrt(k.c_1) * self._path_c, np.sqrt(k.c_mu * k.weights)[:, None] * steps]
            ),
        )
        self._sigma *= math.exp(k.c_s / k.damping * (length / k.chi_n - 1))  # eq. 44
        if self.separable or self.evaluations - self._decomposed_at > k.refresh:
            covariance.refresh()
            self._decomposed_at = self.evaluations

    def _checked(self, candidates, fitness):
        candidates = np.asarray(candidates, dtype=np.float64)
        fitness = np.asarray(fitness, dtype=np.float64)
        wanted = (self.population_size, self._mean.size)
        if candidates.shape != wanted:
            raise ValueError(
                f'candidates have shape {candidates.shape}, but '
                f'(population size, parameters) is {wanted}'
            )
        if fitness.shape != wanted[:1]:
            raise ValueError(
                f'fitness has shape {fitness.shape}, but there '
                f'are {wanted[0]} candidates: one number each'
            )
        bad = np.flatnonzero(~np.isfinite(fitness))
        if bad.size:
            raise ValueError(
                f'fitness of candidate {bad[0]} is {fitness[bad[0]]} '
                f'({bad.size} of {wanted[0]} are not finite): did an '
                'evaluation fail? A failure is not a score'
            )
        bad = np.flatnonzero(~np.isfinite(candidates).all(axis=1))
        if bad.size:
            raise ValueError(
                f'candidate {bad[0]} has entries that are not '
                f'finite ({bad.size} of {wanted[0]} do)'
            )
        return candidates, fitness

    def _remember(self, candidate: np.ndarray, fitness: float) -> None:
        if fitness > self.best_fitness:
            self.best_fitness = float(fitness)
            self._best = candidate.copy()

    @property
    def mean(self) -> np.ndarray:
        """m, (N,): what to report where the fitness is noisy."""
        return self._mean.copy()

    @property
    def sigma(self) -> float:
        """The step size."""
        return self._sigma

    @property
    def covariance(self) -> np.ndarray:
        """C, (N, N), without the factor sigma^2."""
        return self._covariance.matrix()

    @property
    def standard_deviations(self) -> np.ndarray:
        """Deviation of each parameter in the next ``ask``, (N,)."""
        return self._sigma * np.sqrt(self._covariance.variances())

    @property
    def condition(self) -> float:
        """Condition number of C at its last decomposition."""
        axes = self._covariance.axes
        return float((axes.max() / axes.min()) ** 2)

    @property
    def generation(self) -> int:
        """Number of generations told."""
        return self.evaluations // self.population_size

    @property
    def best_candidate(self) -> np.ndarray | None:
        """The candidate of the highest fitness ever told (by luck too)."""
        return None if self._best is None else self._best.copy()

    @property
    def pending(self) -> np.ndarray | None:
        """What the last ``ask`` returned, if no ``tell`` followed yet."""
        return None if self._pending is None else self._pending.copy()

    def stop_reasons(
        self, target: float | None = None, max_evaluations: int | None = None
    ) -> dict[str, float]:
        """Why the search should end, empty if it should go on.

        Args:
            target: best fitness that suffices.
            max_evaluations: budget of candidates.

        Returns:
            Any of ``target``, ``evaluations``, ``step_tiny``, ``step_huge`` and ``condition``,
            each with the number that caused it.
        """
        largest = self._sigma * float(self._covariance.axes.max())
        checks = {
            'target': (self.best_fitness, target is not None and self.best_fitness >= target),
            'evaluations': (
                self.evaluations,
                max_evaluations is not None and self.evaluations >= max_evaluations,
            ),
            'step_tiny': (largest, largest < STEP_TINY * self._first_sigma),
            'step_huge': (largest, largest > STEP_HUGE * self._first_sigma),
            'condition': (self.condition, self.condition > MAX_CONDITION),
        }
        return {name: value for name, (value, met) in checks.items() if met}

    def save(self, path: str | os.PathLike) -> None:
        """Write the whole state, random generator included, to one npz.

        The file appears whole or not at all. A search that is loaded from it goes on with bitwise
        the same numbers, also where it was saved after
        an ``ask``: see ``pending``.
        """
        settings = {name: getattr(self, name) for name in _SCALARS}
        settings['rng'] = self._rng.bit_generator.state
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= self._covariance.arrays()
        write_archive(
            path, KIND, settings, {name: a for name, a in arrays.items() if a is not None}
        )

    @classmethod
    def load(cls, path: str | os.PathLike) -> CMAES:
        """Read a search that ``save`` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            FileError: the file is damaged, or holds something else.
        """
        settings, arrays = read_archive(path, KIND)
        check_finite(path, arrays)
        with built_from(path):
            return cls._restored(settings, arrays)

    @classmethod
    def _restored(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> CMAES:
        if settings['rng']['bit_generator'] not in _GENERATORS:
            raise ValueError(f'there is no generator {settings["rng"]["bit_generator"]!r:.40}')
        if not 0 < settings['population_size'] <= _MOST_CANDIDATES:
            raise ValueError(f'{settings["population_size"]!r:.40} candidates')
        bits = getattr(np.random, settings['rng']['bit_generator'])()
        bits.state = settings['rng']
        search = cls(
            arrays['_mean'],
            settings['_sigma'],
            settings['population_size'],
            settings['parent_fraction'],
            np.random.Generator(bits),
            settings['separable'],
        )
        for name in _SCALARS:
            setattr(search, name, settings[name])
        n = len(arrays['_mean'])
        for name in _ARRAYS:
            found = arrays.get(name)
            if found is not None and (found.shape[-1:] != (n,) or found.dtype != np.float64):
                raise ValueError(f'{name} is {found.dtype} {found.shape}, but m has {n} numbers')
            setattr(search, name, found)
        search._covariance.restore(arrays)
        return search
