"""What is learnt from, what chooses and what is reported share no episode."""

import functools
import types
from unittest import mock

import gym
import numpy as np
import pytest

from chainer_wm.agents.controller import LinearController
from chainer_wm.agents.policies import Uniform
from chainer_wm.files.archives import save_link
from chainer_wm.rollouts import Rollout, RolloutStore
from chainer_wm.rollouts.latents import LatentWriter
from chainer_wm.runs import figures, report, run_folder
from chainer_wm.training import evolution, mdn_rnn, vae
from experiments import doom_take_cover as take_cover
from experiments import pendulum_swing_up as swing_up

EPISODES, STEPS = 20, 4
SMALL = {'seed': 3, 'model_batch': 2, 'window': 2, 'hidden_size': 4}


def record(folder, codes, latents, episodes=EPISODES):
    """Short episodes, and their codes."""
    store = RolloutStore(folder / 'rollouts')
    rng = np.random.default_rng(0)
    with LatentWriter(codes, latents, 1, {'vision': 'v'}) as writer:
        for episode in range(episodes):
            actions = np.zeros((STEPS, 1), np.float32)
            frames = np.full((STEPS, 64, 64, 3), episode, np.uint8)
            ends = np.zeros((2, STEPS), bool)
            ends[0, -1] = True
            rewards = np.zeros(STEPS, np.float32)
            store.add(episode, Rollout(frames, actions, rewards, *ends))
            mu = rng.normal(size=(STEPS, latents))
            writer.add(episode, mu, mu * 0 - 5, actions, True)
        writer.finish()


@pytest.fixture
def seen(monkeypatch):
    """Which episodes V and M are given, by what for."""
    seen = {}

    def numbers(sequences):
        return sequences.latents.episodes[sequences.positions].tolist()

    def train_vision(folder, store, network, *, episodes, **options):
        seen['v'] = [episode for _, episode in episodes]

    def train_model(folder, network, sequences, held_out, **options):
        seen['m'] = numbers(sequences)
        seen['m, held out'] = numbers(held_out)
        save_link(folder / 'model.npz', network)
        return []

    def draw_vision(folder, log, network, store, episodes):
        seen['v, held out'] = [episode for _, episode in episodes]

    monkeypatch.setattr(vae, 'train', train_vision)
    monkeypatch.setattr(vae, 'measure', lambda *_: {})
    monkeypatch.setattr(figures, 'draw_vision', draw_vision)
    monkeypatch.setattr(mdn_rnn, 'train', train_model)
    monkeypatch.setattr(figures, 'draw_foresight', lambda *_: None)
    return seen


def check(seen, held_out):
    """V and M learn from the same episodes, and are judged by the others."""
    for name in 'v', 'm':
        learnt, judged = seen[name], seen[f'{name}, held out']
        assert len(judged) == held_out and not set(learnt) & set(judged)
        assert sorted(learnt + judged) == list(range(EPISODES))
    assert sorted(seen['v']) == sorted(seen['m'])


def test_take_covers_v_and_m_never_see_the_held_out_episodes(tmp_path, seen):
    run = run_folder.Run(tmp_path / 'run', {})
    config = take_cover.Config(latent_size=3, held_out=0.25, **SMALL)
    record(run.folder, take_cover.saved_agent(config, run).codes_of(0), 3)
    take_cover.train_vision(config, run)
    take_cover.train_model(config, run)
    run.close()
    check(seen, EPISODES // 4)


def test_pendulums_v_and_m_never_see_the_held_out_episodes(tmp_path, seen):
    run = run_folder.Run(tmp_path / 'run', {})
    config = swing_up.Config(latent_size=3, **SMALL)
    record(run.folder, swing_up.saved_agent(config, run, 0).codes_of(0), 3)
    swing_up.train_vision(config, run, 0)
    swing_up.train_model(config, run, 0)
    run.close()
    check(seen, EPISODES // 10)


class Game(gym.Env):
    """One step long; notes the seeds of its episodes."""

    observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, seeds):
        self.seeds = seeds

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        return np.zeros((64, 64, 3), np.uint8), {}

    def step(self, action):
        return np.zeros((64, 64, 3), np.uint8), 1.0, True, False, {}


def test_take_covers_candidates_are_chosen_by_other_games_than_reported(tmp_path, monkeypatch):
    seeds = {'choose': [], 'report': []}
    found = mock.MagicMock()
    found.new_controller.return_value = LinearController(3, 1, bias=False)
    found.agent_maker.return_value = Uniform
    found.controller_path = tmp_path / 'controller.npz'
    found.at.return_value = found

    def evolve(*_, evaluate, **options):
        evaluate(np.zeros(3), 5)
        return types.SimpleNamespace(
            theta=np.zeros(3), generation=5, history=[{'mean': 0.0}], evaluations=[]
        )

    monkeypatch.setattr(evolution, 'evolve', evolve)
    monkeypatch.setattr(take_cover, 'saved_agent', lambda *_: found)
    for name in ('compared', 'inherited'):
        monkeypatch.setattr(take_cover, name, lambda *_: {})
    found.model.return_value.count_params.return_value = 7
    for name in ('score_in_dream', 'compare', 'ages', 'compare_ages'):
        monkeypatch.setattr(report, name, lambda *_: {})
    for name in ('draw_scores', 'draw_films'):
        monkeypatch.setattr(figures, name, lambda *_, **__: {})
    config = take_cover.Config(seed=3, workers=0, evaluate_episodes=9, test_episodes=7)
    run = run_folder.Run(tmp_path / 'run', {})
    for name, stage in (('choose', take_cover.train_controller), ('report', take_cover.evaluate)):
        game = functools.partial(Game, seeds[name])
        monkeypatch.setattr(take_cover, 'make_env', lambda _, game=game: game)
        stage(config, run)
    run.close()
    chosen, reported = map(set, seeds.values())
    assert len(chosen) == 9 and len(reported) == 7
    assert not chosen & reported
