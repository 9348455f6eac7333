"""The agent: C sees what M held before the step; sizes must fit."""

import chainer
import numpy as np
import pytest

from chainer_wm.agents import world_model
from chainer_wm.agents.controller import LinearController
from chainer_wm.devices import to_cpu
from chainer_wm.links.conv_vae import ConvVAE, to_input
from chainer_wm.links.mdn_rnn import MDNRNN

FRAMES = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)


def make(features=('z', 'c', 'h'), core='lstm', sample=True):
    vision = ConvVAE(4)
    model = MDNRNN(4, 1, 6, core=core, predict_done=True)
    controller = LinearController(
        world_model.features_width(model, features), 1, bias=False, seed=3
    )
    return world_model.WorldModelAgent(vision, model, controller, features, sample)


def test_every_episode_may_have_a_controller_of_its_own():
    player = make()

    def draw(rng):
        return rng.standard_normal(16) / 4

    own = world_model.WorldModelAgent(
        player.vision, player.model, player.controller, sample=False, draw=draw
    )
    together, state = own.act(FRAMES, own.start(rngs()))
    again, _ = own.act(FRAMES, state)
    for lane in range(2):
        player = make(sample=False)
        player.controller.set_theta(draw(rngs()[lane]))
        alone, state = player.act(FRAMES, player.start(rngs()))
        np.testing.assert_allclose(together[lane], alone[lane], rtol=1e-5)
        alone, _ = player.act(FRAMES, state)
        np.testing.assert_allclose(again[lane], alone[lane], rtol=1e-5)


def rngs(count=2):
    return [np.random.default_rng(lane) for lane in range(count)]


@pytest.mark.parametrize('core', ['lstm', 'dnc'])
def test_controller_acts_before_the_model_steps(core):
    player = make(core=core, sample=False)
    state = player.start(rngs())
    for step in range(3):
        with chainer.no_backprop_mode():
            mu = player.vision.encode(to_input(FRAMES)).mu.array
            seen = np.concatenate([mu, *(np.asarray(x) for x in state.memory[:2])], axis=1)
            expected = player.controller.act(seen)
            restart = np.full(2, step == 0, 'f')
            _, memory = player.model.step(mu, expected, state.memory, restart)
        actions, state = player.act(FRAMES, state)
        np.testing.assert_allclose(actions, expected, rtol=1e-6)
        np.testing.assert_allclose(state.memory.h, memory.h.array, rtol=1e-6)
        assert not state.restart.any()


def test_a_controller_of_z_alone_leaves_the_model_where_it_began(monkeypatch):
    player = make(features=('z',), sample=False)
    monkeypatch.setattr(player.model, 'follow', None)  # not called
    mu = to_cpu(player.vision.encode(to_input(FRAMES)).mu)
    state = player.start(rngs())
    for _ in range(3):
        actions, state = player.act(FRAMES, state)
        np.testing.assert_allclose(actions, player.controller.act(mu), rtol=1e-6)
    assert not state.memory.h.any()


def test_lanes_do_not_depend_on_each_other():
    player = make()
    pair, _ = player.act(FRAMES, player.start(rngs()))
    alone, _ = player.act(FRAMES[1:], player.start([np.random.default_rng(1)]))
    np.testing.assert_allclose(pair[1:], alone, rtol=1e-5)


def test_z_is_sampled_from_the_posterior_by_the_lanes_generator():
    player = make()
    first, _ = player.act(FRAMES, player.start(rngs()))
    again, _ = player.act(FRAMES, player.start(rngs()))
    np.testing.assert_array_equal(first, again)
    mean, _ = make(sample=False).act(FRAMES, player.start(rngs()))
    assert not np.allclose(first, mean)


def test_read_vectors_are_features_of_a_dnc_only():
    assert world_model.features_width(make(core='dnc').model, ('z', 'r')) == 68
    with pytest.raises(ValueError, match='r needs --model dnc'):
        make(('z', 'r'))


def test_parts_that_do_not_fit_are_named():
    player = make()
    with pytest.raises(ValueError, match='V makes 5 latents but M takes 4'):
        world_model.WorldModelAgent(ConvVAE(5), player.model, player.controller)
    with pytest.raises(ValueError, match='are 10 wide but C takes 16'):
        world_model.WorldModelAgent(player.vision, player.model, player.controller, ('z', 'h'))


def test_z_is_drawn_with_the_deviation_of_the_posterior():
    """Of variances 1, 4, 9, 16 the deviations are 1, 2, 3, 4."""
    player, seen = make(('z',)), []
    vision = player.vision
    vision.mu.W.array[...] = vision.ln_var.W.array[...] = 0
    vision.mu.b.array[...] = [10, 20, 30, 40]
    vision.ln_var.b.array[...] = np.log([1, 4, 9, 16])

    def act(features, theta):
        seen.append(features)
        return np.zeros((len(features), 1), 'f')

    player.controller.act = act
    player.act(FRAMES, player.start(rngs()))
    eps = np.stack([rng.standard_normal(4) for rng in rngs()])
    wanted = np.array([10, 20, 30, 40]) + np.array([1, 2, 3, 4]) * eps
    np.testing.assert_allclose(seen[0], wanted, rtol=1e-5)
