"""Products of a few rows with the same matrix, time step after time step.

BLAS packs the matrix anew in every call, which at 16 rows costs more than the
product. Here the matrix is laid out in panels once per sequence, and a tile
of the result stays in vector registers while its sums run; many rows still go
to BLAS.
"""

from __future__ import annotations

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from dnc.kernels_entry import entry
from dnc.kernels_math import OPTIONS
from dnc.tape import Arena

FEW = 64  # rows up to which the tiles are faster than BLAS
OFTEN = 4  # products that laying out the matrix takes to pay off
_VECTORS = 2  # a tile is this many vectors wide


def _registers() -> tuple[int, int]:
    """Bytes in a vector register, and rows of a tile that fit in them."""
    has = llvmlite.binding.get_host_cpu_features()
    if has.get('avx512f'):
        return 64, 8
    return (32 if has.get('avx2') else 16), 4


VECTOR_BYTES, TILE_ROWS = _registers()


def panel_width(itemsize: int) -> int:
    """Columns of the matrix in a panel."""
    return _VECTORS * VECTOR_BYTES // itemsize


class _Tile:
    """Emits the LLVM code of a tile of ``count`` rows."""

    def __init__(self, context, builder, array, count: int):
        self.builder, self.count = builder, count
        self.element = context.get_value_type(array.dtype)
        self.size = context.get_abi_sizeof(self.element)
        self.lanes = VECTOR_BYTES // self.size
        self.type = ir.VectorType(self.element, self.lanes)
        zero = ir.Constant(self.type, [0.0] * self.lanes)
        # on the stack by name; LLVM keeps them in registers
        self.sums = [
            cgutils.alloca_once_value(builder, zero)
            for _ in range(count * _VECTORS)
        ]
        for slot in self.sums:
            builder.store(zero, slot)

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
        row = [
            build.load(self.vector(panel_row, v), align=self.size)
            for v in range(_VECTORS)
        ]
        empty = ir.Constant(self.type, ir.Undefined)
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None)
        for i, number in enumerate(numbers):
            first = build.insert_element(
                empty, build.load(number), ir.IntType(32)(0)
            )
            spread = build.shuffle_vector(first, empty, mask)
            for v in range(_VECTORS):
                slot = self.sums[i * _VECTORS + v]
                total = build.call(fma, [spread, row[v], build.load(slot)])
                build.store(total, slot)

    def store(self, pointers) -> None:
        for i, pointer in enumerate(pointers):
            for v in range(_VECTORS):
                total = self.builder.load(self.sums[i * _VECTORS + v])
                at = self.vector(pointer, v)
                self.builder.store(total, at, align=self.size)


def _tile_product(count: int):
    """sums[b:b + count] = rows[b:b + count] @ panel, arrays in C order."""

    @intrinsic
    def product(typing_context, rows, panel, sums, b):
        if {rows.layout, panel.layout, sums.layout} != {'C'}:
            raise TypingError('a tile needs arrays in C order')

        def emit(context, builder, signature, values):
            kinds, first = signature.args[:3], values[3]
            arrays = [
                context.make_array(kind)(context, builder, value)
                for kind, value in zip(kinds, values)
            ]
            terms, width = cgutils.unpack_tuple(builder, arrays[1].shape)

            def lines(array, length):
                return [
                    builder.gep(
                        array.data,
                        [
                            builder.mul(
                                builder.add(first, first.type(i)), length
                            )
                        ],
                    )
                    for i in range(count)
                ]

            tile = _Tile(context, builder, rows, count)
            starts = lines(arrays[0], terms)
            with cgutils.for_range(builder, terms, intp=terms.type) as loop:
                k = loop.index
                row = builder.gep(arrays[1].data, [builder.mul(k, width)])
                tile.accumulate([builder.gep(s, [k]) for s in starts], row)
            tile.store(lines(arrays[2], width))
            return context.get_dummy_value()

        return types.void(rows, panel, sums, types.intp), emit

    return product


_whole_tile, _one_row = _tile_product(TILE_ROWS), _tile_product(1)


@njit(**OPTIONS)
def _panel_product(rows, panel, sums, out, first):
    """out[:, first:first + width] = rows @ panel; sums is scratch."""
    count, width = sums.shape
    whole = count // TILE_ROWS * TILE_ROWS
    for b in range(0, whole, TILE_ROWS):
        _whole_tile(rows, panel, sums, b)
    for b in range(whole, count):
        _one_row(rows, panel, sums, b)
    offset = np.uint64(first)  # unsigned: no test for negative indices
    for b in range(count):
        for j in range(min(width, out.shape[1] - first)):
            out[b, offset + np.uint64(j)] = sums[b, j]


@entry
def few_rows_product(rows, panels, sums, out):
    """out = rows @ matrix, the matrix in panels (P, K, width)."""
    for piece in prange(panels.shape[0]):
        _panel_product(
            rows, panels[piece], sums[piece], out, piece * panels.shape[2]
        )


class Product:
    """rows -> rows @ matrix for one matrix and a fixed number of rows.

    times: how often it will be called.
    """

    def __init__(self, arena: Arena, name: str, matrix, rows: int, times: int):
        self.few = rows <= FEW and times >= OFTEN
        self.matrix = matrix
        if not self.few:
            return
        terms, columns = matrix.shape
        dtype = matrix.dtype
        width = panel_width(dtype.itemsize)
        pieces = -(-columns // width)
        self.panels = arena.take(name, (pieces, terms, width), dtype)
        self.sums = arena.take(name + ' sums', (pieces, rows, width), dtype)
        whole = columns // width
        self.panels[:whole] = (
            matrix[:, : whole * width]
            .reshape(terms, whole, width)
            .transpose(1, 0, 2)
        )
        if whole < pieces:
            rest = columns - whole * width
            self.panels[whole, :, :rest] = matrix[:, whole * width :]
            self.panels[whole, :, rest:] = 0

    def __call__(self, rows, out) -> None:
        if self.few:
            few_rows_product(rows, self.panels, self.sums, out)
        else:
            np.matmul(rows, self.matrix, out=out)


class BlasProduct:
    """The same by the device's own BLAS: for the GPU."""

    def __init__(self, arena: Arena, name: str, matrix, rows: int, times: int):
        self.multiply = arena.xp.matmul
        self.matrix = arena.take(name, matrix.shape, matrix.dtype)
        self.matrix[...] = matrix

    def __call__(self, rows, out) -> None:
        self.multiply(rows, self.matrix, out=out)
