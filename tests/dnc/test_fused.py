import copy
import gc
import pickle

import chainer
import chainer.functions as F
import numba
import numpy as np
import pytest
from dnc_case import X, assert_same, drawn_net, make, random_state
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numba import njit

from dnc.cpu.address import ascending_order
from dnc.cpu.elementary import exp, tanh
from dnc.cpu.register_tiles import lay_out, multiply, panel_count, panel_width
from dnc.engine.tape import Arena, Arenas


def from_python(kernel):
    """A kernel that only other kernels call, with a way in from Python."""
    return njit(lambda *arguments: kernel(*arguments))


def sorted_alike(net, xs, state, reset):
    """Whether both engines sort the slots alike at every step.

    Slots of an empty memory stay equal but for one, and rounding decides on their order: there
    the DNC jumps, in values and gradients, and either order is right.
    """
    names = ('usage', 'write_weights', 'precedence')
    slow, fast = (net.trace(xs, state, reset, e, names=names) for e in ('reference', 'fused'))
    return all(
        np.array_equal(
            np.argsort(slow[name], axis=-1, kind='stable'),
            np.argsort(fast[name], axis=-1, kind='stable'),
        )
        for name in names
    )


@settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.data())
def test_equals_the_reference_in_values_and_gradients(data):
    draw = data.draw
    net = drawn_net(draw)
    steps, batch = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    state = net.initial_state(batch)
    if draw(st.booleans()):
        state = random_state(net, batch, rng)
    reset = None
    if draw(st.booleans()):
        reset = (rng.random((steps, batch)) < 0.3).astype(np.int32)
    xs = rng.normal(size=(steps, batch, X))
    assume(sorted_alike(net, xs, state, reset))
    assert_same(net, xs, state, reset)


@pytest.mark.parametrize('k', [None, 3])
def test_equals_the_reference_in_single_precision(rng, k):
    # not from an empty memory: its slots are equal, and rounding would decide
    # on which side of the sort's discontinuity their gradients fall
    net = make(dtype=np.float32, link_sparsity=k, memory_length=9)
    for param in net.params():
        param.array *= np.float32(0.5)
    xs = rng.normal(size=(8, 3, X)).astype(np.float32)
    assert_same(net, xs, random_state(net, 3, rng), None, 1e-5)


def test_gradients_of_some_outputs_only(rng):
    net = make()
    xs = rng.normal(size=(4, 2, X))
    grads = []
    for engine in ('reference', 'fused'):
        net.cleargrads()
        _, last = net.sequence(xs, engine=engine)
        F.sum(last.memory * last.memory).backward()
        grads.append(net.interface.W.grad.copy())
    np.testing.assert_allclose(*grads, atol=1e-12)


@pytest.mark.parametrize('k', [None, 2])
def test_without_backpropagation_long_sequences_run_in_pieces(rng, k):
    net = make(link_sparsity=k)
    xs = rng.normal(size=(70, 2, X))
    reset = (rng.random((70, 2)) < 0.1).astype(np.int32)
    ys, last = net.sequence(xs, None, reset)
    with chainer.no_backprop_mode():
        short, short_last = net.sequence(xs, None, reset)
    np.testing.assert_array_equal(ys.array, short.array)
    for a, b in zip(last, short_last):
        np.testing.assert_array_equal(a.array, b.array)


def test_threads_share_the_lanes(rng):
    threads = numba.get_num_threads()
    net = make(link_sparsity=2)
    xs = rng.normal(size=(3, 5, X))
    found = []
    for count in {1, threads}:
        numba.set_num_threads(count)
        found.append(net.sequence(xs)[0].array)
    numba.set_num_threads(threads)
    np.testing.assert_allclose(found[0], found[-1], atol=1e-13)


def test_two_graphs_do_not_share_memory(rng):
    net = make()
    xs, other = rng.normal(size=(2, 4, 2, X))
    grads = []
    for _ in range(2):
        net.cleargrads()
        ys, _ = net.sequence(xs)
        if grads:
            more, _ = net.sequence(other)  # before the first runs backward
        F.sum(ys * ys).backward()
        grads.append(net.interface.W.grad.copy())
    np.testing.assert_array_equal(*grads)
    F.sum(more * more).backward()


