"""The single-pass Adam takes Chainer's steps, to the last bit."""

import chainer
import numpy as np
import pytest
from chainer.optimizer_hooks import GradientHardClipping

from chainer_wm.functions import adam
from chainer_wm.functions.adam import Adam

SHAPES = (3,), (5, 7), (1,), (2, 3, 4)


class Bag(chainer.Link):
    """Parameters of several shapes."""

    def __init__(self, dtype, shapes=SHAPES):
        super().__init__()
        rng = np.random.default_rng(0)
        with self.init_scope():
            for i, shape in enumerate(shapes):
                values = np.asarray(rng.standard_normal(shape), dtype)
                setattr(self, f'p{i}', chainer.Parameter(values))


def gradients(link, rng):
    for param in link.params():
        param.grad = np.asarray(rng.standard_normal(param.shape) * 3, param.dtype)


def steps(make, dtype, shapes=SHAPES, hook=None, count=4):
    """Parameters and optimizer after a few steps."""
    link = Bag(dtype, shapes)
    optimizer = make().setup(link)
    if hook:
        optimizer.add_hook(hook)
    rng = np.random.default_rng(1)
    for _ in range(count):
        gradients(link, rng)
        optimizer.update()
    return link, optimizer


def assert_same(one, other, dtype):
    for (_, a), (_, b) in zip(sorted(one.namedparams()), sorted(other.namedparams())):
        assert a.dtype == dtype
        np.testing.assert_array_equal(a.array, b.array)
        for name in 'mv':
            np.testing.assert_array_equal(a.update_rule.state[name], b.update_rule.state[name])


OPTIONS = [
    {},
    {'alpha': 0.1, 'beta1': 0.5, 'beta2': 0.9, 'eps': 1e-3},
    {'weight_decay_rate': 0.1, 'eta': 0.5},
    {'amsgrad': True},
    {'adabound': True},
]


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('options', OPTIONS)
def test_takes_the_same_steps(dtype, options):
    own, _ = steps(lambda: Adam(**options), dtype)
    plain, _ = steps(lambda: chainer.optimizers.Adam(**options), dtype)
    assert_same(own, plain, dtype)


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('options', [{}, {'amsgrad': True}])
def test_clips_as_the_hook_does(dtype, options):
    own, _ = steps(lambda: Adam(gradient_clip=1.5, **options), dtype)
    plain, _ = steps(
        lambda: chainer.optimizers.Adam(**options), dtype, hook=GradientHardClipping(-1.5, 1.5)
    )
    free, _ = steps(lambda: Adam(**options), dtype)
    assert_same(own, plain, dtype)
    assert not np.array_equal(own.p1.array, free.p1.array)


def test_large_parameters_are_shared_out():
    shapes = ((adam._SHARED // 3, 3), (adam._SHARED + 1,))
    own, _ = steps(Adam, np.float32, shapes, count=2)
    plain, _ = steps(chainer.optimizers.Adam, np.float32, shapes, count=2)
    assert_same(own, plain, np.float32)


def test_scalar_parameters():
    # NumPy computes 0-d float32 arrays with Python numbers in float64
    own, _ = steps(Adam, np.float32, ((),))
    plain, _ = steps(chainer.optimizers.Adam, np.float32, ((),))
    np.testing.assert_allclose(own.p0.array, plain.p0.array, rtol=1e-6)


def test_parameter_in_another_memory_order():
    def fortran(make):
        link = Bag(np.float32, ((4, 6),))
        link.p0.array = np.asfortranarray(link.p0.array)
        optimizer = make().setup(link)
        gradients(link, np.random.default_rng(1))
        optimizer.update()
        return link

    assert_same(fortran(Adam), fortran(chainer.optimizers.Adam), np.float32)


def test_not_a_number_is_passed_on():
    link = Bag(np.float32, ((3,),))
    optimizer = Adam(gradient_clip=1.0).setup(link)
    link.p0.grad = np.array([np.nan, np.inf, 1.0], np.float32)
    optimizer.update()
    np.testing.assert_array_equal(np.isnan(link.p0.array), [True, False, False])


def test_parameter_without_gradient_stays():
    link = Bag(np.float64, ((3,), (2,)))
    before = link.p0.array.copy()
    optimizer = Adam(gradient_clip=1.0).setup(link)
    link.cleargrads()
    link.p1.grad = np.ones(2)
    optimizer.update()
    np.testing.assert_array_equal(link.p0.array, before)


def test_snapshots_are_interchangeable(tmp_path):
    def resumed(first, second):
        link, optimizer = steps(first, np.float64)
        chainer.serializers.save_npz(tmp_path / 'o.npz', optimizer)
        again = Bag(np.float64)
        again.copyparams(link)
        optimizer = second().setup(again)
        chainer.serializers.load_npz(tmp_path / 'o.npz', optimizer)
        gradients(again, np.random.default_rng(2))
        optimizer.update()
        return again

    assert_same(
        resumed(Adam, chainer.optimizers.Adam), resumed(chainer.optimizers.Adam, Adam), np.float64
    )


@pytest.mark.parametrize('clip', [0, -1.0, float('nan')])
def test_a_useless_clip_is_refused(clip):
    with pytest.raises(ValueError, match='gradient_clip is'):
        Adam(gradient_clip=clip)
