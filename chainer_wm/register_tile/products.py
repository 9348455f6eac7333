"""Matrices covered with blocks of accumulators."""

from __future__ import annotations

import numba

from chainer_wm.register_tile import blocks

# Rows of a block: two accumulators each, and three registers stay free.
TALL, MIDDLE = (14, 8) if blocks.REGISTERS == 32 else (6, 4)

# A low block waits for its few sums; 4 rows already keep the units busy.
_rows_tall, _rows_middle, _rows_4, _rows_2, _rows_1 = (
    blocks.rows_block(n) for n in (TALL, MIDDLE, 4, 2, 1)
)
_columns_tall, _columns_middle, _columns_4, _columns_2, _columns_1 = (
    blocks.columns_block(n) for n in (TALL, MIDDLE, 4, 2, 1)
)


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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
