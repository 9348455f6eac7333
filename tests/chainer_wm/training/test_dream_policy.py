"""A policy of PPO in a dream: what it is paid, what it is folded into, resumed."""

import json

import chainer
import gym
import numpy as np
import pytest

from chainer_wm.agents.controller import CHOICES, Controller
from chainer_wm.agents.ppo.learner import PPO
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.dream.gym_envs import ChoiceVectorEnv
from chainer_wm.dream.simulator import Dream
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.training import dream_policy

Z, H = 3, 5
FEATURES = ('z', 'h')
UNIT = np.linspace(0.5, 3, Z + H)
DTYPES = pytest.mark.parametrize('dtype', [np.float32, np.float64])


def make_dream(dtype=np.float32, bias=-1.0, **options):
    with chainer.using_config('dtype', dtype):
        model = MDNRNN(Z, 1, H, predict_done=True, seed=1)
    model.head.b.array[-1] = bias
    starts = np.zeros((4, Z)), np.zeros((4, Z))
    return Dream(model, starts, **{'max_steps': 6, **options})


def make_env(dtype=np.float32, lanes=4, rewards=(0.0, -1.0), **options):
    return ChoiceVectorEnv(make_dream(dtype, **options), lanes, FEATURES, CHOICES, UNIT, *rewards)


def make_network(hidden=(), dtype=np.float32):
    with chainer.using_config('dtype', dtype):
        return ActorCritic(
            *((Z + H,), gym.spaces.Discrete(3)),
            hidden=hidden,
            separate=True,
            value_hidden=(7,),
            seed=2,
        )


@DTYPES
def test_choices_are_what_m_is_given_and_features_come_in_their_units(dtype):
    env, dream = make_env(dtype, bias=-50), make_dream(dtype, bias=-50)
    dream.reset(4, np.random.default_rng([7, 8, 9, 10]))
    seen, _ = env.reset(seed=[7, 8, 9, 10])
    assert seen.shape == (4, Z + H) and seen.dtype == dtype
    np.testing.assert_allclose(seen * UNIT, dream.observe(FEATURES), 1e-5, 1e-6)
    chosen = np.array([0, 1, 2, 1])
    seen, rewards, *_ = env.step(chosen)
    dream.step(np.array([[0.0], [-1.0], [1.0], [-1.0]]))
    np.testing.assert_allclose(seen * UNIT, dream.observe(FEATURES), 1e-5, 1e-6)
    assert rewards.tolist() == [0] * 4


@pytest.mark.parametrize('rewards', [(0.0, -1.0), (1.0, 0.0)])
def test_deaths_cost_and_cuts_do_not(rewards):
    ends = np.zeros(2, int)
    for bias in (50, -50):
        env = make_env(bias=bias, rewards=rewards, max_steps=2)
        env.reset(seed=0)
        for _ in range(4):
            seen, paid, terminated, truncated, infos = env.step(np.zeros(4, int))
            ends += terminated.sum(), truncated.sum()
            np.testing.assert_array_equal(paid, rewards[0] + rewards[1] * terminated)
            for lane in np.flatnonzero(terminated | truncated):
                last = infos['final_observation'][lane]
                assert last.shape == (Z + H,) and not np.allclose(last, seen[lane])
    assert ends.tolist() == [16, 8]


@DTYPES
@pytest.mark.parametrize('hidden', [(), (4,), (4, 6)])
def test_a_policy_is_folded_into_a_controller(hidden, dtype):
    network = make_network(hidden, dtype)
    rng = np.random.default_rng(0)
    for parameter in network.params():
        parameter.array[...] = rng.standard_normal(parameter.shape)
    with chainer.using_config('dtype', dtype):
        controller = Controller((Z + H, *hidden, 3), actions='likeliest')
    controller.set_theta(dream_policy.folded(network, UNIT))
    features = rng.standard_normal((200, Z + H)).astype(dtype)
    output, _ = network.step((features / UNIT).astype(dtype), network.initial_state(200))
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    logits = output.policy.logits.array
    np.testing.assert_allclose(controller(features).array, logits, tolerance, tolerance)
    wanted = np.array(CHOICES)[logits.argmax(axis=1)]
    found = controller.act(features)
    assert found.dtype == dtype and set(found.ravel()) == {-1, 0, 1}
    close = np.sort(logits, axis=1)[:, -1] - np.sort(logits, axis=1)[:, -2] < 1e-3
    np.testing.assert_array_equal(found[~close], wanted[~close])


