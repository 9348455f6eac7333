"""The DNC on CuPy: both engines against NumPy's reference."""

import chainer
import chainer.functions as F
import numpy as np
import pytest
from chainer import Variable
from dnc_case import random_state

from dnc import DNC, DNCState

pytestmark = pytest.mark.gpu


def send(device, value):
    return None if value is None else device.send(value)


def run(net, device, engine, xs, state, reset):
    """Outputs, final state and gradients of everything, as NumPy arrays."""
    net.to_device(device)
    xs = Variable(send(net.device, xs))
    state = DNCState(*(Variable(send(net.device, field)) for field in state))
    net.cleargrads()
    ys, last = net.sequence(xs, state, send(net.device, reset), engine)
    sum(F.sum(F.sin(2 * field)) for field in (ys, *last)).backward()
    arrays = {
        'ys': ys,
        'd xs': xs.grad,
        **last._asdict(),
        **{f'd {k}': v.grad for k, v in state._asdict().items()},
        **{f'd {k}': v.grad for k, v in net.namedparams()},
    }
    cpu = chainer.get_device('@numpy')
    return {k: cpu.send(chainer.as_array(v)) for k, v in arrays.items()}


def case(options, rng, dtype=np.float64, slots=9, steps=7):
    with chainer.using_config('dtype', dtype):
        net = DNC(3, 2, slots, 4, 2, 5, **options)
    xs = rng.normal(size=(steps, 3, 3)).astype(dtype)
    # late: from the third step after a reset on, rounding may decide the
    # order of slots that are equal, and so what their gradients are
    reset = (rng.random((steps, 3)) < 0.5).astype(np.int32)
    reset[:-2] = 0
    return net, xs, random_state(net, 3, rng), reset


OPTIONS = [
    *({}, {'link_sparsity': 3}, {'link_sparsity': 2, 'link_scaling': True}),
    *({'layers': 2}, {'recompute': True}),
]


@pytest.mark.parametrize('engine', ['fused', 'reference'])
@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_gpu_equals_cpu(rng, options, engine):
    net, *arguments = case(options, rng)
    expected = run(net, '@numpy', 'reference', *arguments)
    got = run(net, '@cupy:0', engine, *arguments)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, atol=1e-9, err_msg=name)


@pytest.mark.parametrize('k', [None, 8])
@pytest.mark.parametrize('slots', [16, 256, 300])
def test_gpu_in_single_precision(rng, slots, k):
    net, *arguments = case({'link_sparsity': k}, rng, np.float32, slots, 4)
    expected = run(net, '@numpy', 'reference', *arguments)
    got = run(net, '@cupy:0', 'fused', *arguments)
    for name, value in expected.items():
        scale = max(1, abs(value).max())
        np.testing.assert_allclose(got[name], value, atol=1e-4 * scale, err_msg=name)


@pytest.mark.parametrize('k', [None, 3])
def test_the_same_bits_again(rng, k):
    net, *arguments = case({'link_sparsity': k}, rng, slots=100)
    first = run(net, '@cupy:0', 'fused', *arguments)
    for _ in range(3):  # from the second on in memory that is used again
        again = run(net, '@cupy:0', 'fused', *arguments)
        for name, value in first.items():
            np.testing.assert_array_equal(again[name], value, name)


def test_other_streams_get_memory_of_their_own(rng):
    net, *arguments = case({}, rng)
    first = run(net, '@cupy:0', 'fused', *arguments)
    with chainer.backends.cuda.cupy.cuda.Stream(non_blocking=True) as stream:
        again = run(net, '@cupy:0', 'fused', *arguments)
        stream.synchronize()
    for name, value in first.items():
        np.testing.assert_array_equal(again[name], value, name)


def test_trace_comes_back_as_numpy(rng):
    net = DNC(3, 2, 9, 4, 2, 5)
    net.to_device('@cupy:0')
    trace = net.trace(net.device.send(rng.normal(size=(4, 3)).astype('f')))
    assert isinstance(trace['link'], np.ndarray)
    assert trace['link'].shape == (4, 9, 9)


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_trace_equals_the_readable_one(rng, options):
    net, xs, state, reset = case(options, rng)
    expected = net.trace(xs, state, reset, 'reference')
    net.to_device('@cupy:0')
    state = DNCState(*(send(net.device, field) for field in state))
    got = net.trace(send(net.device, xs), state, send(net.device, reset), 'fused')
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, atol=1e-9, err_msg=name)


def test_steps_without_backpropagation(rng):
    net = DNC(3, 2, 9, 4, 2, 5)
    net.to_device('@cupy:0')
    x = net.device.send(rng.normal(size=(5, 3)).astype('f'))
    with chainer.no_backprop_mode():
        y, state = net.step(x, net.initial_state(5))
    assert y.shape == (5, 2) and np.isfinite(float(F.sum(y).array))
    assert state.memory.shape == (5, 9, 4)
