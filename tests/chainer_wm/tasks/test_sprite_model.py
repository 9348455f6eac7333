"""The network that predicts sprites: its loss, its state, what it holds."""

import chainer
import numpy as np
import pytest

from chainer_wm.links.recurrent import detach
from chainer_wm.tasks import sprite_model
from chainer_wm.tasks.sprite_model import SpriteModel, last_image, mean_image, measure, record
from chainer_wm.tasks.sprite_sequences import SpriteRollouts, SpriteWindows
from chainer_wm.tasks.sprites import FACTORS, VALUES, Sprites

MEMORY = dict(core='dnc', memory_length=5, memory_width=3, read_heads=2)
CORES = pytest.mark.parametrize('core', [{}, MEMORY], ids=['lstm', 'dnc'])


def source(window=4, lanes=3, count=5, **options):
    rollouts = SpriteRollouts(0, 'train', **{'shortest': 5, 'longest': 8, **options})
    return SpriteWindows(rollouts, count, lanes, window, Sprites())


def model(**options):
    return SpriteModel(6, **{'seed': 1, **options})


@CORES
def test_the_loss_is_the_cross_entropy_of_the_steps_that_have_a_next_image(core):
    net, window = model(**core), source(7).batch(0)
    loss, _ = net.loss(window, net.initial_state(3))
    p, _ = net.predictions(window, net.initial_state(3))
    t = window.images[1:]
    nats = -np.where(t == 1, np.log(p), np.log(1 - p)).sum(axis=(2, 3))
    assert 0 < window.mask.sum() < window.mask.size
    assert float(loss.array) == pytest.approx(nats[window.mask].mean(), rel=1e-5)
    found, _ = net.score(window, net.initial_state(3))
    logits = net(window, net.initial_state(3))[0].array.reshape(t.shape)
    wrong = ((logits > 0) != (t == 1)).sum(axis=(2, 3))
    assert found == {
        'steps': window.mask.sum(),
        'loss': pytest.approx(float(loss.array), rel=1e-6),
        'wrong': pytest.approx(wrong[window.mask].mean(), rel=1e-6),
    }


@CORES
@pytest.mark.parametrize('code_size', [0, 4])
def test_two_windows_are_one_long_one(core, code_size):
    net = model(code_size=code_size, **core)
    whole, last = net.predictions(source(8).batch(0), net.initial_state(3))
    short = source(4)
    one, state = net.predictions(short.batch(0), net.initial_state(3))
    two, state = net.predictions(short.batch(1), state)
    np.testing.assert_allclose(np.concatenate([one, two]), whole, atol=1e-6)
    for now, then in zip(state, last):
        np.testing.assert_allclose(now, then, atol=1e-6)


@CORES
def test_no_rollout_sees_the_one_before(core):
    net, window = model(**core), source(6, lanes=1).batch(1)
    begins = int(window.reset[:, 0].argmax())
    assert window.reset.any() and begins > 0
    zeros = net.initial_state(1)
    other = type(zeros)(*(field + 0.3 for field in zeros))
    one, two = (net.predictions(window, state)[0] for state in (zeros, other))
    assert np.abs(one - two)[:begins].max() > 1e-4
    np.testing.assert_array_equal(one[begins:], two[begins:])


@CORES
@pytest.mark.parametrize('code_size', [0, 4])
def test_both_engines_and_precisions_give_one_loss_and_gradient(core, code_size):
    window, found = source().batch(0), []
    for engine, dtype in (('fused', 'f'), ('reference', 'f'), ('fused', 'd')):
        with chainer.using_config('dtype', np.dtype(dtype)):
            net = model(engine=engine, code_size=code_size, tells=True, **core)
            loss, state = net.loss(window, net.initial_state(3), tell_weight=0.5, tell_lag=1)
        assert loss.dtype == np.dtype(dtype) and detach(state)[0].dtype == np.dtype(dtype)
        net.cleargrads()
        loss.backward()
        found.append((float(loss.array), {name: p.grad for name, p in net.namedparams()}))
    for value, gradients in found[1:]:
        assert value == pytest.approx(found[0][0], rel=1e-5)
        for name, gradient in gradients.items():
            np.testing.assert_allclose(gradient, found[0][1][name], rtol=1e-3, atol=1e-4)
            assert np.abs(gradient).max() > 0, name


