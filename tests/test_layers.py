"""Habits of the project that a program can check: who imports whom, sizes."""

import ast
import functools
import graphlib
import pathlib
import re
import runpy

import pytest
import setuptools

ROOT = pathlib.Path(__file__).resolve().parent.parent

# The rooms of chainer_wm from the bottom to the top: each may import those before it, never
# those after it.
ROOMS = (
    *(
        'first_use',
        'seeds',
        'devices',
        'files',
        'plots',
        'functions',
        'links',
        'tasks',
        'rollouts',
        'envs',
    ),
    *('dream', 'agents', 'play', 'training', 'runs', 'inspector'),
)
# Who plays and who learns draws nothing: a worker would load Matplotlib for it.
WITHOUT_PLOTS = ('agents', 'play', 'training')
PRODUCT = [p for f in ('dnc', 'chainer_wm') for p in sorted((ROOT / f).rglob('*.py'))]
FILE_LINES = 575
TEST_FILE_LINES = 600

FUNCTION_LINES = 50
NUMPY_RANDOM = {
    *('Generator', 'default_rng', 'SeedSequence', 'BitGenerator'),
    *('PCG64', 'Philox', 'RandomState'),
}
FORBIDDEN_MODULES = {'pickle', 'cloudpickle', 'dill', 'joblib', 'random'}
MARKS = re.compile(r'\b(TO' r'DO|FIX' r'ME|XX' r'X)\b')


def sources(*folders):
    return sorted(p for f in folders for p in (ROOT / f).rglob('*.py'))


def name_of(path):
    return str(path.relative_to(ROOT))


def every(*folders):
    return pytest.mark.parametrize('path', sources(*folders), ids=name_of)


@functools.cache
def parsed(path):
    tree = ast.parse(path.read_text(), filename=str(path))
    return tree, tuple(ast.walk(tree))


def nodes(path, *kinds):
    return [node for node in parsed(path)[1] if isinstance(node, kinds)]


def imported(path, source=None):
    """(line, dotted name) of everything that a file imports.

    ``from a.b import c`` counts as ``a.b.c``: c may be a module.
    """
    parts = path.relative_to(ROOT).with_suffix('').parts
    found = nodes(path, ast.Import, ast.ImportFrom)
    for node in found if source is None else ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parts[: len(parts) - node.level] if node.level else ()
            base = '.'.join([*above, *filter(None, [node.module])])
            yield from ((node.lineno, f'{base}.{alias.name}') for alias in node.names)


def floor(room):
    if room not in ROOMS:
        pytest.fail(
            f'chainer_wm.{room} is none of the rooms in tests/test_layers.py: which of them '
            'does it belong to?'
        )
    return ROOMS.index(room)


def upward(path, source=None):
    """Imports of a file of chainer_wm that point up, as messages."""
    mine = path.relative_to(ROOT / 'chainer_wm').parts[0].removesuffix('.py')
    for line, name in imported(path, source):
        parts = name.split('.')
        if parts[0] == 'experiments':
            yield f'line {line}: a library module imports {name}'
        if parts[0] != 'chainer_wm' or len(parts) == 1:
            continue
        if mine == '__init__' and parts[1] != 'first_use':
            yield f'line {line}: chainer_wm/__init__.py imports {name}'
        elif mine != '__init__' and floor(parts[1]) > floor(mine):
            yield f'line {line}: {mine} imports {name}, which is above it'


@every('chainer_wm')
def test_imports_point_down(path):
    assert list(upward(path)) == []


@every('dnc')
def test_dnc_stands_alone(path):
    ours = ('chainer_wm', 'experiments')
    names = [name for _, name in imported(path)]
    assert [name for name in names if name.split('.')[0] in ours] == []


@every('experiments')
def test_scripts_import_no_other_script(path):
    names = [name for _, name in imported(path)]
    assert [name for name in names if name.split('.')[0] == 'experiments'] == []


@every('experiments', 'tests')
def test_nobody_edits_the_path_of_modules(path):
    found = [n.lineno for n in nodes(path, ast.Attribute) if ast.unparse(n) == 'sys.path']
    assert found == [], 'the packages are installed (setup.sh), and pytest has its pythonpath'


def test_the_wheel_holds_the_two_packages_alone(monkeypatch):
    said = {}
    monkeypatch.setattr(setuptools, 'setup', lambda **metadata: said.update(metadata))
    monkeypatch.chdir(ROOT)
    runpy.run_path('setup.py')
    folders = {path.parent.relative_to(ROOT) for path in PRODUCT}
    assert set(said['packages']) == {'.'.join(folder.parts) for folder in folders}


