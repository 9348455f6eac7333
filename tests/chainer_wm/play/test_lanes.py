"""Games side by side: an episode does not depend on its neighbours."""

import functools

import chainer
import gym
import numpy as np
import pytest
from gym import spaces
from ppo_case import Count

from chainer_wm.agents import world_model
from chainer_wm.agents.controller import LinearController
from chainer_wm.agents.policies import HeldRandom, Mixed, NoAction, Pacing, RandomActions, Uniform
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.play import collection, evaluation, lanes
from chainer_wm.rollouts import RolloutStore
from chainer_wm.seeds import stream


class Game(gym.Env):
    """Noise pictures; what is left of it falls faster to the left."""

    observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = float(self.np_random.integers(4, 12))
        return self._look(), {}

    def step(self, action):
        self.left -= 1 + max(0.0, -float(np.ravel(action)[0]))
        return self._look(), float(np.ravel(action)[0]), self.left <= 0, False, {}

    def _look(self):
        return self.np_random.integers(0, 256, (64, 64, 3), np.uint8)


def make_agent(core='lstm', crowd=False):
    vision, model = ConvVAE(4), MDNRNN(4, 1, 6, core=core, predict_done=True)
    width = world_model.features_width(model, world_model.FEATURES)
    c = LinearController(width, 1, bias=False, seed=3)
    draw = functools.partial(drawn, c.n_params) if crowd else None
    return world_model.WorldModelAgent(vision, model, c, draw=draw)


def drawn(size, rng):
    return rng.standard_normal(size)


def play(player, numbers, max_steps=None):
    """Number -> (return, all steps), of episodes named by numbers."""
    steps = {}
    rngs = [stream(5, 'game', number) for number in numbers]
    ended = lanes.play(
        lanes.Envs(Game),
        player,
        rngs,
        max_steps,
        lambda number, step: steps.setdefault(number, []).append(step),
    )
    return {numbers[one.number]: (one.total, steps[one.number]) for one in ended}


@pytest.mark.parametrize('core', ['lstm', 'dnc'])
@pytest.mark.parametrize('crowd', [False, True])
def test_an_episode_does_not_depend_on_what_is_played_beside_it(core, crowd):
    player = make_agent(core, crowd)
    together = play(player, list(range(11)))
    assert sorted(together) == list(range(11))
    for number in (0, 4, 10):  # the first lanes, and one that was refilled
        total, steps = play(player, [number])[number]
        assert total == together[number][0]
        for one, other in zip(steps, together[number][1], strict=True):
            np.testing.assert_array_equal(one.observation, other.observation)
            np.testing.assert_array_equal(one.action, other.action)


def test_the_agent_plays_as_it_would_alone():
    """Lane by lane, with one lane: equal to rounding."""
    player, number = make_agent(crowd=True), 3
    total, steps = play(player, [1, 2, number])[number]
    rng, env = stream(5, 'game', number), Game()
    seen, _ = env.reset(seed=int(rng.integers(2**31)))
    state, earned = player.start([rng]), 0.0
    for step in steps:
        np.testing.assert_array_equal(step.observation, seen)
        actions, state = player.act(seen[None], state)
        np.testing.assert_allclose(step.action, actions[0], atol=1e-5)
        seen, reward, over, _, _ = env.step(step.action)
        earned += reward
    assert over and earned == pytest.approx(total)


def test_a_limit_truncates_and_a_death_on_it_terminates():
    player = make_agent()
    lengths = {n: len(steps) for n, (_, steps) in play(player, [1, 2]).items()}
    cut = play(player, [1, 2], max_steps=lengths[1])
    assert cut[1][1][-1].terminated and not cut[1][1][-1].truncated
    cut = play(player, [1, 2], max_steps=2)
    assert all(len(steps) == 2 for _, steps in cut.values())
    assert all(steps[-1].truncated for _, steps in cut.values())


def test_collected_by_a_crowd_whatever_was_there_before(tmp_path):
    def gather(path, episodes):
        store = RolloutStore(path)
        collection.collect(
            store,
            Game,
            functools.partial(make_agent, crowd=True),
            episodes,
            seed=3,
            workers=0,
            progress=False,
        )
        return {e: store.entry(e)['sha256'] for e in store.episodes}

    whole = gather(tmp_path / 'whole', 9)
    gather(tmp_path / 'parts', 2)
    assert gather(tmp_path / 'parts', 9) == whole


def test_keeps_the_last_observation_of_an_episode():
    games = lanes.EnvLanes([Count(2), Count(3)])
    seen = games.reset([0, 1])
    np.testing.assert_array_equal(seen, [[0, 0], [0, 0]])
    games.step(np.zeros(2, int))
    step = games.step(np.zeros(2, int))
    np.testing.assert_array_equal(step.observations, [[0, 2], [0, 2]])
    assert step.terminated.tolist() == [True, False]
    assert step.infos == [{'t': 2}, {'t': 2}]
    np.testing.assert_array_equal(games.restart(0), [1, 0])
    np.testing.assert_array_equal(games.step(np.zeros(2, int)).observations, [[1, 1], [0, 3]])


