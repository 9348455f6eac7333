"""Prepare the process before Chainer, CuPy, numba and BLAS load.

Import this first: ``import dnc.runtime`` (both packages do). It does four things, each of them
once, and only where the user has not chosen otherwise.

1. *Threads wait passively.* BLAS and numba each keep a pool of threads. On a machine with few
   cores a pool that spins while it waits takes the cores from the other one; passive waiting makes
   a loop of matrix products and numba kernels two to three times faster on two cores. OpenBLAS's
   own idle threads otherwise spin for some 30 ms after every product. Environment variables that
   the user has set win.
2. *OpenBLAS uses what the processor has.* It knows processors by their model number and runs on
   one that is newer than itself (NumPy 1.26's: Emerald Rapids without AMX) with the kernels of a
   Pentium 4, four to five times slower. The processor's features choose the kernels instead.
3. *CuPy 13 finds CUDA libraries that came as wheels*, which it does not by itself. Nothing happens
   without CuPy, without those wheels, or without a driver.
4. *Chainer 7.8.1 imports and works on today's Python and NumPy.* Its import runs an environment
   check that needs ``numpy.distutils`` and ``pkg_resources`` (both gone from current releases), it
   reads two names that NumPy removed, and the backward pass of its transposed convolution fails
   for an input that needs no gradient (mended in Chainer's repository by pull request 8624, never
   released).

What is too late when other packages were imported first? After ``import numpy`` (numba and most
others do so) OpenBLAS has chosen its kernels and how its threads wait. OpenMP's waiting policy is
read when its library loads, which is at numba's first parallel function (earlier with a NumPy
whose BLAS uses OpenMP itself, or after ``import torch`` or scikit-learn where they share that
library). ``import chainer`` before this module fails on Python 3.12 and on NumPy 2 (it works when
repeated after this module), and elsewhere it has looked for CUDA before the wheels' libraries were
loaded.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import pathlib
import sys
import types
import warnings
from collections.abc import Iterable

_PASSIVE_WAITING = {'OMP_WAIT_POLICY': 'passive', 'GOMP_SPINCOUNT': '0'}
_BLAS_WAITING = {'OPENBLAS_THREAD_TIMEOUT': '20'}
CHOICES = (*_PASSIVE_WAITING, *_BLAS_WAITING)  # environment variables that are set here
SINGLE_THREAD = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'NUMBA_NUM_THREADS')
# OpenBLAS's names for its kernels, and the features that they use.
_KERNELS = {
    'SkylakeX': ('avx512f', 'avx512cd', 'avx512bw', 'avx512dq', 'avx512vl'),
    'Haswell': ('avx2', 'fma'),
}
# A library comes after those that it needs: folder and name in the wheels.
_CUDA_LIBRARIES = (
    'cuda_runtime/lib/libcudart.so.12',
    'cuda_nvrtc/lib/libnvrtc.so.12',
    'nvjitlink/lib/libnvJitLink.so.12',
    'cublas/lib/libcublasLt.so.12',
    'cublas/lib/libcublas.so.12',
    'curand/lib/libcurand.so.10',
    'cusparse/lib/libcusparse.so.12',
    'cusolver/lib/libcusolver.so.11',
    'cudnn/lib/libcudnn.so.8',
)


def wait_passively() -> None:
    """Let OpenMP's and BLAS's threads sleep while they wait.

    The user's settings win. The two of OpenMP belong together: where the user has set either of
    them, neither is touched.
    """
    for settings in (_PASSIVE_WAITING, _BLAS_WAITING):
        if not any(name in os.environ for name in settings):
            os.environ.update(settings)


def kernels_for(features: Iterable[str]) -> str | None:
    """OpenBLAS's best kernels for an x86 processor; None: let it choose.

    Args:
        features: of the processor, as Linux names them.
    """
    has = set(features)
    fitting = (name for name, needs in _KERNELS.items() if has >= set(needs))
    return next(fitting, None)


def choose_blas_kernels() -> None:
    """Tell OpenBLAS which kernels to use, on Linux; the user's choice wins."""
    path = pathlib.Path('/proc/cpuinfo')
    if 'OPENBLAS_CORETYPE' in os.environ or not path.exists():
        return
    lines = path.read_text().splitlines()
    flags = (line for line in lines if line.startswith('flags'))
    kernels = kernels_for(next(flags, '').split())
    if kernels:
        os.environ['OPENBLAS_CORETYPE'] = kernels


