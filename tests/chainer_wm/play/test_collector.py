"""What PPO's collector keeps of what it played."""

import gym
import numpy as np
import pytest
from ppo_case import CORES, Count, Cue, collector, network

from chainer_wm.agents.ppo.policy import to_environment
from chainer_wm.functions.non_finite import NonFiniteError
from chainer_wm.play.collector import Collector


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match='environments show'):
        Collector(network(Count(shape=(3,))), [Count()])
    with pytest.raises(RuntimeError, match='start'):
        Collector(network(Count()), [Count()]).collect(3)


def test_a_reward_of_nan_is_an_error():
    def broken():
        return gym.wrappers.TransformReward(Count(2), lambda r: np.nan if r == 2 else r)

    player = Collector(network(Count()), [Count(2), broken()])
    player.start(np.random.default_rng(0))
    with pytest.raises(NonFiniteError, match='reward nan in lane 1.*step 1'):
        player.collect(4)


def test_what_is_collected():
    made = collector([Count(3), Count(2, dies=False)])
    first, second = made.collect(4), made.collect(3)
    np.testing.assert_array_equal(first.rewards, [[1, 1], [2, 2], [3, 1], [1, 2]])
    np.testing.assert_array_equal(first.terminated[:, 0], [0, 0, 1, 0])
    np.testing.assert_array_equal(first.truncated[:, 1], [0, 1, 0, 1])
    np.testing.assert_array_equal(first.reset[:, 0], [1, 0, 0, 1])
    np.testing.assert_array_equal(first.reset[:, 1], [1, 0, 1, 0])
    np.testing.assert_array_equal(second.reset[0], [0, 1])
    np.testing.assert_array_equal(
        first.observations[:, 0], [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]]
    )
    np.testing.assert_array_equal(second.observations[0], first.observations[-1])
    assert first.ends.tolist() == [[1, 1], [2, 0], [3, 1]]
    assert first.last.tolist() == [[0, 2], [0, 3], [1, 2]]
    np.testing.assert_array_equal(first.following()[:, 0], [[0, 1], [0, 2], [0, 3], [1, 1]])
    np.testing.assert_array_equal(first.following(slice(-1, None))[:, 1, 0], [1, 2, 1, 2])
    assert first.steps == 8
    said = [(e.lane, e.step, e.length, e.total) for e in first.episodes]
    assert said == [(1, 1, 2, 3), (0, 2, 3, 6), (1, 3, 2, 3)]
    assert [e.step for e in second.episodes] == [5, 5]
    assert [e.terminated for e in first.episodes] == [False, True, False]


def test_episodes_cross_calls():
    made = collector([Count(5)])
    assert made.collect(3).episodes == []
    (episode,) = made.collect(3).episodes
    assert (episode.length, episode.total) == (5, 15)
    assert episode.info == {'t': 5}


@pytest.mark.parametrize('core', CORES)
def test_learning_sees_what_acting_saw(core):
    """The old mistakes: state lost in time, wrong resets, wrong actions."""
    made = collector([Count(n + 2) for n in range(3)], **CORES[core])
    made.collect(5)
    found = made.collect(7)
    output, _ = made.network.sequence(found.observations[:-1], found.state, found.reset)
    np.testing.assert_allclose(
        output.policy.log_prob(found.actions).array, found.log_probs, atol=1e-5
    )
    np.testing.assert_allclose(output.values.array, found.values[:-1], atol=1e-5)
    after = made.collect(1)
    np.testing.assert_allclose(after.values[0], found.values[-1], atol=1e-6)


@pytest.mark.parametrize('core', CORES)
def test_cut_episodes_are_valued_with_their_memory(core):
    made = collector([Count(3, dies=False), Count(3)], **CORES[core])
    found = made.collect(5)
    seen = np.concatenate([found.observations[:3], found.last[None]])
    output, _ = made.network.sequence(seen, found.state)
    cut = np.zeros((5, 2, 1))
    cut[2, 0] = output.values.array[3, 0]
    np.testing.assert_allclose(found.cut_values, cut, atol=1e-5)


def test_depends_on_generator_and_network_alone():
    made = collector([Cue(2) for _ in range(3)])
    made.collect(7)
    made.start(np.random.default_rng(9))
    first = made.collect(10)
    other = collector([Cue(2) for _ in range(3)], seed=9)
    again = other.collect(10)
    for name in ('observations', 'actions', 'values', 'rewards', 'reset'):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


def test_actions_fill_the_box():
    low, high = np.array([[-1, 0], [2, 10]], np.float32)
    box = gym.spaces.Box(low, high)
    actions = np.array([[-1, -1], [1, 1], [0, 0.5], [-9, 9]])
    np.testing.assert_allclose(
        to_environment(actions, box), [[-1, 0], [2, 10], [0.5, 7.5], [-1, 10]]
    )
    free = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    np.testing.assert_allclose(to_environment(actions, free), actions)
    numbers = np.array([1, 0])
    assert to_environment(numbers, gym.spaces.Discrete(2)) is numbers
