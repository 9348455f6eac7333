"""What a policy says: the chances of discrete or continuous actions."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import chainer
import chainer.functions as F
import numpy as np

Array = Any  # Variable, numpy or cupy
Generator = np.random.Generator


class Categorical(NamedTuple):
    """One of A actions.

    Fields:
        logits: (..., A), chances before the softmax.
    """

    logits: Array

    def log_prob(self, actions: Array) -> chainer.Variable:
        """ln of the chance of actions (...) of integers, (...)."""
        shape, count = self.logits.shape[:-1], self.logits.shape[-1]
        _check(actions, shape)
        chances = F.log_softmax(F.reshape(self.logits, (-1, count)))
        chosen = actions.reshape(-1).astype(np.int32)
        return F.reshape(F.select_item(chances, chosen), shape)

    def entropy(self) -> chainer.Variable:
        """In nats, (...)."""
        ln = F.log_softmax(self.logits, axis=-1)
        return -F.sum(F.exp(ln) * ln, axis=-1)

    def sample(self, rng: Generator) -> np.ndarray:
        """Actions (...) int64 on the CPU, from one uniform number each."""
        logits = _to_cpu(self.logits).astype(np.float64)
        chances = np.exp(logits - logits.max(axis=-1, keepdims=True))
        edges = chances.cumsum(axis=-1)
        drawn = rng.random(logits.shape[:-1])[..., None] * edges[..., -1:]
        # the last edge is never passed, whatever the rounding
        return (drawn >= edges[..., :-1]).sum(axis=-1)

    def mode(self) -> np.ndarray:
        """The likeliest actions, (...) int64 on the CPU."""
        return _to_cpu(self.logits).argmax(axis=-1)


class DiagonalGaussian(NamedTuple):
    """A numbers, independent of one another.

    Fields:
        mu: (..., A), means.
        ln_sigma: (..., A), natural logarithms of the deviations.
    """

    mu: Array
    ln_sigma: Array

    def log_prob(self, actions: Array) -> chainer.Variable:
        """ln of the density at actions (..., A), summed over A, (...)."""
        _check(actions, self.mu.shape)
        scaled = (actions - self.mu) * F.exp(-self.ln_sigma)
        each = scaled**2 / 2 + self.ln_sigma + math.log(2 * math.pi) / 2
        return -F.sum(each, axis=-1)

    def entropy(self) -> chainer.Variable:
        """In nats, summed over A, (...)."""
        each = self.ln_sigma + (1 + math.log(2 * math.pi)) / 2
        return F.sum(each, axis=-1)

    def sample(self, rng: Generator) -> np.ndarray:
        """Actions (..., A) on the CPU, in the dtype of mu."""
        mu, ln_sigma = _to_cpu(self.mu), _to_cpu(self.ln_sigma)
        noise = rng.standard_normal(mu.shape)
        return (mu + np.exp(ln_sigma) * noise).astype(mu.dtype)

    def mode(self) -> np.ndarray:
        """The means, (..., A) on the CPU."""
        return _to_cpu(self.mu)


def _to_cpu(x: Array) -> np.ndarray:
    return chainer.get_device('@numpy').send(chainer.as_array(x))


def _check(actions: Array, shape: tuple[int, ...]) -> None:
    if actions.shape != shape:
        raise ValueError(
            f'actions have shape {actions.shape} but the policy speaks of '
            f'{shape}: time and batch come first, and nothing is broadcast'
        )
