"""The constants of CMA-ES (Hansen's tutorial, arXiv 1604.00772, table 1)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Constants(NamedTuple):
    """The strategy's constants, in the tutorial's symbols."""

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
    n: int,
    population_size: int,
    parent_fraction: float = 0.5,
    separable: bool = False,
) -> Constants:
    """Hansen's defaults for ``n`` parameters (tutorial, table 1).

    Raises:
        ValueError: the fraction leaves no parent, or more than all.
    """
    if not 0 < parent_fraction <= 1:
        raise ValueError(
            f'parent_fraction is {parent_fraction}, but must lie in (0, 1]'
        )
    parents = population_size * parent_fraction
    if parents < 1:
        raise ValueError(
            f'population_size {population_size} x '
            f'parent_fraction {parent_fraction} leaves no parent'
        )
    ranks = np.arange(1, int(parents) + 1)
    weights = np.log(parents + 0.5) - np.log(ranks)
    weights /= weights.sum()
    mu = 1 / float((weights**2).sum())
    c_c = (4 + mu / n) / (n + 4 + 2 * mu / n)
    c_s = (mu + 2) / (n + mu + 5)
    c_1 = 2 / ((n + 1.3) ** 2 + mu)
    c_mu = min(1 - c_1, 2 * (mu - 2 + 1 / mu) / ((n + 2) ** 2 + mu))
    if separable:
        c_1 = min(1.0, c_1 * (n + 2) / 3)
        c_mu = min(1 - c_1, c_mu * (n + 2) / 3)
    damping = 1 + 2 * max(0.0, math.sqrt((mu - 1) / (n + 1)) - 1) + c_s
    chi_n = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))
    refresh = population_size / (c_1 + c_mu) / n / 10
    return Constants(weights, mu, c_c, c_s, c_1, c_mu, damping, chi_n, refresh)
