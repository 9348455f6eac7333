"""States of integers as sequences, for ``sequences.LatentSequences`` in the place of codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class RecordedStates:
    """The states and actions of episodes, in memory, with the names of ``latents.Latents``.

    Args:
        store: a ``RolloutStore`` whose observations are (T, D) uint8.
        episodes: their numbers.
        actions: (T, A) actions of an episode as M reads them, of those that are stored.

    Attributes:
        episodes, starts, lengths: (E,) int64: number, first row and steps of each.
        terminated: (E,) bool.
        mu: (S, D) uint8, the states; ln_var: (S, D), of no meaning here.
        actions: (S, A) float32.
    """

    def __init__(
        self,
        store: Any,
        episodes: Sequence[int],
        actions: Callable[[np.ndarray], np.ndarray] = lambda stored: stored,
    ) -> None:
        if not len(episodes):
            raise ValueError('there are no episodes to read states of')
        rollouts = [store.read(episode) for episode in episodes]
        self.episodes = np.array(episodes, np.int64)
        self.lengths = np.array([len(one) for one in rollouts], np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.terminated = np.array([one.terminated[-1] for one in rollouts])
        self.mu = np.concatenate([one.observations for one in rollouts])
        self.ln_var = np.broadcast_to(np.float32(0), self.mu.shape)
        self.actions = np.concatenate([actions(one.actions) for one in rollouts])
        self._places = {int(number): place for place, number in enumerate(self.episodes)}

    def position(self, episode: int) -> int:
        """Where an episode is in ``episodes``."""
        return self._places[episode]

    def rows(self, episode: int) -> slice:
        """Of one episode."""
        at = self.position(episode)
        return slice(int(self.starts[at]), int(self.starts[at] + self.lengths[at]))
