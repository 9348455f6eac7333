"""Random nets and states of the DNC, and its engines side by side."""

import chainer
import chainer.functions as F
import numpy as np
from chainer import Variable, as_array
from hypothesis import strategies as st

from dnc import DNC, DNCState

X = 3


def make(seed=0, dtype=np.float64, **options):
    sizes = {
        'input_size': X,
        'output_size': 2,
        'memory_length': 6,
        'memory_width': 4,
        'read_heads': 2,
        'hidden_size': 5,
    }
    with chainer.using_config('dtype', dtype):
        net = DNC(**{**sizes, **options})
    rng = np.random.default_rng(seed)
    for param in net.params():  # larger than initial: gates that open
        param.array += rng.normal(size=param.shape).astype(dtype)
    return net


def drawn_net(draw):
    """Any small net, of a drawn seed."""
    return make(
        seed=draw(st.integers(0, 99)),
        output_size=draw(st.sampled_from([None, 2])),
        memory_length=draw(st.integers(1, 11)),
        memory_width=draw(st.integers(1, 6)),
        read_heads=draw(st.integers(1, 3)),
        hidden_size=draw(st.integers(1, 5)),
        link_sparsity=draw(st.sampled_from([None, None, 1, 2, 3, 8])),
        link_scaling=draw(st.booleans()),
        layers=draw(st.integers(1, 2)),
        recompute=draw(st.sampled_from([None, True])),
    )


def random_state(net, batch, rng):
    """Any state a sequence could have left: weightings within bounds."""
    zeros = net.initial_state(batch)
    fields = {name: rng.random(field.shape) for name, field in zeros._asdict().items()}
    for name in ('precedence', 'write_weights', 'read_weights', 'link'):
        fields[name] *= 0.9 / fields[name].sum(axis=-1, keepdims=True)
    fields['link'] *= 1 - np.eye(net.memory_length)
    return DNCState(**{name: field.astype(zeros.memory.dtype) for name, field in fields.items()})


def outcome(net, engine, xs, state, reset, seed):
    """Outputs, final state and every gradient of a random projection."""
    rng = np.random.default_rng(seed)
    xs = Variable(xs.copy())
    state = DNCState(*(Variable(as_array(field).copy()) for field in state))
    net.cleargrads()
    ys, last = net.sequence(xs, state, reset, engine)
    loss = sum(F.sum(F.sin(2 * f) * rng.normal(size=f.shape).astype(f.dtype)) for f in (ys, *last))
    loss.backward()
    named = {'ys': ys.array, 'd xs': xs.grad}
    for name, first, final in zip(DNCState._fields, state, last):
        named[f'last {name}'] = final.array
        named[f'd {name}'] = first.grad
    for name, param in net.namedparams():
        named[f'd {name}'] = param.grad
    return named


def assert_same(net, xs, state, reset, tolerance=1e-10, seed=1):
    slow = outcome(net, 'reference', xs, state, reset, seed)
    fast = outcome(net, 'fused', xs, state, reset, seed)
    for name, expected in slow.items():
        scale = max(1, abs(expected).max())
        np.testing.assert_allclose(fast[name], expected, atol=tolerance * scale, err_msg=name)
        assert fast[name].dtype == expected.dtype
