"""The (mu/mu_w, lambda) evolution strategy with covariance adaptation."""

from __future__ import annotations

import math
import os

import numpy as np

from chainer_wm.archives import read_archive, write_archive
from chainer_wm.cma_es.constants import strategy_constants
from chainer_wm.cma_es.covariance import Covariance, Diagonal, Full

KIND = 'cma_es/1'
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
        separable: keep C diagonal: cheap, and far fewer generations for many
            parameters, but blind to their correlations.

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
        self.constants = strategy_constants(
            n, population_size, parent_fraction, separable
        )
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
        vectors = self._covariance.colour(z)
        vectors *= self._sigma
        vectors += self._mean
        return vectors

    def tell(self, candidates, fitness) -> None:
        """Move the distribution towards the better candidates.

        Candidates of equal fitness rank in the order given. The arguments
        are only read.

        Args:
            candidates: (lambda, N), as ``ask`` returned them.
            fitness: (lambda,), higher is better.

        Raises:
            ValueError: wrong shapes, or numbers that are not finite. The
                search is then as it was before.
        """
        candidates, fitness = self._checked(candidates, fitness)
        order = np.argsort(-fitness, kind='stable')
        parents = candidates[order[: self.constants.weights.size]]
        self._remember(candidates[order[0]], fitness[order[0]])
        self.evaluations += self.population_size
        steps = (parents - self._mean) / self._sigma
        step = np.dot(self.constants.weights, steps)
        self._mean = self._mean + self._sigma * step
        self._adapt(step, steps)
        self._pending = None

    def _adapt(self, step: np.ndarray, steps: np.ndarray) -> None:
        """Paths, C and sigma (tutorial, figure 6)."""
        k, covariance = self.constants, self._covariance
        self._path_sigma *= 1 - k.c_s
        self._path_sigma += math.sqrt(
            k.c_s * (2 - k.c_s) * k.mu_eff
        ) * covariance.whiten(step)
        length = math.sqrt(np.dot(self._path_sigma, self._path_sigma))
        unbiased = length / math.sqrt(1 - (1 - k.c_s) ** (2 * self.generation))
        calm = unbiased / k.chi_n < 1.4 + 2 / (step.size + 1)  # h_sigma
        spread = k.c_c * (2 - k.c_c)
        self._path_c *= 1 - k.c_c
        if calm:
            self._path_c += math.sqrt(spread * k.mu_eff) * step
        decay = 1 - k.c_1 - k.c_mu + (0.0 if calm else k.c_1 * spread)
        covariance.update(
            decay,
            np.vstack(
                [
                    math.sqrt(k.c_1) * self._path_c,
                    np.sqrt(k.c_mu * k.weights)[:, None] * steps,
                ]
            ),
        )
        self._sigma *= math.exp(k.c_s / k.damping * (length / k.chi_n - 1))
        if (
            self.separable
            or self.evaluations - self._decomposed_at > k.refresh
        ):
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
            Any of ``target``, ``evaluations``, ``step_tiny``, ``step_huge``
            and ``condition``, each with the number that caused it.
        """
        largest = self._sigma * float(self._covariance.axes.max())
        checks = {
            'target': (
                self.best_fitness,
                target is not None and self.best_fitness >= target,
            ),
            'evaluations': (
                self.evaluations,
                max_evaluations is not None
                and self.evaluations >= max_evaluations,
            ),
            'step_tiny': (largest, largest < STEP_TINY * self._first_sigma),
            'step_huge': (largest, largest > STEP_HUGE * self._first_sigma),
            'condition': (self.condition, self.condition > MAX_CONDITION),
        }
        return {name: value for name, (value, met) in checks.items() if met}

    def save(self, path: str | os.PathLike) -> None:
        """Write the whole state, random generator included, to one npz.

        The file appears whole or not at all. A search that is loaded from it
        goes on with bitwise the same numbers, also where it was saved after
        an ``ask``: see ``pending``.
        """
        settings = {name: getattr(self, name) for name in _SCALARS}
        settings['rng'] = self._rng.bit_generator.state
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= self._covariance.arrays()
        write_archive(
            path,
            KIND,
            settings,
            {name: a for name, a in arrays.items() if a is not None},
        )

    @classmethod
    def load(cls, path: str | os.PathLike) -> CMAES:
        """Read a search that ``save`` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or holds something else.
        """
        settings, arrays = read_archive(path, KIND)
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
        for name in _ARRAYS:
            setattr(search, name, arrays.get(name))
        search._covariance.restore(arrays)
        return search