@pytest.mark.parametrize('lag', [0, 2])
def test_what_the_memory_is_to_tell(lag):
    net, window = model(tells=True, **MEMORY), source(7).batch(0)
    loss, _ = net.loss(window, net.initial_state(3), tell_weight=2.0, tell_lag=lag)
    plain, _ = net.loss(window, net.initial_state(3))
    held, _ = net.internals(window, net.initial_state(3))
    told = held['reads'] @ net.told.W.array.T + net.told.b.array
    errors = []
    for t in range(lag, 7):
        for lane in range(3):
            if window.steps[t, lane] >= lag:
                wanted = window.latents[t - lag, lane]
                wanted = (wanted - sprite_model.MEANS) / sprite_model.DEVIATIONS
                errors.append(((told[t, lane] - wanted) ** 2).sum())
    assert len(errors) < 21 or lag == 0
    assert float(loss.array - plain.array) == pytest.approx(2 * np.mean(errors), rel=1e-3)


def test_the_scale_of_what_is_told_is_that_of_the_data_set():
    for mean, deviation, values in zip(sprite_model.MEANS, sprite_model.DEVIATIONS, VALUES):
        standard = (values - mean) / deviation
        assert np.mean(standard) == pytest.approx(0, abs=1e-12)
        assert np.var(standard) == pytest.approx(1)


@CORES
def test_the_internals_are_those_of_the_predictions(core):
    net, window = model(**core), source().batch(0)
    held, state = net.internals(window, net.initial_state(3))
    outputs = held['hidden']
    if core:
        outputs = np.concatenate([outputs, held['reads']], axis=2)
        assert held['memory'].shape == (4, 3, 15)
        np.testing.assert_allclose(held['memory'][-1], state.memory.reshape(3, 15), atol=1e-6)
    p, last = net.predictions(window, net.initial_state(3))
    logits = net.logits(outputs).array.reshape(p.shape)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), p, atol=1e-5)
    for now, then in zip(state, last):
        np.testing.assert_allclose(now, then, atol=1e-5)


@pytest.mark.parametrize('window, lanes', [(7, 1), (4, 2), (50, 5)])
def test_records_are_those_of_each_rollout_alone(window, lanes):
    net = model(**MEMORY)
    found = record(net, source(window, lanes, cut=5), {'hidden': 1, 'memory': 2})
    assert found['hidden'].shape == (5, 5, 6) and found['memory'].shape == (5, 3, 15)
    alone = source(5, 1, cut=5)
    for number in range(5):
        held, _ = net.internals(alone.batch(number), net.initial_state(1))
        np.testing.assert_allclose(found['hidden'][number], held['hidden'][:, 0], atol=1e-6)
        np.testing.assert_allclose(found['memory'][number], held['memory'][::2, 0], atol=1e-6)


def test_rollouts_of_different_lengths_are_not_recorded():
    with pytest.raises(ValueError, match='5 to 8 steps are to be recorded'):
        record(model(), source(), {'hidden': 1})


def test_a_measurement_counts_every_step_alike():
    net, windows = model(), source(4)
    whole = measure(net, source(12), 1)
    assert measure(net, windows, 3) == pytest.approx(whole, rel=1e-5)


def test_what_learns_nothing():
    images = np.zeros((4, 64, 64), np.uint8)
    images[0, 0, :2] = images[1, 0, 1] = 1
    found = mean_image(images)
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75)) + np.log(2)
    assert found['loss'] == pytest.approx(entropy)
    assert found['wrong'] == pytest.approx(3 / 4)
    assert last_image(images) == pytest.approx(2 / 3)


def test_its_configuration_builds_it_again():
    net = model(code_size=4, tells=True, **MEMORY)
    again = SpriteModel(**net.config)
    for (name, one), (_, two) in zip(sorted(net.namedparams()), sorted(again.namedparams())):
        np.testing.assert_array_equal(one.array, two.array, name)
    assert net.told.W.shape == (len(FACTORS), 6)
