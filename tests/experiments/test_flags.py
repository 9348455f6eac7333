"""Every script offers the flags and the presets that make a difference in it, and no others."""

import ast
import dataclasses
import functools
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


class Module:
    """A script or a module of ``chainer_wm.runs``: what it defines, what it takes from others."""

    def __init__(self, path):
        self.tree = ast.parse(path.read_text())
        self.defined, self.taken = {}, {}
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                self.defined[node.name] = node
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module.startswith('chainer_wm.runs'):
                for alias in node.names:
                    self.taken[alias.asname or alias.name] = (node.module, alias.name)


@functools.cache
def module_at(name):
    path = ROOT / f'{name.replace(".", "/")}.py'
    return Module(path) if path.exists() else None


def parts_used(module, node, seen):
    """A piece of code, and all that it uses of ``chainer_wm.runs``, pieces of these too."""
    if node in seen:
        return
    seen.add(node)
    yield node
    for used in ast.walk(node):
        found = module, None
        if isinstance(used, ast.Name):
            found = module, used.id
        elif isinstance(used, ast.Attribute) and isinstance(used.value, ast.Name):
            where, name = module.taken.get(used.value.id, ('', ''))
            found = module_at(f'{where}.{name}'), used.attr
        home, name = found
        if home is not None and name in home.taken:
            home, name = module_at(home.taken[name][0]), home.taken[name][1]
        if home is not None and name in home.defined:
            yield from parts_used(home, home.defined[name], seen)


@pytest.mark.parametrize('name', SCRIPTS)
def test_every_flag_is_read_somewhere(name):
    script = importlib.import_module(f'experiments.{name}')
    module = module_at(f'experiments.{name}')
    read = {
        node.attr
        for part in parts_used(module, module.tree, set())
        for node in ast.walk(part)
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
