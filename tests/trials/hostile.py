"""Files made to harm: each is refused in one line, without memory or time being spent on it.

    python -m tests.trials.hostile

Pickles, absurd shapes, bombs, names that lead out of the folder, JSON of the wrong type, numbers
that are not finite: each in the place of a file of a tiny run, read as the library reads it.
"""

from __future__ import annotations

import io
import json
import os
import pathlib
import resource
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator

import numpy as np

from tests.trials import damage, tiny_run

WEIGHTS = ('V', 'M, LSTM', 'M, DNC', 'C', 'CMA-ES', 'snapshot')
TEXTS = ('manifest', 'index of codes', 'history', 'config', 'stages', 'results')
MOST_SECONDS, MOST_MEMORY = 5.0, 1 << 30  # of a refusal


class Run(dict):
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return os.system, ('touch pickle-was-run',)


def header(shape: str, descr: str = "'<f4'") -> bytes:
    """An npy that claims a shape and holds eight bytes."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + '\n'
    return b'\x93NUMPY\x01\x00' + len(text).to_bytes(2, 'little') + text.encode() + bytes(8)


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, 'w', method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return held.getvalue()


def bomb(size: int = 1 << 32) -> bytes:
    """Zeros that unpack to more than may be unpacked."""
    held, block = io.BytesIO(), bytes(1 << 24)
    with (
        zipfile.ZipFile(held, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open('W.npy', 'w', force_zip64=True) as member,
    ):
        member.write(header(f'({size // 4},)')[:-8])
        for _ in range(size // len(block)):
            member.write(block)
    return held.getvalue()


def overlapping(count: int = 2000) -> bytes:
    """Many names for the same bytes: the bytes are counted once for each."""
    data = packed({'a.npy': header('(1000,)') + bytes(4000)})
    end = data.rindex(b'PK\x05\x06')
    start = data.rindex(b'PK\x01\x02', 0, end)
    entry = data[start:end]
    tail = bytearray(data[end:])
    tail[8:12] = count.to_bytes(2, 'little') * 2
    tail[12:16] = (len(entry) * count).to_bytes(4, 'little')
    return data[:start] + entry * count + bytes(tail)


def archives(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Hostile files in the place of an npz that holds ``data``."""
    arrays = dict(np.load(io.BytesIO(data)))
    out = io.BytesIO()
    np.savez(out, **arrays, harm=np.array([Run()], object))
    yield 'pickle inside', out.getvalue()
    out = io.BytesIO()
    np.save(out, np.array([Run()], object))
    yield 'pickle', out.getvalue()
    for shape in ('(1000000000000,)', '(-1,)', '(4294967296, 4294967296)', '(' * 500 + ')' * 500):
        yield f'shape {shape[:24]}', packed({'W.npy': header(shape)})
    yield 'text of 4 GB', packed({'W.npy': header('()', "'<U1000000000'")})
    yield 'fields', packed({'W.npy': header('(1,)', "[('a', '<f4')]")})
    yield 'header with code', packed({'W.npy': header('(__import__("os").getpid(),)')})
    yield 'bomb', bomb()
    yield 'overlapping', overlapping()
    for name in ('../../W.npy', '/etc/W.npy', '..\\W.npy', 'W.py'):
        yield f'name {name}', packed({name: header('(2,)')})
    yield 'same name twice', packed({'W.npy': header('(2,)')})[:-22] * 2
    for value in (np.nan, np.inf, -np.inf):
        changed = dict(arrays)
        name = next(n for n, a in arrays.items() if a.ndim and a.dtype.kind == 'f')
        changed[name] = np.full_like(arrays[name], value)
        out = io.BytesIO()
        np.savez(out, **changed)
        yield f'weights {value}', out.getvalue()
    if 'settings' in arrays:
        yield from _settings(arrays)


