"""The loop of the lifelong learner: its model, its dreams, its baseline."""

import gym
import numpy as np
import pytest
from lifelong_case import DOWN, RIGHT, Script, game, network, rngs

from chainer_wm.agents.policies import RandomActions
from chainer_wm.agents.ppo.learner import PPO
from chainer_wm.links.pixel_model import PixelModel
from chainer_wm.rollouts.pixel_episodes import PixelEpisodes
from chainer_wm.training import levels, lifelong


def trained(tmp_path, name, updates, stop_at=None):
    """A model trained on two levels, perhaps in two goes."""
    rollouts = [
        one
        for level in range(2)
        for one in levels.play(
            [game().make(level) for _ in range(3)],
            RandomActions(gym.spaces.Discrete(4)),
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
            PixelEpisodes(rollouts, model.palette, model.outcomes),
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
    dream = lifelong.dream_of(
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
    assert {frame.tobytes() for frame in seen} <= {frame.tobytes() for frame in first}
    new = (seen == walls[1]).all(axis=(1, 2, 3)).mean()
    assert 0.25 < new < 0.75
    assert model.outcomes.known == known


def test_dreams_are_curious_until_a_real_episode_succeeds(tmp_path):
    model, _ = trained(tmp_path, 'model', 1)
    way = Script(RIGHT, DOWN)
    lost, won = (levels.play([game().make(1)], player, rngs(1))[0] for player in (Script(0), way))
    older = levels.play([game().make(0)], way, rngs(1))  # a success
    older[0].info['level'] = 0
    for newest, curious in ((lost, True), (won, False)):
        newest.info['level'] = 1
        dream = lifelong.dream_of(
            model,
            [*older, newest],
            lanes=30,
            max_steps=5,
            newest=0.5,
            anywhere=0.0,
            rng=np.random.default_rng(0),
            surprise=7.0,
        )
        seen, _ = dream.reset(seed=0)
        new = (seen == newest.observations[0]).all(axis=(1, 2, 3))
        assert 5 < new.sum() < 25
        _, rewards, _, _, _ = dream.step(np.full(30, DOWN))
        np.testing.assert_array_equal(rewards == 7, new & curious)


def test_a_probe_does_not_teach_the_model_new_outcomes(tmp_path):
    model, _ = trained(tmp_path, 'model', 2)
    model.outcomes.known[:] = [[-7.0, 0.0]]
    found = lifelong.probe_level(model, game(), 0, 2, seed=0)
    assert model.outcomes.known == [[-7.0, 0.0]]
    assert found['outcomes'] == 0


def practice(folder, seed=0):
    return lifelong.RealPractice(
        folder,
        game(),
        network,
        lambda policy: PPO(policy, minibatches=2, epochs=1),
        lanes=2,
        rollout_length=10,
        shape_rewards=lambda rewards: rewards * 0.1,
        episodes=2,
        report_episodes=3,
        seed=seed,
        restart_every=2,
    )


class TestBaseline:
    def test_budgets_are_rounded_up_and_carried_on(self, tmp_path):
        found = practice(tmp_path).same_budget([41, 20])
        assert [row['real_steps'] for row in found] == [60, 20]
        assert [len(row['scores']) for row in found] == [2, 2]
        assert [len(row['reported']) for row in found] == [2, 2]
        assert practice(tmp_path).same_budget([41, 20]) == found  # from disk

    def test_stops_when_solved_or_at_the_limit(self, tmp_path):
        easy = practice(tmp_path / 'easy').until_solved(0.0, 90)
        assert [row['real_steps'] for row in easy] == [40, 40]
        assert all(row['solved'] for row in easy)
        hard = practice(tmp_path / 'hard').until_solved(2.0, 90)
        assert [row['real_steps'] for row in hard] == [80, 80]
        assert not any(row['solved'] for row in hard)

    def test_no_level_learns_with_the_numbers_of_another_seed(self, tmp_path, monkeypatch):
        used = []

        def train(*args, seed, **options):
            used.append(seed)
            raise InterruptedError

        monkeypatch.setattr(lifelong.ppo, 'train', train)
        monkeypatch.setattr(lifelong.ppo, 'load', lambda *args: None)
        for seed in range(4):
            for level in range(2):
                with pytest.raises(InterruptedError):
                    practice(tmp_path, seed).on(level, 1)
        assert len(set(used)) == 8 and not set(used) & set(range(8))
