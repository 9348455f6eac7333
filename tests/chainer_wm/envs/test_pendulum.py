"""Pendulum: gym's game, its picture, the planner that knows its state."""

import functools

import gym
import numpy as np
import pytest
from gym.envs.classic_control.pendulum import PendulumEnv
from gym.utils.env_checker import check_env

from chainer_wm.agents import policies
from chainer_wm.envs import pendulum_planner
from chainer_wm.envs.pendulum import GROUND, Pendulum, draw
from chainer_wm.envs.pendulum_planner import Planner
from chainer_wm.play import evaluation


@pytest.mark.parametrize('seed', [0, 7])
def test_states_and_rewards_equal_gyms_to_the_last_bit(seed):
    ours, theirs = Pendulum('state'), PendulumEnv()
    seen, _ = ours.reset(seed=seed)
    expected, _ = theirs.reset(seed=seed)
    np.testing.assert_array_equal(seen, expected)
    rng = np.random.default_rng(seed)
    for step in range(200):
        action = rng.uniform(-1.3, 1.3, 1)  # beyond the limits too
        seen, reward, terminated, truncated, _ = ours.step(action)
        expected, paid, *_ = theirs.step(2 * action)
        np.testing.assert_array_equal(ours.state, theirs.state)
        np.testing.assert_array_equal(seen, expected)
        assert reward == paid
        assert not terminated and truncated == (step == 199)


def test_skipped_frames_add_their_rewards():
    whole, skipping = Pendulum('state'), Pendulum('state', 4, 8)
    for env in (whole, skipping):
        env.reset(seed=3)
    rewards = []
    for action in (0.7, -0.2):
        parts = [whole.step([action])[1] for _ in range(4)]
        *_, truncated, _ = step = skipping.step([action])
        rewards.append((step[1], sum(parts)))
        np.testing.assert_array_equal(whole.state, skipping.state)
    assert truncated
    np.testing.assert_allclose(*zip(*rewards), rtol=1e-12)


def test_a_seed_fixes_the_episode_and_gyms_checker_is_content():
    env = Pendulum()
    first, _ = env.reset(seed=5)
    frames = [env.step([0.3])[0] for _ in range(5)]
    again, _ = env.reset(seed=5)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(frames, [env.step([0.3])[0] for _ in range(5)])
    check_env(Pendulum(), skip_render_check=True)


def lit(angle):
    """Where the rod's light is, (right, up) of the middle, in pixels."""
    light = draw(angle).astype(float).sum(axis=2)
    at = np.arange(64) - 31.5
    return (light.sum(axis=0) @ at, -(light.sum(axis=1) @ at)) / light.sum()


@pytest.mark.parametrize('angle', np.linspace(-3, 3, 7))
def test_the_rod_points_where_gym_draws_it(angle):
    """Half a rod from the axle; a growing angle turns it anticlockwise."""
    right, up = lit(angle)
    assert np.hypot(right, up) == pytest.approx(13, abs=0.2)
    assert np.arctan2(-right, up) == pytest.approx(angle, abs=0.02)


def test_a_turn_by_a_fraction_of_a_pixel_shows():
    change = np.abs(draw(0.4).astype(int) - draw(0.41)).sum()
    assert change > 200
    assert (draw(0.4)[0, 0] == GROUND).all()
    np.testing.assert_array_equal(draw(0.4), draw(0.4 + 2 * np.pi))


def test_one_frame_does_not_tell_the_speed_and_two_do():
    frames = []
    for speed in (-1.0, 2.0):
        env = Pendulum()
        env.reset(seed=0)
        env.state = np.array([0.5, speed])
        frames.append((draw(env.state[0]), env.step([0.0])[0]))
    np.testing.assert_array_equal(frames[0][0], frames[1][0])
    assert (frames[0][1] != frames[1][1]).any()


def test_render_gives_the_picture():
    env = Pendulum('state', render_mode='rgb_array')
    env.reset(seed=1)
    np.testing.assert_array_equal(env.render(), draw(env.state[0]))
    assert Pendulum().render() is None


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'observation': 'sound'}, "'sound'"),
        ({'frame_skip': 0}, 'frame_skip is 0'),
        ({'frame_skip': 3}, 'frame_skip is 3 and max_steps 200'),
    ],
)
def test_bad_settings_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        Pendulum(**options)


def test_bad_actions_and_steps_after_the_end_are_refused():
    env = Pendulum(max_steps=1)
    with pytest.raises(RuntimeError, match='reset'):
        env.step([0.0])
    env.reset(seed=0)
    for action in ([np.nan], [0.1, 0.2]):
        with pytest.raises(ValueError, match='one finite number'):
            env.step(action)
    env.step([0.0])
    with pytest.raises(RuntimeError, match='over'):
        env.step([0.0])
    assert isinstance(env, gym.Env)


def test_interpolation_is_exact_on_the_grid_and_linear_between():
    angle = np.linspace(-np.pi, np.pi, pendulum_planner.ANGLES)
    speed = np.linspace(-8, 8, pendulum_planner.SPEEDS)
    values = 3 * angle[:, None] + 2 * speed
    at = np.array([[angle[10], speed[20]], [0.123, -4.56], [3.0, 8.0]])
    found = pendulum_planner._interpolated(values, pendulum_planner._corners(at))
    np.testing.assert_allclose(found, 3 * at[:, 0] + 2 * at[:, 1], rtol=1e-12)


def test_the_planner_plays_far_better_than_chance():
    """Best known play of Pendulum-v1 is about -140 on average."""
    returns = evaluation.evaluate(
        functools.partial(Pendulum, 'state', 4),
        {
            'planner': functools.partial(Planner, 4, 50),
            'random': functools.partial(policies.HeldRandom, (1,)),
        },
        10,
        seed=0,
        workers=0,
    )
    assert returns['planner'].mean() > -200
    assert returns['random'].mean() < -800
    assert (returns['planner'] > returns['random']).all()
