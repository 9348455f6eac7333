"""Rewards and ends as small integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Outcomes:
    """What a step can bring: (reward, end) <-> a number.

    A game of cells knows few rewards, and an end has a reward of its own.
    Predicted as one class, no reward comes out that the game does not give
    (a policy would find the places where a mean is a little too high and stay
    there), and no goal without its end.

    Args:
        capacity: how many there may ever be.
        known: those seen already, (n, 2): reward, and 0 or 1 for the end.
    """

    def __init__(
        self, capacity: int, known: Sequence[Sequence[float]] = ()
    ) -> None:
        self.capacity = capacity
        self.known: list[list[float]] = []
        self._add([list(map(float, one)) for one in known])

    def learn(self, rewards: np.ndarray, ends: np.ndarray) -> None:
        """Number the pairs of (N,) and (N,) that are new, as they come."""
        pairs = _pairs(rewards, ends)
        _, first = np.unique(pairs, axis=0, return_index=True)
        found = pairs[np.sort(first)].tolist()
        self._add([one for one in found if one not in self.known])

    def _add(self, new: list[list[float]]) -> None:
        if len(self.known) + len(new) > self.capacity:
            raise ValueError(
                f'{len(self.known) + len(new)} pairs of reward and end, but '
                f'there is room for {self.capacity}: does this game give '
                'rewards of any size?'
            )
        self.known += new

    def encode(self, rewards: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """(N,) rewards and (N,) ends -> (N,) int32.

        Raises:
            ValueError: a pair that was never learnt.
        """
        found = [
            self.known.index(pair) if pair in self.known else -1
            for pair in _pairs(rewards, ends).tolist()
        ]
        if -1 in found:
            at = found.index(-1)
            raise ValueError(
                f'reward {rewards[at]} with end {bool(ends[at])} is not among '
                f'the {len(self.known)} known outcomes: call learn() first'
            )
        return np.array(found, np.int32)

    def decode(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(...) numbers -> rewards (...) float64 and ends (...) bool."""
        table = np.array(self.known).reshape(-1, 2)
        return table[numbers, 0], table[numbers, 1] > 0


def _pairs(rewards: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(N, 2) float64, rewards as float32 holds them."""
    return np.stack([np.float32(rewards), np.float32(ends)], 1).astype(float)
