"""The CUDA source of the engine, put together for one dtype.

The files in ``cuda/`` hold the kernels. Before them come the number type and
the structs: one per NamedTuple of arrays, a pointer per field, so that a kernel receives all of
them by the address of one small table.
"""

from __future__ import annotations

import pathlib
from typing import Any, NamedTuple

import numpy as np

from dnc.engine.tape import INTEGERS, Gradients, Sparse, Tape, Zeros

FILES = (
    *('sums', 'step', 'address', 'memory', 'link', 'sparse', 'backward'),
    *('kernels', 'cell'),
)
MOST_THREADS = {'float32': 1024, 'float64': 512}  # of a block
SUMS_AT_ONCE = 6  # per column; one less per row
_HEAD = """
typedef {real} real;
#define MOST_THREADS {threads}
#ifndef SHARED_NUMBERS
#define SHARED_NUMBERS(type, name)                                 \\
    extern __shared__ __align__(16) unsigned char shared_bytes[];  \\
    type *name = (type *)shared_bytes
#endif
"""


class Scratch(NamedTuple):
    """Of one step's kernel; holds nothing from launch to launch."""

    scalars: Any  # per lane and head, (B, 8, R + 1)
    maps: Any  # of the free list's products, (B, 4, N)


class Entries(NamedTuple):
    """The sparse link's entries of one step, taken apart; scratch."""

    row: Any  # (B, C), int32
    column: Any  # (B, C), int32
    value: Any  # (B, C)
    gradient: Any  # (B, C)


def _struct(kind: Any) -> str:
    fields = ' '.join(f'{"int" if name in INTEGERS else "real"} *{name};' for name in kind._fields)
    return f'struct {kind.__name__} {{ {fields} }};\n'


def cuda_source(dtype: Any) -> str:
    """All kernels for float32 or float64."""
    name = np.dtype(dtype).name
    head = _HEAD.format(
        real={'float32': 'float', 'float64': 'double'}[name], threads=MOST_THREADS[name]
    )
    structs = map(_struct, (Tape, Zeros, Sparse, Gradients, Scratch, Entries))
    folder = pathlib.Path(__file__).parent
    files = ((folder / f'{file}.cu').read_text() for file in FILES)
    return '\n'.join([head, *structs, *files])


def shared_bytes(threads: int, dtype: Any) -> int:
    """Dynamic shared memory of a block whose threads add up together.

    24 KiB at most with MOST_THREADS: below the 48 KiB that every GPU gives without being asked.
    """
    segments = min(32, threads)
    rows = threads // segments * (segments + 1)
    numbers = max(SUMS_AT_ONCE * threads, (SUMS_AT_ONCE - 1) * rows)
    return numbers * np.dtype(dtype).itemsize
