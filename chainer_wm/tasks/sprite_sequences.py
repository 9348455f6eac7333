"""Rollouts of sprites, made on the fly: what a world model of dSprites is trained on.

In a rollout one sprite follows another, and the action says by how much the factors differ. The
input at step t is (image_t, a_t), the target image_{t+1}. As the study that this follows was
published, its text defines a_t = latents_t - latents_{t-1} with a_0 = 0, from which image_{t+1}
cannot be told; of its results it says that a_t points to the next sprite. Both are here, see
ACTIONS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from chainer_wm.seeds import stream
from chainer_wm.tasks.sprites import COUNTS, FACTORS, Sprites, index_of, values_of

#: 'next': a_t = latents_{t+1} - latents_t. 'last': a_t = latents_t - latents_{t-1}, a_0 = 0.
ACTIONS = ('next', 'last')
#: 'random': every sprite is drawn anew. 'walk': a factor moves by one class or stays.
MOTIONS = ('random', 'walk')


class SpriteWindow(NamedTuple):
    """T steps of B lanes; image t + 1 is the target of step t."""

    images: np.ndarray  # (T + 1, B, 64, 64) uint8 of 0 and 1
    actions: np.ndarray  # (T, B, 5) float64, in the order of FACTORS
    latents: np.ndarray  # (T, B, 5) float64, of the first T images
    classes: np.ndarray  # (T, B, 5) int64
    reset: np.ndarray  # (T, B) bool, a rollout's first step
    mask: np.ndarray  # (T, B) bool, a step whose next image is of the same rollout
    rollouts: np.ndarray  # (T, B) int64, their numbers
    steps: np.ndarray  # (T, B) int64, since the rollout's first step


class SpriteRollouts:
    """Rollouts by their number; each is a function of (seed, purpose, number).

    Args:
        seed, purpose: of the streams, see ``seeds.stream``.
        shortest, longest: their lengths are drawn from these, both included.
        motion: one of MOTIONS. A walk stays inside the range of a factor, but for the orientation,
            whose first and last class are one image.
        moving: factors that change; the others are drawn once per rollout.
        cut: only the first so many sprites of each rollout; None takes all.

    Raises:
        ValueError: lengths that are none, or an unknown motion or factor.
    """

    def __init__(
        self,
        seed: int,
        purpose: str,
        shortest: int = 500,
        longest: int = 1000,
        motion: str = 'random',
        moving: Sequence[str] = FACTORS,
        cut: int | None = None,
    ) -> None:
        if not 2 <= shortest <= longest:
            raise ValueError(
                f'rollouts of {shortest} to {longest} sprites: the shortest must be at least 2 '
                'and no longer than the longest'
            )
        unknown = sorted({*moving} - {*FACTORS})
        if motion not in MOTIONS or unknown or not moving:
            raise ValueError(
                f'motion is {motion!r} of {tuple(moving)}; choose from {MOTIONS} and {FACTORS}'
            )
        self.seed, self.purpose = seed, purpose
        self.shortest, self.longest = shortest, longest
        self.motion, self.cut = motion, cut
        self._moves = np.array([factor in moving for factor in FACTORS])

    @property
    def mean_length(self) -> float:
        """Of all there could be."""
        lengths = np.arange(self.shortest, self.longest + 1)
        return float(np.mean(lengths if self.cut is None else np.minimum(lengths, self.cut)))

    def classes(self, number: int) -> np.ndarray:
        """The sprites of a rollout, (L, 5) int64."""
        rng = stream(self.seed, self.purpose, number)
        length = int(rng.integers(self.shortest, self.longest, endpoint=True))
        if self.motion == 'random':
            found = rng.integers(COUNTS, size=(length, len(FACTORS)))
        else:
            found = _walk(rng, length)
        found[:, ~self._moves] = found[0, ~self._moves]
        return found[: self.cut]


def _walk(rng: np.random.Generator, length: int) -> np.ndarray:
    """Each factor goes to a class beside, or stays; at a border it may only stay or turn back."""
    steps = rng.integers(-1, 2, size=(length, len(FACTORS)))
    steps[0] = rng.integers(COUNTS)
    high = np.array(COUNTS) - 1
    orientation = FACTORS.index('orientation')
    found = np.empty_like(steps)
    at = np.zeros_like(high)
    for t, step in enumerate(steps):
        at = at + step
        at[orientation] %= high[orientation]  # class 39 is class 0 again
        found[t] = at = np.clip(at, 0, high)
    return found


def actions_of(classes: np.ndarray, kind: str = 'next') -> np.ndarray:
    """The actions of a rollout: classes (L, 5) -> (L, 5) float64, differences of the values.

    Where no sprite comes after or before, the action is 0.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in ACTIONS:
        raise ValueError(f'actions are {kind!r}, but must be one of {ACTIONS}')
    values = values_of(classes)
    actions = np.zeros_like(values)
    if kind == 'next':
        actions[:-1] = np.diff(values, axis=0)
    else:
        actions[1:] = np.diff(values, axis=0)
    return actions


