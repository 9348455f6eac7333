"""The LSTM against a plain loop, finite differences and its twin."""

import chainer
import numpy as np
import pytest
from chainer import gradient_check

from chainer_wm.links.recurrent import LSTM, LSTMState, detach
from dnc.state import reset_state


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def slow_lstm(link, xs, state, reset=None):
    """The equations, one lane and one step at a time."""
    W, size = link.W.array, link.hidden_size
    U, W, b = W[:, :size], W[:, size:-1], W[:, -1]
    c, h = (np.array(part) for part in state)
    ys = np.empty((*xs.shape[:2], link.hidden_size))
    for t in range(xs.shape[0]):
        for n in range(xs.shape[1]):
            if reset is not None and reset[t, n]:
                c[n], h[n] = 0, 0
            i, f, o, g = np.split(W @ xs[t, n] + U @ h[n] + b, 4)
            c[n] = sigmoid(f) * c[n] + sigmoid(i) * np.tanh(g)
            h[n] = sigmoid(o) * np.tanh(c[n])
            ys[t, n] = h[n]
    return ys, c, h


def setting(engine, dtype=np.float64, lanes=3, steps=6, seed=0):
    with chainer.using_config('dtype', dtype):
        link = LSTM(4, 5, seed=seed, engine=engine)
    rng = np.random.default_rng(seed)
    xs = rng.normal(size=(steps, lanes, 4)).astype(dtype)
    state = LSTMState(*(rng.normal(size=(lanes, 5)).astype(dtype) for _ in range(2)))
    reset = (rng.random((steps, lanes)) < 0.3).astype(dtype)
    return link, xs, state, reset


ENGINES = pytest.mark.parametrize('engine', ['fused', 'reference'])


@ENGINES
@pytest.mark.parametrize('resets', [True, False])
@pytest.mark.parametrize('lanes', [1, 3])
def test_sequence_equals_the_slow_loop(engine, resets, lanes):
    link, xs, state, reset = setting(engine, lanes=lanes)
    reset = reset if resets else None
    ys, last = link.sequence(xs, state, reset)
    wanted = slow_lstm(link, xs, state, reset)
    for got, want in zip((ys, last.c, last.h), wanted):
        np.testing.assert_allclose(got.array, want, rtol=1e-12, atol=1e-14)


@ENGINES
def test_a_sequence_is_its_steps_in_any_cut(engine):
    link, xs, state, reset = setting(engine)
    ys, last = link.sequence(xs, state, reset)
    half, middle = link.sequence(xs[:2], state, reset[:2])
    rest, cut = link.sequence(xs[2:], middle, reset[2:])
    np.testing.assert_allclose(np.concatenate((half.array, rest.array)), ys.array, rtol=1e-13)
    np.testing.assert_allclose(cut.c.array, last.c.array, rtol=1e-13)
    step, after = link.step(xs[0], reset_state(state, reset[0]))
    np.testing.assert_allclose(step.array, ys.array[0], rtol=1e-13)
    np.testing.assert_array_equal(step.array, after.h.array)


@ENGINES
def test_time_is_time(engine):
    """What happens at 0 is felt at the end, and in its own lane only."""
    link, xs, state, _ = setting(engine)
    other = xs.copy()
    other[0, 1] += 1
    a, b = (link.sequence(x, state)[0].array[-1] for x in (xs, other))
    assert (a != b).any(axis=1).tolist() == [False, True, False]


@ENGINES
def test_gradients_against_finite_differences(engine):
    link, xs, state, reset = setting(engine, lanes=2, steps=3)
    rng = np.random.default_rng(7)

    def function(xs, c, h, *_):
        ys, last = link.sequence(xs, LSTMState(c, h), reset)
        return ys, last.c, last.h

    grads = tuple(rng.normal(size=shape) for shape in ((3, 2, 5), (2, 5), (2, 5)))
    gradient_check.check_backward(
        function,
        (xs, *state),
        grads,
        params=tuple(link.params()),
        dtype=np.float64,
        eps=1e-5,
        atol=1e-7,
        rtol=1e-6,
    )


