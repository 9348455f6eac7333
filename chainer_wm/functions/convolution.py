"""Strided convolutions and their adjoints on the CPU, channels last.

A convolution maps a *large* picture (B, H, W, G) to a *small* one
(B, h, w, S) with weights (S, G, k, k), Chainer's layout. A transposed convolution is its adjoint,
and the same three operations serve both:

    convolution            transposed convolution    operation
    forward                gradient of its input     ``shrink``
    gradient of its input  forward                   ``grow``
    gradient of weights    gradient of weights       ``weight_gradient``

``shrink`` and ``weight_gradient`` read the pictures in place: with the channels last, a patch is k
runs of k G contiguous numbers, and the stride is only a table of offsets. ``grow`` makes the
patches of a few pictures in a scratch that stays in the cache and adds them where they overlap.
Bias, rectification and its mask are applied while a result is in the cache.

The kernels trust the sizes that the functions have checked. A *chunk* is the number of pictures in
one step of a thread. Sums run in an order that depends neither on it nor on the threads: every
number is the same whatever their number.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from chainer_wm.functions.arena import Arena
from dnc.cpu import register_tiles as tiles
from dnc.kernel_cache import cached_njit, inner_njit

_ROWS = 256  # pixels of one step: enough to hide loads, few enough to cache
NOTHING, BIAS, BIAS_RELU, MASK = range(4)
"""What happens to a result: y, y + b, max(y + b, 0), or y where mask > 0."""


class Layer(NamedTuple):
    """Sizes of a layer: large pictures (H, W, G), small ones (h, w, S)."""

    height: int
    width: int
    channels: int  # G
    kernel: int
    stride: int
    filters: int  # S

    @classmethod
    def of_large(cls, x: np.ndarray, w: np.ndarray, stride: int) -> Layer:
        """The layer of weights (S, G, k, k) on large pictures x."""
        height, width, channels = x.shape[1:]
        return cls(height, width, channels, w.shape[2], stride, len(w))

    @classmethod
    def of_small(cls, x: np.ndarray, w: np.ndarray, stride: int) -> Layer:
        """The layer under small pictures x, the large ones just fitting."""
        k = w.shape[2]
        height, width = ((n - 1) * stride + k for n in x.shape[1:3])
        return cls(height, width, w.shape[1], k, stride, len(w))

    @property
    def small(self) -> tuple[int, int]:
        """(h, w): the places of the kernel; there is no padding."""
        return (
            (self.height - self.kernel) // self.stride + 1,
            (self.width - self.kernel) // self.stride + 1,
        )

    def table(self, pictures: int) -> np.ndarray:
        """Where the patch of every small pixel begins, (pictures h w,)."""
        y, x = (np.arange(n) * self.stride for n in self.small)
        one = ((y[:, None] * self.width + x) * self.channels).ravel()
        many = np.arange(pictures) * self.height * self.width * self.channels
        return (many[:, None] + one).ravel().astype(np.intp)


def shrink(
    x: np.ndarray,
    w: np.ndarray,
    layer: Layer,
    arena: Arena,
    bias: np.ndarray | None = None,
    relu: bool = False,
    mask: np.ndarray | None = None,
    panels: np.ndarray | None = None,
) -> np.ndarray:
    """Convolve (B, H, W, G) to (B, h, w, S).

    Args:
        x: (B, H, W, G).
        w: (S, G, k, k), in the same dtype.
        layer: the sizes.
        arena: where the result and the scratch come from.
        bias: (S,), added; with ``relu`` what is negative then becomes zero.
        mask: (B, h, w, S); without a bias, the result is kept where this is positive and zero
            elsewhere.
        panels: of ``packed``, to be used in the place of w.

    Raises:
        ValueError: a shape or dtype that does not fit the layer.
    """
    x = _large(x, layer, x.dtype)
    if panels is None:
        panels = _panels(_weights(w, layer, x.dtype), True, arena)
    columns = panels.shape[0] * panels.shape[2]
    chunk = _chunk(len(x), layer)
    shape = len(x), *layer.small
    ending = _ending(bias, relu, mask, (*shape, layer.filters), x.dtype)
    kind, *arrays = ending
    y = arena.take((*shape, columns), x.dtype)
    _shrink(
        *(x, panels, layer.table(chunk), y, layer, chunk),
        (kind, *(_pad(array, columns) for array in arrays)),
    )
    return np.ascontiguousarray(y[..., : layer.filters])


def packed(w: np.ndarray, arena: Arena) -> np.ndarray:
    """The weights (S, G, k, k) as ``shrink`` reads them, for more than one call."""
    return _panels(np.ascontiguousarray(w), True, arena)


def grow(
    x: np.ndarray,
    w: np.ndarray,
    layer: Layer,
    arena: Arena,
    bias: np.ndarray | None = None,
    relu: bool = False,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Convolve, transposed: (B, h, w, S) to (B, H, W, G).

    The arguments are those of ``shrink``, with x (B, h, w, S), bias (G,) and mask (B, H, W, G).
    """
    x = _small(x, layer, x.dtype)
    panels = _panels(_weights(w, layer, x.dtype), False, arena)
    threads = numba.get_num_threads()
    chunk = min(_chunk(len(x), layer), max(1, -(-len(x) // threads)))
    pixels = chunk * layer.small[0] * layer.small[1]
    patches = arena.take((threads, pixels, panels.shape[0] * panels.shape[2]), x.dtype)
    y = arena.take((len(x), layer.height, layer.width, layer.channels), x.dtype)
    _grow(
        *(x, panels, np.arange(pixels) * layer.filters, patches, y),
        *(layer, chunk, _ending(bias, relu, mask, y.shape, x.dtype)),
    )
    return y


def weight_gradient(
    large: np.ndarray, small: np.ndarray, layer: Layer, arena: Arena
) -> np.ndarray:
    """Gradient of the weights, (S, G, k, k).

    Args:
        large: (B, H, W, G), a convolution's input or the gradient of a transposed one's output.
        small: (B, h, w, S), the other of the two.
    """
    dtype = large.dtype
    large, small = _large(large, layer, dtype), _small(small, layer, dtype)
    _check('small', small, (len(large), *small.shape[1:]), dtype)
    width = tiles.panel_width(dtype)
    columns = -(-layer.filters // width) * width
    run = layer.kernel * layer.channels
    heights = np.array(tiles.tile_heights(run))
    chunk = _chunk(len(large), layer)
    total = arena.take((layer.kernel * run, columns), dtype)
    total.fill(0)
    _weight_gradient(
        *(large, _pad(small, columns), layer.table(chunk), total, width),
        *(heights, layer, chunk, numba.get_num_threads()),
    )
    places = layer.kernel**2
    w = arena.take((layer.filters, layer.channels, places), dtype)
    _unpack(total, w)
    return w.reshape(*w.shape[:2], layer.kernel, layer.kernel)


def channel_sums(x: np.ndarray) -> np.ndarray:
    """Sum of (B, H, W, C) over all but the channels."""
    lines = x.reshape(len(x), x.shape[1], -1).sum(axis=1)
    return lines.reshape(-1, x.shape[3]).sum(axis=0)


def _chunk(batch: int, layer: Layer) -> int:
    """Pictures of one step, about the same work for every thread."""
    threads = numba.get_num_threads()
    most = max(1, _ROWS // (layer.small[0] * layer.small[1]))
    steps = -(-batch // (most * threads)) * threads
    return max(1, -(-batch // max(1, steps)))


def _weights(w: np.ndarray, layer: Layer, dtype: np.dtype) -> np.ndarray:
    shape = layer.filters, layer.channels, layer.kernel, layer.kernel
    return _check('the weights', w, shape, dtype)


def _panels(w: np.ndarray, shrinks: bool, arena: Arena) -> np.ndarray:
    """The weights (S, G, k, k) as ``tiles`` reads them: panels (n, sums, panel width)."""
    width = tiles.panel_width(w.dtype)
    columns, sums = len(w), w[0].size
    if not shrinks:
        sums, columns = columns, sums
    panels = arena.take((-(-columns // width), sums, width), w.dtype)
    pack = _pack_filters if shrinks else _pack_patches
    pack(w.reshape(*w.shape[:2], -1), panels)
    return panels


def _ending(
    bias: np.ndarray | None,
    relu: bool,
    mask: np.ndarray | None,
    shape: tuple[int, ...],
    dtype: np.dtype,
) -> tuple[int, np.ndarray, np.ndarray]:
    """What is done to a result of this shape, as the kernels take it."""
    no_bias, no_mask = np.empty(0, dtype), np.empty((0,) * 4, dtype)
    if bias is not None:
        bias = _check('the bias', bias, shape[-1:], dtype)
        return BIAS_RELU if relu else BIAS, bias, no_mask
    if mask is not None:
        return MASK, no_bias, _check('the mask', mask, shape, dtype)
    return NOTHING, no_bias, no_mask


def _pad(x: np.ndarray, columns: int) -> np.ndarray:
    """x with zeros up to ``columns`` on its last axis."""
    if x.size == 0 or x.shape[-1] == columns:
        return x
    padding = [(0, 0)] * (x.ndim - 1) + [(0, columns - x.shape[-1])]
    return np.pad(x, padding)


def _large(x: np.ndarray, layer: Layer, dtype: np.dtype) -> np.ndarray:
    if min(layer.small) < 1:
        raise ValueError(f'the kernel does not fit into the picture: {layer}')
    shape = len(x), layer.height, layer.width, layer.channels
    return _check('the large pictures', x, shape, dtype)


def _small(x: np.ndarray, layer: Layer, dtype: np.dtype) -> np.ndarray:
    shape = len(x), *layer.small, layer.filters
    return _check('the small pictures', x, shape, dtype)


def _check(name: str, x: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """x, contiguous; the kernels trust the sizes and check nothing."""
    if x.shape != shape or x.dtype != dtype:
        raise ValueError(f'{name}: {x.dtype} of shape {x.shape}, expected {dtype} of {shape}')
    return np.ascontiguousarray(x)


@cached_njit(nogil=True)
def _pack_filters(w, panels):
    """panels[j, (k, g), i] = w[j width + i, g, k], zero beyond the filters."""
    filters, channels, places = w.shape
    count, _, width = panels.shape
    # both strides are powers of two, whose lines push each other out of the cache: whole lines
    # are read, then whole lines written
    tile = np.zeros((places, width), w.dtype)
    for j in range(count):
        full = min(width, filters - j * width)
        tile[:, full:] = 0
        for g in range(channels):
            for i in range(full):
                line = w[j * width + i, g]
                for k in range(places):
                    tile[k, i] = line[k]
            for k in range(places):
                row, of = panels[j, k * channels + g], tile[k]
                for i in range(width):
                    row[i] = of[i]


@cached_njit(nogil=True)
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


@cached_njit(nogil=True)
def _unpack(total, w):
    """w[s, g, k] = total[(k, g), s], few lines of the cache at a time."""
    filters, channels, places = w.shape
    for g in range(channels):
        for first in range(0, filters, 8):
            for k in range(places):
                row = total[k * channels + g, first : min(first + 8, filters)]
                for s in range(row.size):
                    w[first + s, g, k] = row[s]


@inner_njit(nogil=True)
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
def _shrink(x, panels, table, y, layer, chunk, ending):
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
            # y[i, j, s] = sum_{k, l, g} x[stride i + k, stride j + l, g] w[s, g, k, l]
            tiles.rows_times_panel(x_, table, b_, y_, starts, strides, sums, rows)
        _finish(rows_of_y[above : above + rows], ending, above)


@inner_njit(nogil=True)
def _overlap_add(patches, y, layer):
    """Add the patches (h, w, length) of one picture where they belong in y.

    Neighbours overlap, and a load that overlaps a store on its way to the cache waits for it; so
    each round adds patches that only touch.
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
                    tiles.add_run(y, to + j * step, patches_, of + j * length, run)


@cached_njit(parallel=True, nogil=True)
def _grow(x, panels, table, patches, y, layer, chunk, ending):
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
                # patch[i, j, (k, l, g)] = sum_s x[i, j, s] w[s, g, k, l]
                tiles.rows_times_panel(x_, table, b_, c_, starts, strides, sums, rows)
            mine = patches[thread, :rows].reshape(-1, h, wide, length)
            for b in range(first, last):
                picture = y[b].reshape(-1)
                picture[:] = 0
                _overlap_add(mine[b - first], picture, layer)
                pixels = y[b].reshape(-1, layer.channels)
                _finish(pixels, ending, b * len(pixels))


@cached_njit(parallel=True, nogil=True)
def _weight_gradient(large, small, table, total, width, heights, layer, chunk, threads):
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
                    # dw[s, g, k, l]: sum_{ij} large[stride i + k, stride j + l, g] small[i, j, s]
                    tiles.add_columns_times_rows(
                        *(large_, table, small_, total_, starts, strides), *(count, heights[i])
                    )
