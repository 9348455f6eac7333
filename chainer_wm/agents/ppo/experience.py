"""What PPO learns from: everything (T, B)."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np


class Episode(NamedTuple):
    """An episode that ended while experience was collected."""

    lane: int
    step: int  # of the last action, counted over all calls of `collect`
    length: int
    total: float  # return: the sum of the rewards
    terminated: bool
    info: dict[str, Any]  # of the last step


@dataclasses.dataclass(frozen=True)
class Experience:
    """T steps of B lanes, on the CPU (but ``state`` is where the network is).

    Attributes:
        observations: (T + 1, B, *S): what each step acted on, and what comes after the last one.
        ends: (n, 2) of integers: t and b of each step that ended an episode.
        last: (n, *S), the observations that these steps led to.
        actions: (T, B) integers, or (T, B, A).
        log_probs: (T, B), of the actions when they were drawn.
        values: (T + 1, B, V), of ``observations``.
        cut_values: (T, B, V), of ``last`` where an episode was truncated, 0 elsewhere.
        rewards: (T, B) float64.
        terminated, truncated: (T, B) bool.
        reset: (T, B) bool: step t is the first of its episode.
        state: of the network before step 0 (and before its reset).
        episodes: those that ended.
    """

    observations: np.ndarray
    ends: np.ndarray
    last: np.ndarray
    actions: np.ndarray
    log_probs: np.ndarray
    values: np.ndarray
    cut_values: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    reset: np.ndarray
    state: Any
    episodes: list[Episode]

    @property
    def steps(self) -> int:
        """T * B."""
        return self.rewards.size

    def following(self, channels: slice = slice(None)) -> np.ndarray:
        """What each step led to, (T, B, *S): never a new episode's first.

        Args:
            channels: keeps only these of the last axis.
        """
        following = self.observations[1:, ..., channels].copy()
        following[tuple(self.ends.T)] = self.last[..., channels]
        return following
