"""Register-blocked matrix products for numba kernels on the CPU.

numba compiles scalar loops; a matrix product at the speed of the processor
needs a small block of the result held in vector registers while the sum runs.
The functions here emit that block as LLVM vector instructions, so that a
convolution reads its operands in place (no patch matrix), inside a numba
kernel, on numba's own threads. LLVM lowers the vectors to what the processor
has; the sizes below only choose the block that fits its registers.

Two forms, because a convolution sums over a patch in its forward pass and
over the pixels in its weight gradient:

``rows_times_panel``  c[i, j]  = sum_p a[table[i] + p] b[p, j]
``add_columns_times_rows``  c[i, j] += sum_p a[table[p] + i] b[p, j]
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

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


VECTOR_BYTES, _REGISTERS = _registers()
# Rows of a block: two accumulators each, and three registers stay free.
TALL, MIDDLE = (14, 8) if _REGISTERS == 32 else (6, 4)


def panel_width(itemsize: int) -> int:
    """Columns of a block: every panel of b has this many."""
    return _VECTORS * VECTOR_BYTES // itemsize


class _Block:
    """Emits code for ``rows`` x 2 vectors of accumulators."""

    def __init__(self, context: Any, builder: Any, array: Any,
                 rows: int) -> None:
        self.context, self.builder, self.rows = context, builder, rows
        element = context.get_value_type(array.dtype)
        self.size = context.get_abi_sizeof(element)
        self.width = VECTOR_BYTES // self.size
        self.type = ir.VectorType(element, self.width)
        self.slots = [cgutils.alloca_once(builder, self.type)
                      for _ in range(rows * _VECTORS)]

    def address(self, array_type: Any, array: Any, offset: Any) -> Any:
        view = self.context.make_array(array_type)(
            self.context, self.builder, array)
        return self.builder.gep(view.data, [offset])

    def _vector(self, pointer: Any, column: int) -> Any:
        at = self.builder.gep(pointer, [_INT(column * self.width)])
        return self.builder.bitcast(at, self.type.as_pointer())

    def clear(self) -> None:
        for slot in self.slots:
            self.builder.store(ir.Constant(self.type, [0.] * self.width), slot)

    def _each(self, c: Any, stride: Any) -> Any:
        for i in range(self.rows):
            row = self.builder.gep(c, [self.builder.mul(stride, _INT(i))])
            for j in range(_VECTORS):
                yield self._vector(row, j), self.slots[i * _VECTORS + j]

    def load(self, c: Any, stride: Any) -> None:
        for at, slot in self._each(c, stride):
            self.builder.store(self.builder.load(at, align=self.size), slot)

    def store(self, c: Any, stride: Any) -> None:
        for at, slot in self._each(c, stride):
            self.builder.store(self.builder.load(slot), at, align=self.size)

    def multiply_add(self, elements: list[Any], b: Any) -> None:
        """Accumulate the outer product of ``elements`` and a row of b."""
        build, kind = self.builder, self.type
        name = f'llvm.fmuladd.v{self.width}f{8 * self.size}'
        fma = cgutils.get_or_insert_function(
            build.module, ir.FunctionType(kind, [kind] * 3), name)
        row = [build.load(self._vector(b, j), align=self.size)
               for j in range(_VECTORS)]
        undefined = ir.Constant(kind, ir.Undefined)
        lanes = ir.VectorType(ir.IntType(32), self.width)
        for i, pointer in enumerate(elements):
            first = build.insert_element(undefined, build.load(pointer),
                                         ir.IntType(32)(0))
            spread = build.shuffle_vector(first, undefined,
                                          ir.Constant(lanes, None))
            for j in range(_VECTORS):
                slot = self.slots[i * _VECTORS + j]
                build.store(build.call(
                    fma, [spread, row[j], build.load(slot)]), slot)


def _rows_block(rows: int) -> Any:
    @intrinsic
    def block(_, a, a0, table, t0, b, b0, width, c, c0, stride, runs, run,
              step):
        kinds = (a, table, b, c)

        def emit(context, builder, signature, values):
            (a, a0, table, t0, b, b0, width, c, c0, stride, runs, run,
             step) = values
            block = _Block(context, builder, kinds[0], rows)
            block.clear()
            base = block.address(kinds[0], a, a0)
            first = block.address(kinds[1], table, t0)
            starts = [builder.gep(base, [builder.load(
                builder.gep(first, [_INT(i)]))]) for i in range(rows)]
            panel = block.address(kinds[2], b, b0)
            with cgutils.for_range(builder, runs, intp=_INT) as outer:
                at = builder.mul(outer.index, step)
                below = builder.mul(outer.index, run)
                with cgutils.for_range(builder, run, intp=_INT) as inner:
                    p = builder.add(at, inner.index)
                    q = builder.add(below, inner.index)
                    block.multiply_add(
                        [builder.gep(start, [p]) for start in starts],
                        builder.gep(panel, [builder.mul(q, width)]))
            block.store(block.address(kinds[3], c, c0), stride)
            return context.get_dummy_value()

        i = types.intp
        return types.void(a, i, table, i, b, i, i, c, i, i, i, i, i), emit
    return block


def _columns_block(rows: int) -> Any:
    @intrinsic
    def block(_, a, a0, table, b, b0, width, c, c0, stride, count):
        kinds = (a, table, b, c)

        def emit(context, builder, signature, values):
            a, a0, table, b, b0, width, c, c0, stride, count = values
            block = _Block(context, builder, kinds[0], rows)
            corner = block.address(kinds[3], c, c0)
            block.load(corner, stride)
            base = block.address(kinds[0], a, a0)
            first = block.address(kinds[1], table, _INT(0))
            panel = block.address(kinds[2], b, b0)
            with cgutils.for_range(builder, count, intp=_INT) as loop:
                start = builder.gep(base, [builder.load(
                    builder.gep(first, [loop.index]))])
                block.multiply_add(
                    [builder.gep(start, [_INT(i)]) for i in range(rows)],
                    builder.gep(panel, [builder.mul(loop.index, width)]))
            block.store(corner, stride)
            return context.get_dummy_value()

        i = types.intp
        return types.void(a, i, table, b, i, i, c, i, i, i), emit
    return block


@intrinsic
def add_run(_, y, y0, x, x0, count):
    """y[y0:y0 + count] += x[x0:x0 + count], flat arrays that do not overlap.

    Short runs are what this is for: the tail goes by halves of a vector.
    """
    kinds = (y, x)

    def emit(context, builder, signature, values):
        y, y0, x, x0, count = values
        block = _Block(context, builder, kinds[0], 0)
        target = block.address(kinds[0], y, y0)
        source = block.address(kinds[1], x, x0)

        def add(start, width):
            vector = ir.VectorType(block.type.element, width).as_pointer()
            to, of = (builder.bitcast(builder.gep(p, [start]), vector)
                      for p in (target, source))
            total = builder.fadd(builder.load(to, align=block.size),
                                 builder.load(of, align=block.size))
            builder.store(total, to, align=block.size)

        width = block.width
        whole = builder.udiv(count, _INT(width))
        with cgutils.for_range(builder, whole, intp=_INT) as loop:
            add(builder.mul(loop.index, _INT(width)), width)
        while width > 1:
            width //= 2
            done = builder.and_(count, _INT(-2 * width))
            odd = builder.and_(count, _INT(width))
            with builder.if_then(builder.icmp_unsigned('!=', odd, _INT(0))):
                add(done, width)
        return context.get_dummy_value()

    i = types.intp
    return types.void(y, i, x, i, i), emit


# A low block waits for its few sums; 4 rows already keep the units busy.
_rows_tall, _rows_middle, _rows_4, _rows_2, _rows_1 = (
    _rows_block(n) for n in (TALL, MIDDLE, 4, 2, 1))
_columns_tall, _columns_middle, _columns_4, _columns_2, _columns_1 = (
    _columns_block(n) for n in (TALL, MIDDLE, 4, 2, 1))


@numba.njit(cache=True, nogil=True)
def rows_times_panel(a, a0, table, b, b0, width, c, c0, stride, runs, run,
                     step, rows):
    """c[i, :] = sum over r < runs, p < run of a[table[i] + r step + p] b[q].

    b[q] is row q = r run + p of a panel, ``width`` elements wide. All arrays
    are flat; a0, b0 and c0 are where the operands start, ``stride`` is the
    distance between rows of c. c is overwritten.
    """
    i = 0
    while rows - i >= TALL:
        _rows_tall(a, a0, table, i, b, b0, width, c, c0 + i * stride, stride,
                   runs, run, step)
        i += TALL
    while rows - i >= MIDDLE:
        _rows_middle(a, a0, table, i, b, b0, width, c, c0 + i * stride,
                     stride, runs, run, step)
        i += MIDDLE
    if rows - i >= 4:
        _rows_4(a, a0, table, i, b, b0, width, c, c0 + i * stride, stride,
                runs, run, step)
        i += 4
    if rows - i >= 2:
        _rows_2(a, a0, table, i, b, b0, width, c, c0 + i * stride, stride,
                runs, run, step)
        i += 2
    if rows - i >= 1:
        _rows_1(a, a0, table, i, b, b0, width, c, c0 + i * stride, stride,
                runs, run, step)


@numba.njit(cache=True, nogil=True)
def add_columns_times_rows(a, a0, table, b, b0, width, c, c0, stride, count,
                           height):
    """c[i, :] += sum over p < count of a[table[p] + i] b[p], i < height.

    b[p] is ``panel_width`` elements at b0 + p width; ``height`` is one of
    ``block_heights``. All arrays are flat.
    """
    if height == TALL:
        _columns_tall(a, a0, table, b, b0, width, c, c0, stride, count)
    elif height == MIDDLE:
        _columns_middle(a, a0, table, b, b0, width, c, c0, stride, count)
    elif height == 4:
        _columns_4(a, a0, table, b, b0, width, c, c0, stride, count)
    elif height == 2:
        _columns_2(a, a0, table, b, b0, width, c, c0, stride, count)
    else:
        _columns_1(a, a0, table, b, b0, width, c, c0, stride, count)


def block_heights(rows: int) -> list[int]:
    """Heights of the blocks that cover ``rows``, tallest first."""
    heights = []
    for height in (TALL, MIDDLE, 4, 2, 1):
        count, rows = divmod(rows, height)
        heights += [height] * count
    return heights
