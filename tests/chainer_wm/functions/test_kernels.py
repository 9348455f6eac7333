"""The fused engines equal their readable twins, on random shapes."""

from unittest import mock

import chainer
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainer_wm.functions import elementary, lstm, mixture, mixture_kernels
from chainer_wm.functions.mixture import Mixture, sample_mixture
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.links.recurrent import LSTM, LSTMState

FEW = settings(max_examples=12, deadline=None)
SIZES = st.integers(1, 5)
CLOSE = {'rtol': 1e-10, 'atol': 1e-13}


DEVICES = pytest.mark.parametrize(
    'device', ['@numpy', pytest.param('@cupy:0', marks=pytest.mark.gpu)]
)


@numba.njit
def apply_exp(x, out):
    for n in range(x.size):
        out[n] = elementary.exp(x[n])


@numba.njit
def apply_tanh(x, out):
    for n in range(x.size):
        out[n] = elementary.tanh(x[n])


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize(
    ('kernel', 'exact', 'units'), [(apply_exp, np.exp, 1), (apply_tanh, np.tanh, 2)]
)
def test_elementary_functions_to_the_last_place(kernel, exact, units, dtype):
    x = np.concatenate(
        [np.linspace(-80, 80, 20001), np.linspace(-1, 1, 20001), 10.0 ** np.arange(-30, 0)]
    ).astype(dtype)
    out = np.empty_like(x)
    kernel(x, out)
    wanted = exact(x.astype(np.longdouble))
    error = np.abs(out - wanted) / np.abs(np.where(wanted, wanted, 1))
    assert error.max() <= units * np.finfo(dtype).eps


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_elementary_functions_at_the_edges(dtype):
    x = np.array([np.nan, np.inf, -np.inf, -0.0], dtype)
    out = np.empty_like(x)
    apply_tanh(x, out)
    np.testing.assert_array_equal(out, [np.nan, 1, -1, 0])
    apply_exp(x, out)
    assert np.isnan(out[0]) and out[3] == 1
    assert np.isfinite(out[1]) and 0 < out[2] < 1e-37  # clipped


def lstm_numbers(engine, shape, seed, device='@numpy', **options):
    """Outputs and all gradients of one LSTM sequence, as NumPy arrays."""
    steps, lanes, inputs, size = shape
    device = chainer.get_device(device)
    with chainer.using_config('dtype', np.float64):
        link = LSTM(inputs, size, engine=engine, **options)
    link.to_device(device)
    rng = np.random.default_rng(seed)
    shapes = (steps, lanes, inputs), (lanes, size), (lanes, size)
    xs, c, h = (chainer.Variable(device.send(rng.normal(size=shape))) for shape in shapes)
    reset = device.send((rng.random((steps, lanes)) < 0.3).astype(float))
    ys, state = link.sequence(xs, LSTMState(c, h), reset)
    outputs = ys, state.c, state.h
    for n, out in enumerate(outputs):
        grad = device.send(rng.normal(size=out.shape))
        if (seed + n) % 4:  # now and then an output is not used
            out.grad = grad
    link.cleargrads()
    used = [out for out in outputs if out.grad is not None]
    chainer.grad(
        used, [xs, c, h, link.W], [chainer.as_variable(out.grad) for out in used], set_grad=True
    )
    numpy = chainer.get_device('@numpy')
    return [
        numpy.send(array)
        for array in (*(out.array for out in outputs), xs.grad, c.grad, h.grad, link.W.grad)
    ]


@FEW
@given(
    st.tuples(SIZES, SIZES, SIZES, SIZES),
    st.integers(0, 99),
    st.booleans(),
    st.sampled_from([1, 6, 2048]),
)
def test_the_fused_lstm_equals_the_reference(shape, seed, recompute, rows):
    with mock.patch.object(lstm, 'BLOCK_ROWS', rows):
        fused = lstm_numbers('fused', shape, seed, recompute=recompute)
    for got, want in zip(fused, lstm_numbers('reference', shape, seed)):
        np.testing.assert_allclose(got, want, **CLOSE)


@DEVICES
@pytest.mark.parametrize('recompute', [False, True])
def test_a_large_batch_takes_the_parallel_path(recompute, device):
    shape = (3, 70, 5, 200)
    fused = lstm_numbers('fused', shape, 1, device, recompute=recompute)
    for got, want in zip(fused, lstm_numbers('reference', shape, 1)):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)


def test_the_fused_lstm_may_go_back_twice():
    link = LSTM(3, 4)
    xs = np.random.default_rng(0).normal(size=(5, 2, 3)).astype('f')
    ys, _ = link.sequence(xs, link.initial_state(2))
    loss = chainer.functions.sum(ys**2)
    grads = []
    for _ in range(2):
        link.cleargrads()
        loss.backward(retain_grad=True)
        grads.append(link.W.grad.copy())
    np.testing.assert_array_equal(*grads)