def test_each_room_is_listed_once_and_is_there():
    here = {p.name.removesuffix('.py') for p in (ROOT / 'chainer_wm').iterdir()}
    assert len(set(ROOMS)) == len(ROOMS)
    assert set(ROOMS) == here - {'__init__', '__pycache__'}


def test_no_file_imports_itself_in_a_circle():
    paths = {'.'.join(p.relative_to(ROOT).with_suffix('').parts): p for p in PRODUCT}
    paths = {name.removesuffix('.__init__'): path for name, path in paths.items()}

    def imports(name):
        for _, found in imported(paths[name]):
            known = next((n for n in (found, found.rpartition('.')[0]) if n in paths), name)
            if known != name and not name.startswith(known + '.'):
                yield known

    graph = {name: sorted(set(imports(name))) for name in paths}
    assert list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


@every(*(f'chainer_wm/{room}' for room in WITHOUT_PLOTS))
def test_who_plays_and_learns_draws_nothing(path):
    drawing = ('chainer_wm.plots', 'matplotlib')
    assert [name for _, name in imported(path) if name.startswith(drawing)] == []


def test_the_rule_catches_what_it_should():
    path = ROOT / 'chainer_wm' / 'links' / 'mdn_rnn.py'
    for source in (
        'import chainer_wm.agents.world_model',
        'from chainer_wm import agents',
        'from chainer_wm.agents.world_model import Agent',
        'def f():\n    from .. import agents',
        'from ..agents.world_model import Agent',
        'import chainer_wm.runs.command_line',
    ):
        assert list(upward(path, source)), source
    for source in (
        'import numpy, chainer',
        'from chainer_wm import files',
        'from ..files import sha256',
        'from dnc import DNC',
    ):
        assert not list(upward(path, source)), source


@pytest.mark.parametrize('package', ['dnc', 'chainer_wm'])
def test_the_process_is_prepared_before_chainer_loads(package):
    loads = {'chainer', 'cupy', 'numba', 'dnc', 'chainer_wm'}
    names = sorted(imported(ROOT / package / '__init__.py'))
    first = next(n for _, n in names if n.split('.')[0] in loads)
    assert first == 'dnc.runtime'


@every('experiments')
def test_scripts_prepare_the_process_before_they_import_chainer(path):
    order = [name.split('.')[0] for _, name in sorted(imported(path))]
    if 'chainer' in order:
        before = order[: order.index('chainer')]
        assert {'dnc', 'chainer_wm'} & set(before), (
            'put "import dnc.runtime" before "import chainer": without it '
            'Chainer does not import on Python 3.12'
        )


@every('chainer_wm', 'dnc', 'experiments', 'tests')
def test_files_are_short(path):
    limit = TEST_FILE_LINES if ROOT / 'tests' in path.parents else FILE_LINES
    lines = path.read_text().count('\n')
    assert lines <= limit


def length(function):
    """Lines of a function's body without its docstring."""
    body = function.body[1 if ast.get_docstring(function) else 0 :]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


@every('chainer_wm', 'dnc', 'experiments')
def test_functions_are_short(path):
    functions = nodes(path, ast.FunctionDef, ast.AsyncFunctionDef)
    long = {f.name: n for f in functions if (n := length(f)) > FUNCTION_LINES}
    assert long == {}


@every('chainer_wm', 'dnc')
def test_nothing_is_global_and_changes(path):
    assert [node.lineno for node in nodes(path, ast.Global)] == []
    containers = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp)
    for node in parsed(path)[0].body:
        if isinstance(node, ast.Assign) and isinstance(node.value, containers):
            for target in map(ast.unparse, node.targets):
                assert target == '__all__' or target.isupper(), (
                    f'line {node.lineno}: {target} can change; a constant has an upper case name'
                )


@every('chainer_wm', 'dnc', 'experiments')
def test_randomness_comes_from_a_generator(path):
    found = [
        f'line {node.lineno}: {ast.unparse(node)}'
        for node in nodes(path, ast.Attribute)
        if re.fullmatch(r'(np|numpy|xp)\.random\.\w+', ast.unparse(node))
        and node.attr not in NUMPY_RANDOM
    ]
    assert found == []


@every('chainer_wm', 'dnc', 'experiments')
def test_nothing_is_unpickled(path):
    names = {name.split('.')[0] for _, name in imported(path)}
    assert names & FORBIDDEN_MODULES == set()
    for node in nodes(path, ast.keyword):
        if node.arg == 'allow_pickle':
            assert ast.unparse(node.value) == 'False', f'line {node.lineno}'


@every('chainer_wm', 'dnc', 'experiments', 'tests')
def test_nothing_is_left_to_do(path):
    assert MARKS.findall(path.read_text()) == []