def test_own_lanes_equal_gyms():
    makers = [functools.partial(Count, 2, n > 0) for n in range(3)]
    own = lanes.as_lanes([make() for make in makers])
    gyms = lanes.as_lanes(gym.vector.SyncVectorEnv(makers))
    np.testing.assert_array_equal(own.reset([1, 2, 3]), gyms.reset([1, 2, 3]))
    kept = []
    for _ in range(5):
        a, b = (games.step(np.zeros(3, int)) for games in (own, gyms))
        for name in ('observations', 'rewards', 'terminated', 'truncated'):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert a.infos == b.infos
        for lane in np.flatnonzero(a.terminated | a.truncated):
            np.testing.assert_array_equal(own.restart(lane), gyms.restart(lane))
        kept.append((b.observations, b.observations.copy()))
    for array, copy in kept:  # nothing is written into later
        np.testing.assert_array_equal(array, copy)


def test_a_lane_rests_until_it_is_restarted():
    games = lanes.EnvLanes([Count(2), Count(9)], max_steps=3)
    games.reset([0, 0])
    for _ in range(4):
        step = games.step(np.zeros(2, int))
    np.testing.assert_array_equal(step.observations, [[0, 2], [0, 3]])
    assert not step.terminated.any() and not step.truncated.any()
    np.testing.assert_array_equal(games.restart(1, 5), [1, 0])
    step = games.step(np.zeros(2, int))
    np.testing.assert_array_equal(step.observations, [[0, 2], [1, 1]])
    np.testing.assert_array_equal(step.rewards, [0, 1])


def test_lanes_that_are_not_begun_need_no_environment():
    games = lanes.EnvLanes([Count(2)], num_envs=3)
    np.testing.assert_array_equal(games.reset([0]), np.zeros((3, 2)))
    assert games.step(np.zeros(3, int)).rewards.tolist() == [1, 0, 0]


def test_a_vector_environment_restarts_at_once_and_without_a_seed():
    games = lanes.as_lanes(gym.vector.SyncVectorEnv([functools.partial(Count, 2)]))
    games.reset([0])
    games.step(np.zeros(1, int))
    with pytest.raises(ValueError, match='begins anew by itself'):
        games.restart(0)
    games.step(np.zeros(1, int))
    with pytest.raises(ValueError, match='takes no seed'):
        games.restart(0, 3)
    with pytest.raises(ValueError, match='max_steps 5'):
        lanes.as_lanes(games.env, max_steps=5)


def test_refuses_lanes_that_do_not_fit():
    with pytest.raises(ValueError, match='at least one'):
        lanes.EnvLanes([])
    with pytest.raises(ValueError, match='differ'):
        lanes.EnvLanes([Count(), Count(shape=(3,))])
    for games in (lanes.EnvLanes([Count()]), lanes.as_lanes(gym.vector.SyncVectorEnv([Count]))):
        with pytest.raises(ValueError, match='2 seeds for 1'):
            games.reset([1, 2])
        games.reset([1])
        with pytest.raises(ValueError, match='2 actions for 1'):
            games.step(np.zeros(2, int))


FIXED = [NoAction(), Uniform(), HeldRandom((2, 9)), Pacing(3)]


@pytest.mark.parametrize('policy', [*FIXED, Mixed(RandomActions(spaces.Discrete(2)), 2, (0, 0.5))])
def test_any_policy_is_refilled_lane_by_lane(policy):
    """The state of each is a nest of lanes, whatever it holds."""

    def play(num_envs):
        rngs = [stream(5, 'refill', number) for number in range(7)]
        played = lanes.play(lanes.Envs(Game), policy, rngs, num_envs=num_envs)
        return {one.number: (one.total, one.length, one.seed) for one in played}

    assert play(1) == play(3) == play(7) == play(9)


def test_a_state_with_another_lane():
    state = lanes.with_lane((1, [2, 3]), 1, ((7,)))
    assert state == (1, 7)
    held = HeldRandom((5, 6))
    rngs = [np.random.default_rng(n) for n in range(4)]
    state = held.start(rngs[:3])
    found = lanes.with_lane(state, 1, held.start(rngs[3:]))
    assert found.rngs == (rngs[0], rngs[3], rngs[2])
    assert found.longest[1] in (5, 6) and state.rngs[1] is rngs[1]
    assert lanes.with_lane(None, 0, None) is None


def test_groups_cover_all_in_order():
    assert lanes.groups([], 2) == []
    assert lanes.groups([3, 5, 8], 2) == [(3, 5), (8,)]
    assert lanes.groups(range(3), 5, most=1) == [(0,), (1,), (2,)]
    # three of 64 would leave one of two workers waiting for the other
    assert [len(group) for group in lanes.groups(range(192), 2, most=64)] == [48] * 4
    found = lanes.groups(range(100), 2, most=32)
    assert [len(group) for group in found] == [25] * 4
    assert sum(found, ()) == tuple(range(100))


def test_an_agent_plays_in_the_dtype_of_the_run_in_any_process():
    def returns(dtype, workers):
        with chainer.using_config('dtype', np.dtype(dtype)):
            return evaluation.evaluate(Game, {'agent': make_agent}, 3, 0, workers=workers)['agent']

    here, there = returns('float64', 0), returns('float64', 1)
    np.testing.assert_array_equal(here, there)
    assert (here != returns('float32', 0)).all()
