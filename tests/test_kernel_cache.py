"""Kernels on disk: an edited source is never run from an old cache."""

import ast
import pathlib
import shutil
import subprocess
import sys

import pytest

from chainer_wm.functions import convolution, lstm_kernels, mdn_rnn_step, mixture_kernels
from dnc.cpu import sequence
from dnc.kernel_cache import source_stamp
from tests.trials.scripts import SCRIPTS

ROOT = pathlib.Path(__file__).resolve().parents[1]

OUTER = """
from dnc.kernel_cache import cached_njit
from small.inner import add

@cached_njit(nogil=True)
def twice(x):
    return add(add(x))
"""
SHARED = """
from dnc.kernel_cache import cached_njit, inner_njit

@inner_njit()
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

@cached_njit()
def plus(n):
    return fibonacci(n) + fibonacci(n + 1)

@cached_njit()
def times(n):
    return fibonacci(n) * fibonacci(n + 1)
"""
LINKAGES = """
from small.shared import plus, times
print(plus(5), times(5))
for kernel in plus, times:
    (overload,) = kernel.overloads.values()
    functions = [f for f in overload.library.get_defined_functions() if 'fibonacci' in f.name]
    print(*(f.linkage.name for f in functions))
"""
CALL = 'from small.outer import twice; print(twice(1.0), sum(twice.stats.cache_hits.values()))'
LSTM = """
import numpy as np
from chainer_wm.functions.lstm_kernels import lstm_forward
gates, c, y, staged = (np.ones((1, n)) for n in (4, 1, 1, 1))
one = np.ones(1)
lstm_forward(gates, np.zeros((1, 1)), one, one, np.ones((1, 1)), c, y, staged)
print(c[0, 0])
"""


def run(folder, code):
    """Numbers that a fresh process prints, with the packages in a folder."""
    return [float(word) for word in printed(folder, code).split()]


def printed(folder, code):
    """What such a process prints."""
    done = subprocess.run(
        [sys.executable, '-c', code],
        env={'PYTHONPATH': f'{folder}:{ROOT}', 'PATH': ''},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def package(folder):
    """An empty package 'small'."""
    small = folder / 'small'
    small.mkdir()
    (small / '__init__.py').touch()
    return small


def test_a_kernel_follows_its_file_and_the_files_behind_it(tmp_path):
    small = package(tmp_path)
    (small / 'outer.py').write_text(OUTER)
    (small / 'inner.py').write_text(
        'import numba\nfrom small.numbers import STEP\n\n'
        '@numba.njit\ndef add(x):\n    return x + STEP\n'
    )
    (small / 'numbers.py').write_text('STEP = 1\n')
    assert run(tmp_path, CALL) == [3, 0]
    assert run(tmp_path, CALL) == [3, 1]  # from the cache
    (small / 'numbers.py').write_text('STEP = 2\n')
    assert run(tmp_path, CALL) == [5, 0]
    (small / 'inner.py').write_text(
        'import numba\n\n@numba.njit\ndef add(x):\n    return x + 10\n'
    )
    assert run(tmp_path, CALL) == [21, 0]


def test_the_lstm_follows_an_edit_of_tanh(tmp_path):
    for name in ('dnc', 'chainer_wm'):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns('__pycache__'))
    # i g: the logistic function and the hyperbolic tangent of 1
    expected = 0.7310585786300049 * 0.7615941559557649
    assert run(tmp_path, LSTM) == [pytest.approx(expected, rel=1e-12)]
    source = tmp_path / 'chainer_wm/functions/elementary.py'
    text = source.read_text()
    edited = text.replace('(u / (-two - u), x)', '(u / (-two - u), -x)')
    assert edited != text
    source.write_text(edited)
    assert run(tmp_path, LSTM) == [pytest.approx(-expected, rel=1e-12)]


def test_a_kernel_calls_its_own_copies(tmp_path):
    """Or else whichever was loaded first: a process that compiles would differ from the next."""
    (package(tmp_path) / 'shared.py').write_text(SHARED)
    compiled = printed(tmp_path, LINKAGES)
    assert compiled == '13 40\ninternal\ninternal\n'


@pytest.mark.slow
def test_who_compiles_has_the_numbers_of_who_loads(tmp_path, monkeypatch):
    monkeypatch.setenv('NUMBA_CACHE_DIR', str(tmp_path / 'kernels'))
    script = SCRIPTS['addition']
    for run in 'compiles', 'loads':
        assert script.start(tmp_path, run).wait() == 0, script.said(tmp_path, run)
    assert script.results(tmp_path, 'compiles') == script.results(tmp_path, 'loads')


@pytest.mark.parametrize(
    ('kernel', 'sources'),
    [
        (
            mdn_rnn_step._step,
            'chainer_wm/functions/elementary chainer_wm/functions/lstm_kernels '
            'chainer_wm/functions/mixture_kernels dnc/cpu/register_tiles',
        ),
        (lstm_kernels.advance, 'chainer_wm/functions/elementary dnc/cpu/register_tiles'),
        (mixture_kernels._sample_rows, 'chainer_wm/functions/elementary'),
        (convolution._shrink, 'dnc/cpu/register_tiles'),
        (sequence.forward, 'dnc/cpu/elementary dnc/cpu/address dnc/cpu/register_tiles'),
    ],
    ids=lambda value: getattr(value, '__name__', ''),
)
def test_a_stamp_names_what_is_compiled_into_a_kernel(kernel, sources):
    file = kernel.py_func.__code__.co_filename
    stamp = source_stamp(file)
    # numba compares the whole of it with what the file on disk holds
    assert stamp in kernel._cache._cache_file._source_stamp
    names = {name for name, _ in stamp}
    for source in sources.split():
        assert f'{source}.py' in names
    assert str(pathlib.Path(file).relative_to(ROOT)) in names


@pytest.mark.parametrize('package', ['dnc', 'chainer_wm', 'experiments'])
def test_nothing_else_is_kept_on_disk(package):
    """``cache=True``, or a dict of options with 'cache' in it."""
    found = []
    for path in (ROOT / package).rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            option = isinstance(node, ast.keyword) and node.arg == 'cache'
            if option and path.name != 'kernel_cache.py':
                found.append(f'{path}:{node.value.lineno}')
            if isinstance(node, ast.Dict):
                keys = [k.value for k in node.keys if hasattr(k, 'value')]
                if 'cache' in keys:
                    found.append(f'{path}:{node.lineno}')
    assert found == []
