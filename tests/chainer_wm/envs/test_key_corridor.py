"""The corridor: rules, and that chance does not solve it."""

import numpy as np
import pytest
from gym.utils.env_checker import check_env

from chainer_wm.envs.key_corridor import KeyCorridor

UP, DOWN, LEFT, RIGHT = range(4)


def test_key_then_door():
    env = KeyCorridor(length=7)
    env.reset(seed=0)
    assert env.shortest == 3 + 6
    rewards = []
    for action in [LEFT] * 3 + [RIGHT] * 6:
        _, reward, terminated, truncated, info = env.step(action)
        rewards.append(reward)
    assert rewards == [0] * 8 + [1]
    assert (terminated, truncated, info['has_key']) == (True, False, True)
    env.reset()
    assert not env.has_key


def test_the_door_alone_is_worth_nothing():
    env = KeyCorridor(length=7)
    env.reset()
    for action in [RIGHT] * 5:
        _, reward, terminated, _, info = env.step(action)
        assert (reward, terminated) == (0, False)
    assert info['position'] == env.door
    assert env.shortest == 12


def test_time_limit():
    env = KeyCorridor(length=5)
    env.reset()
    ends = [env.step(UP)[2:4] for _ in range(20)]
    assert ends == [(False, False)] * 19 + [(False, True)]


def test_vectors_tell_cell_and_key():
    env = KeyCorridor(length=5, width=3)
    seen, _ = env.reset()
    assert seen.shape == (30,) and seen.dtype == np.float32
    assert np.flatnonzero(seen).tolist() == [5 + 2]
    for _ in range(2):
        seen = env.step(LEFT)[0]
    assert np.flatnonzero(seen).tolist() == [15 + 5]
    assert np.flatnonzero(env.step(UP)[0]).tolist() == [15]


def test_pictures_tell_cell_and_key():
    env = KeyCorridor(length=5, width=3, observation='pixels')
    first, _ = env.reset()
    assert first.shape == (12, 20, 3)
    assert tuple(first[5, 1]) == (240, 190, 20)  # the key
    env.step(LEFT)
    env.step(LEFT)
    seen = env.step(RIGHT)[0]
    assert tuple(seen[5, 1]) == (245, 245, 245)  # gone
    assert tuple(seen[5, 5]) == (240, 190, 20)  # who has it


@pytest.mark.parametrize('observation', ['vector', 'pixels'])
def test_is_a_gym_environment(observation):
    check_env(KeyCorridor(9, 3, observation, render_mode='rgb_array'))


def test_chance_does_not_get_there():
    """The walk along the corridor, for many agents at once."""
    rng = np.random.default_rng(0)
    env = KeyCorridor()
    length = env.walls.shape[1]
    at = np.full(20000, length // 2)
    key = np.zeros(len(at), bool)
    opened = 0
    for _ in range(env.max_steps):
        action = rng.integers(4, size=len(at))
        step = (action == RIGHT).astype(int) - (action == LEFT)
        at = np.clip(at + step, 0, length - 1)
        key |= at == 0
        opened += (key & (at == length - 1)).sum()
    assert opened == 0
    assert 0.01 < key.mean() < 0.1


def test_refuses_wrong_options():
    for wrong, match in (
        ({'observation': 'x'}, "'x'"),
        ({'length': 2}, 'length 2'),
        ({'width': 0}, 'width 0'),
        ({'max_steps': 0}, '1 step'),
    ):
        with pytest.raises(ValueError, match=match):
            KeyCorridor(**wrong)
