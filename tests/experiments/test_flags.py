"""Every script offers the flags and the presets that make a difference in it, and no others."""

import ast
import dataclasses
import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = {'preset', 'run', 'stages', 'seed', 'data'}  # they act in runs.command_line
SCRIPTS = sorted(
    path.stem
    for path in (ROOT / 'experiments').glob('*.py')
    if 'class Config(' in path.read_text()
)


def trees(name):
    """Syntax trees of a script and of what it takes from ``chainer_wm.runs``."""
    tree = ast.parse((ROOT / 'experiments' / f'{name}.py').read_text())
    yield tree
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith('chainer_wm.runs'):
            names = [node.module, *(f'{node.module}.{alias.name}' for alias in node.names)]
            for path in (ROOT / f'{found.replace(".", "/")}.py' for found in names):
                if path.exists():
                    yield ast.parse(path.read_text())


@pytest.mark.parametrize('name', SCRIPTS)
def test_every_flag_is_read_somewhere(name):
    script = importlib.import_module(f'experiments.{name}')
    read = {
        node.attr
        for tree in trees(name)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
    }
    flags = {f.name for f in dataclasses.fields(script.Config) if f.metadata['help']}
    assert flags - SHARED - read == set()


@pytest.mark.parametrize('name', SCRIPTS)
def test_presets_differ_and_fit(name):
    script = importlib.import_module(f'experiments.{name}')
    presets = script.presets({}) if hasattr(script, 'presets') else script.PRESETS
    assert 'smoke' in presets
    made = [script.Config(**settings) for settings in presets.values()]
    assert len(set(map(repr, made))) == len(made)
