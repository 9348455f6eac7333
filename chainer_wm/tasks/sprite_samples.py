"""What a network held in rollouts of sprites, as samples for linear probes."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import numpy as np

from chainer_wm.tasks.probes import Samples
from chainer_wm.tasks.sprite_sequences import SpriteRollouts, SpriteWindows, actions_of
from chainer_wm.tasks.sprites import FACTORS, SIZE, Sprites, index_of, values_of

NUMBERS = FACTORS[1:]  # all factors but the shape
BUDGET = 2**25  # numbers of one kind of features that are kept


@dataclasses.dataclass(frozen=True)
class LoggedRollouts:
    """The rollouts whose internals are kept, and every how many steps.

    Features of many numbers are kept at fewer steps, so that no kind of them has more than BUDGET
    numbers. All arrays of features are (rollouts, steps that are kept, D).

    Attributes:
        rollouts: cut to one length, ``rollouts.cut``.
        count: how many of them.
        sprites, actions: see ``SpriteWindows``.
    """

    rollouts: SpriteRollouts
    count: int
    sprites: Sprites
    actions: str = 'next'

    @property
    def length(self) -> int:
        """Steps of each rollout."""
        return int(self.rollouts.mean_length)

    def windows(self, window: int, lanes: int = 8) -> SpriteWindows:
        """All of them, a few side by side."""
        lanes = min(lanes, self.count)
        return SpriteWindows(self.rollouts, self.count, lanes, window, self.sprites, self.actions)

    def stride(self, width: int) -> int:
        """Every how many steps features of so many numbers are kept."""
        return -(-self.count * self.length * width // BUDGET)

    def classes(self) -> np.ndarray:
        """(rollouts, length, 5)."""
        return np.stack([self.rollouts.classes(number) for number in range(self.count)])

    def raw_input(self) -> np.ndarray:
        """What the network is shown: pixels and action, float32."""
        classes, every = self.classes(), self.stride(SIZE**2 + len(FACTORS))
        actions = np.stack([actions_of(each, self.actions) for each in classes])[:, ::every]
        images = self.sprites.images(index_of(classes[:, ::every]))
        images = images.reshape(*images.shape[:2], -1)
        return np.concatenate([images, actions], axis=2, dtype=np.float32)

    def noise(self, width: int, rng: np.random.Generator) -> np.ndarray:
        """Features that tell nothing, float32."""
        kept = -(-self.length // self.stride(width))
        return rng.standard_normal((self.count, kept, width), np.float32)

    def samples(self, features: np.ndarray, longest_lag: int) -> Samples:
        """Features beside the factors of this sprite and of those up to so many steps before.

        They are named FACTOR@LAG; a rollout is a group. All steps are taken at which every lag is
        inside the rollout.
        """
        classes = self.classes()
        steps = np.arange(features.shape[1]) * self.stride(features.shape[2])
        late = steps >= longest_lag
        values, labels = {}, {}
        for lag in range(longest_lag + 1):
            then = classes[:, steps[late] - lag].reshape(-1, len(FACTORS))
            labels[f'shape@{lag}'] = then[:, 0]
            for factor, column in zip(NUMBERS, values_of(then).T[1:]):
                values[f'{factor}@{lag}'] = column
        groups = np.repeat(np.arange(self.count), late.sum())
        return Samples(features[:, late].reshape(-1, features.shape[2]), values, labels, groups)


def only_lags(samples: Samples, lags: Collection[int]) -> Samples:
    """The same features beside the factors at some lags."""

    def asked(named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: each for name, each in named.items() if int(name.split('@')[1]) in lags}

    return dataclasses.replace(samples, values=asked(samples.values), labels=asked(samples.labels))