def test_second_backward_says_why_not(rng):
    net = make()
    ys, _ = net.sequence(rng.normal(size=(2, 2, X)))
    loss = F.sum(ys * ys)
    net.cleargrads()
    loss.backward(retain_grad=True)
    with pytest.raises(RuntimeError, match='backward before'):
        loss.backward()


def test_state_passes_between_windows(rng):
    net = make()
    xs = rng.normal(size=(6, 2, X))
    ys, last = net.sequence(xs)
    first, state = net.sequence(xs[:2])
    second, state = net.sequence(xs[2:], state)
    np.testing.assert_allclose(ys.array, np.concatenate([first.array, second.array]), atol=1e-12)
    for a, b in zip(last, state):
        np.testing.assert_allclose(a.array, b.array, atol=1e-12)
    net.cleargrads()
    F.sum(second).backward()  # through both windows
    windows = net.interface.W.grad.copy()
    net.cleargrads()
    F.sum(ys[2:]).backward()
    np.testing.assert_allclose(windows, net.interface.W.grad, atol=1e-12)


def test_workspace_is_reused_and_not_copied(rng):
    net = make()
    xs = rng.normal(size=(3, 2, X))
    for _ in range(3):
        ys, _ = net.sequence(xs)
        net.cleargrads()
        F.sum(ys).backward()
    assert len(net._arenas._free) == 1
    assert not copy.deepcopy(net)._arenas._free
    assert not pickle.loads(pickle.dumps(net))._arenas._free
    ys, _ = net.sequence(xs)
    assert not net._arenas._free
    del ys, _  # a graph that is dropped without a backward
    gc.collect()
    assert len(net._arenas._free) == 1


def test_non_finite_numbers_are_not_hidden():
    net = make()
    xs = np.zeros((2, 2, X))
    xs[0, 0, 0] = np.nan
    ys, _ = net.sequence(xs)
    assert np.isnan(ys.array[:, 0]).all()
    assert np.isfinite(ys.array[:, 1]).all()


def test_other_dtype_is_named():
    with pytest.raises(ValueError, match='float32.*float64'):
        make().sequence(np.zeros((2, 2, X), np.float32))


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('ours, numpys', [(exp, np.exp), (tanh, np.tanh)])
def test_elementary_functions_to_rounding(rng, dtype, ours, numpys):
    @njit
    def apply(x, y):
        for i in range(x.size):
            y[i] = ours(x[i])

    x = np.concatenate([rng.normal(size=999) * 9, [0, 1e-20, -80, 80]])
    x = x.astype(dtype)
    y = np.empty_like(x)
    apply(x, y)
    np.testing.assert_allclose(y, numpys(x), rtol=3 * np.finfo(dtype).eps)
    apply(np.array([np.nan], dtype), y)
    assert np.isnan(y[0])


def test_order_is_the_stable_argsort(rng):
    for size in (1, 2, 7, 300):
        values = rng.integers(0, 9, size) / 9
        guess = rng.permutation(size).astype(np.int32)
        from_python(ascending_order)(values, guess)
        np.testing.assert_array_equal(guess, np.argsort(values, kind='stable'))


@pytest.mark.parametrize('columns', [1, 16, 64, 71])
@pytest.mark.parametrize('rows', [1, 8, 15])
def test_product(rng, columns, rows):
    matrix = rng.normal(size=(21, columns))
    few = rng.normal(size=(rows + 2, 30))
    panels = np.empty((panel_count(columns, float), 25, panel_width(float)))
    lay_out(matrix, panels)
    sums = rng.normal(size=(rows + 2, panels.shape[0] * panels.shape[2]))
    expected = sums.copy()
    expected[1:-1, :columns] += few[1:-1, 4:20] @ matrix[3:19]
    from_python(multiply)(few[:, 4:20], panels, 3, sums, 1, rows + 1)
    np.testing.assert_allclose(sums[:, :columns], expected[:, :columns], atol=1e-13)


def test_arena_gives_aligned_memory_again():
    arena = Arena()
    first = arena.take('a', (5, 3), np.float32)
    assert first.ctypes.data % 64 == 0 and first.shape == (5, 3)
    assert arena.take('a', (2, 2), np.float64).ctypes.data == first.ctypes.data
    assert arena.take('b', (5, 3), np.float32).ctypes.data != first.ctypes.data
    arenas = Arenas()
    for _ in range(5):
        arenas.give_back(Arena())
    assert len(arenas._free) == 2
