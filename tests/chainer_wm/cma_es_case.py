"""Fitness functions, and an oracle of CMA-ES.

The oracle is written from the equations with loops, outer products and an
eigendecomposition; it shares no line with the package.
"""

import math

import numpy as np


def sphere(x):
    return -(x * x).sum(axis=1)


def ellipsoid(x):
    return -(x * x) @ 10 ** (6 * np.linspace(0, 1, x.shape[1]))


def rosenbrock(x):
    return -(100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(axis=1)


def run(search, fitness, generations):
    for _ in range(generations):
        candidates = search.ask()
        search.tell(candidates, fitness(candidates))
    return search


def whole_state(search):
    return [
        search.mean,
        search.sigma,
        search.covariance,
        search.evaluations,
        search.generation,
        search.best_fitness,
        search.best_candidate,
        search.condition,
        search.pending,
        search.standard_deviations,
    ]


def assert_same(first, second):
    for a, b in zip(whole_state(first), whole_state(second)):
        np.testing.assert_array_equal(a, b)


class Oracle:
    """One generation of CMA-ES, from the equations, slowly."""

    def __init__(self, mean, sigma, size, fraction, separable):
        self.m, self.sigma, self.size = np.array(mean, float), sigma, size
        self.mu, self.separable, self.n = (int(size * fraction), separable, (len(mean)))
        w = [math.log(self.mu + 0.5) - math.log(i + 1) for i in range(self.mu)]
        self.w = [one / sum(w) for one in w]
        self.mueff = 1 / sum(one**2 for one in self.w)
        n, mueff = self.n, self.mueff
        self.cc = (4 + mueff / n) / (n + 4 + 2 * mueff / n)
        self.cs = (mueff + 2) / (n + mueff + 5)
        self.c1 = 2 / ((n + 1.3) ** 2 + mueff)
        self.cmu = min(1 - self.c1, 2 * (mueff - 2 + 1 / mueff) / ((n + 2) ** 2 + mueff))
        if separable:
            self.c1, self.cmu = ((n + 2) / 3 * c for c in (self.c1, self.cmu))
        self.d = 1 + self.cs + 2 * max(0, math.sqrt((mueff - 1) / (n + 1)) - 1)
        self.chi = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n))
        self.ps, self.pc, self.c = np.zeros(n), np.zeros(n), np.eye(n)
        self.inverse_root = np.eye(n)
        self.evals = self.last = self.refreshed = self.stalled = 0

    def tell(self, x, f):
        order = sorted(range(self.size), key=lambda i: -f[i])
        y = [(x[i] - self.m) / self.sigma for i in order[: self.mu]]
        step = sum(w * one for w, one in zip(self.w, y))
        self.m = self.m + self.sigma * step
        self.evals += self.size
        cs, cc, n = self.cs, self.cc, self.n
        self.ps = (1 - cs) * self.ps + math.sqrt(
            cs * (2 - cs) * self.mueff
        ) * self.inverse_root @ step
        length = np.linalg.norm(self.ps)
        hsig = length / math.sqrt(
            1 - (1 - cs) ** (2 * self.evals / self.size)
        ) / self.chi < 1.4 + 2 / (n + 1)
        self.stalled += not hsig
        self.pc = (1 - cc) * self.pc + hsig * math.sqrt(cc * (2 - cc) * self.mueff) * step
        new = (1 - self.c1 - self.cmu) * self.c
        new += self.c1 * (np.outer(self.pc, self.pc) + (1 - hsig) * cc * (2 - cc) * self.c)
        for w, one in zip(self.w, y):
            new += self.cmu * w * np.outer(one, one)
        self.c = np.diag(np.diag(new)) if self.separable else new
        self.sigma *= math.exp(cs / self.d * (length / self.chi - 1))
        gap = self.size / (self.c1 + self.cmu) / n / 10
        if self.separable or self.evals - self.last > gap:
            self.last = self.evals
            self.refreshed += 1
            values, basis = np.linalg.eigh(self.c)
            self.inverse_root = basis @ np.diag(values**-0.5) @ basis.T
