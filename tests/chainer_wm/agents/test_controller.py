"""Controllers: sizes, layout of theta, populations, gradients, files."""

import itertools

import chainer
import numpy as np
import pytest
from chainer import gradient_check

from chainer_wm.agents.controller import (
    HiddenController,
    LinearController,
    driving_actions,
    load_controller,
)
from chainer_wm.files.archives import write_archive

DTYPES = pytest.mark.parametrize('dtype', [np.float32, np.float64])
MAKERS = pytest.mark.parametrize(
    'make',
    [
        lambda **k: LinearController(7, 2, **k),
        lambda **k: LinearController(7, 2, bias=False, **k),
        lambda **k: LinearController(7, 3, actions='driving', **k),
        lambda **k: HiddenController(7, 2, 5, **k),
        lambda **k: HiddenController(7, 3, 5, bias=False, actions='driving', **k),
    ],
)


def slow(controller, features, theta):
    """One lane, one theta, unit by unit."""
    x, numbers = [float(f) for f in features], iter(theta)
    for inputs, outputs in itertools.pairwise(controller.sizes):
        sums = [sum(next(numbers) * x[i] for i in range(inputs)) for _ in range(outputs)]
        if controller.bias:
            sums = [s + next(numbers) for s in sums]
        x = [np.tanh(s) for s in sums]
    if controller.actions == 'driving':
        x = [x[0], 0.5 * x[1] + 0.5, min(max(x[2], 0.0), 1.0)]
    return x


@pytest.mark.parametrize(
    'controller, count',
    [
        (lambda: LinearController(64 + 512 + 512, 1, bias=False), 1088),
        (lambda: LinearController(32 + 256, 3), 867),
        (lambda: HiddenController(32, 3), 1443),
        (lambda: LinearController(32, 3), 99),
    ],
)
def test_parameter_counts(controller, count):
    link = controller()
    assert link.n_params == count
    assert link.count_params() == count
    assert link.get_theta().shape == (count,)


def test_sizes_are_named():
    link = HiddenController(32, 3)
    assert (link.feature_size, link.action_size) == (32, 3)


@MAKERS
@DTYPES
def test_a_population_acts_like_the_slow_loop(make, dtype):
    rng = np.random.default_rng(0)
    controller = make()
    theta = rng.standard_normal((6, controller.n_params))
    features = rng.standard_normal((6, 7)).astype(dtype)
    wanted = [slow(controller, f, t) for f, t in zip(features, theta)]
    found = controller.act(features, theta)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, atol=1e-5 if dtype == np.float32 else 1e-13)


@MAKERS
@DTYPES
def test_one_theta_the_link_and_one_per_lane_agree(make, dtype):
    rng = np.random.default_rng(1)
    controller = make()
    theta = rng.standard_normal(controller.n_params).astype(dtype)
    features = rng.standard_normal((5, 7)).astype(dtype)
    with chainer.using_config('dtype', dtype):
        controller = make()
    controller.set_theta(theta)
    np.testing.assert_array_equal(controller.get_theta(), theta)
    found = controller.act(features)
    for other in (
        controller.act(features, theta),
        controller.act(features, np.tile(theta, (5, 1))),
    ):
        np.testing.assert_array_equal(found, other)
    np.testing.assert_allclose(found, controller(features).array, rtol=1e-5)


@MAKERS
@DTYPES
def test_a_lane_does_not_depend_on_its_neighbours(make, dtype):
    """Dropping dead lanes of a dream must not touch the living."""
    rng = np.random.default_rng(2)
    controller = make()
    theta = rng.standard_normal((33, controller.n_params)).astype(dtype)
    features = rng.standard_normal((33, 7)).astype(dtype)
    whole = controller.act(features, theta)
    shared = controller.act(features)
    for kept in ([4], [0, 32], list(range(1, 33, 3))):
        np.testing.assert_array_equal(controller.act(features[kept], theta[kept]), whole[kept])
        np.testing.assert_array_equal(controller.act(features[kept]), shared[kept])


def test_neighbours_at_the_doom_size():
    rng = np.random.default_rng(3)
    controller = LinearController(1088, 1, bias=False)
    features = rng.standard_normal((64, 1088)).astype('f')
    theta = rng.standard_normal((64, 1088)).astype('f') * 0.05
    whole, shared = controller.act(features, theta), controller.act(features)
    for lane in (0, 13, 63):
        one = slice(lane, lane + 1)
        np.testing.assert_array_equal(controller.act(features[one], theta[one]), whole[one])
        np.testing.assert_array_equal(controller.act(features[one]), shared[one])