def single_thread() -> None:
    """One thread per pool in processes started from now on: workers.

    It overrides what the user set for the whole. The libraries of this process have read their
    settings when they loaded: its own pools stay as they are.
    """
    os.environ.update(dict.fromkeys(SINGLE_THREAD, '1'))


def cuda_wheel_libraries(folders: Iterable[str | os.PathLike]) -> list[pathlib.Path]:
    """The CUDA 12 libraries below ``folders``, in the order to load them.

    Args:
        folders: where the package ``nvidia``, which all those wheels share, lies (its
            ``__path__``).
    """
    return [
        path
        for name in _CUDA_LIBRARIES
        for folder in folders
        if (path := pathlib.Path(folder, name)).is_file()
    ]


def load_shared_libraries(paths: Iterable[str | os.PathLike]) -> list[str]:
    """Load libraries for all that loads later; returns those that failed."""
    failed = []
    for path in paths:
        try:
            ctypes.CDLL(os.fspath(path), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            failed.append(f'{path}: {error}')
    return failed


def prepare_cupy() -> None:
    """Load pip's CUDA libraries, where CuPy and an NVIDIA driver are."""
    if 'cupy' in sys.modules or importlib.util.find_spec('cupy') is None:
        return
    wheels = importlib.util.find_spec('nvidia')
    if wheels is None or load_shared_libraries(['libcuda.so.1']):
        return
    folders = wheels.submodule_search_locations or ()
    load_shared_libraries(cuda_wheel_libraries(folders))


def _restore_numpy_names() -> None:
    import numpy as np

    sctypes = {
        'int': [np.int8, np.int16, np.int32, np.int64],
        'uint': [np.uint8, np.uint16, np.uint32, np.uint64],
        'float': [np.float16, np.float32, np.float64, np.longdouble],
        'complex': [np.complex64, np.complex128, np.clongdouble],
        'others': [bool, object, bytes, str, np.void],
    }
    for name, value in {
        'sctypes': sctypes,  # gone from 2.0; Chainer reads it on import
        'float': float,  # gone from 1.24; F.resize_images
        'bool8': np.bool_,  # deprecated in 1.24; gym's checker reads it
    }.items():
        vars(np).setdefault(name, value)


def _forget_failed_import() -> None:
    if 'chainer' not in sys.modules:
        for name in [n for n in sys.modules if n.startswith('chainer.')]:
            del sys.modules[name]


def _skip_environment_check() -> None:
    name = 'chainer._environment_check'
    if name not in sys.modules:
        stub = types.ModuleType(name)
        stub.check = lambda: None  # type: ignore[attr-defined]
        sys.modules[name] = stub


def _mend_deconvolution() -> None:
    from chainer.functions.connection import deconvolution_2d

    function = deconvolution_2d.Deconvolution2DFunction
    original = function._set_cover_all
    if hasattr(original, '__wrapped__'):  # mended already
        return

    @functools.wraps(original)
    def set_cover_all(self, x, W):
        # backward() hands over arrays where shapes are expected
        original(self, getattr(x, 'shape', x), getattr(W, 'shape', W))

    function._set_cover_all = set_cover_all  # type: ignore[method-assign]


def prepare_chainer() -> None:
    """Make ``import chainer`` work, and mend its transposed convolution."""
    _forget_failed_import()
    _skip_environment_check()
    _restore_numpy_names()
    with warnings.catch_warnings():
        # CuPy 13 asks for NCCL, which only several GPUs need
        warnings.filterwarnings('ignore', r'\s*nccl library', UserWarning)
        _mend_deconvolution()


wait_passively()
choose_blas_kernels()
prepare_cupy()
prepare_chainer()
