"""Strided convolutions and their adjoints on the CPU, channels last.

A convolution maps a *large* picture (B, H, W, G) to a *small* one
(B, h, w, S) with weights (S, G, k, k); a transposed convolution is its
adjoint, and the same three operations serve both:

    convolution            transposed convolution    operation
    forward                gradient of its input     ``shrink``
    gradient of its input  forward                   ``grow``
    gradient of weights    gradient of weights       ``weight_gradient``

``shrink`` and ``weight_gradient`` read the pictures in place: with the
channels last, a patch is k runs of k G contiguous numbers, and the stride is
only a table of offsets. ``grow`` makes the patches of a few pictures in a
scratch that stays in the cache and adds them where they overlap. Bias,
rectification and its mask are applied while a result is in the cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from chainer_wm import register_tile as tile
from chainer_wm.arena import Arena

NOTHING, BIAS, BIAS_RELU, MASK = range(4)
"""What happens to a result: y, y + b, max(y + b, 0), or y where mask > 0."""

_ROWS = 256  # pixels of one step: enough to hide loads, few enough to cache


class Layer(NamedTuple):
    """Sizes of one layer; B pictures, large (H, W, G) and small (h, w, S)."""
    height: int
    width: int
    channels: int  # G
    kernel: int
    stride: int
    filters: int  # S

    @property
    def small(self) -> tuple[int, int]:
        """(h, w): places of the kernel, without padding."""
        return ((self.height - self.kernel) // self.stride + 1,
                (self.width - self.kernel) // self.stride + 1)

    def table(self, pictures: int) -> np.ndarray:
        """Offset of the patch of every small pixel, (pictures h w,)."""
        y, x = (np.arange(n) * self.stride for n in self.small)
        one = (y[:, None] * self.width + x) * self.channels
        many = np.arange(pictures) * self.height * self.width * self.channels
        return (many[:, None] + one.ravel()).ravel().astype(np.intp)


def shrink(x, w, layer, arena, bias=None, mask=None, kind=NOTHING):
    """Convolve.

    Args:
        x: (B, H, W, G), contiguous.
        w: (S, G, k, k).
        layer: the sizes.
        arena: where the result and the scratch come from.
        bias: (S,); mask: (B, h, w, S); kind: what is done at the end.

    Returns:
        (B, h, w, S).
    """
    batch, (h, wide) = len(x), layer.small
    panels = _panels(w, layer, True, arena)
    columns = panels.shape[0] * panels.shape[2]
    chunk = _chunk(batch, h * wide)
    y = arena.take((batch, h, wide, columns), x.dtype)
    _shrink(x.ravel(), panels.ravel(), panels.shape, layer.table(chunk),
            y.ravel(), _pad(bias, columns, x.dtype),
            _pad(mask, columns, x.dtype).ravel(), kind, chunk, h * wide,
            layer)
    return _cut(y, layer.filters)


def grow(x, w, layer, arena, bias=None, mask=None, kind=NOTHING):
    """Convolve, transposed.

    Args:
        x: (B, h, w, S), contiguous.
        w: (S, G, k, k).
        bias: (G,); mask: (B, H, W, G); the others as for ``shrink``.

    Returns:
        (B, H, W, G).
    """
    batch, (h, wide) = len(x), layer.small
    panels = _panels(w, layer, False, arena)
    chunk = min(_chunk(batch, h * wide), -(-batch // numba.get_num_threads()))
    patches = arena.take(
        (numba.get_num_threads(), chunk * h * wide,
         panels.shape[0] * panels.shape[2]), x.dtype)
    table = np.arange(chunk * h * wide) * layer.filters
    y = arena.take((batch, layer.height, layer.width, layer.channels), x.dtype)
    _grow(x.ravel(), panels.ravel(), panels.shape, table, patches.ravel(),
          patches.shape, y.ravel(), _pad(bias, layer.channels, x.dtype),
          _pad(mask, layer.channels, x.dtype).ravel(), kind, chunk, h, wide,
          layer)
    return y


def weight_gradient(large, small, layer, arena):
    """Gradient of the weights, (S, G, k, k).

    Args:
        large: (B, H, W, G), a convolution's input or the gradient of a
            transposed one's output.
        small: (B, h, w, S), the other.
    """
    batch, (h, wide) = len(large), layer.small
    width = tile.panel_width(large.itemsize)
    columns = -(-layer.filters // width) * width
    run = layer.kernel * layer.channels
    heights = np.array(tile.block_heights(run))
    starts = np.cumsum(heights) - heights
    chunk = _chunk(batch, h * wide)
    total = arena.take((layer.kernel * run, columns), large.dtype)
    total.fill(0)
    _weight_gradient(large.ravel(), _pad(small, columns, large.dtype).ravel(),
                     layer.table(chunk), total.ravel(), columns, width,
                     starts, heights, chunk, h * wide, batch, layer,
                     numba.get_num_threads())
    w = arena.take((layer.filters, layer.channels, layer.kernel,
                    layer.kernel), large.dtype)
    _unpack(total, w.reshape(layer.filters, layer.channels, -1))
    return w


def channel_sums(x):
    """Sum of (B, H, W, C) over all but the channels."""
    lines = _picture_sums(x.reshape(len(x), x.shape[1], -1))
    return lines.reshape(-1, x.shape[3]).sum(axis=0)


def _chunk(batch: int, pixels: int) -> int:
    """Pictures of one step, the same for every thread."""
    threads = numba.get_num_threads()
    most = max(1, _ROWS // pixels)
    steps = -(-batch // most)
    steps = -(-steps // threads) * threads
    return max(1, -(-batch // steps))


def _panels(w, layer, shrinks, arena):
    """The weights as ``tile`` reads them: panels (n, sums, panel width)."""
    width = tile.panel_width(w.itemsize)
    patch = layer.kernel ** 2 * layer.channels
    sums, columns = ((patch, layer.filters) if shrinks
                     else (layer.filters, patch))
    panels = arena.take((-(-columns // width), sums, width), w.dtype)
    pack = _pack_filters if shrinks else _pack_patches
    pack(w.reshape(layer.filters, layer.channels, -1), panels)
    return panels


def _pad(x, columns, dtype):
    """x with zeros up to ``columns`` on its last axis; empty for None."""
    if x is None:
        return np.empty(0, dtype)
    if x.shape[-1] == columns:
        return np.ascontiguousarray(x)
    padding = [(0, 0)] * (x.ndim - 1) + [(0, columns - x.shape[-1])]
    return np.pad(x, padding)


def _cut(y, columns):
    if y.shape[-1] == columns:
        return y
    return np.ascontiguousarray(y[..., :columns])


@numba.njit(cache=True, nogil=True)
def _pack_filters(w, panels):
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


@numba.njit(cache=True, nogil=True)
def _pack_patches(w, panels):
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


@numba.njit(cache=True, nogil=True)
def _unpack(total, w):
    """w[s, g, k] = total[(k, g), s], few lines of the cache at a time."""
    filters, channels, places = w.shape
    for g in range(channels):
        for first in range(0, filters, 8):
            for k in range(places):
                row = total[k * channels + g, first:min(first + 8, filters)]
                for s in range(row.size):
                    w[first + s, g, k] = row[s]


@numba.njit(cache=True, nogil=True)
def _finish(y, first, rows, columns, bias, mask, kind):
    zero = y.dtype.type(0)
    if kind == BIAS or kind == BIAS_RELU:
        low = zero if kind == BIAS_RELU else y.dtype.type(-np.inf)
        for i in range(rows):
            row = y[first + i * columns:first + (i + 1) * columns]
            for j in range(columns):
                row[j] = max(row[j] + bias[j], low)
    elif kind == MASK:
        row = y[first:first + rows * columns]
        seen = mask[first:first + rows * columns]
        for i in range(rows * columns):
            row[i] = row[i] if seen[i] > 0 else zero


@numba.njit(cache=True, parallel=True, nogil=True)
def _shrink(x, panels, shape, table, y, bias, mask, kind, chunk, pixels,
            layer):
    count, depth, width = shape
    columns = count * width
    picture = layer.height * layer.width * layer.channels
    batch = x.size // picture
    for part in numba.prange(-(-batch // chunk)):
        first = part * chunk
        rows = (min(batch, first + chunk) - first) * pixels
        at = first * pixels * columns
        for j in range(count):
            tile.rows_times_panel(
                x, first * picture, table, panels, j * depth * width, width,
                y, at + j * width, columns, layer.kernel,
                layer.kernel * layer.channels, layer.width * layer.channels,
                rows)
        _finish(y, at, rows, columns, bias, mask, kind)


@numba.njit(cache=True, nogil=True)
def _overlap_add(patches, at, length, y, first, h, wide, layer):
    """Add the patches of one picture where they belong.

    Neighbours overlap, and a load that overlaps a store on its way to the
    cache waits for it; so each round adds patches that only touch.
    """
    run = layer.kernel * layer.channels
    line = layer.width * layer.channels
    step = layer.stride * layer.channels
    rounds = -(-layer.kernel // layer.stride)
    for i in range(h):
        for k in range(layer.kernel):
            to = first + (layer.stride * i + k) * line
            of = at + i * wide * length + k * run
            for first_j in range(rounds):
                for j in range(first_j, wide, rounds):
                    tile.add_run(y, to + j * step, patches, of + j * length,
                                 run)


@numba.njit(cache=True, parallel=True, nogil=True)
def _grow(x, panels, shape, table, patches, scratch, y, bias, mask, kind,
          chunk, h, wide, layer):
    count, depth, width = shape
    threads, most, length = scratch
    pixels = h * wide
    picture = layer.height * layer.width * layer.channels
    batch = y.size // picture
    parts = -(-batch // chunk)
    for thread in numba.prange(threads):
        mine = thread * most * length
        for part in range(parts * thread // threads,
                          parts * (thread + 1) // threads):
            first, last = part * chunk, min(batch, (part + 1) * chunk)
            for j in range(count):
                tile.rows_times_panel(
                    x, first * pixels * depth, table, panels,
                    j * depth * width, width, patches, mine + j * width,
                    length, 1, depth, 0, (last - first) * pixels)
            for b in range(first, last):
                y[b * picture:(b + 1) * picture] = 0
                _overlap_add(patches, mine + (b - first) * pixels * length,
                             length, y, b * picture, h, wide, layer)
                _finish(y, b * picture, layer.height * layer.width,
                        layer.channels, bias, mask, kind)


@numba.njit(cache=True, parallel=True, nogil=True)
def _weight_gradient(large, small, table, total, columns, width, starts,
                     heights, chunk, pixels, batch, layer, threads):
    run = layer.kernel * layer.channels
    picture = layer.height * layer.width * layer.channels
    blocks = layer.kernel * len(heights)
    for thread in numba.prange(threads):
        for first in range(0, batch, chunk):
            count = (min(batch, first + chunk) - first) * pixels
            for j in range(0, columns, width):
                for block in range(blocks * thread // threads,
                                   blocks * (thread + 1) // threads):
                    k, i = divmod(block, len(heights))
                    tile.add_columns_times_rows(
                        large, first * picture + starts[i]
                        + k * layer.width * layer.channels, table, small,
                        first * pixels * columns + j, columns, total,
                        (k * run + starts[i]) * columns + j, columns, count,
                        heights[i])


@numba.njit(cache=True, parallel=True, nogil=True)
def _picture_sums(x):
    """(B, H, n) -> (B, n): per picture, in the same order on any threads."""
    batch, height, line = x.shape
    sums = np.zeros((batch, line), x.dtype)
    for b in numba.prange(batch):
        for i in range(height):
            for j in range(line):
                sums[b, j] += x[b, i, j]
    return sums
