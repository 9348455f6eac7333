"""Films: the episode that is evaluated, in the game and in the dream."""

import functools

import gym
import numpy as np
import pytest
from ppo_case import Count
from test_lanes import Game, make_agent

from chainer_wm.agents.controller import ControllerPolicy
from chainer_wm.agents.policies import RandomActions
from chainer_wm.dream.gym_envs import DreamEnv
from chainer_wm.dream.simulator import Dream
from chainer_wm.envs.pixelcopter import PixelCopter
from chainer_wm.links.conv_vae import decoded
from chainer_wm.play import evaluation
from chainer_wm.play.films import film
from chainer_wm.seeds import stream

DICE = RandomActions(gym.spaces.Discrete(2))


def test_a_film_shows_the_evaluated_episode():
    returns = evaluation.evaluate(Game, {'a': make_agent}, 3, 7, workers=0)
    for episode in range(3):
        (rng,) = evaluation.episode_rngs(7, [episode])
        found = film(Game, make_agent(), rng)
        assert found.total == returns['a'][episode]
        assert sum(map(float, found.rewards)) == pytest.approx(found.total)
        assert len(found.frames) == len(found.actions) + 1 == len(found.rewards) + 1
        assert found.terminated


def test_frames_are_what_each_action_answered_and_what_came_last():
    found = film(lambda: Count(3), DICE, np.random.default_rng(0))
    np.testing.assert_array_equal(found.frames[:, 1], [0, 1, 2, 3])
    assert found.rewards.tolist() == [1, 2, 3] and found.total == 6
    cut = film(lambda: Count(3), DICE, np.random.default_rng(0), max_steps=2)
    np.testing.assert_array_equal(cut.frames, found.frames[:3])
    assert not cut.terminated
    np.testing.assert_array_equal(cut.actions, found.actions[:2])


def test_a_vector_environment_shows_its_last_frame_not_the_next_episode_s():
    def make():
        return gym.vector.SyncVectorEnv([functools.partial(Count, 3)])

    found = film(make, DICE, np.random.default_rng(0))
    np.testing.assert_array_equal(found.frames, [[0, 0], [0, 1], [0, 2], [0, 3]])


def test_a_rendered_film_begins_before_the_first_action():
    make = functools.partial(PixelCopter, 'state', size=48, render_mode='rgb_array')
    (played,) = evaluation.play_together(make, DICE, [stream(3, 'film')])
    found = film(make, DICE, stream(3, 'film'), rendered=True)
    assert found.frames.shape == (played.length + 1, 48, 48, 3)
    assert found.total == played.total
    env = make()
    env.reset(seed=played.seed)
    np.testing.assert_array_equal(found.frames[0], env.render())
    for action in found.actions:
        env.step(action)
    np.testing.assert_array_equal(found.frames[-1], env.render())


def test_a_dream_is_filmed_as_v_draws_it():
    agent = make_agent()
    rng = np.random.default_rng(1)
    starts = rng.standard_normal((5, 4)), rng.standard_normal((5, 4))
    dream = Dream(agent.model, starts, max_steps=6)
    make = functools.partial(DreamEnv, dream, agent.features)
    policy = ControllerPolicy(agent.controller.act, agent.controller.get_theta())
    seen = film(make, policy, stream(0, 'film'))
    shown = film(
        functools.partial(make, vision=agent.vision), policy, stream(0, 'film'), rendered=True
    )
    np.testing.assert_array_equal(shown.actions, seen.actions)
    assert len(shown.frames) == len(shown.actions) + 1 <= 7
    np.testing.assert_allclose(
        shown.frames.astype(int), decoded(agent.vision, seen.frames[:, :4]), atol=1
    )


def test_games_are_closed():
    class Closing(Count):
        closed = 0

        def close(self):
            Closing.closed += 1

    film(Closing, DICE, np.random.default_rng(0))
    assert Closing.closed == 1
