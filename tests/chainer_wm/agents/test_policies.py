"""Fixed policies: their distributions, and one generator per lane."""

import json

import numpy as np
import pytest
from gym import spaces

from chainer_wm.agents.policies import (
    HeldRandom,
    Mixed,
    NoAction,
    OneOf,
    Pacing,
    RandomActions,
    Uniform,
    describe,
)
from chainer_wm.seeds import stream

POLICIES = [
    NoAction(),
    Uniform(),
    HeldRandom(),
    HeldRandom((3, 9), action_size=2),
    Pacing(7, action_size=2),
]


def play(policy, seeds, steps):
    """Actions (steps, lanes, A)."""
    state = policy.start([np.random.default_rng(s) for s in seeds])
    observations = np.zeros((len(seeds), 64, 64, 3), np.uint8)
    actions = []
    for _ in range(steps):
        action, state = policy.act(observations, state)
        actions.append(action)
    return np.stack(actions)


@pytest.mark.parametrize('policy', POLICIES)
def test_a_lane_does_not_depend_on_the_others(policy):
    together = play(policy, [1, 2, 3], 40)
    assert together.dtype == np.float32
    assert together.shape == (40, 3, policy.action_size)
    for lane, seed in enumerate([1, 2, 3]):
        np.testing.assert_array_equal(play(policy, [seed], 40)[:, 0], together[:, lane])


@pytest.mark.parametrize('policy', POLICIES)
def test_the_state_goes_in_and_comes_out(policy):
    """Acting from an earlier state does not change what was returned."""
    state = policy.start([np.random.default_rng(0)])
    observation = np.zeros((1, 64, 64, 3), np.uint8)
    first, _ = policy.act(observation, state)
    kept = first.copy()
    policy.act(observation, state)
    np.testing.assert_array_equal(first, kept)


def test_no_action_stands_still():
    assert not play(NoAction(2), [0, 1], 5).any()


def test_uniform_chooses_none_left_and_right_equally():
    actions = play(Uniform(), range(20), 600).ravel()
    values, counts = np.unique(actions, return_counts=True)
    np.testing.assert_array_equal(values, [-1, 0, 1])
    expected = len(actions) / 3
    assert ((counts - expected) ** 2 / expected).sum() < 13.8  # p = 0.001


def test_uniform_draws_anew_at_every_step():
    actions = play(Uniform(), [0], 3000).ravel()
    assert np.mean(actions[1:] == actions[:-1]) == pytest.approx(1 / 3, abs=0.04)


def test_held_random_holds_one_to_ten_steps():
    actions = play(HeldRandom(), range(10), 2000)[..., 0]
    assert actions.min() > -1 and actions.max() < 1
    assert abs(actions.mean()) < 0.05
    lengths = []
    for lane in actions.T:
        ends = np.flatnonzero(np.diff(lane) != 0)
        lengths += list(np.diff(ends))
    values, counts = np.unique(lengths, return_counts=True)
    np.testing.assert_array_equal(values, np.arange(1, 11))
    expected = len(lengths) / 10
    assert ((counts - expected) ** 2 / expected).sum() < 27.9  # p = 0.001


def test_every_episode_draws_one_of_several_limits():
    actions = play(HeldRandom((1, 400)), range(40), 2000)[..., 0]
    changes = (np.diff(actions, axis=0) != 0).sum(axis=0)
    quick = changes > 1900
    assert (changes[~quick] < 60).all() and 5 < quick.sum() < 35


@pytest.mark.parametrize('longest', [(), (10, 0)])
def test_a_hold_of_no_step_is_refused(longest):
    with pytest.raises(ValueError, match='at least 1'):
        HeldRandom(longest)


@pytest.mark.parametrize('policy', POLICIES[1:])
def test_another_batch_than_the_state_s_is_refused(policy):
    state = policy.start([np.random.default_rng(0)])
    with pytest.raises(ValueError, match=r'2 observations.*1 lanes'):
        policy.act(np.zeros((2, 64, 64, 3), np.uint8), state)


def test_random_actions_fill_the_space():
    rngs = [np.random.default_rng(n) for n in range(400)]
    box = spaces.Box(np.float32([-2, 0]), np.float32([2, 1]))
    for space in (spaces.Discrete(3), box):
        player = RandomActions(space)
        actions, _ = player.act(np.zeros((400, 1)), player.start(rngs))
        assert all(space.contains(one) for one in actions)
    assert actions.min(axis=0)[0] < -1.9 and actions.max() > 1.9


def test_a_share_of_actions_is_drawn():
    """Every episode has one share; who has none plays the policy's own."""
    policy = Mixed(NoAction(), 4, (0.0, 0.5))
    actions = play(policy, range(40), 600)[..., 0]
    shares = (actions != 0).mean(axis=0)
    none = shares == 0
    assert 8 < none.sum() < 32
    np.testing.assert_allclose(shares[~none], 0.5 * 3 / 4, atol=0.08)


def test_one_of_several_plays_an_episode_whatever_was_played_before():
    policy = OneOf((lambda: Pacing(2), lambda: Uniform((7.0, 8.0)), NoAction))
    seen = np.zeros((1, 1))
    episodes = []
    for seed in [*range(300), *range(10)]:
        state, actions = policy.start([np.random.default_rng(seed)]), []
        for _ in range(6):
            action, state = policy.act(seen, state)
            actions.append(float(action[0, 0]))
        episodes.append(actions)
    assert episodes[300:] == episodes[:10]
    paced, idle = episodes.count([1, -1, -1, 1, 1, -1]), episodes.count([0] * 6)
    drawn = sum(min(one) >= 7 for one in episodes)
    assert paced + idle + drawn == 310  # nobody hands over to another
    assert min(paced, idle, drawn) > 70
    with pytest.raises(ValueError, match='2 games, but it plays one at a time'):
        policy.start([np.random.default_rng(0)] * 2)


def test_description_for_manifests():
    assert describe(HeldRandom((4,))) == {'name': 'HeldRandom', 'longest': (4,), 'action_size': 1}
    assert describe(object()) == {'name': 'object'}
    json.dumps([describe(policy) for policy in POLICIES])


def test_streams_differ_by_every_argument_and_repeat():
    draws = {
        stream(*arguments).integers(2**62)
        for arguments in [
            (0, 'a'),
            (1, 'a'),
            (0, 'b'),
            (0, 'a', 0),
            (0, 'a', 1),
            (0, 'a', 0, 0),
            (0, 'a', 1, 0),
            (0, 'a', 0, 1),
        ]
    }
    assert len(draws) == 8
    assert stream(3, 'x', 4).random() == stream(3, 'x', 4).random()
    with pytest.raises(ValueError, match='negative'):
        stream(0, 'a', -1)


def test_pacing_turns_at_every_period_after_half_of_one():
    ways = play(Pacing(4), [1], 11)[:, 0, 0]
    np.testing.assert_array_equal(ways, [1, 1] + 4 * [-1] + 4 * [1] + [-1])
    np.testing.assert_array_equal(play(Pacing(1), [1], 3)[:, 0, 0], [1, -1, 1])


def test_pacing_needs_a_period():
    with pytest.raises(ValueError, match='period is 0'):
        Pacing(0)
