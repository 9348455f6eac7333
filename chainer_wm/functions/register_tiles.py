"""Register-blocked matrix products for numba kernels on the CPU.

numba compiles scalar loops; a matrix product at the speed of the processor
needs a small block of the result held in vector registers while its sums run.
``blocks`` emits that block as LLVM vector instructions, ``products`` covers a
matrix with blocks. So a convolution reads its operands in place (no matrix of
patches), inside a numba kernel, on numba's own threads.

Two forms, because a convolution sums over a patch in its forward pass and
over the pixels in the gradient of its weights:

``rows_times_panel``  c[i, j]  = sum_p a[table[i] + p] b[p, j]
``add_columns_times_rows``  c[i, j] += sum_p a[table[p] + i] b[p, j]

Blocks of a matrix product as LLVM vector instructions.

The size of a vector only chooses what fits the processor's registers: LLVM
lowers the vectors to whatever instructions there are.

Matrices covered with blocks of accumulators.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from dnc.kernel_cache import cached_njit

_INT = ir.IntType(64)
_VECTORS = 2  # a block is this many vectors wide


def _registers() -> tuple[int, int]:
    """Bytes of a vector register, and how many there are."""
    has = llvmlite.binding.get_host_cpu_features()
    if has.get('avx512f'):
        return 64, 32
    if has.get('avx2'):
        return 32, 16
    return 16, 32 if has.get('neon') else 16


VECTOR_BYTES, REGISTERS = _registers()


def panel_width(itemsize: int) -> int:
    """Numbers in a row of a block."""
    return _VECTORS * VECTOR_BYTES // itemsize


class _Emitter:
    """Emits code; holds ``rows`` x 2 vectors of accumulators."""

    def __init__(self, context: Any, builder: Any, array: Any, rows: int):
        self.context, self.builder, self.rows = context, builder, rows
        self.element = context.get_value_type(array.dtype)
        self.size = context.get_abi_sizeof(self.element)
        self.width = VECTOR_BYTES // self.size
        self.type = ir.VectorType(self.element, self.width)
        # allocated, but LLVM keeps them in registers
        self.slots = [cgutils.alloca_once(builder, self.type) for _ in range(rows * _VECTORS)]

    def address(self, kind: Any, array: Any, offset: Any) -> Any:
        view = self.context.make_array(kind)(self.context, self.builder, array)
        return self.builder.gep(view.data, [offset])

    def shifted(self, pointer: Any, distance: Any) -> Any:
        return self.builder.gep(pointer, [distance])

    def vector(self, pointer: Any, column: int) -> Any:
        at = self.shifted(pointer, _INT(column * self.width))
        return self.builder.bitcast(at, self.type.as_pointer())

    def clear(self) -> None:
        for slot in self.slots:
            zero = ir.Constant(self.type, [0.0] * self.width)
            self.builder.store(zero, slot)

    def places(self, c: Any, stride: Any) -> Iterator[tuple[Any, Any]]:
        """Pointers to the vectors of c, each with its accumulator."""
        for i in range(self.rows):
            row = self.shifted(c, self.builder.mul(stride, _INT(i)))
            for j in range(_VECTORS):
                yield self.vector(row, j), self.slots[i * _VECTORS + j]

    def load(self, c: Any, stride: Any) -> None:
        for at, slot in self.places(c, stride):
            self.builder.store(self.builder.load(at, align=self.size), slot)

    def store(self, c: Any, stride: Any) -> None:
        for at, slot in self.places(c, stride):
            self.builder.store(self.builder.load(slot), at, align=self.size)

    def spread(self, pointer: Any) -> Any:
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
            factor = self.spread(pointer)
            for j, slot in enumerate(self.slots[i * _VECTORS :][:_VECTORS]):
                total = build.call(fma, [factor, row[j], build.load(slot)])
                build.store(total, slot)


_PAIR, _TRIPLE = (types.UniTuple(types.intp, n) for n in (2, 3))


def rows_block(rows: int) -> Any:
    """The block of ``rows_times_panel``: ``rows`` of c, from row i on."""

    @intrinsic
    def block(_, a, table, b, c, i, starts, strides, sums):
        def emit(context, builder, signature, values):
            a_, table_, b_, c_, i_, *tuples = values
            (a0, b0, c0), (width, stride), (runs, run, step) = (
                cgutils.unpack_tuple(builder, t) for t in tuples
            )
            to = _Emitter(context, builder, a, rows)
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
            to.store(to.address(c, c_, corner), stride)
            return context.get_dummy_value()

        tuples = _TRIPLE, _PAIR, _TRIPLE
        return types.void(a, table, b, c, types.intp, *tuples), emit

    return block


def columns_block(rows: int) -> Any:
    """The block of ``add_columns_times_rows``."""

    @intrinsic
    def block(_, a, table, b, c, starts, strides, count):
        def emit(context, builder, signature, values):
            a_, table_, b_, c_, *tuples, count_ = values
            (a0, b0, c0), (width, stride) = (cgutils.unpack_tuple(builder, t) for t in tuples)
            to = _Emitter(context, builder, a, rows)
            corner = to.address(c, c_, c0)
            to.load(corner, stride)
            base, panel = to.address(a, a_, a0), to.address(b, b_, b0)
            first = to.address(table, table_, _INT(0))
            with cgutils.for_range(builder, count_, intp=_INT) as loop:
                begin = builder.load(to.shifted(first, loop.index))
                begin = to.shifted(base, begin)
                to.multiply_add(
                    [to.shifted(begin, _INT(n)) for n in range(rows)],
                    to.shifted(panel, builder.mul(loop.index, width)),
                )
            to.store(corner, stride)
            return context.get_dummy_value()

        return types.void(a, table, b, c, _TRIPLE, _PAIR, types.intp), emit

    return block


@intrinsic
def add_run(_, y, y0, x, x0, count):
    """y[y0 + i] += x[x0 + i], i < count; flat arrays that do not overlap."""

    def emit(context, builder, signature, values):
        y_, y0_, x_, x0_, count_ = values
        to = _Emitter(context, builder, y, 0)
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


# Rows of a block: two accumulators each, and three registers stay free.
TALL, MIDDLE = (14, 8) if REGISTERS == 32 else (6, 4)

# A low block waits for its few sums; 4 rows already keep the units busy.
_rows_tall, _rows_middle, _rows_4, _rows_2, _rows_1 = (
    rows_block(n) for n in (TALL, MIDDLE, 4, 2, 1)
)
_columns_tall, _columns_middle, _columns_4, _columns_2, _columns_1 = (
    columns_block(n) for n in (TALL, MIDDLE, 4, 2, 1)
)


@cached_njit(nogil=True)
def rows_times_panel(a, table, b, c, starts, strides, sums, rows):
    """c[i, :] = sum over r < runs, p < run of a[table[i] + r step + p] b[q].

    b[q] is row q = r run + p of a panel. All arrays are flat, in the same
    floating-point type; c is overwritten.

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

    b[p] is ``panel_width`` numbers at p strides[0]; ``height`` is one of
    ``block_heights``. The other arguments are those of ``rows_times_panel``.
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


def block_heights(rows: int) -> list[int]:
    """Heights of the blocks that cover ``rows``, tallest first."""
    heights = []
    for height in (TALL, MIDDLE, 4, 2, 1):
        count, rows = divmod(rows, height)
        heights += [height] * count
    return heights
