"""Recorded episodes in memory, their pictures as a palette's codes, and batches of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from chainer_wm.links.pixel_model import Outcomes, Palette
from chainer_wm.rollouts import Rollout


class PixelBatch(NamedTuple):
    """T steps of B lanes; a lane holds episodes one after the other.

    Fields:
        codes: (T, B, H * W) uint8, pictures before each action.
        following: the same, of after it.
        actions: (T, B) int64.
        outcomes: (T, B) int32, of reward and end.
        reset: (T, B), 1 where an episode begins.
        played: (T, B), 1 for a step that was played, 0 for filling.
        seen: (T, B), 1 where ``following`` is known: the cache does not hold what came after the
            last action of an episode.
    """

    codes: np.ndarray
    following: np.ndarray
    actions: np.ndarray
    outcomes: np.ndarray
    reset: np.ndarray
    played: np.ndarray
    seen: np.ndarray


class PixelEpisodes:
    """All steps of some episodes, side by side.

    Args:
        rollouts: recorded episodes with one integer action per step.
        palette, outcomes: that know all that the episodes hold.

    Attributes:
        starts, lengths: (E,), where each episode begins, and its steps.
    """

    def __init__(self, rollouts: Iterable[Rollout], palette: Palette, outcomes: Outcomes) -> None:
        played = list(rollouts)
        if not played:
            raise ValueError('no episodes: were any collected?')
        self.lengths = np.array([len(rollout) for rollout in played])
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.codes = np.concatenate([palette.encode(rollout.observations) for rollout in played])
        self.actions = np.concatenate(
            [rollout.actions[:, 0].astype(np.int64) for rollout in played]
        )
        self.outcomes = np.concatenate([outcomes.encode(r.rewards, r.terminated) for r in played])
        self._last = np.zeros(len(self.codes), bool)
        self._last[self.starts + self.lengths - 1] = True

    def __len__(self) -> int:
        return len(self.lengths)

    def draw(self, steps: int, lanes: int, rng: np.random.Generator) -> PixelBatch:
        """Fill each lane with whole episodes drawn at random; the last is cut.

        Args:
            steps: T, at least the longest episode, or its end is never seen.
        """
        rows = np.zeros((steps, lanes), np.int64)
        reset = np.zeros((steps, lanes))
        for lane in range(lanes):
            filled = 0
            while filled < steps:
                one = int(rng.integers(len(self)))
                count = min(int(self.lengths[one]), steps - filled)
                rows[filled : filled + count, lane] = self.starts[one] + np.arange(count)
                reset[filled, lane] = 1
                filled += count
        return self._batch(rows, reset, np.ones((steps, lanes)))

    def whole(self, chosen: Sequence[int]) -> PixelBatch:
        """These episodes, one per lane, filled up to the longest."""
        lengths = self.lengths[list(chosen)]
        at = np.arange(lengths.max())[:, None]
        played = (at < lengths).astype(float)
        rows = self.starts[list(chosen)] + np.minimum(at, lengths - 1)
        reset = np.zeros(rows.shape)
        reset[0] = 1
        return self._batch(rows, reset, played)

    def _batch(self, rows, reset, played) -> PixelBatch:
        following = np.minimum(rows + 1, len(self.codes) - 1)
        return PixelBatch(
            self.codes[rows],
            self.codes[following],
            self.actions[rows],
            self.outcomes[rows],
            reset,
            played,
            played * ~self._last[rows],
        )
