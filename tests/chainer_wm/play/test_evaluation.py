"""Evaluation: the same episodes for every policy and number of workers."""

import functools

import gym
import numpy as np
import pytest
from ppo_case import Count, Cue, network

from chainer_wm.agents import policies
from chainer_wm.agents.ppo.policy import NetworkPolicy
from chainer_wm.envs.pixelcopter import PixelCopter
from chainer_wm.functions.non_finite import NonFiniteError
from chainer_wm.play import collection, evaluation, lanes
from chainer_wm.play.workers import WorkerError
from chainer_wm.rollouts import RolloutStore
from chainer_wm.seeds import stream


class Walk(gym.Env):
    """Ends at a random step, earlier to the left; rewards 1 per step."""

    observation_space = gym.spaces.Box(0, 1, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(5, 30))
        return np.zeros(2, np.float32), {}

    def step(self, action):
        if not np.isfinite(action).all():
            raise ValueError('the action is not finite')
        self.left -= 2 if action[0] < 0 else 1
        return np.ones(2, np.float32), 1.0, self.left <= 0, False, {}


class Faulty(Walk):
    """The reward of its fourth step is not a number."""

    def __init__(self, wrong=np.nan):
        self.wrong = wrong

    def reset(self, *, seed=None, options=None):
        self.steps, self.seed_given = 0, seed
        return super().reset(seed=seed)

    def step(self, action):
        self.steps += 1
        seen, reward, *rest = super().step(action)
        return seen, self.wrong if self.steps == 4 else reward, *rest


class Broken(policies.NoAction):
    """Fails in its third step."""

    def act(self, observations, state):
        if observations.any():
            raise ZeroDivisionError('broken on purpose')
        return super().act(observations, state)


BOTH = {'still': policies.NoAction, 'random': policies.Uniform}


def test_returns_do_not_depend_on_the_number_of_workers():
    here, two = (evaluation.evaluate(Walk, BOTH, 6, seed=1, workers=workers) for workers in (0, 2))
    for name in BOTH:
        np.testing.assert_array_equal(here[name], two[name])


def test_every_policy_meets_the_same_episodes():
    returns = evaluation.evaluate(
        Walk, {'a': policies.NoAction, 'b': policies.NoAction}, 5, 0, workers=0
    )
    np.testing.assert_array_equal(returns['a'], returns['b'])
    assert len(set(returns['a'])) > 1


def test_a_policy_that_fails_is_an_error_and_never_a_score():
    with pytest.raises(WorkerError, match='broken on purpose'):
        evaluation.evaluate(Walk, {'broken': Broken}, 2, 0, workers=1)


@pytest.mark.parametrize('wrong', [np.nan, np.inf, np.float32('nan')])
def test_a_reward_that_is_not_finite_is_an_error(wrong):
    env = Faulty(wrong)
    rngs = [stream(3, 'evaluate', e) for e in (7, 8)]
    with pytest.raises(NonFiniteError) as caught:
        list(lanes.play([env], policies.NoAction(), rngs))
    said = str(caught.value)
    assert f'reward {float(wrong)} in step 3 of episode 0' in said
    assert f'game seed {env.seed_given}' in said and 'NoAction' in said


def test_no_score_comes_out_of_a_game_that_gives_nan():
    with pytest.raises(WorkerError) as caught:
        evaluation.evaluate(Faulty, {'still': policies.NoAction}, 2, seed=5, workers=0)
    for said in ('reward nan', "('still', 5, 'evaluate', (0, 1)", 'NoAction'):
        assert said in str(caught.value)


def test_no_episode_with_nan_is_collected(tmp_path):
    store = RolloutStore(tmp_path)
    with pytest.raises(WorkerError, match='reward nan in step 3'):
        collection.collect(store, Faulty, policies.NoAction, 2, seed=0, workers=0)
    assert list(store.episodes) == []


class TestPlayedTogether:
    def test_episodes_are_those_that_evaluate_plays(self):
        returns = evaluation.evaluate(Walk, BOTH, 5, seed=7, purpose='test', workers=0)
        for name, make in BOTH.items():
            rngs = evaluation.episode_rngs(7, range(5), 'test')
            found = evaluation.play_together(Walk, make(), rngs)
            assert [one.total for one in found] == returns[name].tolist()

    def test_a_network_plays_as_it_would_alone(self):
        make = functools.partial(PixelCopter, 'state')
        player = NetworkPolicy(network(make()), make().action_space)

        def play(episodes):
            rngs = evaluation.episode_rngs(7, episodes)
            return [(p.total, p.length) for p in evaluation.play_together(make, player, rngs)]

        assert play(range(5)) == [one for e in range(5) for one in play([e])]

    def test_ends_and_limits(self):
        player = policies.RandomActions(gym.spaces.Discrete(2))

        def play(max_steps=None):
            rngs = evaluation.episode_rngs(0, range(2))
            found = evaluation.play_together(lambda: Count(3), player, rngs, max_steps)
            return [(one.total, one.length, one.info) for one in found]

        assert play() == 2 * [(6, 3, {'t': 3})]
        assert play(max_steps=2) == 2 * [(3, 2, {'t': 2})]

    def test_the_same_episode_in_all_lanes(self):
        player = policies.RandomActions(gym.spaces.Discrete(2))

        def play(episodes):
            rngs = evaluation.episode_rngs(0, episodes)
            return {one.total for one in evaluation.play_together(lambda: Cue(1), player, rngs)}

        assert len(play(12 * [5])) == 1
        assert len(play(range(12))) == 2


def test_summary_by_hand():
    found = evaluation.summary([1, 3])
    assert found['mean'] == 2 and found['std'] == pytest.approx(2**0.5)
    assert found['standard_error'] == pytest.approx(1)
    with pytest.raises(ValueError, match='0 episodes'):
        evaluation.summary([])
    with pytest.raises(ValueError, match=r'episodes \[1, 3\] are \[nan, inf'):
        evaluation.summary([1, np.nan, 3, np.inf])


def test_ages_count_steps_and_deaths_by_hand():
    lifetimes = [1, 10, 11, 25, 30, 30]
    assert evaluation.ages(lifetimes, 30, (0, 10, 20, 40)) == [
        (0, 10, 1 + 5 * 10, 2),  # whoever dies in step 10 never saw an 11th
        (10, 20, 1 + 3 * 10, 1),
        (20, 40, 5 + 10 + 10, 1),  # those cut off at 30 did not die
    ]


def test_ages_without_a_limit_count_every_end_as_a_death():
    (band,) = evaluation.ages([5, 9], np.inf, (0, 10))
    assert (band.steps, band.deaths) == (14, 2)


def test_ages_nobody_reached_are_empty():
    assert evaluation.ages([5], 30, (0, 10, 20))[1] == (10, 20, 0, 0)
