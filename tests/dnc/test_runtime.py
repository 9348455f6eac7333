"""The process as dnc.runtime leaves it."""

import os
import subprocess
import sys
import types

import chainer
import chainer.functions as F
import numpy as np
import pytest

from dnc import runtime

PASSIVE = ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')
BLAS = 'OPENBLAS_THREAD_TIMEOUT'
SHOW = "import os; print([os.environ.get(n) for n in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')])"


def fresh(code, **settings):
    """What a new interpreter prints, with nothing set but ``settings``."""
    names = (*PASSIVE, BLAS)
    bare = {k: v for k, v in os.environ.items() if k not in names}
    result = subprocess.run(
        [sys.executable, '-c', code],
        env={**bare, **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize(
    'settings, seen',
    [
        ({'OMP_WAIT_POLICY': 'active'}, "['active', None]"),
        ({'GOMP_SPINCOUNT': '1000'}, "[None, '1000']"),
    ],
)
def test_the_settings_of_the_user_win(settings, seen):
    assert fresh(f'import chainer_wm; {SHOW}', **settings) == seen


@pytest.mark.parametrize('user, seen', [({}, '20'), ({BLAS: '3'}, '3')])
def test_blas_stops_spinning_unless_the_user_says_otherwise(user, seen):
    show = f"import os, dnc; print(os.environ['{BLAS}'])"
    assert fresh(show, **user) == seen


@pytest.mark.parametrize('package', ['dnc', 'chainer_wm'])
def test_each_package_prepares_the_process_and_numpy_may_come_first(package):
    code = f'import numpy; import {package}; import chainer; {SHOW}'
    assert fresh(code) == "['passive', '0']"


def test_features_choose_the_kernels_of_openblas():
    wide = [f'avx512{part}' for part in ('f', 'cd', 'bw', 'dq', 'vl')]
    new = [*wide, 'avx2', 'fma']
    assert runtime.kernels_for(new) == 'SkylakeX'
    assert runtime.kernels_for(new[1:]) == 'Haswell'
    assert runtime.kernels_for(['sse2', 'neon']) is None


def test_the_users_kernels_win():
    code = "import dnc.runtime, os; print(os.environ['OPENBLAS_CORETYPE'])"
    assert fresh(code, OPENBLAS_CORETYPE='Nehalem') == 'Nehalem'


def test_the_openmp_pool_loads_after_the_settings():
    code = """
import os
import numba, numpy
before = 'libgomp' in open('/proc/self/maps').read()
import dnc.runtime
print(before, os.environ['OMP_WAIT_POLICY'])
"""
    if not os.path.exists('/proc/self/maps'):
        pytest.skip('needs /proc')
    assert fresh(code) == 'False passive'


def test_chainer_first_is_mended_too():
    code = """
import contextlib
import warnings
warnings.simplefilter('ignore')
with contextlib.suppress(ImportError, AttributeError):
    import chainer  # it fails on Python 3.12 and on NumPy 2
import dnc.runtime
import chainer
from chainer.functions.connection import deconvolution_2d as module
mended = module.Deconvolution2DFunction._set_cover_all
print(chainer.Variable is not None and hasattr(mended, '__wrapped__'))
"""
    assert fresh(code) == 'True'


def test_a_second_time_changes_nothing():
    from chainer.functions.connection import deconvolution_2d

    function = deconvolution_2d.Deconvolution2DFunction
    mended = function._set_cover_all
    runtime.prepare_chainer()
    assert function._set_cover_all is mended


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_transposed_convolution_of_an_array_that_needs_no_gradient(dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 4, 4)).astype(dtype)
    W = chainer.Parameter(rng.standard_normal((3, 5, 4, 4)).astype(dtype))
    F.sum(F.deconvolution_2d(x, W, stride=2) ** 2).backward()
    expected = W.grad
    W.cleargrad()
    F.sum(F.deconvolution_2d(chainer.Variable(x), W, stride=2) ** 2).backward()
    np.testing.assert_allclose(expected, W.grad)
    assert W.grad.dtype == dtype


def test_images_are_resized():
    x = np.arange(16, dtype='float32').reshape(1, 1, 4, 4)
    y = F.resize_images(x, (2, 2)).array
    np.testing.assert_allclose(y, [[[[0, 3], [12, 15]]]])


def test_names_that_numpy_removed_are_back_without_a_warning():
    names = vars(np)
    assert names['bool8'] is np.bool_
    assert names['float'] is float
    assert np.float32 in names['sctypes']['float']


def test_single_thread_overrides(monkeypatch):
    for name in runtime.SINGLE_THREAD:
        monkeypatch.setenv(name, '7')
    runtime.single_thread()
    for name in runtime.SINGLE_THREAD:
        assert os.environ[name] == '1'


def test_a_process_started_afterwards_has_one_thread():
    code = """
import subprocess
import sys
from dnc import runtime
runtime.single_thread()
show = 'import numba; print(numba.get_num_threads())'
print(subprocess.check_output([sys.executable, '-c', show], text=True))
"""
    assert fresh(code) == '1'


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_cuda_libraries_are_found_in_the_order_they_need(tmp_path):
    for name in ('cudnn/lib/libcudnn.so.8', 'cublas/lib/libcublas.so.12'):
        touch(tmp_path / 'user' / name)
    touch(tmp_path / 'system' / 'cublas/lib/libcublasLt.so.12')
    touch(tmp_path / 'system' / 'cublas/lib/libcublas.so.13')
    touch(tmp_path / 'system' / 'cu13/lib/libcublas.so.12')
    found = runtime.cuda_wheel_libraries([tmp_path / 'user', tmp_path / 'system'])
    assert [path.name for path in found] == [
        'libcublasLt.so.12',
        'libcublas.so.12',
        'libcudnn.so.8',
    ]


def test_a_library_that_does_not_load_is_returned(tmp_path):
    touch(tmp_path / 'libbroken.so')
    (failed,) = runtime.load_shared_libraries([tmp_path / 'libbroken.so'])
    assert 'libbroken.so' in failed
    assert runtime.load_shared_libraries([]) == []


@pytest.fixture
def loads(monkeypatch, tmp_path):
    """Records what prepare_cupy loads, on a machine with all of it."""
    touch(tmp_path / 'cublas/lib/libcublas.so.12')
    specs = {
        'cupy': types.SimpleNamespace(),
        'nvidia': types.SimpleNamespace(submodule_search_locations=[str(tmp_path)]),
    }
    loaded = []
    monkeypatch.setattr(runtime.importlib.util, 'find_spec', specs.get)
    monkeypatch.setattr(
        runtime,
        'load_shared_libraries',
        lambda paths: loaded.extend(os.path.basename(p) for p in paths),
    )
    monkeypatch.delitem(sys.modules, 'cupy', raising=False)
    return specs, loaded


def test_cupy_gets_its_libraries_after_the_driver(loads):
    runtime.prepare_cupy()
    assert loads[1] == ['libcuda.so.1', 'libcublas.so.12']


@pytest.mark.parametrize('missing', ['cupy', 'nvidia'])
def test_without_cupy_or_the_wheels_nothing_is_loaded(loads, missing):
    specs, loaded = loads
    del specs[missing]
    runtime.prepare_cupy()
    assert loaded == []


def test_without_a_driver_no_wheel_is_loaded(loads, monkeypatch):
    tried = []

    def no_driver(paths):
        tried.extend(paths)
        return ['libcuda.so.1: not found']

    monkeypatch.setattr(runtime, 'load_shared_libraries', no_driver)
    runtime.prepare_cupy()
    assert tried == ['libcuda.so.1']
