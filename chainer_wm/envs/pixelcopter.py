"""PixelCopter as a gym environment, from pixels or from seven numbers.

The game of the PyGame Learning Environment, restated (``copter.py``) and equal to it step by step;
no pygame and no display are needed. On one core of the machine where it was written, with a pilot
that keeps to the middle: 110,000 steps per second on the seven numbers, 34,000 with 48x48
pictures, 14,000 with 64x64 ones averaged by area (the original: 9,000 with pictures).

``python -m chainer_wm.envs.pixelcopter --replay FILE`` plays a recording again and compares.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import gym
import numpy as np

from chainer_wm.envs import pixelcopter_replay
from chainer_wm.envs.copter import PALETTE, SIZE, STATE_NAMES, Copter

OBSERVATIONS = ('pixels', 'state')
RESAMPLING = ('area', 'nearest')
_FAR = 128.0  # pixels, beyond all that the seven numbers reach


class PixelCopter(gym.Env):
    """Fly a helicopter through a cave; one button climbs.

    Actions: 0 does nothing (the helicopter falls), 1 climbs. Rewards: +1 for each column of the
    cave that leaves the screen (every 6.25 steps), +1 for each block passed, -5 for the collision
    that ends the episode. No time limit.

    Args:
        observation: 'pixels', (size, size, 3) uint8, or 'state', the seven numbers of
            ``copter.STATE_NAMES`` in pixels, (7,) float32.
        size: of the pictures; the game is drawn at 48x48.
        resample: how they are scaled: 'area' averages over the area of each new pixel, 'nearest'
            repeats or drops pixels.
        original: play the original game, which must be installed (package ``ple``), and not our
            restatement of it.
        render_mode: 'rgb_array' for ``render``, or None.

    Attributes:
        settings, versions: dicts for manifests.

    Raises:
        ValueError: an unknown observation or resampling, or a size below 1.
        ImportError: ``original`` without the original.
    """

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 30}  # noqa: RUF012
    arrows = ((0, 0), (0, 1))  # (right, up) of each action

    def __init__(
        self,
        observation: str = 'pixels',
        size: int = 64,
        resample: str = 'area',
        original: bool = False,
        render_mode: str | None = None,
    ) -> None:
        _check('observation', observation, OBSERVATIONS)
        _check('resample', resample, RESAMPLING)
        if size < 1:
            raise ValueError(f'size is {size}, expected 1 pixel or more')
        self.observation = observation
        self.render_mode = render_mode
        self.game: Any = pixelcopter_replay.OriginalCopter() if original else Copter()
        self._scale = _scaler(size, resample)
        self._random: np.random.RandomState | None = None
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = (
            gym.spaces.Box(0, 255, (size, size, 3), np.uint8)
            if observation == 'pixels'
            else gym.spaces.Box(-_FAR, _FAR, (len(STATE_NAMES),), np.float32)
        )
        self.settings = {
            'observation': observation,
            'size': size,
            'resample': resample,
            'original': original,
        }
        self.versions = dict(self.game.versions)

    def reset(
        self, *, seed: int | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict]:
        """Begin an episode: the game that the original plays with this seed.

        Args:
            seed: 0 to 2**32 - 1; None goes on with the generator that is there.
        """
        super().reset(seed=seed)
        if seed is not None or self._random is None:
            if seed is None:
                seed = int(self.np_random.integers(2**32))
            self._random = np.random.RandomState(seed)
        self.game.reset(self._random)
        return self._observe(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Fly for one frame.

        Raises:
            ValueError: the action is neither 0 nor 1.
            RuntimeError: the episode is over, or was never begun.
        """
        if action not in (0, 1):
            raise ValueError(f'the action is {action!r}, expected 0 (fall) or 1 (climb)')
        reward = self.game.step(bool(action))
        return self._observe(), reward, self.game.over, False, {}

    def render(self) -> Any:
        """The scaled picture, (size, size, 3) uint8; None without a mode."""
        return None if self.render_mode is None else self._scale(self.game)

    def _observe(self) -> np.ndarray:
        if self.observation == 'pixels':
            return self._scale(self.game)
        return self.game.state().astype(np.float32)


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f'{name} is {value!r}, expected one of {known}')


def _scaler(size: int, resample: str) -> Callable[[Any], np.ndarray]:
    """A function from a game to its picture, (size, size, 3) uint8."""
    if size == SIZE:
        return lambda game: game.frame()
    if resample == 'nearest':
        chosen = np.arange(size) * SIZE // size
        window = np.ix_(chosen, chosen)
        return lambda game: PALETTE.take(game.picture()[window], axis=0)
    weights = _area_weights(size)
    colours = PALETTE.astype(np.float32)

    def scale(game: Any) -> np.ndarray:
        rows = weights @ colours.take(game.picture(), axis=0).reshape(SIZE, -1)
        picture = weights @ rows.reshape(size, SIZE, 3)
        return (picture + 0.5).astype(np.uint8)

    return scale


def _area_weights(size: int) -> np.ndarray:
    """(size, 48) float32: shares of the old pixels in each new one."""
    edges = np.arange(size + 1) * (SIZE / size)
    old = np.arange(SIZE)
    ends = np.minimum(edges[1:, None], old + 1)
    starts = np.maximum(edges[:-1, None], old)
    shares = np.maximum(ends - starts, 0) * (size / SIZE)
    return shares.astype(np.float32)


if __name__ == '__main__':
    sys.exit(pixelcopter_replay.main())
