"""The loop of the lifelong learner: playing, scoring, tables, comparison."""

import functools

import gym
import numpy as np
import pytest
from PIL import Image

from chainer_wm import files
from chainer_wm.envs.grid_navigation import GridNavigation, OrderedKeys
from chainer_wm.pixel_model import Episodes, PixelModel
from chainer_wm.plots.matrices import share_matrices
from chainer_wm.ppo import PPO, ActorCritic, NetworkPolicy
from chainer_wm.rollouts import RolloutStore
from chainer_wm.stages import levels, lifelong, lifelong_compare
from chainer_wm.stages.lifelong_baseline import RealPractice
from chainer_wm.stages.lifelong_summary import after_levels, tables
from chainer_wm.streams import stream

RIGHT, DOWN = 3, 1


class Script:
    """Plays these actions, whatever it sees."""

    def __init__(self, *actions):
        self.actions = actions

    def start(self, rngs):
        return 0

    def act(self, observations, state):
        chosen = self.actions[state % len(self.actions)]
        return np.full(len(observations), chosen), state + 1


def game(kind=GridNavigation, count=2):
    make = functools.partial(kind, resolution=10, max_steps=20)
    return levels.Game('tiny', make, count)


def network(seed=0):
    return ActorCritic(
        (10, 10, 3), gym.spaces.Discrete(4), hidden=(8,), seed=seed
    )


def rngs(count, purpose='test'):
    return [stream(0, purpose, n) for n in range(count)]


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
        np.testing.assert_array_equal(
            found.observations[0], game().make(0).reset(seed=0)[0]
        )

    def test_who_bumps_into_the_edge_runs_out_of_time(self):
        (found,) = levels.play([game().make(0)], Script(0), rngs(1))
        assert len(found) == 20 and found.truncated[-1]
        assert not levels.succeeded(found)

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
            [game(OrderedKeys).make(1) for _ in range(3)],
            policy,
            rngs(3),
            (0.0, 0.5),
        )
        for lane in range(3):
            (alone,) = levels.play(
                [game(OrderedKeys).make(1)],
                policy,
                [rngs(3)[lane]],
                (0.0, 0.5),
            )
            assert alone.info == together[lane].info
            for one, two in zip(arrays(alone), arrays(together[lane])):
                np.testing.assert_array_equal(one, two)

    def test_exploration_is_the_share_of_other_actions(self):
        found = levels.play(
            [game().make(0) for _ in range(60)], Script(0), rngs(60), (0.4,)
        )
        actions = np.concatenate([one.actions[:, 0] for one in found])
        assert abs((actions != 0).mean() - 0.3) < 0.05  # 0.4 * 3 / 4


