"""The DNC on CuPy: the reference engine, against NumPy."""

import chainer
import chainer.functions as F
import numpy as np
import pytest

from dnc import DNC

pytestmark = pytest.mark.gpu


def run(net, device, xs, reset):
    net.to_device(device)
    net.cleargrads()
    ys, last = net.sequence(net.device.send(xs), reset=reset)
    F.sum(F.sin(ys) + F.sum(last.memory * last.memory)).backward()
    arrays = [ys, *last, *(param.grad for param in net.params())]
    cpu = chainer.get_device('@numpy')
    return [cpu.send(chainer.as_array(array)) for array in arrays]


@pytest.mark.parametrize(
    'options', [{}, {'link_sparsity': 3}, {'layers': 2}], ids=str
)
def test_gpu_equals_cpu(rng, options):
    with chainer.using_config('dtype', np.float64):
        net = DNC(3, 2, 9, 4, 2, 5, **options)
    xs = rng.normal(size=(7, 3, 3))
    reset = (rng.random((7, 3)) < 0.2).astype(np.int32)
    on_cpu = run(net, '@numpy', xs, reset)
    on_gpu = run(net, '@cupy:0', xs, reset)
    for expected, got in zip(on_cpu, on_gpu):
        np.testing.assert_allclose(got, expected, atol=1e-10)


def test_trace_comes_back_as_numpy(rng):
    net = DNC(3, 2, 9, 4, 2, 5)
    net.to_device('@cupy:0')
    trace = net.trace(net.device.send(rng.normal(size=(4, 3)).astype('f')))
    assert isinstance(trace['link'], np.ndarray)
    assert trace['link'].shape == (4, 9, 9)


def test_steps_without_backpropagation(rng):
    net = DNC(3, 2, 9, 4, 2, 5)
    net.to_device('@cupy:0')
    x = net.device.send(rng.normal(size=(5, 3)).astype('f'))
    with chainer.no_backprop_mode():
        y, state = net.step(x, net.initial_state(5))
    assert y.shape == (5, 2) and np.isfinite(float(F.sum(y).array))
    assert state.memory.shape == (5, 9, 4)
