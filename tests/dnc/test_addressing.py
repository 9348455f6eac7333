import dnc_oracle
import numpy as np
import pytest
from chainer import Variable, as_array, gradient_check

from dnc import addressing

DTYPES = [np.float32, np.float64]


def weightings(rng, *shape):
    """Not negative, sums to less than 1 along the last axis."""
    values = rng.random(shape) + 0.05
    return values / values.sum(axis=-1, keepdims=True) * 0.9


@pytest.mark.parametrize('dtype', DTYPES)
def test_allocation_follows_the_free_list(rng, dtype):
    u = rng.random((3, 6)).astype(dtype)
    u[0] = 0, 0.5, 0, 1, 0.5, 0.25  # ties, zeros and a full slot
    a = addressing.allocation(u)
    assert a.dtype == dtype
    expected = [dnc_oracle.allocation(list(row)) for row in u]
    np.testing.assert_allclose(a.array, expected, rtol=1e-5)


def test_allocation_by_hand():
    a = addressing.allocation(np.array([[0.5, 0.1, 1.0]])).array[0]
    np.testing.assert_allclose(a, [0.1 * 0.5, 0.9, 0])


def test_empty_memory_allocates_the_first_slot():
    a = addressing.allocation(np.zeros((2, 4))).array
    np.testing.assert_array_equal(a, [[1, 0, 0, 0]] * 2)


def test_full_memory_allocates_nothing():
    assert not addressing.allocation(np.ones((1, 4))).array.any()


def test_content_finds_the_matching_slot():
    memory = np.eye(4)[None]
    c = addressing.content_weighting(memory, memory[:, 2:3], np.full((1, 1), 20.0)).array[0, 0]
    assert c.argmax() == 2 and c[2] > 0.999


@pytest.mark.parametrize('dtype', DTYPES)
def test_content_of_an_empty_memory_is_uniform(dtype):
    memory = Variable(np.zeros((1, 5, 3), dtype))
    keys = Variable(np.zeros((1, 2, 3), dtype))
    strengths = Variable(np.ones((1, 2), dtype))
    c = addressing.content_weighting(memory, keys, strengths)
    np.testing.assert_allclose(c.array, 0.2, rtol=1e-6)
    c.grad = np.arange(10, dtype=dtype).reshape(1, 2, 5)
    c.backward()
    for variable in (memory, keys, strengths):
        assert np.isfinite(variable.grad).all()


def test_written_then_linked_by_hand():
    # slot 0 was written last, slot 2 is written now: L[2, 0] becomes 1
    link = np.zeros((1, 3, 3))
    p, w = np.array([[1.0, 0, 0]]), np.array([[0, 0, 1.0]])
    link = as_array(addressing.temporal_link(link, p, w))
    expected = np.zeros((3, 3))
    expected[2, 0] = 1
    np.testing.assert_array_equal(link[0], expected)
    at_0, at_2 = np.eye(3)[None, :1], np.eye(3)[None, 2:]
    f = addressing.forward_weighting(link, at_0).array
    b = addressing.backward_weighting(link, at_2).array
    np.testing.assert_array_equal(f, at_2)  # after 0 came 2
    np.testing.assert_array_equal(b, at_0)  # before 2 came 0


@pytest.mark.parametrize('k', [None, 1, 2, 4, 9])
@pytest.mark.parametrize('scaled', [False, True])
def test_link_matches_the_oracle(rng, k, scaled):
    link = weightings(rng, 3, 5, 5) * 2
    link *= 1 - np.eye(5)
    p, w = weightings(rng, 3, 5), weightings(rng, 3, 5)
    w[1] = p[2] = 0  # nothing written, nothing written before
    if k is None:
        got = addressing.temporal_link(link, p, w)
    else:
        got = addressing.sparse_temporal_link(link, p, w, k, scaled)
    expected = [dnc_oracle.link_step(*args, k, scaled) for args in zip(link, p, w)]
    np.testing.assert_allclose(as_array(got), expected, atol=1e-14)


def test_sharpened_keeps_slots_and_order():
    w = np.array([[0.1, 0.4, 0.0, 0.3]])
    got = addressing.sharpened(w, 2).array
    np.testing.assert_allclose(got, [[0, 4 / 7, 0, 3 / 7]])
    np.testing.assert_array_equal(w, [[0.1, 0.4, 0.0, 0.3]])  # not sorted
    scaled = addressing.sharpened(w, 2, scaled=True).array
    np.testing.assert_allclose(scaled, got * 0.8)


def test_sharpened_of_nothing_is_nothing():
    w = Variable(np.zeros((1, 4)))
    got = addressing.sharpened(w, 2)
    got.grad = np.ones((1, 4))
    got.backward()
    assert not got.array.any() and np.isfinite(w.grad).all()


def gradient_cases(rng):
    b, n, w, r = 2, 4, 3, 2
    link = weightings(rng, b, n, n)
    weights = weightings(rng, b, n)
    reads = weightings(rng, b, r, n)
    memory, keys = rng.normal(size=(b, n, w)), rng.normal(size=(b, r, w))
    gates = rng.random((b, 1))
    return {
        'oneplus': (rng.normal(size=(b, r)),),
        'content_weighting': (memory, keys, rng.random((b, r)) + 1),
        'retention': (rng.random((b, r)), reads),
        'usage': (weightings(rng, b, n), weights, rng.random((b, n))),
        'allocation': (rng.permutation(b * n).reshape(b, n) / (b * n),),
        'write_weighting': (gates, gates, weights, weights),
        'erase_and_write': (memory, weights, rng.random((b, w)), rng.normal(size=(b, w))),
        'precedence': (weightings(rng, b, n), weights),
        'temporal_link': (link, weightings(rng, b, n), weights),
        'forward_weighting': (link, reads),
        'backward_weighting': (link, reads),
        'read_weighting': (rng.random((b, r, 3)), reads, reads, reads),
        'read': (memory, reads),
    }


@pytest.mark.parametrize('name', gradient_cases(np.random.default_rng(0)))
def test_gradients_against_finite_differences(rng, name):
    inputs = gradient_cases(rng)[name]
    function = getattr(addressing, name)
    upstream = rng.normal(size=function(*inputs).shape)
    gradient_check.check_backward(function, inputs, upstream, eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('scaled', [False, True])
def test_sparse_link_gradient(rng, scaled):
    inputs = (weightings(rng, 2, 5, 5) * 3, weightings(rng, 2, 5), weightings(rng, 2, 5))
    gradient_check.check_backward(
        lambda *args: addressing.sparse_temporal_link(*args, 3, scaled),
        inputs,
        rng.normal(size=(2, 5, 5)),
        eps=1e-7,
        atol=1e-6,
        rtol=1e-5,
    )
