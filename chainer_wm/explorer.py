"""Policies that gather episodes for the next round of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from chainer import backend

from chainer_wm.agent import FEATURES, WorldModelAgent


class Player:
    """Whoever plays. In a manifest it has this one name.

    A rollout store that grows over the iterations of a run holds episodes of
    many policies; its manifest may not change.

    Args:
        policy: that plays.
    """

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def start(self, rngs: Sequence[np.random.Generator]) -> Any:
        return self.policy.start(rngs)

    def act(self, observations: np.ndarray, state: Any) -> tuple:
        return self.policy.act(observations, state)


class Explorer:
    """Plays every episode with one candidate of a search, and with noise.

    A batched policy. M consumes the actions that were really played.

    Args:
        vision, model, controller, features: as for ``WorldModelAgent``.
        candidates: (P, n) parameters of C; each episode draws a row.
        noise: standard deviation of the Gaussian noise on every action; the
            sum is cut to [-1, 1].

    Raises:
        ValueError: the noise is negative, or V, M and C do not fit.
    """

    def __init__(
        self,
        vision: Any,
        model: Any,
        controller: Any,
        candidates: np.ndarray,
        noise: float,
        features: Sequence[str] = FEATURES,
    ) -> None:
        if noise < 0:
            raise ValueError(f'noise is {noise}, but must not be negative')
        self._parts = vision, model
        self._controller, self._features = controller, features
        self._candidates, self._noise = candidates, noise

    def start(self, rngs: Sequence[np.random.Generator]) -> tuple:
        chosen = [rng.integers(len(self._candidates)) for rng in rngs]
        crowd = _Crowd(
            self._controller,
            self._candidates[chosen],
            self._noise,
            [rng.spawn(1)[0] for rng in rngs],
        )
        agent = WorldModelAgent(*self._parts, crowd, self._features)
        return agent, agent.start(rngs)

    def act(self, observations: np.ndarray, state: tuple) -> tuple:
        agent, inner = state
        actions, inner = agent.act(observations, inner)
        return actions, (agent, inner)


class _Crowd:
    """A controller with other parameters in every lane, and noise."""

    def __init__(self, controller, theta, noise, rngs) -> None:
        self._controller, self._theta = controller, theta
        self._noise, self._rngs = noise, rngs
        self.feature_size = controller.feature_size

    def act(self, seen, theta=None):
        actions = self._controller.act(seen, self._theta)
        eps = [rng.standard_normal(actions.shape[1]) for rng in self._rngs]
        xp = backend.get_array_module(actions)
        noise = xp.asarray(np.stack(eps), actions.dtype)
        return xp.clip(actions + self._noise * noise, -1, 1)