def test_a_memory_cannot_be_folded():
    network = ActorCritic((Z + H,), gym.spaces.Discrete(3), core='lstm', core_size=3)
    with pytest.raises(ValueError, match='only a policy of linear layers'):
        dream_policy.folded(network, UNIT)


def learn(folder, updates, scored=None, **options):
    network = make_network((4,))
    learner = PPO(network, learning_rate=1e-2, epochs=1, minibatches=2)
    controller = Controller((Z + H, 4, 3), actions='likeliest')

    def evaluate(theta, update):
        if scored is not None:
            scored.append((update, theta))
        return {'mean': float(theta[0]), 'std': 0.0, 'episodes': 1}

    return dream_policy.train(
        folder,
        learner,
        make_env(),
        controller,
        UNIT,
        updates=updates,
        evaluate=evaluate,
        evaluate_every=4,
        rollout_length=5,
        seed=3,
        restart_every=2,
        snapshot_seconds=0.0,
        **options,
    )


@pytest.mark.parametrize('stop', [3, 4, 6, 7])  # 4 is where it is scored, 6 where dreams restart
def test_continued_is_unbroken(stop, tmp_path):
    whole = learn(tmp_path / 'whole', 9)
    learn(tmp_path / 'parts', stop)
    parts = learn(tmp_path / 'parts', 9)
    np.testing.assert_array_equal(parts.theta, whole.theta)
    assert parts.history == whole.history
    kept = [row for row in parts.evaluations if row['generation'] in (4, 8, 9)]
    assert kept == whole.evaluations
    table = json.loads((tmp_path / 'parts/history.json').read_text())
    assert table['evaluations'] == parts.evaluations


def test_how_long_dreams_last_counts_each_that_ended_in_a_period_once():
    ended = [(None, 0), (10.0, 2), (40.0, 1), (100.0, 3), (None, 0), (None, 0)]
    log = [{'update': n, 'length': x, 'episodes': k} for n, (x, k) in enumerate(ended, 1)]
    found = dream_policy.lasting(log, restart_every=2)
    means = {row['generation']: row['mean'] for row in found}
    assert means == {2: 10.0, 3: pytest.approx(20.0), 4: pytest.approx(85.0), 5: 100.0}


def test_killed_between_two_updates_is_unbroken(tmp_path, monkeypatch):
    whole = learn(tmp_path / 'whole', 9)
    update, calls = PPO.update, []

    def dies(self, *arguments):
        calls.append(1)
        if len(calls) in (4, 9):
            raise KeyboardInterrupt
        return update(self, *arguments)

    monkeypatch.setattr(PPO, 'update', dies)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            learn(tmp_path / 'parts', 9)
    parts = learn(tmp_path / 'parts', 9)
    np.testing.assert_array_equal(parts.theta, whole.theta)
    assert parts[1:] == whole[1:]


def test_the_policy_that_scores_best_may_be_kept(tmp_path):
    scored = []
    found = learn(tmp_path, 9, scored, choose='game')
    assert [update for update, _ in scored] == [4, 8, 9]
    update, theta = max(scored, key=lambda one: one[1][0])
    assert found.generation == update
    np.testing.assert_array_equal(found.theta, theta)
    again = learn(tmp_path, 9, scored, choose='game')
    assert len(scored) == 3 and again.generation == update


def test_a_choice_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match='choose is'):
        learn(tmp_path, 1, choose='best')