@pytest.mark.parametrize('of', ['lstm', 'loss'])
def test_a_second_derivative_is_refused(of):
    model = MDNRNN(2, 1, 3)
    z, a = np.ones((4, 1, 2), 'f'), np.ones((4, 1, 1), 'f')
    mask = np.ones((4, 1), 'f')
    state = model.initial_state(1)
    target = (
        model.loss(z, a, z, mask, None, state)[0]
        if of == 'loss'
        else chainer.functions.sum(model.core.sequence(np.ones((4, 1, 3), 'f'), state)[0])
    )
    with pytest.raises(RuntimeError, match='second derivative'):
        target.backward(enable_double_backprop=True)


def loss_numbers(engine, sizes, seed, predict_done, device='@numpy'):
    """Loss and all gradients of M, as NumPy arrays."""
    steps, lanes, latents, mixtures = sizes
    device = chainer.get_device(device)
    with chainer.using_config('dtype', np.float64):
        model = MDNRNN(latents, 2, 4, mixtures, predict_done=predict_done, engine=engine)
    model.to_device(device)
    rng = np.random.default_rng(seed)
    z, z_next = (device.send(2 * rng.normal(size=(steps, lanes, latents))) for _ in range(2))
    a, mask, reset, done = (
        device.send(part)
        for part in (
            rng.normal(size=(steps, lanes, 2)),
            *((rng.random((2, steps, lanes)) < 0.7).astype(float)),
            rng.integers(-1, 2, (steps, lanes)),
        )
    )
    loss, _ = model.loss(
        z, a, z_next, mask, done, model.initial_state(lanes), reset, done_weight=3.0
    )
    model.cleargrads()
    (2.5 * loss).backward()
    numpy = chainer.get_device('@numpy')
    return [
        numpy.send(array)
        for array in (loss.array, *(p.grad for _, p in sorted(model.namedparams())))
    ]


@FEW
@given(
    st.tuples(SIZES, SIZES, SIZES, SIZES),
    st.integers(0, 99),
    st.booleans(),
    st.sampled_from([1, 3, 2048]),
)
def test_the_fused_loss_equals_the_reference(sizes, seed, done, rows):
    with mock.patch.object(mixture, 'BLOCK_ROWS', rows):
        fused = loss_numbers('fused', sizes, seed, done)
    for got, want in zip(fused, loss_numbers('reference', sizes, seed, done)):
        np.testing.assert_allclose(got, want, **CLOSE)


@DEVICES
def test_the_fused_loss_of_a_large_batch(device):
    sizes = (7, 33, 16, 5)
    fused = loss_numbers('fused', sizes, 1, True, device)
    for got, want in zip(fused, loss_numbers('reference', sizes, 1, True)):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def sample_numbers(sizes, seed, device='@numpy'):
    """(fused, reference) samples from the same head output and noise."""
    rows, streams, latents, mixtures = sizes
    rng = np.random.default_rng(seed)
    out = rng.normal(size=(rows, 3 * mixtures * latents + 1))
    bias = rng.normal(size=out.shape[1])
    u, eps = (rng.random((streams, latents)), rng.normal(size=(streams, latents)))
    stream = rng.integers(streams, size=rows)
    tau = rng.uniform(0.3, 1.5, rows)
    device = chainer.get_device(device)
    arrays = [device.send(v) for v in (out, bias, u, eps, stream, tau)]
    fused = mixture_kernels.sample_mixture(*arrays)
    fields = (out + bias)[:, :-1].reshape(rows, 3, mixtures, latents)
    wanted = sample_mixture(
        Mixture(*fields.transpose(1, 0, 2, 3)), temperature=tau, noise=(u[stream], eps[stream])
    )
    return chainer.get_device('@numpy').send(fused), wanted


@FEW
@given(st.tuples(SIZES, SIZES, SIZES, SIZES), st.integers(0, 99))
def test_the_fused_sample_equals_the_reference(sizes, seed):
    np.testing.assert_allclose(*sample_numbers(sizes, seed), **CLOSE)


@DEVICES
def test_the_fused_sample_of_a_large_batch(device):
    np.testing.assert_allclose(*sample_numbers((200, 16, 64, 5), 0, device), **CLOSE)


def test_a_sample_shows_a_logit_that_is_not_finite():
    out = np.zeros((2, 6))
    out[1, 0] = np.nan
    noise = np.zeros((1, 1))
    z = mixture_kernels.sample_mixture(
        out, np.zeros(6), noise, noise, np.zeros(2, int), np.ones(2)
    )
    assert np.isfinite(z[0]).all() and np.isnan(z[1]).all()
