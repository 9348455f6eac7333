"""Choice of device and precision."""

import types

import chainer
import chainer.links as L
import numpy as np
import pytest
from chainer.backends import cuda

from chainer_wm import devices


@pytest.fixture(autouse=True)
def keep_settings():
    with chainer.using_config('dtype', chainer.config.dtype):
        yield
    chainer.get_device('@numpy').use()


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_links_made_afterwards_have_the_precision(dtype):
    device = devices.use('@numpy', dtype)
    assert device.xp is np
    assert L.Linear(2, 3).W.dtype == dtype


def test_numpy_float32_is_the_default():
    devices.use()
    assert chainer.config.dtype == np.float32


@pytest.mark.parametrize('dtype', ['float16', 'int32', 'mixed16', 'double!'])
def test_other_precisions_are_refused(dtype):
    with pytest.raises(ValueError, match=f'{dtype}.*float32, float64'):
        devices.use('@numpy', dtype)


@pytest.mark.parametrize(
    'spec', ['numpy', 'cpu', '@cupy', '@cupy:', '@cupy:-1', '@gpu:0', '0', '']
)
def test_an_unknown_device_is_named_with_the_known_ones(spec):
    with pytest.raises(ValueError, match=r'unknown.*@numpy.*@cupy:0'):
        devices.use(spec)


def test_nothing_changes_when_the_device_is_refused():
    before = chainer.config.dtype
    with pytest.raises(ValueError):
        devices.use('@gpu:0', 'float64')
    assert chainer.config.dtype == before


class NoDriver(Exception):
    pass


def fake_cupy(monkeypatch, get_device_count):
    """Chainer with a CuPy that imports, on a machine of our choice."""
    runtime = types.SimpleNamespace(getDeviceCount=get_device_count, CUDARuntimeError=NoDriver)
    cupy = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime))
    monkeypatch.setattr(cuda, 'available', True)
    monkeypatch.setattr(cuda, 'cupy', cupy)


@pytest.mark.parametrize('spec', ['@cupy:0', '@cuda:0'])
def test_without_cupy_the_error_says_what_to_install(monkeypatch, spec):
    monkeypatch.setattr(cuda, 'available', False)
    monkeypatch.setattr(cuda, '_resolution_error', ImportError('No module named cupy'), False)
    with pytest.raises(devices.DeviceError) as caught:
        devices.use(spec)
    for part in (spec, 'No module named cupy', '.[gpu]', 'nvidia-smi'):
        assert part in str(caught.value)


def test_a_missing_driver_is_named(monkeypatch):
    def load(paths):
        return [f'{path}: cannot open shared object' for path in paths]

    monkeypatch.setattr(cuda, 'available', False)
    monkeypatch.setattr(cuda, '_resolution_error', ImportError('x'), False)
    monkeypatch.setattr(devices.runtime, 'load_shared_libraries', load)
    with pytest.raises(devices.DeviceError, match=r'libcuda.so.1: cannot'):
        devices.use('@cupy:0')


def test_cupy_without_a_driver_is_no_gpu(monkeypatch):
    def count():
        raise NoDriver('cudaErrorInsufficientDriver')

    fake_cupy(monkeypatch, count)
    with pytest.raises(devices.DeviceError, match='InsufficientDriver'):
        devices.use('@cupy:0')


@pytest.mark.parametrize('spec, count', [('@cupy:0', 0), ('@cupy:2', 2)])
def test_a_gpu_beyond_the_last_is_refused(monkeypatch, spec, count):
    fake_cupy(monkeypatch, lambda: count)
    with pytest.raises(devices.DeviceError, match=rf'{spec}.*{count} GPU'):
        devices.use(spec)


def test_both_spellings_choose_the_gpu(monkeypatch):
    fake_cupy(monkeypatch, lambda: 2)
    chosen = []
    monkeypatch.setattr(devices.chainer, 'get_device', chosen.append)
    devices.get_device('@cuda:1')
    devices.get_device('@cupy:1')
    assert chosen == ['@cupy:1', '@cupy:1']


def test_to_cpu_takes_variables_and_arrays():
    array = np.arange(3.0)
    for value in (array, chainer.Variable(array)):
        result = devices.to_cpu(value)
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, array)


@pytest.mark.gpu
def test_a_gpu_runs():
    device = devices.use('@cupy:0', 'float64')
    link = L.Linear(2, 3)
    link.to_device(device)
    y = link(device.send(np.ones((4, 2))))
    assert device.xp is link.xp is not np
    assert devices.to_cpu(y).dtype == np.float64
