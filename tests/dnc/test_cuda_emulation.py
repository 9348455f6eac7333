"""The CUDA kernels, run on the CPU, against the equations of `dnc.core`.

The whole engine runs, on NumPy arrays and with kernels compiled by a C++
compiler: see cuda_emulation.h.
"""

from unittest import mock

import chainer
import numpy as np
import pytest
from cuda_emulation import COMPILER, EmulatedLauncher
from dnc_case import X, assert_same, drawn_net, make, outcome, random_state
from hypothesis import given, settings
from hypothesis import strategies as st
from test_trace import assert_traces_match

import dnc.engine.sequence
from dnc.cuda.loops import CudaLoops
from dnc.cuda.source import MOST_THREADS, shared_bytes
from dnc.engine.backends import MOST_SLOTS, cuda_backend, has_kernels
from dnc.engine.tape import Arena, Ends, Rule, tape_shapes, zero_shapes

pytestmark = pytest.mark.skipif(
    COMPILER is None, reason='no C++ compiler: neither g++ nor clang++'
)


@pytest.fixture
def run_on(monkeypatch):
    """Let the fused engine run on an emulated GPU."""

    def run_on(threads, seed=0, dtype=np.float64):
        launcher = EmulatedLauncher(dtype, threads, seed)
        monkeypatch.setattr(
            dnc.engine.sequence, 'backend_for', lambda array: cuda_backend(launcher)
        )
        return launcher

    return run_on


def random_case(net, rng, steps=5, batch=2, reset=True):
    """Arguments of `outcome`: inputs, state, resets.

    A reset leaves slots that are equal. From the third step on, rounding
    decides their order in some BLAS, and so on which side of the sort's
    discontinuity the reference's gradients fall (those of the CPU's engine
    part from it in the same cases): resets come late here.
    """
    if reset is True:
        reset = (rng.random((steps, batch)) < 0.5).astype(np.int32)
        reset[:-2] = 0
    xs = rng.normal(size=(steps, batch, X)).astype(net.interface.W.dtype)
    return xs, random_state(net, batch, rng), reset


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.data())
def test_equals_the_reference_in_values_and_gradients(data):
    draw = data.draw
    net = drawn_net(draw)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    steps, batch = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    reset = None
    if draw(st.booleans()):  # of few slots: they stay equal in any BLAS
        reset = (rng.random((steps, batch)) < 0.3).astype(np.int32)
    xs, state, reset = random_case(net, rng, steps, batch, reset)
    if draw(st.booleans()):
        state = net.initial_state(batch)
    launcher = EmulatedLauncher(
        np.float64, draw(st.sampled_from([1, 3, 7, 32, 64])), draw(st.integers(0, 9))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dnc.engine.sequence, 'backend_for', lambda array: cuda_backend(launcher))
        assert_same(net, xs, state, reset)
    assert launcher.names


@pytest.mark.parametrize(
    'options', [{}, {'link_sparsity': 3}, {'layers': 2, 'output_size': None}], ids=str
)
def test_trace_is_that_of_the_readable_steps(run_on, rng, options):
    net = make(**options)
    case = random_case(net, rng, steps=40)  # more than a piece
    launcher = run_on(32)
    assert_traces_match(net, *case)
    assert launcher.names


@pytest.mark.parametrize(
    'options',
    [
        {'read_heads': 5},  # more than a thread keeps in registers
        {'read_heads': 5, 'link_sparsity': 3},
        {'memory_length': 40, 'recompute': True},  # more slots than threads
        {'memory_length': 40, 'link_sparsity': 3, 'memory_width': 9},
    ],
    ids=str,
)
def test_sizes_beyond_what_threads_hold(run_on, rng, options):
    net = make(**options)
    run_on(33)
    assert_same(net, *random_case(net, rng))


