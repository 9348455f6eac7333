"""Controls: features of an untrained M, searches resumed and scored."""

import dataclasses
import functools

import gym
import numpy as np
import pytest

from chainer_wm.agents.saved import SavedAgent
from chainer_wm.runs.dream_settings import DreamConfig
from chainer_wm.runs.run_folder import Run
from experiments import doom_take_cover_controls as controls
from experiments.doom_take_cover_controls import Config, Control
from tests.chainer_wm.saved_agent_case import make_model, make_saved

CONFIG = Config(
    seed=4,
    workers=0,
    population=4,
    dreams=2,
    generations=3,
    sigma=0.5,
    max_steps=12,
    test_episodes=2,
)


class Game(gym.Env):
    """Three grey pictures, one point each."""

    observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 3
        return np.full((64, 64, 3), 99, np.uint8), {}

    def step(self, action):
        self.left -= 1
        return np.full((64, 64, 3), 99, np.uint8), 1.0, self.left == 0, False, {}


@pytest.fixture
def saved(tmp_path, request):
    return make_saved(tmp_path, getattr(request, 'param', 'lstm'))


@pytest.mark.parametrize('saved', ['lstm', 'dnc'], indirect=True)
def test_first_weights_are_those_before_training(saved):
    fresh = controls.first_weights(saved.model())
    core = saved.model().config['core']
    for name, parameter in fresh.namedparams():
        expected = dict(make_model(core).namedparams())[name]
        np.testing.assert_array_equal(parameter.array, expected.array)


@pytest.mark.parametrize(
    'control',
    [
        Control('tau', (0.5, 1.5), ('z', 'c', 'h')),
        Control('z', (1.15,), ('z',)),
        Control('untrained', (1.15,), ('z', 'c', 'h'), untrained=True),
        Control('separable', (1.15,), ('z', 'c', 'h'), separable=True),
    ],
    ids=lambda control: control.name,
)
def test_a_control_is_evolved_resumed_and_scored(control, saved, tmp_path):
    def evolve(folder, generations):
        config = dataclasses.replace(CONFIG, generations=generations)
        settings = control.settings(DreamConfig(), config)
        dream = controls.dream_of(control, saved, settings)
        found = controls.learn(tmp_path / folder, control, saved, dream, settings)
        return found.theta, dream

    theta, dream = evolve('whole', 3)
    evolve('parts', 1)
    np.testing.assert_array_equal(evolve('parts', 3)[0], theta)
    found = controls.score(control, saved, dream, theta, Game, CONFIG)
    assert found['dream']['agent']['mean'] == CONFIG.max_steps
    assert set(found['dream']) == {'agent', 'random'}
    assert found['game']['episodes'] == 2


TAU, USUAL = (1.0,), ('z', 'c', 'h')


@pytest.mark.parametrize('saved', ['lstm', 'dnc'], indirect=True)
@pytest.mark.parametrize(
    'control',
    [
        Control('untrained', TAU, USUAL, untrained=True),
        Control('starts-first', TAU, USUAL, changed={'dream_starts': 'first'}),
        Control('hidden', TAU, ('z', 'h'), changed={'hidden_units': (4, 3)}),
    ],
    ids=lambda control: control.name,
)
def test_a_control_of_a_policy_learns_is_resumed_and_scored(control, saved, tmp_path):
    saved = dataclasses.replace(saved, bias=True, actions='likeliest')
    base = DreamConfig(
        learner='ppo',
        dream_starts='anywhere',
        dream_cut=5,
        place_every=2,
        lanes=4,
        rollout_length=5,
        restart_every=1,
        minibatches=2,
        value_hidden=(3,),
    )

    def learn(folder, updates):
        settings = control.settings(base, dataclasses.replace(CONFIG, updates=updates))
        dream = controls.dream_of(control, saved, settings)
        assert (dream.places is None) == (control.name == 'starts-first')
        found = controls.learn(tmp_path / folder, control, saved, dream, settings)
        return found.theta, settings

    theta, settings = learn('whole', 3)
    learn('parts', 1)
    np.testing.assert_array_equal(learn('parts', 3)[0], theta)
    dream = controls.dream_of(control, saved, controls.whole(settings))
    found = controls.score(control, saved, dream, theta, Game, CONFIG)
    assert found['dream']['agent']['mean'] == CONFIG.max_steps  # nobody dies in this M
    assert found['game']['episodes'] == 2


def test_the_table_of_temperatures_is_drawn_before_random_play_was_scored(tmp_path):
    run = Run(tmp_path, {})
    score = {'mean': 3.0, 'std': 1.0, 'episodes': 2}
    run.add_results(cells={'tau-1.00': {'dream': {'agent': score}, 'game': score}})
    controls.draw(CONFIG, run)
    run.close()
    assert (tmp_path / 'figures' / 'temperatures.png').exists()


def test_controls_of_a_policy_by_their_kinds(tmp_path):
    settings = DreamConfig(learner='ppo', dream_starts='anywhere', model='dnc', hidden_units=(8,))
    base = controls.Base(dataclasses.asdict(settings), SavedAgent(tmp_path))
    config = Config(kinds=controls.KINDS + controls.MORE_KINDS, temperatures=(), mixed=())
    names = [control.name for control in controls.controls_of(config, base)]
    assert names == [
        *('z', 'reads', 'untrained', 'starts-first', 'threshold-0.50', 'linear', 'no-agents')
    ]
    changed = controls.controls_of(dataclasses.replace(config, kinds=('hidden',)), base)[0]
    assert changed.settings(settings, config).hidden_units == ()
    assert controls.seen_by(changed, base.saved).hidden_units == ()


def test_the_agent_of_the_untrained_control_sees_first_weights(saved):
    theta = np.ones(13)
    control = functools.partial(Control, 'x', (1.15,), ('z', 'c', 'h'))
    trained, fresh = (
        controls.agent_maker(control(untrained=untrained), saved, theta)()
        for untrained in (False, True)
    )
    np.testing.assert_array_equal(fresh.model.core.W.array, make_model().core.W.array)
    assert not np.allclose(trained.model.core.W.array, fresh.model.core.W.array)
