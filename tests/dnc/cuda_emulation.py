"""Kernels of the GPU compiled for the CPU: see cuda_emulation.h."""

import ctypes
import functools
import pathlib
import re
import shutil
import subprocess
import tempfile

import numpy as np

from dnc.cuda.source import cuda_source

COMPILER = shutil.which('g++') or shutil.which('clang++')
OPTIONS = (
    *('-std=c++14', '-O1', '-ffp-contract=off', '-shared', '-fPIC', '-w'),
    *('-x', 'c++', '-'),
)
ENTRY = """
extern "C" const char *{0}_launch(
    int count, void **arguments, unsigned blocks, unsigned threads, int bytes,
    unsigned seed
) {{
    return emulation::launch(
        {0}, count, arguments, blocks, threads, bytes, seed);
}}
"""
SCALARS = {
    np.int32: ctypes.c_int32,
    np.bool_: ctypes.c_bool,
    np.float32: ctypes.c_float,
    np.float64: ctypes.c_double,
}


def program(dtype):
    source = cuda_source(dtype)
    kernels = re.findall(r'^(?:KERNEL|MAP) (\w+)\(', source, re.MULTILINE)
    header = pathlib.Path(__file__).with_name('cuda_emulation.h').read_text()
    return '\n'.join([header, source, *map(ENTRY.format, kernels)])


@functools.cache
def library(dtype, *options):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, 'kernels.so')
        command = [COMPILER, *OPTIONS, *options, '-o', str(path)]
        subprocess.run(command, input=program(dtype), text=True, check=True)
        return ctypes.CDLL(str(path))


class EmulatedLauncher:
    """Runs the kernels on NumPy arrays.

    Args:
        dtype: of the numbers.
        threads: of a block that runs one lane.
        seed: 0 runs the threads in order, 1 in reverse, others at random.
        options: more of the compiler's.
    """

    def __init__(self, dtype, threads, seed=0, options=()):
        self._library = library(np.dtype(dtype).name, *options)
        self._threads, self.seed = threads, seed
        self.names = []

    def threads(self, slots):
        return self._threads

    def __call__(self, name, blocks, threads, shared, args):
        self.names.append(name)
        values = [self._value(name, arg) for arg in args]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        launch = getattr(self._library, f'{name}_launch')
        launch.restype = ctypes.c_char_p
        error = launch(len(values), pointers, blocks, threads, shared, self.seed)
        assert error is None, f'{name}: {error.decode()}'

    @staticmethod
    def _value(name, arg):
        if isinstance(arg, np.ndarray):
            assert arg.flags.c_contiguous, f'{name}: {arg.shape} has gaps'
            return ctypes.c_void_p(arg.ctypes.data)
        return SCALARS[type(arg)](arg)
