"""Damaged files of every kind that a run keeps: each is named, none is used.

    python -m tests.trials.damage --count 1000 --seed 0

A trial damages one file of a tiny run and lets the library read it. It must refuse it in one
line that names it, or say what it leaves out and read the rest as it was, or (where the damage hit
bytes that mean nothing, such as a date inside a zip) read what was written, number for number.
"""

from __future__ import annotations

import argparse
import collections
import io
import os
import pathlib
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from chainer_wm import files
from tests.trials import tiny_run

REFUSED, LEFT_OUT, AS_WRITTEN = 'refused', 'left out, and said', 'read as written'

OTHER_SETTINGS = 'was made with other settings'  # names each instead of config.json


def cut(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    return data[: rng.integers(1, len(data))]


def flip(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    """One to eight bits."""
    held = bytearray(data)
    for at in rng.integers(0, len(data), rng.integers(1, 9)):
        held[at] ^= 1 << rng.integers(8)
    return bytes(held)


def empty(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    return b''


def swap(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    """What another file of the run holds."""
    return other


def zero(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    """A block of the disk."""
    at = rng.integers(0, len(data))
    block = data[at : at + 512]
    return data[:at] + bytes(len(block)) + data[at + 512 :]


def noise(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    return rng.bytes(len(data))


def _with_arrays(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Callable:
    """Damage that leaves a whole npy or npz; of what is no array, the damage is noise."""

    def damage(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
        if data[:2] not in (b'PK', b'\x93N'):
            return noise(data, rng, other)
        held, out = np.load(io.BytesIO(data)), io.BytesIO()
        if isinstance(held, np.ndarray):
            np.save(out, change(held, rng))
            return out.getvalue()
        arrays = dict(held)
        names = [n for n, a in arrays.items() if a.ndim and a.dtype.kind == 'f'] or [*arrays]
        name = names[rng.integers(len(names))]
        arrays[name] = change(arrays[name], rng)
        np.savez(out, **arrays)
        return out.getvalue()

    return damage


def _nan(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    held = array.copy()
    held.flat[rng.integers(held.size)] = rng.choice([np.nan, np.inf, -np.inf])
    return held


DAMAGES = {
    'cut': cut,
    'bits flipped': flip,
    'emptied': empty,
    'swapped': swap,
    'zeroed': zero,
    'noise': noise,
    'wrong dtype': _with_arrays(lambda array, rng: array.astype('U8')),
    'wrong shape': _with_arrays(lambda array, rng: array[..., None].repeat(2, -1)),
    'not finite': _with_arrays(_nan),
}


def judge(kind: tiny_run.Kind, folder: pathlib.Path, whole: Any) -> str:
    """How the library took a damaged file.

    Raises:
        AssertionError: it was used, or not named in one line.
    """
    try:
        found, said = tiny_run.read(kind, folder)
    except (files.FileError, FileNotFoundError) as error:
        message = str(error)
        named = pathlib.Path(kind.path).name in message or OTHER_SETTINGS in message
        assert named, f'not named: {message}'
        assert '\n' not in message, f'more than one line: {message}'
        return REFUSED
    if tiny_run.same(found, whole):
        return LEFT_OUT if said else AS_WRITTEN
    assert kind.partial and said, 'it was used, and nothing said'
    assert all(tiny_run.same(found[key], whole[key]) for key in found), 'other numbers were used'
    return LEFT_OUT


def trial(
    template: pathlib.Path, folder: pathlib.Path, number: int, seed: int, wholes: dict[str, Any]
) -> tuple[str, str, str]:
    """One damaged file: its kind, the damage, and how it was taken."""
    rng = np.random.default_rng([seed, number])
    names, damages = list(tiny_run.KINDS), list(DAMAGES)
    name, damage = names[number % len(names)], damages[number // len(names) % len(damages)]
    kind = tiny_run.KINDS[name]
    # a whole file of the same kind, from another run, is not told apart
    others = [n for n in names if n.partition(',')[0] != name.partition(',')[0]]
    other = others[rng.integers(len(others))]
    shutil.copytree(template, folder)
    path = folder / kind.path
    before = path.read_bytes()
    after = DAMAGES[damage](before, rng, (folder / tiny_run.KINDS[other].path).read_bytes())
    path.write_bytes(after)
    try:
        return name, damage, judge(kind, folder, wholes[name])
    except Exception as error:  # the trial failed: all of it is wanted
        last = traceback.format_exc().strip().splitlines()[-3:]
        return name, damage, f'FAILED: {type(error).__name__}: {error} | {" ".join(last)}'
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--count', type=int, default=1000)
    parser.add_argument('--seed', type=int, default=0)
    given = parser.parse_args()
    table: collections.Counter[tuple[str, str]] = collections.Counter()
    failed = 0
    with tempfile.TemporaryDirectory() as held, open(os.devnull, 'w') as nowhere:
        template, folder = pathlib.Path(held, 'whole'), pathlib.Path(held, 'damaged')
        out, sys.stdout, sys.stderr = sys.stdout, nowhere, nowhere  # what readers print
        tiny_run.make(template)
        wholes = {n: whole_of(template, folder, kind) for n, kind in tiny_run.KINDS.items()}
        for number in range(given.count):
            name, damage, how = trial(template, folder, number, given.seed, wholes)
            if how.startswith('FAILED'):
                failed += 1
                print(f'{number}: {name}, {damage}: {how}', file=out, flush=True)
            table[name, how.split(':')[0]] += 1
    sys.stdout, sys.stderr = out, sys.__stderr__
    for (name, how), count in sorted(table.items()):
        print(f'{name:16} {how:20} {count}')
    print(f'{given.count} damaged files, seed {given.seed}: {failed} failed')
    sys.exit(bool(failed))


def whole_of(template: pathlib.Path, folder: pathlib.Path, kind: tiny_run.Kind) -> Any:
    """What is read while nothing is damaged."""
    shutil.copytree(template, folder)
    found, said = tiny_run.read(kind, folder)
    found = _held(found)
    assert not said, said
    shutil.rmtree(folder)
    return found


def _held(value: Any) -> Any:
    """Arrays that outlive the file they are mapped from."""
    if isinstance(value, (list, tuple)):
        return [_held(each) for each in value]
    if isinstance(value, dict):
        return {key: _held(each) for key, each in value.items()}
    return np.array(value) if isinstance(value, np.ndarray) else value


if __name__ == '__main__':
    main()
