"""Every CUDA source of the project compiles, without a GPU."""

import ast
import pathlib

import numpy as np
import pytest
from chainer.backends import cuda
from cuda_compiler import compiled, elementwise_source, missing

from chainer_wm.functions import lstm_kernels, mixture_kernels
from dnc.cuda.launch import OPTIONS
from dnc.cuda.source import cuda_source

ROOT = pathlib.Path(__file__).resolve().parent.parent
REASON = missing()

needs_compiler = pytest.mark.skipif(REASON is not None, reason=str(REASON))


class Recorder:
    """Takes the place of `cuda.elementwise`: notes what is called how."""

    def __init__(self):
        self.calls = {}

    def __call__(self, *definition):
        def kernel(*args):
            self.calls[definition[3]] = definition, args
            return args[-1]

        return kernel


def call_every_kernel(dtype):
    """Each kernel of `chainer_wm.functions`, as the project calls it."""
    batch, size, mixtures = 3, 4, 5
    square = np.zeros((batch, size), dtype)
    wide = np.zeros((batch, 4 * size), dtype)
    row = np.zeros(batch, dtype)
    out = np.zeros((batch, 3 * mixtures * size + 1), dtype)
    bias = np.zeros(3 * mixtures * size, dtype)
    lstm_kernels._forward_on_gpu(wide, square, row, row, square, square, square, wide)
    lstm_kernels._activate_on_gpu(wide)
    lstm_kernels._backward_on_gpu(*(wide, square, square, row, row, square, square, square, wide))
    mixture_kernels._mixture_loss_on_gpu(out, bias, square, row, True)
    stream = np.zeros(batch, np.int32)
    mixture_kernels._sample_on_gpu(out, bias, square, square, stream, row)


@pytest.fixture
def calls(monkeypatch, request):
    recorder = Recorder()
    monkeypatch.setattr(cuda, 'elementwise', recorder)
    monkeypatch.setattr(cuda, 'cupy', np, raising=False)
    call_every_kernel(request.param)
    return recorder.calls


both_dtypes = pytest.mark.parametrize('calls', [np.float32, np.float64], indirect=True)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@needs_compiler
def test_kernels_of_the_dnc_compile(dtype):
    assert compiled(cuda_source(dtype), OPTIONS)


@both_dtypes
@needs_compiler
def test_elementwise_kernels_compile(calls):
    for definition, args in calls.values():
        assert compiled(elementwise_source(definition, args))


@needs_compiler
def test_errors_are_seen():
    with pytest.raises(Exception, match='undeclared_name'):
        compiled('__global__ void k(float *x) { *x = undeclared_name; }')


MAKERS = {
    *('elementwise', 'reduce', 'raw', 'RawKernel', 'RawModule'),
    *('ElementwiseKernel', 'ReductionKernel'),
}


def kernel_makers():
    """(file, call) of everything in the project that compiles CUDA."""
    for folder in ('dnc', 'chainer_wm'):
        for path in sorted((ROOT / folder).rglob('*.py')):
            file = path.relative_to(ROOT).as_posix()
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    *owner, name = ast.unparse(node.func).split('.')
                    if name in MAKERS and owner[-1:] in (['cuda'], ['cupy']):
                        yield file, node


@pytest.mark.parametrize('calls', [np.float32], indirect=True)
def test_no_kernel_is_left_out(calls):
    made = list(kernel_makers())
    ours = {f'chainer_wm/functions/{name}_kernels.py' for name in ('lstm', 'mixture')}
    assert {file for file, _ in made} == {*ours, 'dnc/cuda/launch.py'}
    names = {node.args[3].value for file, node in made if file in ours}
    assert names == set(calls)
