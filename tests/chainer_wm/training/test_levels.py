"""Games of several levels: playing, storing, scoring."""

import gym
import numpy as np
import pytest
from lifelong_case import DOWN, RIGHT, Script, game, network, rngs

from chainer_wm.agents.policies import RandomActions
from chainer_wm.agents.ppo.policy import NetworkPolicy
from chainer_wm.envs.grid_navigation import OrderedKeys
from chainer_wm.functions.non_finite import NonFiniteError
from chainer_wm.rollouts import RolloutStore
from chainer_wm.training import levels


def arrays(rollout):
    return (
        rollout.observations,
        rollout.actions,
        rollout.rewards,
        rollout.terminated,
        rollout.truncated,
    )


class TestPlay:
    def test_a_shortest_way(self):
        (found,) = levels.play([game().make(0)], Script(RIGHT, DOWN), rngs(1))
        assert len(found) == found.info['shortest'] == 8
        assert found.terminated[-1] and not found.truncated.any()
        assert found.actions[:2, 0].tolist() == [RIGHT, DOWN]
        assert levels.succeeded(found)
        np.testing.assert_array_equal(found.observations[0], game().make(0).reset(seed=0)[0])

    def test_who_bumps_into_the_edge_runs_out_of_time(self):
        (found,) = levels.play([game().make(0)], Script(0), rngs(1))
        assert len(found) == 20 and found.truncated[-1]
        assert not levels.succeeded(found)

    def test_a_reward_of_nan_is_an_error(self):
        env = gym.wrappers.TransformReward(game().make(0), lambda _: np.nan)
        env.shortest = 8
        with pytest.raises(NonFiniteError, match='nan in step 0.*Script'):
            levels.play([env], Script(0), rngs(1))

    def test_a_mistake_is_no_success(self):
        # the first key out of two is wrong for one of the two orders
        ends = {
            levels.succeeded(one): one
            for one in levels.play(
                [game(OrderedKeys).make(1) for _ in range(8)],
                Script(DOWN, DOWN, DOWN, RIGHT, RIGHT, RIGHT, 0, 0, 0),
                rngs(8),
            )
        }
        assert ends[True].info['shortest'] == len(ends[True]) == 9
        assert ends[False].terminated[-1] and ends[False].rewards[-1] < 0

    def test_lanes_do_not_touch_each_other(self):
        policy = NetworkPolicy(network(), gym.spaces.Discrete(4))
        together = levels.play(
            [game(OrderedKeys).make(1) for _ in range(3)], policy, rngs(3), (0.0, 0.5)
        )
        for lane in range(3):
            (alone,) = levels.play(
                [game(OrderedKeys).make(1)], policy, [rngs(3)[lane]], (0.0, 0.5)
            )
            assert alone.info == together[lane].info
            for one, two in zip(arrays(alone), arrays(together[lane])):
                np.testing.assert_array_equal(one, two)

    def test_exploration_is_the_share_of_other_actions(self):
        found = levels.play([game().make(0) for _ in range(60)], Script(0), rngs(60), (0.4,))
        actions = np.concatenate([one.actions[:, 0] for one in found])
        assert abs((actions != 0).mean() - 0.3) < 0.05  # 0.4 * 3 / 4


def test_collecting_goes_on_where_it_stopped(tmp_path):
    def collect(path, numbers):
        store = RolloutStore(tmp_path / path)
        levels.collect(
            store,
            game(),
            1,
            RandomActions(gym.spaces.Discrete(4)),
            numbers,
            seed=3,
            exploration=(0.0,),
        )
        return store

    whole = collect('whole', range(4))
    broken = collect('broken', range(4))
    damaged = tmp_path / 'broken' / 'episodes/000002.npz'
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.warns(UserWarning, match='episode 2'):
        broken.verify()
    assert broken.missing(4) == [2]
    again = collect('broken', range(4))
    for number in range(4):
        assert again.entry(number)['sha256'] == whole.entry(number)['sha256']
    assert whole.read(0).info['level'] == 1


class TestScore:
    def test_by_hand(self):
        script = Script(RIGHT, DOWN)
        found = levels.score(game(), 0, script, 3, 0)
        assert found == {'success': 1.0, 'steps': 8.0, 'shortest': 8.0, 'return': 2.0}
        lost = levels.score(game(), 0, Script(0), 3, 0)
        assert lost['success'] == 0 and lost['steps'] is None
        assert lost['return'] == -20

    def test_every_level_and_always_the_same(self):
        found = levels.scores(game(), network(), 4, 0)
        assert len(found) == 2
        assert found == levels.scores(game(), network(), 4, 0)


def test_levels_are_scored_on_games_that_nobody_learns_from(tmp_path):
    """Not on a single game of those that are stored."""
    seeds = []

    def make(level):
        env = game().make(level)
        reset = env.reset

        def noted(*, seed=None, options=None):
            seeds.append(seed)
            return reset(seed=seed, options=options)

        env.reset = noted
        return env

    real = levels.Game('tiny', make, 2)
    store = RolloutStore(tmp_path)
    for level in range(2):
        numbers = range(10 * level, 10 * (level + 1))
        dice = RandomActions(gym.spaces.Discrete(4))
        levels.collect(store, real, level, dice, numbers, 3, (0.0,))
    learnt, seeds = set(seeds), []
    stored = {store.read(episode).info['seed'] for episode in store.episodes}
    assert len(learnt) == 20 and stored == learnt
    levels.scores(real, network(), 10, 3)
    assert len(set(seeds)) == 20 and not set(seeds) & learnt