@pytest.mark.parametrize('k', [None, 2])
def test_threads_do_not_race(run_on, rng, k):
    net = make(link_sparsity=k, recompute=k is None)
    case = random_case(net, rng)
    runs = []
    for seed in (0, 1, 2, 3):  # in order, in reverse, at random
        run_on(32, seed)
        runs.append(outcome(net, 'fused', *case, 1))
    for other in runs[1:]:
        for name, expected in runs[0].items():
            np.testing.assert_array_equal(other[name], expected, name)


def test_launches_of_a_step(run_on, rng):
    net = make(layers=2)
    xs, state, _ = random_case(net, rng, reset=None)
    counts = []
    for steps in (2, 3):
        launcher = run_on(3)
        outcome(net, 'fused', xs[:steps], state, None, 1)
        counts.append(len(launcher.names))
    # forward and backward, without the products: access, hand on, two cells
    assert counts[1] - counts[0] == 2 * 4


def test_order_is_the_stable_argsort_with_nan_last(rng):
    slots, arena = 9, Arena()
    shapes = tape_shapes(1, 1, slots, 1, 1)
    tape = type(shapes)(
        *(
            np.zeros(shape, np.int32 if name == 'order' else np.float64)
            for name, shape in shapes._asdict().items()
        )
    )
    zeros = zero_shapes(slots, 1, 1)
    zeros = type(zeros)(*map(np.zeros, zeros))
    usage = rng.integers(0, 3, slots) / 3
    usage[[2, 6]] = np.nan
    tape.usage[0, 0] = usage
    memory = mock.Mock(batch=1, slots=slots, width=1, heads=1, dtype=np.dtype(float), sparse=None)
    memory.tape, memory.zeros, memory.fresh = tape, zeros, np.zeros((2, 1), bool)
    memory.rule = Rule(np.float64(1e-6), False, np.float64(1))
    memory.ends = Ends(np.zeros((1, slots, 1)), np.zeros((1, slots, slots)))
    memory.memory, memory.link = np.zeros((2, 1, 1, slots)), np.zeros((2, 1, slots, slots))
    CudaLoops(EmulatedLauncher(np.float64, 4), arena).forward(memory, mock.Mock(), 0, 1)
    np.testing.assert_array_equal(tape.order[0, 0], np.argsort(tape.usage[1, 0], kind='stable'))


def test_non_finite_numbers_stay_in_their_lane(run_on):
    net = make(link_sparsity=2)
    run_on(5)
    xs = np.zeros((3, 2, X))
    xs[0, 0, 0] = np.nan
    ys, _ = net.sequence(xs)
    assert np.isnan(ys.array[:, 0]).all()
    assert np.isfinite(ys.array[:, 1]).all()


def test_pieces_without_backpropagation(run_on, rng):
    net = make(link_sparsity=2)
    run_on(8)
    xs = rng.normal(size=(34, 1, X))
    ys, last = net.sequence(xs)
    with chainer.no_backprop_mode():
        short, short_last = net.sequence(xs)
    np.testing.assert_array_equal(ys.array, short.array)
    np.testing.assert_array_equal(last.link.array, short_last.link.array)


def test_a_gradient_may_have_any_strides(run_on, rng):
    net = make(output_size=None)
    xs, state, reset = random_case(net, rng)
    grads = []
    for engine in ('reference', 'fused'):
        run_on(4)
        net.cleargrads()
        ys, _ = net.sequence(xs, state, reset, engine)
        chainer.functions.sum(ys).backward()  # broadcast: strides of zero
        grads.append(net.interface.W.grad.copy())
    np.testing.assert_allclose(*grads, atol=1e-11)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_shared_memory_needs_no_permission(dtype):
    most = MOST_THREADS[dtype]
    assert all(shared_bytes(n, dtype) < 40 * 2**10 for n in range(1, most + 1))


def test_limit_of_the_slots():
    assert has_kernels(np, MOST_SLOTS)
    assert not has_kernels(np, MOST_SLOTS + 1)
    assert 2 * MOST_SLOTS**2 - 1 < 2**31  # a flat index, and one share more
