"""A model of states of integers: what it reads, its losses, its predictions."""

import math

import chainer
import numpy as np
import pytest

from chainer_wm.files.archives import load_link, save_link
from chainer_wm.functions.mixture import Mixture, draw_noise, mixture_nll
from chainer_wm.links.state_model import StateModel

D, K, A = 5, 4, 2
CORES = [('lstm', {}), ('dnc', dict(memory_length=4, memory_width=3, read_heads=1))]


def build(head, core='lstm', **more):
    options = dict(CORES)[core]
    with chainer.using_config('dtype', np.float64):
        return StateModel(D, K, A, 6, head=head, core=core, seed=1, **{**options, **more})


def batch(steps=3, lanes=2, seed=0):
    rng = np.random.default_rng(seed)
    s = rng.integers(K, size=(steps + 1, lanes, D)).astype(float)
    a = np.eye(A)[rng.integers(A, size=(steps, lanes))]
    mask = np.ones((steps, lanes))
    mask[1, 0] = 0
    reset = np.zeros((steps, lanes))
    reset[2, 0] = 1
    return s[:-1], a, s[1:], mask, reset, rng.random((steps, lanes, D)) - 0.5


def test_inputs_are_numbers_or_one_of_k():
    s, a = np.array([[3.0, 0, 1, 2, 3]]), np.array([[0.0, 1]])
    plain = build('mixture')
    assert plain.inputs(s, a)[0] == pytest.approx([1, 0, 1 / 3, 2 / 3, 1, 0, 1])
    coded = build('mixture', planes=2)
    assert coded.inputs(s, a)[0] == pytest.approx([0, 0, 0, 1, 1, 0, 0, 0, 1 / 3, 2 / 3, 1, 0, 1])
    assert coded.input_size == 13
    with pytest.raises(ValueError, match='another game'):
        plain.inputs(s[:, :4], a)


@pytest.mark.parametrize('core', [name for name, _ in CORES])
@pytest.mark.parametrize('change', [False, True])
def test_loss_of_categoricals_is_the_mean_of_what_was_known(core, change):
    model = build('categorical', core, change=change)
    s, a, s_next, mask, reset, noise = batch()
    loss, _ = model.loss(s, a, s_next, mask, model.initial_state(2), reset, noise)
    ys, _ = model.sequence(s, a, model.initial_state(2), reset)
    total = []
    for t, b, d in np.ndindex(3, 2, D):
        logits = model.head.W.array[d * K : d * K + K] @ ys.array[t, b]
        logits = logits + model.head.b.array[d * K : d * K + K]
        if change:
            logits[int(s[t, b, d])] += model.stay.array[d]
        if mask[t, b]:
            total.append(np.log(np.exp(logits).sum()) - logits[int(s_next[t, b, d])])
    assert float(loss.array) == pytest.approx(np.mean(total))


@pytest.mark.parametrize('change', [False, True])
def test_loss_of_a_mixture_is_that_of_the_noisy_target(change):
    model = build('mixture', change=change)
    s, a, s_next, mask, reset, noise = batch()
    loss, _ = model.loss(s, a, s_next, mask, model.initial_state(2), reset, noise)
    ys, _ = model.sequence(s, a, model.initial_state(2), reset)
    mixture = model.mixture(ys)
    moved = Mixture(mixture.logits, mixture.mu + s[:, :, None] * change, mixture.ln_sigma)
    nll = mixture_nll(s_next + noise, moved).array
    assert float(loss.array) == pytest.approx(nll[mask > 0].mean())


@pytest.mark.parametrize('core', [name for name, _ in CORES])
@pytest.mark.parametrize('head', ['mixture', 'categorical'])
def test_gradients_agree_with_differences(head, core):
    model = build(head, core, change=True, planes=2)
    s, a, s_next, mask, reset, noise = batch()

    def loss():
        return model.loss(s, a, s_next, mask, model.initial_state(2), reset, noise)[0]

    model.cleargrads()
    loss().backward()
    rng = np.random.default_rng(0)
    for parameter in model.params():
        assert np.abs(parameter.grad).max() > 0, parameter.name
        along = rng.standard_normal(parameter.shape)
        ends = []
        for step in (1e-5, -1e-5):
            parameter.array += step * along
            ends.append(float(loss().array))
            parameter.array -= step * along
        slope = (ends[0] - ends[1]) / 2e-5
        assert slope == pytest.approx((parameter.grad * along).sum(), rel=1e-4, abs=1e-9)


