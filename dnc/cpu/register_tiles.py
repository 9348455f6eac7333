"""Register-blocked matrix products for numba kernels on the CPU.

numba compiles scalar loops; a matrix product at the speed of the processor needs a small tile of
the result held in vector registers while its sums run. The tiles are emitted as LLVM vector
instructions; the functions below cover a matrix with them, inside a numba kernel, on the caller's
own threads, with the operands where they lie:

``rows_times_panel``  c[i, j] = sum_p a[table[i] + p] b[p, j]
``add_columns_times_rows``  c[i, j] += sum_p a[table[p] + i] b[p, j]
``multiply``  c[i, j] += sum_p a[i, p] b[p, j], for all panels of b

The first two serve convolutions, which sum over a patch in the forward pass and over the pixels in
the gradient of the weights. All serve a recurrent net: BLAS packs the same matrix anew at every
time step, which at 16 rows costs more than the product; here the matrix is laid out once per
sequence, in *panels* as wide as a tile.

The size of a vector only chooses what fits the processor's registers: LLVM lowers the vectors to
whatever instructions there are. Every number is the same whatever the height of the tiles.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from dnc.cpu.elementary import OPTIONS
from dnc.kernel_cache import cached_njit, inner_njit

_INT = ir.IntType(64)
_VECTORS = 2  # a tile is this many vectors wide


def _registers() -> tuple[int, int]:
    """Bytes of a vector register, and how many there are."""
    has = llvmlite.binding.get_host_cpu_features()
    if has.get('avx512f'):
        return 64, 32
    if has.get('avx2'):
        return 32, 16
    return 16, 32 if has.get('neon') else 16


VECTOR_BYTES, REGISTERS = _registers()


def panel_width(dtype: Any) -> int:
    """Columns of a matrix in a panel, numbers in a row of a tile."""
    return _VECTORS * VECTOR_BYTES // np.dtype(dtype).itemsize


def panel_count(columns: int, dtype: Any) -> int:
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
    """Emits code; holds ``rows`` x 2 vectors of accumulators."""

    def __init__(self, context: Any, builder: Any, array: Any, rows: int):
        self.context, self.builder = context, builder
        self.element = context.get_value_type(array.dtype)
        self.size = context.get_abi_sizeof(self.element)
        self.width = VECTOR_BYTES // self.size
        self.type = ir.VectorType(self.element, self.width)
        # allocated, but LLVM keeps them in registers
        self.sums = [cgutils.alloca_once(builder, self.type) for _ in range(rows * _VECTORS)]

    def address(self, kind: Any, array: Any, offset: Any) -> Any:
        view = self.context.make_array(kind)(self.context, self.builder, array)
        return self.builder.gep(view.data, [offset])

    def shifted(self, pointer: Any, distance: Any) -> Any:
        return self.builder.gep(pointer, [distance])

    def lines(self, first: Any, stride: Any, rows: int) -> list[Any]:
        """Pointers to so many rows, ``stride`` numbers apart."""
        return [self.shifted(first, self.builder.mul(stride, _INT(i))) for i in range(rows)]

    def vector(self, pointer: Any, column: int) -> Any:
        at = self.shifted(pointer, _INT(column * self.width))
        return self.builder.bitcast(at, self.type.as_pointer())

    def clear(self) -> None:
        for sums in self.sums:
            self.builder.store(ir.Constant(self.type, [0.0] * self.width), sums)

    def load(self, lines: list[Any]) -> None:
        """The sums from rows of the result."""
        for sums, at in zip(self.sums, self._places(lines)):
            self.builder.store(self.builder.load(at, align=self.size), sums)

    def store(self, lines: list[Any]) -> None:
        """The sums to rows of the result."""
        for sums, at in zip(self.sums, self._places(lines)):
            self.builder.store(self.builder.load(sums), at, align=self.size)

    def _places(self, lines: list[Any]) -> list[Any]:
        return [self.vector(line, v) for line in lines for v in range(_VECTORS)]

    def _spread(self, pointer: Any) -> Any:
        """A vector that repeats one number."""
        empty = ir.Constant(self.type, ir.Undefined)
        lanes = ir.VectorType(ir.IntType(32), self.width)
        first = self.builder.insert_element(empty, self.builder.load(pointer), ir.IntType(32)(0))
        return self.builder.shuffle_vector(first, empty, ir.Constant(lanes, None))

    def multiply_add(self, column: list[Any], b: Any) -> None:
        """Accumulate the outer product of a column of a and a row of b."""
        build, kind = self.builder, self.type
        fma = cgutils.get_or_insert_function(
            build.module,
            ir.FunctionType(kind, [kind] * 3),
            f'llvm.fmuladd.v{self.width}f{8 * self.size}',
        )
        row = [build.load(self.vector(b, j), align=self.size) for j in range(_VECTORS)]
        for i, pointer in enumerate(column):
            factor = self._spread(pointer)
            for j, sums in enumerate(self.sums[i * _VECTORS :][:_VECTORS]):
                total = build.call(fma, [factor, row[j], build.load(sums)])
                build.store(total, sums)


_PAIR, _TRIPLE = (types.UniTuple(types.intp, n) for n in (2, 3))


def _rows_tile(rows: int) -> Any:
    """The tile of ``rows_times_panel``: ``rows`` of c, from row i on."""

    @intrinsic
    def tile(_, a, table, b, c, i, starts, strides, sums):
        def emit(context, builder, signature, values):
            a_, table_, b_, c_, i_, *tuples = values
            (a0, b0, c0), (width, stride), (runs, run, step) = (
                cgutils.unpack_tuple(builder, t) for t in tuples
            )
            to = _Tile(context, builder, a, rows)
            to.clear()
            base = to.address(a, a_, a0)
            first = to.address(table, table_, i_)
            begins = [
                to.shifted(base, builder.load(to.shifted(first, _INT(n)))) for n in range(rows)
            ]
            panel = to.address(b, b_, b0)
            with cgutils.for_range(builder, runs, intp=_INT) as outer:
                at = builder.mul(outer.index, step)
                above = builder.mul(outer.index, run)
                with cgutils.for_range(builder, run, intp=_INT) as inner:
                    p = builder.add(at, inner.index)
                    q = builder.add(above, inner.index)
                    to.multiply_add(
                        [to.shifted(begin, p) for begin in begins],
                        to.shifted(panel, builder.mul(q, width)),
                    )
            corner = builder.add(c0, builder.mul(i_, stride))
            to.store(to.lines(to.address(c, c_, corner), stride, rows))
            return context.get_dummy_value()

        tuples = _TRIPLE, _PAIR, _TRIPLE
        return types.void(a, table, b, c, types.intp, *tuples), emit

    return tile


def _columns_tile(rows: int) -> Any:
    """The tile of ``add_columns_times_rows``."""

    @intrinsic
    def tile(_, a, table, b, c, starts, strides, count):
        def emit(context, builder, signature, values):
            a_, table_, b_, c_, *tuples, count_ = values
            (a0, b0, c0), (width, stride) = (cgutils.unpack_tuple(builder, t) for t in tuples)
            to = _Tile(context, builder, a, rows)
            corner = to.address(c, c_, c0)
            lines = to.lines(corner, stride, rows)
            to.load(lines)
            base, panel = to.address(a, a_, a0), to.address(b, b_, b0)
            first = to.address(table, table_, _INT(0))
            with cgutils.for_range(builder, count_, intp=_INT) as loop:
                begin = builder.load(to.shifted(first, loop.index))
                begin = to.shifted(base, begin)
                to.multiply_add(
                    [to.shifted(begin, _INT(n)) for n in range(rows)],
                    to.shifted(panel, builder.mul(loop.index, width)),
                )
            to.store(lines)
            return context.get_dummy_value()

        return types.void(a, table, b, c, _TRIPLE, _PAIR, types.intp), emit

    return tile


@intrinsic
def add_run(_, y, y0, x, x0, count):
    """y[y0 + i] += x[x0 + i], i < count; flat arrays that do not overlap."""

    def emit(context, builder, signature, values):
        y_, y0_, x_, x0_, count_ = values
        to = _Tile(context, builder, y, 0)
        pointers = to.address(y, y_, y0_), to.address(x, x_, x0_)

        def add(start, width):
            kind = ir.VectorType(to.element, width).as_pointer()
            target, source = (builder.bitcast(to.shifted(p, start), kind) for p in pointers)
            total = builder.fadd(
                builder.load(target, align=to.size), builder.load(source, align=to.size)
            )
            builder.store(total, target, align=to.size)

        width = _INT(to.width)
        whole = builder.mul(builder.udiv(count_, width), width)
        with cgutils.for_range_slice(builder, _INT(0), whole, width, intp=_INT) as (index, _):
            add(index, to.width)
        with cgutils.for_range_slice(builder, whole, count_, _INT(1), intp=_INT) as (index, _):
            add(index, 1)
        return context.get_dummy_value()

    i = types.intp
    return types.void(y, i, x, i, i), emit


# Rows of a tile: two accumulators each, and three registers stay free.
TALL, MIDDLE = (14, 8) if REGISTERS == 32 else (6, 4)

# A low tile waits for its few sums; 4 rows already keep the units busy.
_rows_tall, _rows_middle, _rows_4, _rows_2, _rows_1 = (
    _rows_tile(n) for n in (TALL, MIDDLE, 4, 2, 1)
)
_columns_tall, _columns_middle, _columns_4, _columns_2, _columns_1 = (
    _columns_tile(n) for n in (TALL, MIDDLE, 4, 2, 1)
)


@cached_njit(nogil=True)
def rows_times_panel(a, table, b, c, starts, strides, sums, rows):
    """c[i, :] = sum over r < runs, p < run of a[table[i] + r step + p] b[q].

    b[q] is row q = r run + p of a panel. All arrays are flat, in the same floating-point type; c
    is overwritten.

    Args:
        table: integers, where each row of a begins.
        starts: where a, b and c begin.
        strides: from row to row of b and of c.
        sums: runs, run, and step, the distance between runs of a.
        rows: rows of c; each is ``panel_width`` numbers.
    """
    i = 0
    while rows - i >= TALL:
        _rows_tall(a, table, b, c, i, starts, strides, sums)
        i += TALL
    while rows - i >= MIDDLE:
        _rows_middle(a, table, b, c, i, starts, strides, sums)
        i += MIDDLE
    if rows - i >= 4:
        _rows_4(a, table, b, c, i, starts, strides, sums)
        i += 4
    if rows - i >= 2:
        _rows_2(a, table, b, c, i, starts, strides, sums)
        i += 2
    if rows - i >= 1:
        _rows_1(a, table, b, c, i, starts, strides, sums)


@cached_njit(nogil=True)
def add_columns_times_rows(a, table, b, c, starts, strides, count, height):
    """c[i, :] += sum over p < count of a[table[p] + i] b[p], i < height.

    b[p] is ``panel_width`` numbers at p strides[0]; ``height`` is one of ``tile_heights``. The
    other arguments are those of ``rows_times_panel``.
    """
    if height == TALL:
        _columns_tall(a, table, b, c, starts, strides, count)
    elif height == MIDDLE:
        _columns_middle(a, table, b, c, starts, strides, count)
    elif height == 4:
        _columns_4(a, table, b, c, starts, strides, count)
    elif height == 2:
        _columns_2(a, table, b, c, starts, strides, count)
    else:
        _columns_1(a, table, b, c, starts, strides, count)


def tile_heights(rows: int) -> list[int]:
    """Heights of the tiles that cover ``rows``, tallest first."""
    heights = []
    for height in (TALL, MIDDLE, 4, 2, 1):
        count, rows = divmod(rows, height)
        heights += [height] * count
    return heights


def _rows_of(builder, array, first, count: int):
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

    rows and sums hold each row in one piece; as many rows of the panel are used as rows has
    columns.
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
            to = _Tile(context, builder, signature.args[0], count)
            starts = _rows_of(builder, rows, first, count)
            column = builder.mul(first_panel, width)
            ends = [builder.gep(line, [column]) for line in _rows_of(builder, sums, first, count)]
            to.load(ends)
            with cgutils.for_range(builder, terms, intp=terms.type) as loop:
                row = builder.gep(panel, [builder.mul(loop.index, width)])
                to.multiply_add([builder.gep(s, [loop.index]) for s in starts], row)
            to.store(ends)
            return context.get_dummy_value()

        whole = types.intp
        kinds = (rows, panels, whole, whole, sums, whole)
        return types.void(*kinds), emit

    return product


# Every thread multiplies its own rows, and those are few.
_WHOLE, _HALF = (8, 4) if VECTOR_BYTES == 64 else (4, 2)
_whole_tile, _half_tile, _one_row = (_tile_product(count) for count in (_WHOLE, _HALF, 1))


@inner_njit(**OPTIONS)
def multiply(rows, panels, first, sums, lo, hi):
    """sums[lo:hi] += rows[lo:hi] @ matrix[first:first + K].

    Args:
        rows: (B, K), each row in one piece.
        panels: of the matrix, see `lay_out`.
        sums: (B, P width).
    """
    whole = lo + (hi - lo) // _WHOLE * _WHOLE
    half = whole + (hi - whole) // _HALF * _HALF
    for p in range(panels.shape[0]):
        for b in range(lo, whole, _WHOLE):
            _whole_tile(rows, panels, p, first, sums, b)
        for b in range(whole, half, _HALF):
            _half_tile(rows, panels, p, first, sums, b)
        for b in range(half, hi):
            _one_row(rows, panels, p, first, sums, b)
