"""M: sizes, inputs, losses, both cores."""

import json
import math

import chainer
import numpy as np
import pytest

import dnc
from chainer_wm.functions.mixture import mixture_nll
from chainer_wm.links.mdn_rnn import MDNRNN

DNC_SIZES = {'memory_length': 4, 'memory_width': 3, 'read_heads': 2}
needs_dnc = pytest.mark.skipif(not hasattr(dnc, 'DNC'), reason='the DNC is not there yet')
CORES = pytest.mark.parametrize('core', ['lstm', pytest.param('dnc', marks=needs_dnc)])
ENGINES = pytest.mark.parametrize('engine', ['fused', 'reference'])


def make(core='lstm', dtype=np.float64, predict_done=True, **options):
    if core == 'dnc':
        options = DNC_SIZES | options
    with chainer.using_config('dtype', dtype):
        return MDNRNN(3, 2, 6, mixtures=4, core=core, predict_done=predict_done, **options)


def batch(dtype=np.float64, steps=5, lanes=3, seed=0):
    rng = np.random.default_rng(seed)
    z, z_next = rng.normal(size=(2, steps, lanes, 3)).astype(dtype)
    a = rng.uniform(-1, 1, (steps, lanes, 2)).astype(dtype)
    reset = (rng.random((steps, lanes)) < 0.3).astype(dtype)
    mask = (rng.random((steps, lanes)) < 0.8).astype(dtype)
    done = (rng.random((steps, lanes)) < 0.3).astype(np.int32)
    return z, a, z_next, mask, done, reset


@pytest.mark.parametrize(
    ('arguments', 'count'),
    [
        ({'latent_size': 32, 'action_size': 3, 'hidden_size': 256}, 422_368),
        (
            {'latent_size': 64, 'action_size': 1, 'hidden_size': 512, 'predict_done': True},
            1_678_785,
        ),
    ],
)
def test_the_papers_parameter_counts(arguments, count):
    assert MDNRNN(**arguments).count_params() == count


@CORES
def test_steps_equal_the_sequence(core):
    model = make(core)
    z, a, *_, reset = batch()
    reset[1:] = 0
    state = model.initial_state(3)
    whole, last = model.sequence(z, a, state, reset)
    for t in range(5):
        one, state = model.step(z[t], a[t], state, reset[t])
        np.testing.assert_allclose(one.mixture.mu.array, whole.mixture.mu.array[t], rtol=1e-11)
        np.testing.assert_allclose(one.done_logit.array, whole.done_logit.array[t], rtol=1e-11)
    np.testing.assert_allclose(state.c.array, last.c.array, rtol=1e-11)


@CORES
def test_a_reset_starts_a_new_episode(core):
    """Two episodes in one lane give what they give alone."""
    model = make(core)
    z, a, *_ = batch(lanes=1)
    reset = np.array([1.0, 0, 0, 1, 0])[:, None]
    both, _ = model.sequence(z, a, model.initial_state(1), reset)
    alone, _ = model.sequence(z[3:], a[3:], model.initial_state(1), reset[3:])
    for got, want in zip(both.mixture, alone.mixture):
        np.testing.assert_allclose(got.array[3:], want.array, rtol=1e-11)


def test_the_restart_flag_is_read_only_where_death_is_predicted():
    z, a, *_ = batch()
    for predict_done in (True, False):
        model = make(predict_done=predict_done)
        state = model.initial_state(3)
        logits = [
            model.step(z[0], a[0], state, flag)[0].mixture.logits.array
            for flag in (None, np.ones(3))
        ]
        assert (logits[0] != logits[1]).any() == predict_done
        assert (model.step(z[0], a[0], state)[0].done_logit is None) != predict_done


def slow_loss(prediction, z_next, mask, done, weight):
    """Sums written out over the steps that count."""
    nll = mixture_nll(z_next, prediction.mixture).array
    terms = [nll[t, b, d] for t, b, d in np.ndindex(nll.shape) if mask[t, b]]
    entropy = []
    for t, b in np.ndindex(done.shape):
        p = 1 / (1 + math.exp(-prediction.done_logit.array[t, b]))
        if done[t, b] >= 0:
            entropy.append(-weight * math.log(p) if done[t, b] else -math.log(1 - p))
    return sum(terms) / len(terms), sum(entropy) / len(entropy)