def test_the_likeliest_value_is_predicted():
    model = build('categorical', change=True)
    model.head.W.array[...] = 0
    model.head.b.array[...] = 0
    s, ys = np.array([[3.0, 0, 1, 2, 3]]), np.zeros((1, 6))
    assert (model.predict(s, ys) == s).all()  # all stay
    model.head.b.array[2 * K + 3] = 9  # the third becomes 3
    assert model.predict(s, ys).tolist() == [[3, 0, 3, 2, 3]]
    mixture = build('mixture', change=True, mixtures=2)
    mixture.head.W.array[...] = 0
    logits, mu, _ = mixture.head.b.array.reshape(3, 2, D)
    logits[1] = 1
    mu[0], mu[1] = 50, [0.4, 0.6, -1.4, 7, -9]
    assert mixture.predict(s, ys).tolist() == [[3, 1, 0, 9, -6]]
    mixture.change = False
    assert mixture.predict(s, ys).tolist() == [[0, 1, -1, 7, -9]]


def test_draws_follow_the_distribution():
    model = build('categorical')
    model.head.W.array[...] = 0
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    model.head.b.array[...] = np.tile(np.log(shares), D)
    many = np.zeros((4000, D))
    drawn = model.predict(
        many, np.zeros((4000, 6)), draw_noise(np.random.default_rng(0), many.shape)
    )
    found = np.bincount(drawn.astype(int).ravel(), minlength=K) / drawn.size
    assert found == pytest.approx(shares, abs=0.02)
    mixture = build('mixture', mixtures=1)
    mixture.head.W.array[...] = 0
    mixture.head.b.array.reshape(3, D)[1:] = [[2.0], [np.log(0.5)]]
    drawn = mixture.predict(
        many, np.zeros((4000, 6)), draw_noise(np.random.default_rng(0), many.shape)
    )
    assert (drawn == 2).mean() == pytest.approx(0.683, abs=0.02)  # within one deviation
    assert (drawn == np.rint(drawn)).all()


@pytest.mark.parametrize('core', [name for name, _ in CORES])
def test_state_goes_in_and_comes_out(core):
    model = build('categorical', core)
    s, a, *_ = batch(6)
    whole, end = model.sequence(s, a, model.initial_state(2))
    first, state = model.sequence(s[:2], a[:2], model.initial_state(2))
    second, state = model.sequence(s[2:], a[2:], state)
    assert np.allclose(whole.array, np.concatenate([first.array, second.array]))
    for one, other in zip(end, state):
        assert np.allclose(chainer.as_array(one), chainer.as_array(other))


@pytest.mark.parametrize('head', ['mixture', 'categorical'])
def test_saved_and_built_again(head, tmp_path):
    model = StateModel(D, K, A, 6, head=head, change=True, planes=1, core='dnc', memory_length=5)
    save_link(tmp_path / 'model.npz', model)
    again = load_link(tmp_path / 'model.npz', StateModel)
    assert again.config == model.config
    for one, other in zip(model.params(), again.params()):
        assert (one.array == other.array).all()


@pytest.mark.parametrize('options', [{'head': 'softmax'}, {'planes': 6}, {'planes': -1}])
def test_unknown_options_are_refused(options):
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        StateModel(D, K, A, 6, **options)


def test_the_loss_of_a_mixture_bounds_that_of_its_rounding():
    model = build('mixture')
    s, a, s_next, mask, reset, _ = batch()
    mixture = model.mixture(model.sequence(s, a, model.initial_state(2), reset)[0])
    weights = np.exp(mixture.logits.array)
    weights /= weights.sum(axis=-2, keepdims=True)
    scale = np.sqrt(2) * np.exp(mixture.ln_sigma.array)

    def below(edge):
        x = (edge[:, :, None] - mixture.mu.array) / scale
        return (weights * (1 + np.vectorize(math.erf)(x)) / 2).sum(axis=-2)

    mass = below(s_next + 0.5) - below(s_next - 0.5)
    exact = -np.log(mass)[mask > 0].mean()  # nats of the integers
    rng = np.random.default_rng(0)
    losses = [
        float(
            model.loss(
                s, a, s_next, mask, model.initial_state(2), reset, rng.random(s.shape) - 0.5
            )[0].array
        )
        for _ in range(400)
    ]
    assert exact < np.mean(losses) < exact + 0.2
