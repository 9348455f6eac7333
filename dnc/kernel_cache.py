"""Numba kernels that are kept on disk, but never outlive their sources.

Numba compiles a kept kernel again when its own file changed, not when another file did whose
functions or constants were compiled into it. Here a kernel is stamped with the text of every file
of this project that its file imports, and that those import in turn.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numba

from dnc.kernel_linking import EntryCompiler, InnerCompiler

Stamp = tuple[tuple[str, str], ...]
#: Options of what neither Python nor C calls.
NO_WAY_IN = {'no_cpython_wrapper': True, 'no_cfunc_wrapper': True}


def cached_njit(**options: Any) -> Callable[[Callable], Any]:
    """A decorator: ``numba.njit(cache=True, **options)`` with a full stamp.

    Where numba does not let itself be stamped, the kernel is compiled in
    every process: slow, but never wrong.
    """

    settings = {'pipeline_class': EntryCompiler, 'no_cfunc_wrapper': True, **options}

    def decorate(function: Callable) -> Any:
        dispatcher = numba.njit(cache=True, **settings)(function)
        cache = getattr(dispatcher, '_cache', None)
        files: Any = getattr(cache, '_cache_file', None)
        if not hasattr(files, '_source_stamp'):
            return numba.njit(**settings)(function)
        stamp = source_stamp(function.__code__.co_filename)
        files._source_stamp = (files._source_stamp, stamp)
        return dispatcher

    return decorate


def inner_njit(**options: Any) -> Callable[[Callable], Any]:
    """A decorator: ``numba.njit`` of what only other kernels call, which keep it with themselves.

    There is no way in from Python or C, and no machine code: called from Python all the same, it
    crashes.
    """
    return numba.njit(pipeline_class=InnerCompiler, **NO_WAY_IN, **options)


@functools.cache
def source_stamp(file: str) -> Stamp:
    """(path below the packages, SHA-256) of a file and all that it imports.

    Counted are imports at the top of a file, of its own package and of this one.
    ``dnc/kernel_cache.py`` is always among them: it sets options.
    """
    own, this = pathlib.Path(file), pathlib.Path(__file__)
    roots = dict(map(_top, (own, this)))
    found: dict[str, str] = {}
    waiting = [own, this]
    while waiting:
        path = waiting.pop()
        key = str(path.relative_to(_top(path)[1]))
        if key not in found:
            found[key], imports = _read(path)
            waiting += _modules(path, roots, imports)
    return tuple(sorted(found.items()))


def _top(file: pathlib.Path) -> tuple[str, pathlib.Path]:
    """The name of a file's package, and the folder that holds it."""
    root = file.parent
    while (root / '__init__.py').exists():
        root = root.parent
    return file.relative_to(root).with_suffix('').parts[0], root


@functools.cache
def _read(path: pathlib.Path) -> tuple[str, tuple[str, ...]]:
    """The hash of a file, and what is imported at its top: 'a.b.c'."""
    text = path.read_bytes()
    names = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = '.' * node.level + (node.module or '')
            names += [f'{base}.{alias.name}' for alias in node.names]
    return hashlib.sha256(text).hexdigest(), tuple(names)


def _modules(
    importer: pathlib.Path, roots: dict[str, pathlib.Path], names: Iterable[str]
) -> Iterator[pathlib.Path]:
    """Files of what is imported: a.b.c is a module, or c is in a.b."""
    for name in names:
        plain = name.lstrip('.')
        parts = plain.split('.')
        if dots := len(name) - len(plain):
            path = importer.parents[dots - 1].joinpath(*parts)
        elif parts[0] in roots:
            path = roots[parts[0]].joinpath(*parts)
        else:
            continue
        for place in (path, path.parent):
            kinds = place.with_suffix('.py'), place / '__init__.py'
            if files := [file for file in kinds if file.exists()]:
                yield from files
                break
