"""Products of a few rows with the same matrix, time step after time step.

BLAS packs the matrix anew in every call, which at 16 rows costs more than the
product, and its threads would have to meet at every step. Here the matrix is
laid out in panels once per sequence, a tile of the result stays in vector
registers while its sums run, and every thread multiplies its own rows.
"""

from __future__ import annotations

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from dnc.cpu.elementary import OPTIONS

_VECTORS = 2  # a tile is this many vectors wide


def _registers() -> tuple[int, int]:
    """Bytes in a vector register, and rows of a tile that fit in them."""
    has = llvmlite.binding.get_host_cpu_features()
    if has.get('avx512f'):
        return 64, 8
    return (32 if has.get('avx2') else 16), 4


VECTOR_BYTES, TILE_ROWS = _registers()
_HALF = TILE_ROWS // 2


def panel_width(dtype) -> int:
    """Columns of the matrix in a panel."""
    return _VECTORS * VECTOR_BYTES // np.dtype(dtype).itemsize


def panel_count(columns: int, dtype) -> int:
    """Panels that hold so many columns."""
    return -(-columns // panel_width(dtype))


def lay_out(matrix, panels) -> None:
    """A matrix (K, columns) into panels (P, K or more, width), zero-padded."""
    terms, columns = matrix.shape
    width = panels.shape[2]
    whole = columns // width
    panels[:whole, :terms] = (
        matrix[:, : whole * width].reshape(terms, whole, width).transpose(1, 0, 2)
    )
    if whole < len(panels):
        rest = columns - whole * width
        panels[whole, :terms, :rest] = matrix[:, whole * width :]
        panels[whole, :terms, rest:] = 0


class _Tile:
    """Emits the LLVM code of a tile of ``count`` rows."""

    def __init__(self, context, builder, array, count: int):
        self.builder, self.count = builder, count
        self.element = context.get_value_type(array.dtype)
        self.size = context.get_abi_sizeof(self.element)
        self.lanes = VECTOR_BYTES // self.size
        self.type = ir.VectorType(self.element, self.lanes)
        # on the stack by name; LLVM keeps them in registers
        self.sums = [cgutils.alloca_once(builder, self.type) for _ in range(count * _VECTORS)]

    def vector(self, pointer, column: int):
        offset = ir.IntType(64)(column * self.lanes)
        at = self.builder.gep(pointer, [offset])
        return self.builder.bitcast(at, self.type.as_pointer())

    def accumulate(self, numbers, panel_row) -> None:
        """sums[i, :] += numbers[i] * panel_row[:]."""
        build = self.builder
        name = f'llvm.fmuladd.v{self.lanes}f{8 * self.size}'
        kind = ir.FunctionType(self.type, [self.type] * 3)
        fma = cgutils.get_or_insert_function(build.module, kind, name)
        row = [build.load(self.vector(panel_row, v), align=self.size) for v in range(_VECTORS)]
        empty = ir.Constant(self.type, ir.Undefined)
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None)
        for i, number in enumerate(numbers):
            first = build.insert_element(empty, build.load(number), ir.IntType(32)(0))
            spread = build.shuffle_vector(first, empty, mask)
            for v in range(_VECTORS):
                slot = self.sums[i * _VECTORS + v]
                total = build.call(fma, [spread, row[v], build.load(slot)])
                build.store(total, slot)

    def load(self, pointers) -> None:
        for slot, at in zip(self.sums, self._places(pointers)):
            total = self.builder.load(at, align=self.size)
            self.builder.store(total, slot)

    def store(self, pointers) -> None:
        for slot, at in zip(self.sums, self._places(pointers)):
            total = self.builder.load(slot)
            self.builder.store(total, at, align=self.size)

    def _places(self, pointers):
        return [self.vector(p, v) for p in pointers for v in range(_VECTORS)]


def _lines(builder, array, first, count: int):
    """Pointers to rows first, first + 1, ... of a matrix, by its strides."""
    step = builder.extract_value(array.strides, 0)
    address = builder.ptrtoint(array.data, step.type)
    return [
        builder.inttoptr(
            builder.add(address, builder.mul(builder.add(first, first.type(i)), step)),
            array.data.type,
        )
        for i in range(count)
    ]


def _tile_product(count: int):
    """sums[b:b + count, panel p] += rows[b:b + count] @ panels[p, k:].

    rows and sums hold each row in one piece; as many rows of the panel are
    used as rows has columns.
    """

    @intrinsic
    def product(typing_context, rows, panels, p, k, sums, b):
        if panels.layout != 'C':
            raise TypingError('panels must be in C order')

        def emit(context, builder, signature, values):
            rows, panels, sums = (
                context.make_array(signature.args[i])(context, builder, values[i])
                for i in (0, 1, 4)
            )
            first_panel, first_term, first = values[2], values[3], values[5]
            terms = builder.extract_value(rows.shape, 1)
            _, depth, width = cgutils.unpack_tuple(builder, panels.shape)
            at = builder.add(builder.mul(first_panel, depth), first_term)
            panel = builder.gep(panels.data, [builder.mul(at, width)])
            tile = _Tile(context, builder, signature.args[0], count)
            starts = _lines(builder, rows, first, count)
            column = builder.mul(first_panel, width)
            ends = [builder.gep(line, [column]) for line in _lines(builder, sums, first, count)]
            tile.load(ends)
            with cgutils.for_range(builder, terms, intp=terms.type) as loop:
                row = builder.gep(panel, [builder.mul(loop.index, width)])
                tile.accumulate([builder.gep(s, [loop.index]) for s in starts], row)
            tile.store(ends)
            return context.get_dummy_value()

        whole = types.intp
        kinds = (rows, panels, whole, whole, sums, whole)
        return types.void(*kinds), emit

    return product


_whole_tile, _half_tile, _one_row = (_tile_product(count) for count in (TILE_ROWS, _HALF, 1))


@njit(**OPTIONS)
def multiply(rows, panels, first, sums, lo, hi):
    """sums[lo:hi] += rows[lo:hi] @ matrix[first:first + K].

    Args:
        rows: (B, K), each row in one piece.
        panels: of the matrix, see `lay_out`.
        sums: (B, P width).
    """
    whole = lo + (hi - lo) // TILE_ROWS * TILE_ROWS
    half = whole + (hi - whole) // _HALF * _HALF
    for p in range(panels.shape[0]):
        for b in range(lo, whole, TILE_ROWS):
            _whole_tile(rows, panels, p, first, sums, b)
        for b in range(whole, half, _HALF):
            _half_tile(rows, panels, p, first, sums, b)
        for b in range(half, hi):
            _one_row(rows, panels, p, first, sums, b)