def test_collecting_goes_on_where_it_stopped(tmp_path):
    def collect(path, numbers):
        store = RolloutStore(tmp_path / path)
        levels.collect(
            store,
            game(),
            1,
            levels.RandomPolicy(),
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
        assert found == {
            'success': 1.0,
            'steps': 8.0,
            'shortest': 8.0,
            'return': 2.0,
        }
        lost = levels.score(game(), 0, Script(0), 3, 0)
        assert lost['success'] == 0 and lost['steps'] is None
        assert lost['return'] == -20

    def test_every_level_and_always_the_same(self):
        found = levels.scores(game(), network(), 4, 0)
        assert len(found) == 2
        assert found == levels.scores(game(), network(), 4, 0)


def trained(tmp_path, name, updates, stop_at=None):
    """A model trained on two levels, perhaps in two goes."""
    rollouts = [
        one
        for level in range(2)
        for one in levels.play(
            [game().make(level) for _ in range(3)],
            levels.RandomPolicy(),
            rngs(3, f'level {level}'),
        )
    ]
    for goal in filter(None, (stop_at, updates)):
        model = PixelModel(10, 10, 4, encoded=8, hidden_size=8, decoded=16)
        for one in rollouts:
            model.palette.learn(one.observations)
            model.outcomes.learn(one.rewards, one.terminated)
        lifelong.train_model(
            tmp_path / name,
            model,
            Episodes(rollouts, model.palette, model.outcomes),
            updates=goal,
            lanes=2,
            steps=20,
            learning_rate=1e-2,
            seed=0,
        )
    return model, rollouts


def test_interrupted_training_of_the_model_is_the_unbroken_one(tmp_path):
    whole, _ = trained(tmp_path, 'whole', 6)
    broken, _ = trained(tmp_path, 'broken', 6, stop_at=4)
    for one, two in zip(whole.params(), broken.params()):
        np.testing.assert_array_equal(one.array, two.array)


def test_probe_and_simulation(tmp_path):
    model, rollouts = trained(tmp_path, 'model', 60)
    found = lifelong.probe_level(model, game(), 0, 4, seed=0)
    assert 0 <= found['pictures'] <= 1
    assert found['outcomes'] > 0.8
    known = [list(one) for one in model.outcomes.known]
    for one in rollouts:
        one.info['level'] = 0
    rollouts[-1].info['level'] = 1
    dream = lifelong.simulation(
        model,
        rollouts,
        lanes=40,
        max_steps=5,
        newest=0.5,
        anywhere=0.0,
        rng=np.random.default_rng(0),
    )
    seen, _ = dream.reset(seed=0)
    first = np.stack([one.observations[0] for one in rollouts])
    walls = [game().make(level).reset(seed=0)[0] for level in (0, 1)]
    assert {frame.tobytes() for frame in seen} <= {
        frame.tobytes() for frame in first
    }
    new = (seen == walls[1]).all(axis=(1, 2, 3)).mean()
    assert 0.25 < new < 0.75
    assert model.outcomes.known == known


def test_a_probe_does_not_teach_the_model_new_outcomes(tmp_path):
    model, _ = trained(tmp_path, 'model', 2)
    model.outcomes.known[:] = [[-7.0, 0.0]]
    found = lifelong.probe_level(model, game(), 0, 2, seed=0)
    assert model.outcomes.known == [[-7.0, 0.0]]
    assert found['outcomes'] == 0


def practice(folder):
    return RealPractice(
        folder,
        game(),
        network,
        lambda policy: PPO(policy, minibatches=2, epochs=1),
        lanes=2,
        rollout_length=10,
        shape_rewards=lambda rewards: rewards * 0.1,
        episodes=2,
        seed=0,
        restart_every=2,
    )


class TestBaseline:
    def test_budgets_are_rounded_up_and_carried_on(self, tmp_path):
        found = practice(tmp_path).same_budget([41, 20])
        assert [row['real_steps'] for row in found] == [60, 20]
        assert [len(row['scores']) for row in found] == [2, 2]
        assert practice(tmp_path).same_budget([41, 20]) == found  # from disk

    def test_stops_when_solved_or_at_the_limit(self, tmp_path):
        easy = practice(tmp_path / 'easy').until_solved(0.0, 90)
        assert [row['real_steps'] for row in easy] == [40, 40]
        assert all(row['solved'] for row in easy)
        hard = practice(tmp_path / 'hard').until_solved(2.0, 90)
        assert [row['real_steps'] for row in hard] == [80, 80]
        assert not any(row['solved'] for row in hard)


def score(success, steps=10.0):
    return {
        'success': success,
        'steps': steps,
        'shortest': 8.0,
        'return': 0.0,
    }


def finished(tmp_path, seed, model, kept=0.5):
    """A run's folder as the script leaves it, two levels, two iterations."""
    folder = tmp_path / f'{model}-{seed}'
    steps = iter((100, 250, 300, 450))
    success = iter(([0.5, 0], [0.9, 0], [1, 0.2], [kept, 1.0]))
    for level in range(2):
        for iteration in range(2):
            files.write_json(
                folder / f'level-{level}/iteration-{iteration}/scores.json',
                {
                    'level': level,
                    'iteration': iteration,
                    'real_steps': next(steps),
                    'scores': [score(share) for share in next(success)],
                    'probes': [{'pictures': 0.75}] * (level + 1),
                },
            )
    ppo = [
        {'level': n, 'real_steps': 512, 'scores': [score(0.3)] * 2}
        for n in range(2)
    ]
    files.write_json(
        folder / 'results.json',
        {
            'run': folder.name,
            'seed': seed,
            'config': {'env': 'navigation', 'model': model, 'lanes': 4},
            'versions': {},
            'seconds': {},
            'random': [score(0.1)] * 2,
            'same_budget': ppo,
            'until_solved': [
                row | {'solved': n == 0} for n, row in enumerate(ppo)
            ],
            **tables(folder, 0.9),
        },
    )
    return folder


class TestSummary:
    def test_by_hand(self, tmp_path):
        found = files.read_json(finished(tmp_path, 0, 'dnc') / 'results.json')
        assert [row['real_steps'] for row in found['levels']] == [250, 200]
        assert [row['solved_after'] for row in found['levels']] == [250, 200]
        assert found['retention'] == [[0.9, 0], [0.5, 1.0]]
        assert found['model_retention'] == [[0.75, None], [0.75, 0.75]]
        assert found['levels'][0]['kept']['success'] == 0.5
        assert [
            row['iteration'] for row in after_levels(found['iterations'])
        ] == [1, 1]

    def test_seeds_and_models_side_by_side(self, tmp_path):
        folders = [
            finished(tmp_path, seed, model, kept)
            for seed, model, kept in (
                (0, 'dnc', 0.5),
                (1, 'dnc', 0.7),
                (0, 'lstm', 0.1),
            )
        ]
        names = [folder.name for folder in folders]
        lifelong_compare.compare(tmp_path, names, tmp_path / 'results')
        found = files.read_json(tmp_path / 'results/navigation.json')['table']
        assert found['dnc'][0]['kept'] == [0.5, 0.7]
        assert found['lstm'][0]['kept'] == [0.1]
        assert found['lstm'][1]['solved_after'] == [200]
        assert found['until_solved'][0]['solved_after'] == [512, 512]
        assert found['until_solved'][1]['solved_after'] == [None, None]
        assert found['random'][0]['learnt'] == [0.1, 0.1]
        assert found['dnc'][1]['excess'] == [1.25, 1.25]
        for name in ('levels', 'retention', 'learning'):
            path = tmp_path / f'results/navigation_{name}.png'
            with Image.open(path) as picture:
                assert np.asarray(picture.convert('L')).std() > 5

    def test_mixed_or_unfinished_runs_are_refused(self, tmp_path):
        good = finished(tmp_path, 0, 'dnc')
        with pytest.raises(ValueError, match='complete'):
            lifelong_compare.compare(tmp_path, [good.name, 'x'], tmp_path)
        other = finished(tmp_path, 1, 'dnc')
        found = files.read_json(other / 'results.json')
        found['config']['lanes'] = 5
        files.write_json(other / 'results.json', found)
        with pytest.raises(ValueError, match='lanes is 4.* 5'):
            lifelong_compare.compare(
                tmp_path, [good.name, other.name], tmp_path
            )


def test_matrices_of_different_shapes_are_refused(tmp_path):
    with pytest.raises(ValueError, match='shapes'):
        share_matrices(
            tmp_path / 'x.png', {'a': np.zeros((2, 2)), 'b': np.zeros((3, 2))}
        )
