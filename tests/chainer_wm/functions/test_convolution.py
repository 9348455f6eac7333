"""The kernels against Chainer's convolutions, on any sizes."""

import chainer
import chainer.functions as F
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainer_wm.functions import convolution as conv
from chainer_wm.functions.arena import Arena
from chainer_wm.functions.convolution import Layer

SIZES = {np.float32: 3e-5, np.float64: 1e-13}
REAL = pytest.mark.parametrize('dtype', SIZES)


@st.composite
def layers(draw):
    kernel = draw(st.integers(1, 5))
    return Layer(
        height=draw(st.integers(kernel, 12)),
        width=draw(st.integers(kernel, 12)),
        channels=draw(st.integers(1, 6)),
        kernel=kernel,
        stride=draw(st.integers(1, 3)),
        filters=draw(st.sampled_from([1, 3, 32, 40])),
    )


def setting(layer, batch, dtype, seed=0):
    """Large and small pictures, weights, and biases of both kinds."""
    rng = np.random.default_rng(seed)
    large = batch, layer.height, layer.width, layer.channels
    shapes = (
        *(large, (batch, *layer.small, layer.filters)),
        (layer.filters, layer.channels, layer.kernel, layer.kernel),
        *((layer.filters,), (layer.channels,)),
    )
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def first(x):
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def last(x):
    return x.transpose(0, 2, 3, 1)


def chainer_shrink(x, w, layer, b=None):
    return F.convolution_2d(first(x), w, b, stride=layer.stride)


def chainer_grow(x, w, layer, b=None):
    size = layer.height, layer.width
    return F.deconvolution_2d(first(x), w, b, stride=layer.stride, outsize=size)


def assert_close(got, want):
    assert got.dtype == want.dtype
    scale = max(1, abs(want).max(initial=0))
    np.testing.assert_allclose(got, want, rtol=0, atol=SIZES[got.dtype.type] * scale)


@REAL
@settings(max_examples=25, deadline=None)
@given(layer=layers(), batch=st.integers(1, 5), seed=st.integers(0, 99))
def test_equals_chainer(dtype, layer, batch, seed):
    large, small, w, b_small, b_large = setting(layer, batch, dtype, seed)
    arena = Arena()
    assert_close(
        conv.shrink(large, w, layer, arena, b_small),
        last(chainer_shrink(large, w, layer, b_small).array),
    )
    assert_close(
        conv.grow(small, w, layer, arena, b_large),
        last(chainer_grow(small, w, layer, b_large).array),
    )
    parameter = chainer.Parameter(w)
    y = chainer_shrink(large, parameter, layer)
    y.grad = first(small)
    y.backward()
    assert_close(conv.weight_gradient(large, small, layer, arena), parameter.grad)


CASE = Layer(11, 9, 3, 4, 2, 5)


@REAL
@pytest.mark.parametrize(
    ('operation', 'plain', 'given', 'like'),
    [(conv.shrink, chainer_shrink, 0, 1), (conv.grow, chainer_grow, 1, 0)],
)
def test_endings(dtype, operation, plain, given, like):
    arrays = setting(CASE, 3, dtype)
    x, mask, w, b = arrays[given], arrays[like], arrays[2], arrays[3 + given]
    arena = Arena()
    y = last(plain(x, w, CASE).array)
    biased = last(plain(x, w, CASE, b).array)
    assert_close(operation(x, w, CASE, arena), y)
    assert_close(operation(x, w, CASE, arena, b), biased)
    assert_close(operation(x, w, CASE, arena, b, relu=True), np.maximum(biased, 0))
    assert_close(operation(x, w, CASE, arena, mask=mask), np.where(mask > 0, y, np.zeros_like(y)))


def results(threads, batch=7):
    large, small, w, b_small, b_large = setting(CASE, batch, np.float32)
    before = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        return (
            conv.shrink(large, w, CASE, Arena(), b_small),
            conv.grow(small, w, CASE, Arena(), b_large),
            conv.weight_gradient(large, small, CASE, Arena()),
            conv.channel_sums(large),
        )
    finally:
        numba.set_num_threads(before)


@pytest.mark.skipif(numba.get_num_threads() < 2, reason='one thread only')
def test_threads_change_no_bit():
    for one, other in zip(results(1), results(2)):
        np.testing.assert_array_equal(one, other)


def test_the_batch_changes_no_bit():
    large, small, w, _, _ = setting(CASE, 40, np.float32)
    for operation, x in ((conv.shrink, large), (conv.grow, small)):
        whole = operation(x, w, CASE, Arena())
        alone = [operation(x[i : i + 1], w, CASE, Arena()) for i in (0, 39)]
        np.testing.assert_array_equal(whole[[0, 39]], np.concatenate(alone))


@REAL
def test_channel_sums(dtype):
    x = setting(CASE, 3, dtype)[0]
    assert_close(conv.channel_sums(x), x.sum(axis=(0, 1, 2)))


def test_an_empty_batch():
    large, small, w, _, _ = setting(CASE, 0, np.float64)
    assert conv.shrink(large, w, CASE, Arena()).shape == small.shape
    assert conv.grow(small, w, CASE, Arena()).shape == large.shape
    gradient = conv.weight_gradient(large, small, CASE, Arena())
    np.testing.assert_array_equal(gradient, np.zeros_like(w))


def test_views_are_read_and_inputs_left_alone():
    large, _, w, _, _ = setting(CASE, 4, np.float64)
    double = np.repeat(large, 2, axis=0)
    copies = double.copy(), w.copy()
    got = conv.shrink(double[::2], w, CASE, Arena())
    np.testing.assert_array_equal(got, conv.shrink(large, w, CASE, Arena()))
    np.testing.assert_array_equal(double, copies[0])
    np.testing.assert_array_equal(w, copies[1])


def test_layers_from_pictures():
    large, small, w, _, _ = setting(CASE, 2, np.float64)
    assert Layer.of_large(large, w, 2) == CASE
    # the row that no patch reaches is not known from below
    assert Layer.of_small(small, w, 2) == CASE._replace(height=10, width=8)


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        (lambda x, s, w, b: (x[:, 1:], s, w, b), 'large pictures'),
        (lambda x, s, w, b: (x, s, w[:, :, :3], b), 'the weights'),
        (lambda x, s, w, b: (x, s, w.astype('f'), b), 'expected float64'),
        (lambda x, s, w, b: (x, s, w, b[1:]), 'the bias'),
    ],
)
def test_wrong_sizes_are_refused(change, named):
    x, small, w, b, _ = setting(CASE, 2, np.float64)
    x, small, w, b = change(x, small, w, b)
    with pytest.raises(ValueError, match=named):
        conv.shrink(x, w, CASE, Arena(), b)


def test_wrong_small_pictures_are_refused():
    large, small, w, _, _ = setting(CASE, 2, np.float64)
    with pytest.raises(ValueError, match='small pictures'):
        conv.grow(small[..., 1:], w, CASE, Arena())
    with pytest.raises(ValueError, match='small'):
        conv.weight_gradient(large, small[1:], CASE, Arena())
    with pytest.raises(ValueError, match='the mask'):
        conv.grow(small, w, CASE, Arena(), mask=large[:1])
    tiny = CASE._replace(height=3)
    with pytest.raises(ValueError, match='does not fit'):
        conv.shrink(large[:, :3], w, tiny, Arena())
