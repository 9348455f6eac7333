"""Every internal of a sequence: the fused engine's tape against the readable steps."""

import chainer
import chainer.functions as F
import numpy as np
import pytest
from dnc_case import X, drawn_net, make, random_state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnc import DNCState
from dnc.access import Addresses, Interface
from dnc.engine import trace as engine_trace
from dnc.trace import NAMES


def assert_traces_match(net, xs, state, reset, tolerance=1e-10):
    slow = net.trace(xs, state, reset, 'reference')
    fast = net.trace(xs, state, reset, 'fused')
    assert list(fast) == list(slow) == list(NAMES)
    for name, expected in slow.items():
        scale = max(1, abs(expected).max())
        np.testing.assert_allclose(fast[name], expected, atol=tolerance * scale, err_msg=name)
        assert fast[name].dtype == expected.dtype, name


@settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.data())
def test_equals_the_reference(data):
    draw = data.draw
    net = drawn_net(draw)
    steps, batch = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    # an empty memory has slots that are equal: from the third step on, rounding may decide their
    # order, and so which of them is allocated
    state = random_state(net, batch, rng) if steps > 2 or draw(st.booleans()) else None
    reset = (rng.random((steps, batch)) < 0.5).astype(np.int32) if draw(st.booleans()) else None
    if reset is not None:
        reset[:-2] = 0
    assert_traces_match(net, rng.normal(size=(steps, batch, X)), state, reset)


@pytest.mark.parametrize('k', [None, 3])
def test_equals_the_reference_in_single_precision(rng, k):
    net = make(dtype=np.float32, link_sparsity=k, memory_length=9)
    for param in net.params():
        param.array *= np.float32(0.5)
    xs = rng.normal(size=(8, 3, X)).astype(np.float32)
    assert_traces_match(net, xs, random_state(net, 3, rng), None, 1e-5)


@pytest.mark.parametrize('slots', [2, 6])
@pytest.mark.parametrize('k', [None, 2])
def test_pieces_are_one_sequence(rng, monkeypatch, k, slots):
    monkeypatch.setattr(engine_trace, 'PIECE', 4)
    net = make(link_sparsity=k, memory_length=slots)
    xs = rng.normal(size=(10, 2, X))
    reset = np.zeros((10, 2), np.int32)
    if slots == 2:  # after the first write no two slots are equal
        reset[[3, 4, 8], [0, 1, 1]] = 1  # before, on and after where a piece begins
    assert_traces_match(net, xs, random_state(net, 2, rng), reset)


def test_is_what_the_sequence_does(rng):
    net = make(link_sparsity=2)
    xs, state = rng.normal(size=(5, 2, X)), random_state(net, 2, rng)
    ys, last = net.sequence(xs, state)
    trace = net.trace(xs, state)
    np.testing.assert_array_equal(trace['output'], ys.array)
    for name, field in last._asdict().items():
        np.testing.assert_array_equal(trace[name][-1], field.array, name)


def test_the_engine_is_chosen_as_for_the_sequence(rng, monkeypatch):
    xs = rng.normal(size=(2, 1, X))
    fused, reference = make(), make(engine='reference')
    monkeypatch.setattr(engine_trace, 'prepared', None)
    reference.trace(xs)
    fused.trace(xs, engine='reference')
    with pytest.raises(TypeError, match='not callable'):
        fused.trace(xs)
    with pytest.raises(ValueError, match='quick'):
        fused.trace(xs, engine='quick')


@pytest.mark.parametrize('engine', ['fused', 'reference'])
@pytest.mark.parametrize('k', [None, 2])
def test_some_names_at_some_steps(rng, monkeypatch, engine, k):
    monkeypatch.setattr(engine_trace, 'PIECE', 4)
    net = make(link_sparsity=k)
    xs, state = rng.normal(size=(11, 2, X)), random_state(net, 2, rng)
    whole = net.trace(xs, state)
    for names in (('read_vectors', 'memory'), ['output'], ('retention', 'link')):
        for steps in (None, slice(1, None, 3), [-1], [9, 0, 4, 4, -1], range(2, 6)):
            some = net.trace(xs, state, engine=engine, names=names, steps=steps)
            assert set(some) == set(names)
            kept = np.unique(np.arange(11)[slice(None) if steps is None else steps])
            for name, value in some.items():
                np.testing.assert_allclose(value, whole[name][kept], atol=1e-10, err_msg=name)
    lane = DNCState(*(field[1:] for field in state))
    one = net.trace(xs[:, 1], lane, engine=engine, names=['memory'], steps=[-1])['memory']
    np.testing.assert_allclose(one, whole['memory'][-1:, 1], atol=1e-10)


@pytest.mark.parametrize('engine', ['fused', 'reference'])
def test_what_is_asked_for_must_be_there(engine):
    net, xs = make(), np.zeros((4, 2, X))
    for names in (('memory', 'weights'), (), 'memory'):
        with pytest.raises(ValueError, match='names are.*read_vectors'):
            net.trace(xs, engine=engine, names=names)
    for steps in ([4], [], [0.5], slice(9, 10)):
        with pytest.raises(ValueError, match='must choose among the 4 steps'):
            net.trace(xs, engine=engine, steps=steps)


def test_names_are_the_fields_and_the_output():
    fields = (*DNCState._fields, *Interface._fields, *Addresses._fields)
    assert sorted(NAMES) == sorted({'output', *fields})


def test_what_is_returned_stays(rng):
    net = make()
    xs, other = rng.normal(size=(2, 5, 2, X))
    trace = net.trace(xs)
    before = {name: value.copy() for name, value in trace.items()}
    net.trace(other)
    for name, value in before.items():
        np.testing.assert_array_equal(trace[name], value, name)


def test_a_graph_under_way_is_left_alone(rng):
    net = make()
    xs, other = rng.normal(size=(2, 4, 2, X))
    grads = []
    for traced in (False, True):
        net.cleargrads()
        ys, _ = net.sequence(xs)
        if traced:
            net.trace(other)
        F.sum(ys * ys).backward()
        grads.append(net.interface.W.grad.copy())
    np.testing.assert_array_equal(*grads)
    assert chainer.config.enable_backprop