@ENGINES
def test_a_reset_stops_the_gradient(engine):
    link, xs, state, _ = setting(engine)
    reset = np.zeros(xs.shape[:2])
    reset[2, 0] = 1
    variable = chainer.Variable(xs)
    ys, _ = link.sequence(variable, state, reset)
    chainer.functions.sum(ys[-1] ** 2).backward()
    assert not variable.grad[:2, 0].any()
    assert variable.grad[:2, 1].any() and variable.grad[2, 0].any()


def test_the_same_seed_gives_the_same_weights_in_both_dtypes():
    links = [setting('fused', dtype)[0] for dtype in ('f', 'd')]
    assert [link.W.dtype for link in links] == [np.float32, np.float64]
    for a, b in zip(links[0].params(), links[1].params()):
        np.testing.assert_allclose(a.array, b.array, rtol=1e-6)
    assert (setting('fused', seed=1)[0].W.array != links[1].W.array).any()


def test_the_initial_state_and_the_biases():
    link, xs, _, _ = setting('fused', np.float32)
    state = link.initial_state(2)
    assert state.c.shape == state.h.shape == (2, 5)
    assert state.c.dtype == np.float32 and not state.c.any()
    np.testing.assert_array_equal(link.W.array[:, -1].reshape(4, 5).T, [[0, 1, 0, 0]] * 5)
    ys, last = link.sequence(xs, link.initial_state(3))
    assert ys.dtype == last.c.dtype == np.float32


def test_detach_keeps_the_numbers_and_cuts_the_graph():
    link, xs, state, _ = setting('reference')
    _, last = link.sequence(xs, state)
    cut = detach(last)
    assert isinstance(cut, LSTMState) and isinstance(cut.h, np.ndarray)
    np.testing.assert_array_equal(cut.h, last.h.array)


@pytest.mark.parametrize(
    ('shape', 'lanes', 'words'),
    [((6, 3, 7), 3, 'feature count'), ((3, 6, 4), 3, 'swapped'), ((0, 3, 4), 3, 'at least 1')],
)
def test_shapes_that_do_not_fit_are_named(shape, lanes, words):
    link = setting('fused')[0]
    with pytest.raises(ValueError, match=words):
        link.sequence(np.zeros(shape), link.initial_state(lanes))


def test_a_reset_mask_that_does_not_fit():
    link, xs, state, reset = setting('fused')
    with pytest.raises(ValueError, match='reset'):
        link.sequence(xs, state, reset.T)


def test_an_unknown_engine():
    with pytest.raises(ValueError, match='engine'):
        LSTM(1, 1, engine='fast')


@ENGINES
@pytest.mark.parametrize('recompute', [False, True])
def test_a_mask_drops_what_the_gates_see_of_h_alone(engine, recompute):
    link, xs, state, reset = setting(engine, lanes=3, steps=4)
    link.recompute = recompute
    mask = np.random.default_rng(1).choice([0.0, 1.25], size=(3, 5))
    ys, last = link.sequence(xs, state, reset, mask)
    seen = state
    for t in range(4):  # by steps that see h masked
        seen = reset_state(seen, reset[t])
        _, seen = link.step(xs[t], seen._replace(h=seen.h * mask))
        np.testing.assert_allclose(ys.array[t], seen.h.array, rtol=1e-12)
    np.testing.assert_allclose(last.c.array, seen.c.array, rtol=1e-12)
    np.testing.assert_array_equal(last.h.array, ys.array[-1])
    ones = link.sequence(xs, state, reset, np.ones((3, 5)))[0].array
    np.testing.assert_array_equal(ones, link.sequence(xs, state, reset)[0].array)
    assert abs(ones - ys.array).max() > 1e-3

    def function(xs, c, h, *_):
        ys, last = link.sequence(xs, LSTMState(c, h), reset, mask)
        return ys, last.c, last.h

    gradient_check.check_backward(
        function,
        (xs, *state),
        tuple(
            np.random.default_rng(2).normal(size=shape) for shape in ((4, 3, 5), (3, 5), (3, 5))
        ),
        params=tuple(link.params()),
        **{'dtype': np.float64, 'eps': 1e-5, 'atol': 1e-7, 'rtol': 1e-6},
    )