@CORES
@ENGINES
def test_the_loss_against_a_slow_loop(core, engine):
    model = make(core, engine=engine)
    z, a, z_next, mask, done, reset = batch()
    done[0] = -1
    state = model.initial_state(3)
    reporter = chainer.Reporter()
    reporter.add_observer('m', model)
    with reporter.scope({}), reporter:
        seen = reporter.observation
        loss, _ = model.loss(z, a, z_next, mask, done, state, reset, 7.0)
    prediction, _ = model.sequence(z, a, state, reset)
    nll, bce = slow_loss(prediction, z_next, mask, done, 7.0)
    assert float(chainer.as_array(seen['m/nll'])) == pytest.approx(nll, rel=1e-11)
    assert float(chainer.as_array(seen['m/done_loss'])) == pytest.approx(bce, rel=1e-11)
    assert float(loss.array) == pytest.approx(nll + bce, rel=1e-11)
    assert float(seen['m/loss'].array) == float(loss.array)


@ENGINES
def test_what_is_masked_does_not_matter(engine):
    model = make(engine=engine)
    z, a, z_next, mask, done, reset = batch()
    losses, grads = [], []
    for filler in (0.0, np.nan):
        target = np.where(mask[..., None] > 0, z_next, filler)
        model.cleargrads()
        loss, _ = model.loss(z, a, target, mask, done, model.initial_state(3), reset)
        loss.backward()
        losses.append(float(loss.array))
        grads.append(model.head.W.grad.copy())
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(*grads)


@ENGINES
def test_nothing_known_is_no_loss(engine):
    model = make(engine=engine)
    z, a, z_next, mask, done, reset = batch()
    loss, _ = model.loss(z, a, z_next, 0 * mask, 0 * done - 1, model.initial_state(3), reset)
    assert float(loss.array) == 0


@ENGINES
def test_the_loss_gradient_against_finite_differences(engine):
    model = make(engine=engine)
    z, a, z_next, mask, done, reset = batch(steps=3, lanes=2)
    state = model.initial_state(2)

    def value():
        return model.loss(z, a, z_next, mask, done, state, reset)[0]

    model.cleargrads()
    value().backward()
    rng = np.random.default_rng(5)
    for parameter in model.params():
        direction = rng.normal(size=parameter.shape)
        parameter.array += 1e-6 * direction
        up = float(value().array)
        parameter.array -= 2e-6 * direction
        down = float(value().array)
        parameter.array += 1e-6 * direction
        assert (parameter.grad * direction).sum() == pytest.approx(
            (up - down) / 2e-6, rel=1e-6, abs=1e-8
        )


@CORES
def test_a_model_is_rebuilt_from_its_config(core):
    options = {'link_sparsity': None} if core == 'dnc' else {}
    model = make(core, dtype=np.float32, **options)
    config = json.loads(json.dumps(model.config))
    other = MDNRNN(**config)
    for (name, a), (_, b) in zip(sorted(model.namedparams()), sorted(other.namedparams())):
        np.testing.assert_array_equal(a.array, b.array, err_msg=name)


@CORES
def test_float32_stays_float32(core):
    model = make(core, np.float32)
    z, a, z_next, mask, done, reset = batch(np.float32)
    loss, state = model.loss(z, a, z_next, mask, done, model.initial_state(3), reset)
    loss.backward()
    assert loss.dtype == model.dtype == np.float32
    assert all(field.dtype == np.float32 for field in state)
    assert all(p.grad.dtype == np.float32 for p in model.params())


@CORES
def test_features_by_name(core):
    model = make(core)
    state = model.initial_state(2)
    z = np.ones((2, 3))
    found = model.features(state, z)
    assert found['z'] is z and found['h'] is state.h
    assert {name: value.shape[1] for name, value in found.items()} == model.feature_sizes
    assert ('r' in found) == (core == 'dnc')


@needs_dnc
def test_the_dnc_reads_with_its_own_sizes():
    model = make('dnc')
    assert model.feature_sizes['r'] == 6
    assert model.core.output_size == 6 + 6
    assert model.initial_state(2).memory.shape == (2, 4, 3)


