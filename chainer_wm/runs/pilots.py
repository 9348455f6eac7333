"""Linear controllers of games with two actions, for CMA-ES to find."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import gym
import numpy as np

from chainer_wm.agents.controller import act_with, count_parameters
from chainer_wm.runs.policy_report import play
from chainer_wm.training.search import Scored


@dataclasses.dataclass(frozen=True)
class LinearPilot:
    """Action 1 where w x + b > 0, else 0; one theta for all lanes or each.

    Attributes:
        theta: (F + 1,), or (B, F + 1) for one pilot per lane.
    """

    theta: np.ndarray

    @staticmethod
    def size(features: int) -> int:
        """Length of theta."""
        return count_parameters((features, 1))

    def start(self, rngs: Sequence[np.random.Generator]) -> None:
        """It remembers nothing, and draws nothing."""

    def act(self, observations: np.ndarray, state: None) -> tuple[Any, None]:
        """(B,) integers for observations (B, F)."""
        features = np.asarray(observations, np.float64)
        wanted = act_with(features, self.theta, (features.shape[1], 1))
        return (wanted[:, 0] > 0).astype(np.int64), None


def score_pilots(
    candidates: np.ndarray,
    make_env: Callable[[], gym.Env],
    episodes: int,
    seed: int,
    generation: int,
    max_steps: int | None = None,
) -> Scored:
    """Mean return of each pilot, all in the same episodes.

    Args:
        candidates: (P, F + 1).
        generation: names the episodes.
    """
    totals, steps = np.zeros((len(candidates), episodes)), 0
    for episode in range(episodes):
        played = play(
            LinearPilot(candidates),
            make_env,
            len(candidates),
            seed,
            'search',
            max_steps,
            same=(generation, episode),
        )
        totals[:, episode] = played.returns
        steps += int(played.lengths.sum())
    return Scored(totals.mean(axis=1), steps)
