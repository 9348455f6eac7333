"""CarRacing: drive a random track from above, by gym's game or by EnvPool's."""

from __future__ import annotations

import importlib
from typing import Any

import gym
import numpy as np
from PIL import Image

SIZE = 64
ROWS = 84  # of the 96 seen: those below are the bar with speed and score
MAX_STEPS = 1000
ENGINES = ('gym', 'envpool')
LOW, HIGH = (-1.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # steering, gas, brake
RENEW = 25  # episodes of one game object of gym's: its physics world never forgets all it made
_SEEDS = 2**31 - 1
_NEEDED = {
    'gym': ('Box2D', 'pygame', "pip install 'box2d==2.3.10' pygame-ce"),
    'envpool': ('envpool', 'pip install envpool (740 MB with its assets)'),
}


class CarRacing(gym.Env):
    """CarRacing-v2 as World Models sees it: rows 0 to 83 of 96, shrunk to 64x64.

    Action: steering in [-1, 1], gas and brake in [0, 1]. Reward: 1000 / N for each of the track's
    N tiles that is reached first, -0.1 per step. Leaving the field ends the episode (terminated,
    -100 in that step); a whole lap, or 1,000 steps, truncate it.

    Both engines play the same game by the same physics library. EnvPool's is in C++; its tracks
    are others for the same seed, and it draws no score.

    Args:
        engine: 'gym' or 'envpool'.
        max_steps: the time limit.
        patience: an episode is truncated after so many steps without a new tile, 0: never. It
            saves time where many drive badly; a score is what was got without it.
        render_mode: 'rgb_array' for ``render``, or None.

    Attributes:
        settings: dict of all of it, for manifests.
        versions: dict of library versions, for manifests.

    Raises:
        ValueError: an unknown engine, or a time limit below 1.
        ImportError: what the engine needs is not installed.
    """

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 50}  # noqa: RUF012

    def __init__(
        self,
        engine: str = 'gym',
        max_steps: int = MAX_STEPS,
        patience: int = 0,
        render_mode: str | None = None,
    ) -> None:
        if engine not in ENGINES:
            raise ValueError(f'no engine {engine!r} for CarRacing, there are {ENGINES}')
        if max_steps < 1 or patience < 0:
            raise ValueError(
                f'max_steps is {max_steps} and patience {patience}, expected 1 or more and 0 or '
                'more'
            )
        self.engine, self.render_mode = engine, render_mode
        self.max_steps, self.patience = max_steps, patience
        self.observation_space = gym.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        self.action_space = gym.spaces.Box(np.array(LOW, np.float32), np.array(HIGH, np.float32))
        self.settings: dict[str, Any] = {
            'engine': engine,
            'max_steps': max_steps,
            'patience': patience,
            'rows': ROWS,
            'size': SIZE,
        }
        self.versions = _versions(engine)
        self._game: Any = None
        self._screen: np.ndarray | None = None
        self._episodes = self._steps = self._idle = 0
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict]:
        """A new track; the same engine, seed and actions give the same frames.

        Without a seed, one is drawn from the generator that the last seeded reset left.
        """
        super().reset(seed=seed)
        number = int(self.np_random.integers(_SEEDS)) if seed is None else seed % _SEEDS
        self._screen = self._begin(number)
        self._steps, self._idle, self._over = 0, 0, False
        return self._seen(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Drive on for 1/50 s.

        Raises:
            RuntimeError: the episode is over, or was never begun.
            ValueError: the action is not three numbers in their ranges.
        """
        if self._over:
            raise RuntimeError('the episode is over: call reset() first')
        self._screen, reward, terminated, truncated = self._drive(pedals_of(action))
        self._steps += 1
        self._idle = 0 if reward > 0 else self._idle + 1
        hopeless = 0 < self.patience <= self._idle
        truncated |= hopeless or self._steps >= self.max_steps
        truncated &= not terminated
        self._over = terminated or truncated
        return self._seen(), reward, terminated, truncated, {}

    def render(self) -> Any:
        """What is seen, before it is shrunk: (84, 96, 3) uint8; None without render_mode."""
        if self.render_mode is None or self._screen is None:
            return None
        return self._screen[:ROWS]

    def close(self) -> None:
        """Give the game's memory back."""
        if self._game is not None:
            self._game.close()
        self._game, self._over = None, True

    @staticmethod
    def keys(arrows: np.ndarray) -> np.ndarray:
        """The action of arrow keys, see ``pedals_of_keys``."""
        return pedals_of_keys(arrows)

    def _begin(self, seed: int) -> np.ndarray:
        if self.engine == 'envpool':
            # an EnvPool is seeded when it is made, once for all its episodes
            self.close()
            options = dict(num_envs=1, seed=seed, max_episode_steps=2**30)
            self._game = _import('envpool').make('CarRacing-v2', env_type='gymnasium', **options)
            return self._game.reset()[0][0]
        if self._game is None or self._episodes % RENEW == 0:
            self.close()
            # gym's game without its time limit and checks
            self._game = importlib.import_module('chainer_wm.envs.gym_car_racing').Game()
        self._episodes += 1
        return self._game.reset(seed=seed)[0]

    def _drive(self, pedals: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        if self.engine == 'envpool':
            screen, reward, terminated, truncated, _ = self._game.step(pedals[None])
            return screen[0], float(reward[0]), bool(terminated[0]), bool(truncated[0])
        screen, reward, terminated, truncated, _ = self._game.step(pedals)
        return screen, float(reward), bool(terminated), bool(truncated)

    def _seen(self) -> np.ndarray:
        assert self._screen is not None
        picture = Image.fromarray(self._screen[:ROWS])
        return np.array(picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def pedals_of(action: np.ndarray) -> np.ndarray:
    """(3,) float32: steering, gas, brake, seen to be in their ranges."""
    found = np.asarray(action, np.float32).reshape(-1)
    if found.size != 3 or not ((found >= LOW) & (found <= HIGH)).all():
        raise ValueError(
            f'the action is {action!r}, expected steering in [-1, 1], gas and brake in [0, 1]: '
            'did the network diverge, or was it made for another game?'
        )
    return found


def pedals_of_keys(arrows: np.ndarray) -> np.ndarray:
    """(3,) float32: what arrow keys do.

    Args:
        arrows: (2,) in [-1, 1]: left to right steers, up is the gas, down the brake.
    """
    across, up = np.asarray(arrows, np.float32)
    return np.array([across, max(up, 0), max(-up, 0)], np.float32)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        engine = 'envpool' if name == 'envpool' else 'gym'
        raise ImportError(
            f'CarRacing by {engine!r} needs {name}, which cannot be imported ({error}): '
            f'{_NEEDED[engine][-1]}'
        ) from error


def _versions(engine: str) -> dict[str, str]:
    """Of what the game is made of; sees that it is there."""
    if engine == 'envpool':
        return {'envpool': _import('envpool').__version__}
    box2d, pygame = _import('Box2D'), _import('pygame')
    return {'gym': gym.__version__, 'box2d': box2d.__version__, 'pygame': pygame.version.ver}
