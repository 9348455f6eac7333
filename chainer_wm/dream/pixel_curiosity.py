"""What was tried in the real game, and what never was."""

from __future__ import annotations

import dataclasses

import numpy as np

from chainer_wm.rollouts.pictures import Episodes


@dataclasses.dataclass(frozen=True)
class Curiosity:
    """What a dream gives for a step that was never tried in the real game.

    A model knows nothing about such a step, so the dream ends there, with a
    reward as good as any: a policy that learns in the dream then goes where
    the real game may teach the model something. As R-max (Brafman and
    Tennenholtz, 2002), for pairs of picture and action that are known once
    they were tried.

    Attributes:
        tried: the pairs, as bytes.
        reward: for a pair that is not among them.
    """

    tried: frozenset[bytes]
    reward: float

    def surprised(self, codes: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Which lanes do what was never tried, (B,) bool.

        Args:
            codes: (B, H * W) uint8, pictures.
            actions: (B,) integers.
        """
        return np.array([pair not in self.tried for pair in _pairs(codes, actions)])


def curiosity(episodes: Episodes, reward: float) -> Curiosity:
    """About all that is not in these episodes."""
    tried = frozenset(_pairs(episodes.codes, episodes.actions))
    return Curiosity(tried, reward)


def _pairs(codes: np.ndarray, actions: np.ndarray) -> list[bytes]:
    rows = np.concatenate([codes, actions[:, None].astype(np.uint8)], axis=1)
    return [row.tobytes() for row in rows]