@pytest.mark.parametrize(
    ('change', 'words'), [({'core': 'gru'}, 'core'), ({'memory_length': 3}, 'no options')]
)
def test_bad_cores_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        MDNRNN(3, 2, 6, **change)


def test_bad_sizes_are_named():
    model = make()
    z, a, *_ = batch()
    with pytest.raises(ValueError, match='z has 2 dims but M takes 3'):
        model.step(z[0, :, :2], a[0], model.initial_state(3))
    with pytest.raises(ValueError, match='a has 3 dims but M takes 2'):
        model.step(z[0], z[0], model.initial_state(3))


@CORES
@pytest.mark.parametrize('predict_done', [True, False])
@pytest.mark.parametrize(('lanes', 'rate'), [(1, 0.0), (5, 0.3), (300, 0.0), (300, 0.3)])
def test_every_way_to_sample_gives_the_same(core, predict_done, lanes, rate):
    models = [
        make(core, predict_done=predict_done, engine=engine) for engine in ('fused', 'reference')
    ]
    rng = np.random.default_rng(0)
    z, a = rng.normal(size=(lanes, 3)), rng.normal(size=(lanes, 2))
    noise = rng.random((4, 3)), rng.normal(size=(4, 3))
    rest = {
        'restart': (rng.random(lanes) < 0.5).astype(float),
        'noise': noise,
        'stream': rng.integers(4, size=lanes),
        'temperature': rng.uniform(0.5, 1.5, lanes),
    }
    if rate:
        rest['masks'] = models[0].draw_masks(lambda n: rng.random((4, n)), rate)
    found = []
    for sample in (models[0].sampler(), models[0].sample, models[1].sample):
        state = models[0].initial_state(lanes)
        first, _, state = sample(z, a, state, **rest)
        second, logit, state = sample(first, a, state, **rest)
        found.append((first, second, logit, *state))
    for others in found[1:]:
        for got, want in zip(found[0], others):
            if want is None:
                assert got is None
            else:
                np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'z_next': np.zeros((5, 3, 2))}, 'another V'),
        ({'mask': np.ones((3, 5))}, 'mask'),
        ({'done': np.ones((3, 5))}, 'done'),
    ],
)
def test_targets_that_do_not_fit_are_named(change, words):
    model = make()
    names = 'z', 'a', 'z_next', 'mask', 'done', 'reset'
    arguments = dict(zip(names, batch())) | change
    with pytest.raises(ValueError, match=words):
        model.loss(state=model.initial_state(3), **arguments)


def test_an_lstm_may_recompute_its_gates():
    model = make(recompute=True)
    assert model.core.recompute and model.config['recompute']


@ENGINES
def test_the_loss_under_dropout_is_that_of_masked_inputs_and_h(engine):
    model = make(engine=engine)
    z, a, z_next, mask, done, reset = batch()
    masks = model.draw_masks(lambda n: np.random.default_rng(0).random((3, n)), 0.4)
    assert (masks.z.shape, masks.h.shape) == ((3, 3), (3, 6))
    state = model.initial_state(3)
    loss, last = model.loss(z, a, z_next, mask, done, state, reset, masks=masks)
    seen, ys = state, []
    for t in range(5):
        kept = 1 - reset[t][:, None]
        seen = type(seen)(*(part * kept for part in seen))
        x = model.inputs(z[t] * masks.z, a[t], reset[t])
        y, seen = model.core.step(x, seen._replace(h=seen.h * masks.h))
        ys.append(y.array)
    nll, bce = slow_loss(model.predict(np.stack(ys)), z_next, mask, done, 10.0)
    assert float(loss.array) == pytest.approx(nll + bce, rel=1e-11)
    np.testing.assert_allclose(last.h.array, seen.h.array, rtol=1e-11)


def test_a_dnc_does_not_learn_under_dropout():
    model = make('dnc')
    masks = model.draw_masks(lambda n: np.zeros((3, n)), 0.4)
    with pytest.raises(ValueError, match='only an LSTM'):
        model.loss(*batch()[:5], model.initial_state(3), masks=masks)
