"""Episodes played side by side, curves by hand, searches resumed."""

import gym
import numpy as np
import pytest
from PIL import Image
from ppo_case import Count, Cue, network
from test_wrappers import _pilot

from chainer_wm import plots
from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.ppo.collect import Collector
from chainer_wm.agents.ppo.policy import NetworkPolicy
from chainer_wm.envs.pixelcopter import PixelCopter
from chainer_wm.play import evaluation
from chainer_wm.runs import pilots, policy_report
from chainer_wm.training import search
from chainer_wm.training.non_finite import NonFiniteError
from chainer_wm.training.watches import EndInfo, Visits


def row(steps, episodes, value, **more):
    return {'steps': steps, 'episodes': episodes, 'return': value, 'entropy': float(steps), **more}


class TestPlay:
    def test_episodes_are_those_that_evaluation_plays(self):
        def make():
            return PixelCopter('state')

        made = network(make())
        player = NetworkPolicy(made, make().action_space)
        found = policy_report.play(player, make, 5, 7, 'test')
        for episode in range(5):
            total, film = evaluation.play(make(), player, 7, 'test', episode, film=True)
            assert found.returns[episode] == total
            assert found.lengths[episode] == len(film.rewards)

    def test_a_reward_of_nan_is_an_error(self):
        def make():
            return gym.wrappers.TransformReward(Count(3), lambda r: r * np.nan)

        player = policy_report.RandomActions(gym.spaces.Discrete(2))
        with pytest.raises(NonFiniteError, match='step 0.*RandomActions'):
            policy_report.play(player, make, 2, 0)

    def test_ends_and_limits(self):
        player = policy_report.RandomActions(gym.spaces.Discrete(2))
        found = policy_report.play(player, lambda: Count(3), 2, 0)
        np.testing.assert_array_equal(found.returns, [6, 6])
        np.testing.assert_array_equal(found.lengths, [3, 3])
        assert found.lasts == [{'t': 3}, {'t': 3}]
        found = policy_report.play(player, lambda: Count(3), 2, 0, max_steps=2)
        np.testing.assert_array_equal(found.returns, [3, 3])

    def test_the_same_episode_in_all_lanes(self):
        player = policy_report.RandomActions(gym.spaces.Discrete(2))

        def play(same):
            return policy_report.play(player, lambda: Cue(1), 12, 0, same=same).returns

        assert len(set(play((1, 2)))) == 1
        assert len(set(play(None))) == 2

    def test_random_actions_fill_the_space(self):
        rngs = [np.random.default_rng(n) for n in range(400)]
        box = gym.spaces.Box(np.float32([-2, 0]), np.float32([2, 1]))
        for space in (gym.spaces.Discrete(3), box):
            player = policy_report.RandomActions(space)
            actions, _ = player.act(np.zeros((400, 1)), player.start(rngs))
            assert all(space.contains(one) for one in actions)
        assert actions.min(axis=0)[0] < -1.9 and actions.max() > 1.9

    def test_film_begins_before_the_first_action(self):
        env = PixelCopter('state', size=48, render_mode='rgb_array')
        player = policy_report.RandomActions(env.action_space)
        frames, total = policy_report.film(player, env, 3)
        played = policy_report.play(player, lambda: PixelCopter('state'), 1, 3)
        assert frames.shape == (played.lengths[0] + 1, 48, 48, 3)
        assert total == played.returns[0]
        cut, _ = policy_report.film(player, env, 3, max_steps=2)
        np.testing.assert_array_equal(cut, frames[:3])


