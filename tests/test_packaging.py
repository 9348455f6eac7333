"""The wheel holds every file that the two packages read."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


def keyword(name):
    """An argument of setup(...) in setup.py, a literal."""
    calls = [
        n for n in ast.walk(ast.parse((ROOT / 'setup.py').read_text())) if isinstance(n, ast.Call)
    ]
    setup = next(call for call in calls if ast.unparse(call.func) == 'setup')
    return next(k.value for k in setup.keywords if k.arg == name)


@pytest.mark.parametrize('package', ['chainer_wm', 'dnc'])
def test_every_file_is_packed(package):
    folder = ROOT / package
    files = {
        p
        for p in folder.rglob('*')
        if p.is_file() and '__pycache__' not in p.parts and p.suffix != '.py'
    }
    patterns = ast.literal_eval(keyword('package_data'))[package]
    assert files == {p for pattern in patterns for p in folder.glob(pattern)} != set()