def test_the_caller_s_arrays_are_only_read():
    controller = HiddenController(4, 2, 3)
    features = np.ones((2, 4))
    theta = np.ones((2, controller.n_params))
    features.flags.writeable = theta.flags.writeable = False
    controller.act(features, theta)
    controller.get_theta()[:] = 0
    assert controller.get_theta().any()


@MAKERS
def test_gradients(make):
    with chainer.using_config('dtype', np.float64):
        controller = make(seed=4)
    rng = np.random.default_rng(4)
    controller.set_theta(rng.standard_normal(controller.n_params))
    gradient_check.check_backward(
        lambda x, *_: controller(x),
        rng.standard_normal((4, 7)),
        rng.standard_normal((4, controller.action_size)),
        params=list(controller.params()),
        dtype=np.float64,
        atol=1e-6,
        rtol=1e-5,
    )


def test_driving_actions_have_the_car_s_ranges():
    squashed = np.array([[-1.0, -1.0, -1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, -0.5, 0.25]])
    np.testing.assert_allclose(
        driving_actions(squashed),
        [[-1.0, 0.0, 0.0], [0.0, 0.5, 0.0], [1.0, 1.0, 1.0], [0.5, 0.25, 0.25]],
    )


def test_the_seed_decides_the_first_weights():
    def theta(seed, dtype):
        with chainer.using_config('dtype', dtype):
            return HiddenController(9, 2, seed=seed).get_theta()

    np.testing.assert_array_equal(theta(1, np.float32), theta(1, np.float32))
    np.testing.assert_allclose(theta(1, np.float32), theta(1, np.float64), rtol=1e-6)
    assert (theta(1, np.float32) != theta(2, np.float32)).any()


@MAKERS
def test_files(tmp_path, make):
    controller = make(seed=5)
    controller.save(tmp_path / 'controller.npz')
    again = load_controller(tmp_path / 'controller.npz')
    np.testing.assert_array_equal(again.get_theta(), controller.get_theta())
    features = np.random.default_rng(5).standard_normal((3, 7)).astype('f')
    np.testing.assert_array_equal(again.act(features), controller.act(features))
    assert isinstance(again, LinearController) == isinstance(controller, LinearController)


def test_a_file_of_another_kind_is_named(tmp_path):
    write_archive(tmp_path / 'x.npz', 'cma_es/1', {}, {})
    with pytest.raises(ValueError, match=r"x\.npz holds 'cma_es/1'"):
        load_controller(tmp_path / 'x.npz')


@pytest.mark.parametrize(
    'call, message',
    [
        (lambda c: c.act(np.zeros((2, 6))), r'\(2, 6\) but C takes \(B, 7\)'),
        (lambda c: c.act(np.zeros(7)), r'shape \(7,\) but C takes'),
        (
            lambda c: c.act(np.zeros((2, 7)), np.zeros(15)),
            r'shape \(15,\) but C has 16 parameters and the batch 2 lanes',
        ),
        (lambda c: c.act(np.zeros((2, 7)), np.zeros((3, 16))), r'\(3, 16\)'),
        (lambda c: c.set_theta(np.zeros(17)), r'\(17,\) but C has 16'),
        (lambda c: c.set_theta(np.full(16, np.nan)), '16 of the 16 numbers'),
        (lambda c: LinearController(7, 2, actions='driving'), 'action_size is 2'),
        (lambda c: LinearController(7, 2, actions='plane'), "'plane', not one"),
    ],
)
def test_errors_name_both_values(call, message):
    with pytest.raises(ValueError, match=message):
        call(LinearController(7, 2))


@pytest.mark.gpu
def test_cupy_agrees_with_numpy():
    import cupy

    rng = np.random.default_rng(6)
    controller = HiddenController(7, 3, 5, actions='driving')
    theta = rng.standard_normal((6, controller.n_params))
    features = rng.standard_normal((6, 7))
    wanted = controller.act(features, theta)
    own = controller.act(features)
    controller.to_device('@cupy:0')
    for found, value in (
        (controller.act(cupy.asarray(features), theta), wanted),
        (controller.act(cupy.asarray(features)), own),
    ):
        assert isinstance(found, cupy.ndarray)
        np.testing.assert_allclose(found.get(), value, atol=1e-12)
    controller.set_theta(theta[0])
    np.testing.assert_allclose(controller.get_theta(), theta[0], rtol=1e-6)