class TestCurves:
    LOG = (row(10, 1, 4.0), row(20, 3, 0.0), row(30, 0, None), row(40, 2, 8.0))

    def test_episodes_weigh_the_same(self):
        steps, means = policy_report.binned(self.LOG, 'return', 2)
        np.testing.assert_array_equal(steps, [20, 40])
        np.testing.assert_array_equal(means, [1, 8])
        _, means = policy_report.binned(self.LOG, 'return')
        np.testing.assert_array_equal(means, [4, 0, np.nan, 8])
        _, means = policy_report.binned(self.LOG, 'entropy', 2)
        np.testing.assert_array_equal(means, [15, 35])

    def test_goal_counts_whole_windows_only(self):
        log = [row(n, 50, value) for n, value in enumerate([9, 1, 5, 9, 0])]
        assert policy_report.reached(log, 5) == 1
        assert policy_report.reached(log, 6) == 3
        assert policy_report.reached(log, 8) is None
        assert policy_report.reached(log[:1], 5) is None
        assert policy_report.reached(log[:1], 5, episodes=50) == 0

    def test_draw_leaves_out_what_never_ended(self, tmp_path):
        log = [row(n, 0, None) for n in range(1, 9)]
        policy_report.draw(tmp_path, log, names=('return', 'entropy'))
        assert [path.name for path in tmp_path.iterdir()] == ['policy_entropy.png']

    def test_seed_curves(self, tmp_path):
        curve = np.arange(5), np.arange(10.0).reshape(2, 5)
        plots.seed_curves(
            tmp_path / 'x.png',
            {'return': {'a': curve, 'b': curve}, 'length': {'a': curve}},
            levels={'return': {'solved': 7.0}},
        )
        with Image.open(tmp_path / 'x.png') as picture:
            assert picture.size[0] > picture.size[1] > 300
        with pytest.raises(ValueError, match=r"'a' has x \(5,\)"):
            plots.seed_curves(tmp_path / 'x.png', {'y': {'a': (curve[0], curve[0])}})

    def test_visit_maps(self, tmp_path):
        counts = np.array([[0, 1, 5], [2, 1000, 0]])
        path = tmp_path / 'x.png'
        plots.visit_maps(path, {'a': counts, 'b': 0 * counts}, {'S': (0, 1)})
        with Image.open(path) as picture:
            assert np.asarray(picture.convert('L')).std() > 5
        with pytest.raises(ValueError, match='one'):
            plots.visit_maps(path, {'a': counts, 'b': counts[:1]})


class TestWatches:
    def test_visits_are_what_steps_led_to(self):
        class Walk(Count):
            """Walks along 4 cells, and dies on the last one."""

            def __init__(self):
                super().__init__(3, shape=(4,))

            def _see(self):
                return np.eye(4, dtype=np.float32)[self.t]

        made = Collector(network(Walk()), [Walk(), Walk()])
        made.start(np.random.default_rng(0))
        visits = Visits(4)
        assert visits.see(made.collect(2)) == {'states': 2}
        assert visits.see(made.collect(4)) == {'states': 3}
        np.testing.assert_array_equal(visits.counts, [0, 4, 4, 4])
        with pytest.raises(ValueError, match='one-hot'):
            Visits(5).see(made.collect(1))

    def test_infos_of_ends(self):
        made = Collector(network(Count(3)), [Count(3), Count(2)])
        made.start(np.random.default_rng(0))
        watch = EndInfo('t')
        assert watch.see(made.collect(1)) == {'episode_t': None}
        assert watch.see(made.collect(2)) == {'episode_t': 2.5}


class TestSearch:
    def test_pilot_by_hand(self):
        pilot = pilots.LinearPilot(np.array([1.0, -2.0, 0.5]))
        seen = np.float32([[0, 0], [0, 1], [2, 1], [1.4, 1]])
        actions, _ = pilot.act(seen, pilot.start([None] * 4))
        assert actions.tolist() == [1, 0, 1, 0]
        assert pilots.LinearPilot.size(2) == 3

    def test_pilots_meet_the_same_games(self):
        rng = np.random.default_rng(0)
        candidates = rng.normal(size=(6, 8))
        candidates[3] = candidates[0]

        def make():
            return PixelCopter('state')

        found, steps = pilots.score_pilots(candidates, make, 3, 1, 4)
        assert found.shape == (6,) and found[3] == found[0]
        each = [pilots.score_pilots(one[None], make, 3, 1, 4) for one in candidates]
        assert [one.fitness[0] for one in each] == found.tolist()
        assert sum(one.steps for one in each) == steps >= 6 * 3

    def test_interrupted_search_goes_on_to_the_same_numbers(self, tmp_path):
        def run(name, generations):
            return search.search(
                tmp_path / name,
                CMAES(np.ones(3), 0.5, 6, seed=2),
                lambda candidates, number: search.Scored(
                    -((candidates - number) ** 2).sum(axis=1), number + 1
                ),
                generations=generations,
            )

        whole = run('whole', 6)
        run('parts', 2)
        parts = run('parts', 6)
        np.testing.assert_array_equal(whole.theta, parts.theta)
        assert whole.log == parts.log
        assert [r['generation'] for r in whole.log] == [1, 2, 3, 4, 5, 6]
        assert [r['steps'] for r in whole.log] == [1, 3, 6, 10, 15, 21]


def test_a_pilot_that_looks_ahead_passes_blocks():
    """The game can be flown on the seven numbers: the tests need it to."""
    env = PixelCopter('state')
    lengths = []
    for seed in range(5):
        seen, _ = env.reset(seed=seed)
        over, steps = False, 0
        while not over and steps < 400:
            seen, _, over, _, _ = env.step(_pilot(seen))
            steps += 1
        lengths.append(steps)
    assert max(lengths) > 100
