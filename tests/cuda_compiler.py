"""Compiles CUDA sources as CuPy does, for a GPU that need not be there.

Needs cupy-cuda12x 13 (its headers, and how it writes an elementwise kernel)
and the wheels of NVRTC and of the CUDA runtime: `make check-gpu`.
"""

import importlib.util
import pathlib

import numpy as np

ARCHITECTURE = 'sm_80'


def missing():
    """Why nothing can be compiled here, or None."""
    if importlib.util.find_spec('cupy') is None:
        return 'CuPy is not installed: make check-gpu'
    found = importlib.util.find_spec('nvidia')
    folders = found.submodule_search_locations if found else ()
    if not any(pathlib.Path(f, 'cuda_nvrtc').is_dir() for f in folders):
        return 'the wheel of NVRTC is not installed: make check-gpu'
    if not any(pathlib.Path(f, 'cuda_runtime').is_dir() for f in folders):
        return "the CUDA runtime's headers are not there: make check-gpu"
    return None


def compiled(source, options=()):
    """Machine code of a CUDA source; raises with the compiler's messages."""
    from dnc.runtime import cuda_wheel_libraries, load_shared_libraries

    import cupy
    import nvidia
    from cupy.cuda import compiler

    nvrtc = [p for p in cuda_wheel_libraries(nvidia.__path__) if 'nvrtc' in p.name]
    assert load_shared_libraries(nvrtc) == []
    headers = [
        pathlib.Path(cupy.__file__).parent / '_core' / 'include',
        pathlib.Path(nvidia.__path__[0], 'cuda_runtime', 'include'),
    ]
    options = (
        *(f'-I{folder}' for folder in headers),
        *('--device-as-default-execution-space', f'-arch={ARCHITECTURE}'),
        *(options or ('-std=c++14',)),
    )
    program = compiler._NVRTCProgram(source, 'kernel.cu', method='cubin')
    return program.compile(options, None)[0]


def elementwise_source(definition, args):
    """What CuPy makes of an elementwise kernel for these arrays.

    Args:
        definition: arguments of `cuda.elementwise`.
        args: what the kernel is called with, NumPy arrays in the place of
            CuPy's.
    """
    import cupy
    from cupy._core import _carray, _kernel, _scalar

    array, indexer, scalar = 1, 2, 3  # CuPy's kinds of arguments
    kernel = cupy.ElementwiseKernel(*definition)
    dtypes = [a.dtype.type if isinstance(a, np.ndarray) else None for a in args]
    count = len(kernel.in_params)
    types = _kernel._decide_params_type(
        kernel.in_params, kernel.out_params, tuple(dtypes[:count]), tuple(dtypes[count:])
    )
    shape = np.broadcast_shapes(
        *(a.shape for a, p in zip(args, kernel.params) if isinstance(a, np.ndarray) and not p.raw)
    )
    infos = []
    for arg, parameter, kind in zip(args, kernel.params, types[0] + types[1]):
        if isinstance(arg, np.ndarray):
            ndim = arg.ndim if parameter.raw else len(shape)
            whole = arg.flags.c_contiguous and parameter.raw
            infos.append((array, cupy.ndarray, kind, ndim, whole, True))
        else:
            infos.append((scalar, _scalar.CScalar, kind, 0, True, True))
    infos.append((indexer, _carray.Indexer, None, len(shape), True, True))
    code = _kernel._get_elementwise_kernel_code(
        tuple(_kernel._ArgInfo(*info) for info in infos),
        types[2],
        kernel.params,
        kernel.operation,
        kernel.name,
        kernel.preamble,
    )
    heads = ('complex', 'carray', 'atomics')
    return ''.join(f'#include <cupy/{name}.cuh>\n' for name in heads) + code
