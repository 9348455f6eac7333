"""The game that the tests of clusters play, and their Ray."""

import os
import pathlib

import gym
import numpy as np
import pytest

_BEGUN: list[str] = []  # the files whose tests had one


def first_ray(tests):
    """Ray, for the tests of one file.

    The actors of a second Ray in the same process die as they are made: Ray believes them
    unreferenced.
    """
    ray = pytest.importorskip('ray', reason="Ray is not installed: the extra 'cluster' brings it")
    _BEGUN.append(tests)
    if set(_BEGUN) != {tests}:
        pytest.skip(f'this process had a Ray for {_BEGUN[0]}: run {tests} in one of its own')
    return ray


def ray_environment(patch):
    """What a Ray of the tests is started with: its workers find the modules of these tests."""
    here = str(pathlib.Path(__file__).parent)
    path = os.pathsep.join([here, os.getcwd(), *filter(None, [os.environ.get('PYTHONPATH')])])
    patch.setenv('PYTHONPATH', path)
    patch.setenv('RAY_AUTH_MODE', 'disabled')
    patch.setenv('RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO', '0')


class NoiseGame(gym.Env):
    """Pictures of noise; ends by chance."""

    observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._seen(), {}

    def step(self, action):
        dead = bool(self.np_random.random() < 0.2)
        return self._seen(), float(action[0]), dead, False, {}

    def _seen(self):
        return self.np_random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