def _settings(arrays: dict[str, np.ndarray]) -> Iterator[tuple[str, bytes]]:
    """Archives whose settings ask for something else."""
    text = str(arrays['settings'])
    said = json.loads(text)
    held = said.get('config', said)
    name = next(n for n, v in held.items() if isinstance(v, (int, list)) and n != 'seed')
    for value in (10**12, -1, 'many', None, {'a': 1}, [10**9] * 3):
        held_before, held[name] = held[name], value
        out = io.BytesIO()
        np.savez(out, **arrays | {'settings': np.array(json.dumps(said))})
        held[name] = held_before
        yield f'settings {name} = {str(value)[:20]}', out.getvalue()
    for value in ('[]', '3', '{"kind": 3}', '[' * 9000, '"' + 'a' * 99):
        out = io.BytesIO()
        np.savez(out, **arrays | {'settings': np.array(value)})
        yield f'settings {value[:12]}', out.getvalue()


def texts(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Hostile files in the place of a JSON object."""
    for value in ('[]', '3', 'null', '"text"', 'true', '[' * 100_000, '{"a":' * 100_000, '\x00'):
        yield f'JSON {value[:8]!r}', value.encode()
    yield 'a number of 10,000 digits', b'{"a": ' + b'9' * 10_000 + b'}'
    yield 'no UTF-8', b'{"a": "\xff\xfe"}'
    said = json.loads(data)
    for value in (None, 'text', [[]], {'a': []}):
        yield f'every entry {value!r}', json.dumps({name: value for name in said}).encode()


def lines(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Hostile lists of episodes: their lines are left out, and said."""
    first, *rest = data.splitlines()
    said = json.loads(first)
    for name in ('../../secret.npz', '/etc/passwd'):
        yield f'file {name}', b'\n'.join([json.dumps(said | {'file': name}).encode(), *rest, b''])
    for name in ('file', 'length', 'bytes', 'sha256', 'episode', 'return'):
        for value in (None, [], 'x' if name not in ('file', 'sha256') else 1):
            line = json.dumps(said | {name: value}).encode()
            yield f'{name} = {value!r}', b'\n'.join([line, *rest, b''])


def cases(template: pathlib.Path) -> Iterator[tuple[str, str, bytes]]:
    """Kind of file, what is wrong with it, and its bytes."""
    for names, make in ((WEIGHTS, archives), (TEXTS, texts), (('list', 'list of codes'), lines)):
        for name in names:
            data = (template / tiny_run.KINDS[name].path).read_bytes()
            if name == 'list of codes':
                makers = texts(data.splitlines()[0])
                yield from ((name, what, harm + b'\n' + data) for what, harm in makers)
            else:
                yield from ((name, what, harm) for what, harm in make(data))
    for name in ('codes', 'mean'):
        yield name, 'shape', header('(1000000000000,)')
        yield name, 'text', header('()', "'<U1000000000'")
        out = io.BytesIO()
        np.save(out, np.array([Run()], object))
        yield name, 'pickle', out.getvalue()


def main() -> None:
    failed = count = 0
    with tempfile.TemporaryDirectory() as held, open(os.devnull, 'w') as nowhere:
        template, folder = pathlib.Path(held, 'whole'), pathlib.Path(held, 'hostile')
        out, sys.stdout, sys.stderr = sys.stdout, nowhere, nowhere
        os.chdir(held)
        tiny_run.make(template)
        whole = {
            name: damage.whole_of(template, folder, kind) for name, kind in tiny_run.KINDS.items()
        }
        for name, what, data in cases(template):
            shutil.copytree(template, folder)
            (folder / tiny_run.KINDS[name].path).write_bytes(data)
            start, before = time.perf_counter(), _peak()
            try:
                how = damage.judge(tiny_run.KINDS[name], folder, whole[name])
                assert how != damage.AS_WRITTEN, 'it was used'
                assert time.perf_counter() - start < MOST_SECONDS, 'it took long'
                assert _peak() - before < MOST_MEMORY, 'it filled the memory'
                assert not pathlib.Path('pickle-was-run').exists(), 'it ran'
            except Exception as error:  # the case failed: all of it is wanted
                failed += 1
                print(f'{name}, {what}: FAILED: {type(error).__name__}: {error}', file=out)
            shutil.rmtree(folder)
            count += 1
    sys.stdout, sys.stderr = out, sys.__stderr__
    print(f'{count} hostile files: {failed} failed')
    sys.exit(bool(failed))


def _peak() -> int:
    """The most memory that this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == '__main__':
    main()