class SpriteWindows:
    """Endless lanes of whole rollouts, cut into windows.

    Lane b gets the rollouts b, b + B, b + 2 B, ..., modulo their number, one after the other.
    Window i holds steps i T to (i + 1) T - 1 of every lane: the state of a model after one window
    is its state before the next. A window is a function of i, and no more than one rollout of each
    lane is in memory, however many there are. Windows are found fastest in their order.

    Args:
        rollouts: by their number.
        count: of different rollouts; after them comes the first one again.
        lanes: B, side by side.
        window: T, steps.
        sprites: where the images come from.
        actions: one of ACTIONS.

    Attributes:
        steps: of all rollouts together, as is to be expected of their lengths.

    Raises:
        ValueError: a size below 1, or unknown actions.
    """

    def __init__(
        self,
        rollouts: SpriteRollouts,
        count: int,
        lanes: int,
        window: int,
        sprites: Sprites,
        actions: str = 'next',
    ) -> None:
        if min(count, lanes, window) < 1:
            raise ValueError(
                f'{count} rollouts in {lanes} lanes and windows of {window} steps: each must be '
                'at least 1'
            )
        if actions not in ACTIONS:
            raise ValueError(f'actions are {actions!r}, but must be one of {ACTIONS}')
        self.rollouts, self.count = rollouts, count
        self.lanes, self.window = lanes, window
        self.sprites, self.actions = sprites, actions
        self.steps = count * rollouts.mean_length
        self._lanes = [_Lane(self, lane) for lane in range(lanes)]

    def batch(self, number: int) -> SpriteWindow:
        """Window ``number``, counted through all repetitions."""
        first, steps = number * self.window, self.window + 1
        lanes = [lane.rows(first, steps) for lane in self._lanes]
        classes, actions, rollouts, at = (np.stack(column, axis=1) for column in zip(*lanes))
        return SpriteWindow(
            images=self.sprites.images(index_of(classes)),
            actions=actions[:-1],
            latents=values_of(classes[:-1]),
            classes=classes[:-1],
            reset=at[:-1] == 0,
            mask=at[1:] > 0,
            rollouts=rollouts[:-1],
            steps=at[:-1],
        )


class _Lane:
    """The rollouts of a lane, of which it holds one; it goes on, or begins anew to go back."""

    def __init__(self, windows: SpriteWindows, lane: int) -> None:
        self._windows, self._lane = windows, lane
        self._open(0, 0)

    def _open(self, turn: int, begin: int) -> None:
        windows = self._windows
        self._turn, self._begin = turn, begin
        self._number = (self._lane + turn * windows.lanes) % windows.count
        self._classes = windows.rollouts.classes(self._number)
        self._actions = actions_of(self._classes, windows.actions)

    def rows(self, first: int, steps: int) -> tuple[np.ndarray, ...]:
        """Classes and actions (steps, 5), rollout and step in it (steps,)."""
        if first < self._begin:
            self._open(0, 0)
        found = []
        while steps:
            here = first - self._begin
            if here >= len(self._classes):
                self._open(self._turn + 1, self._begin + len(self._classes))
                continue
            at = np.arange(here, min(here + steps, len(self._classes)))
            found.append(
                (self._classes[at], self._actions[at], np.full(len(at), self._number), at)
            )
            first, steps = first + len(at), steps - len(at)
        return tuple(np.concatenate(column) for column in zip(*found))
