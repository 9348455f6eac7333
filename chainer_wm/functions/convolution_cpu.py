"""Convolutions compiled by numba; sizes are trusted, see ``operations``.

A *chunk* is the number of pictures in one step of a thread. Sums run in an
order that depends neither on it nor on the threads.
"""

from __future__ import annotations

import numba
import numpy as np

from chainer_wm.functions import register_tiles as tile
from dnc.kernel_cache import cached_njit

NOTHING, BIAS, BIAS_RELU, MASK = range(4)
"""What happens to a result: y, y + b, max(y + b, 0), or y where mask > 0."""


@cached_njit(nogil=True)
def pack_filters(w, panels):
    """panels[j, (k, g), i] = w[j width + i, g, k], zero beyond the filters."""
    filters, channels, places = w.shape
    count, _, width = panels.shape
    for j in range(count):
        for g in range(channels):
            for k in range(places):
                row = panels[j, k * channels + g]
                for i in range(width):
                    s = j * width + i
                    row[i] = w[s, g, k] if s < filters else w.dtype.type(0)


@cached_njit(nogil=True)
def pack_patches(w, panels):
    """panels[j, s, i] = w[s, g, k] with j width + i = k G + g, else zero."""
    filters, channels, places = w.shape
    count, _, width = panels.shape
    for s in range(filters):
        k = g = 0
        for j in range(count):
            row = panels[j, s]
            for i in range(width):
                row[i] = w[s, g, k] if k < places else w.dtype.type(0)
                g += 1
                if g == channels:
                    g = 0
                    k += 1


@cached_njit(nogil=True)
def unpack(total, w):
    """w[s, g, k] = total[(k, g), s], few lines of the cache at a time."""
    filters, channels, places = w.shape
    for g in range(channels):
        for first in range(0, filters, 8):
            for k in range(places):
                row = total[k * channels + g, first : min(first + 8, filters)]
                for s in range(row.size):
                    w[first + s, g, k] = row[s]


@cached_njit(nogil=True)
def _finish(y, ending, first):
    """Apply the ending to rows of the result; ``first`` of them precede."""
    kind, bias, mask = ending
    zero = y.dtype.type(0)
    if kind == MASK:
        start = first * y.shape[1]
        flat = y.reshape(-1)
        seen = mask.reshape(-1)[start : start + flat.size]
        for i in range(flat.size):
            flat[i] = flat[i] if seen[i] > 0 else zero
    elif kind != NOTHING:
        low = zero if kind == BIAS_RELU else y.dtype.type(-np.inf)
        for i in range(len(y)):
            row = y[i]
            for j in range(row.size):
                row[j] = max(row[j] + bias[j], low)


@cached_njit(parallel=True, nogil=True)
def shrink(x, panels, table, y, layer, chunk, ending):
    """(B, H, W, G) -> (B, h, w, columns), columns a multiple of the panel."""
    count, depth, width = panels.shape
    columns = count * width
    pixels = y.shape[1] * y.shape[2]
    line = layer.width * layer.channels
    sums = layer.kernel, layer.kernel * layer.channels, line
    x_, y_, b_ = x.reshape(-1), y.reshape(-1), panels.reshape(-1)
    rows_of_y = y.reshape(-1, columns)
    for part in numba.prange(-(-len(x) // chunk)):
        first = part * chunk
        rows = (min(len(x), first + chunk) - first) * pixels
        above = first * pixels
        for j in range(count):
            starts = (first * layer.height * line, j * depth * width, above * columns + j * width)
            strides = width, columns
            tile.rows_times_panel(x_, table, b_, y_, starts, strides, sums, rows)
        _finish(rows_of_y[above : above + rows], ending, above)


@cached_njit(nogil=True)
def _overlap_add(patches, y, layer):
    """Add the patches (h, w, length) of one picture where they belong in y.

    Neighbours overlap, and a load that overlaps a store on its way to the
    cache waits for it; so each round adds patches that only touch.
    """
    h, wide, length = patches.shape
    run = layer.kernel * layer.channels
    line = layer.width * layer.channels
    step = layer.stride * layer.channels
    rounds = -(-layer.kernel // layer.stride)
    patches_ = patches.reshape(-1)
    for i in range(h):
        for k in range(layer.kernel):
            to = (layer.stride * i + k) * line
            of = i * wide * length + k * run
            for first in range(rounds):
                for j in range(first, wide, rounds):
                    tile.add_run(y, to + j * step, patches_, of + j * length, run)


@cached_njit(parallel=True, nogil=True)
def grow(x, panels, table, patches, y, layer, chunk, ending):
    """(B, h, w, S) -> (B, H, W, G); patches (threads, pixels, columns)."""
    count, depth, width = panels.shape
    batch, h, wide, _ = x.shape
    threads, most, length = patches.shape
    parts = -(-batch // chunk)
    strides, sums = (width, length), (1, depth, 0)
    x_, b_, c_ = x.reshape(-1), panels.reshape(-1), patches.reshape(-1)
    for thread in numba.prange(threads):
        for part in range(parts * thread // threads, parts * (thread + 1) // threads):
            first, last = part * chunk, min(batch, (part + 1) * chunk)
            rows = (last - first) * h * wide
            for j in range(count):
                starts = (
                    first * h * wide * depth,
                    j * depth * width,
                    thread * most * length + j * width,
                )
                tile.rows_times_panel(x_, table, b_, c_, starts, strides, sums, rows)
            mine = patches[thread, :rows].reshape(-1, h, wide, length)
            for b in range(first, last):
                picture = y[b].reshape(-1)
                picture[:] = 0
                _overlap_add(mine[b - first], picture, layer)
                pixels = y[b].reshape(-1, layer.channels)
                _finish(pixels, ending, b * len(pixels))


@cached_njit(parallel=True, nogil=True)
def weight_gradient(large, small, table, total, width, heights, layer, chunk, threads):
    """Add to total ((k, k, G), columns); small (B, h, w, columns).

    Each thread has its own rows of the total, for all pictures.
    """
    batch, h, wide, columns = small.shape
    line = layer.width * layer.channels
    run = layer.kernel * layer.channels
    begins = np.cumsum(heights) - heights
    blocks = layer.kernel * len(heights)
    large_, small_, total_ = (large.reshape(-1), small.reshape(-1), total.reshape(-1))
    strides = columns, columns
    for thread in numba.prange(threads):
        mine = range(blocks * thread // threads, blocks * (thread + 1) // threads)
        for first in range(0, batch, chunk):
            count = (min(batch, first + chunk) - first) * h * wide
            for j in range(0, columns, width):
                for block in mine:
                    k, i = divmod(block, len(heights))
                    starts = (
                        (first * layer.height + k) * line + begins[i],
                        first * h * wide * columns + j,
                        (k * run + begins[i]) * columns + j,
                    )
                    tile.add_columns_times_rows(
                        *(large_, table, small_, total_, starts, strides), *(count, heights[i])
                    )


@cached_njit(parallel=True, nogil=True)
def picture_sums(x):
    """(B, H, n) -> (B, n)."""
    batch, height, line = x.shape
    sums = np.zeros((batch, line), x.dtype)
    for b in numba.prange(batch):
        for i in range(height):
            for j in range(line):
                sums[b, j] += x[b, i, j]
    return sums
