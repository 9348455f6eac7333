"""Strided convolutions and their adjoints on the CPU, channels last.

A convolution maps a *large* picture (B, H, W, G) to a *small* one
(B, h, w, S) with weights (S, G, k, k), Chainer's layout. A transposed
convolution is its adjoint, and the same three operations serve both:

    convolution            transposed convolution    operation
    forward                gradient of its input     ``shrink``
    gradient of its input  forward                   ``grow``
    gradient of weights    gradient of weights       ``weight_gradient``

``shrink`` and ``weight_gradient`` read the pictures in place: with the
channels last, a patch is k runs of k G contiguous numbers, and the stride is
only a table of offsets. ``grow`` makes the patches of a few pictures in a
scratch that stays in the cache and adds them where they overlap. Bias,
rectification and its mask are applied while a result is in the cache. Every
number is the same whatever the number of threads.

Convolutions as calls of the kernels: sizes, scratch, layouts, checks.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from chainer_wm.functions import convolution_cpu
from chainer_wm.functions import register_tiles as tile
from chainer_wm.functions.arena import Arena

_ROWS = 256  # pixels of one step: enough to hide loads, few enough to cache


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
) -> np.ndarray:
    """Convolve (B, H, W, G) to (B, h, w, S).

    Args:
        x: (B, H, W, G).
        w: (S, G, k, k), in the same dtype.
        layer: the sizes.
        arena: where the result and the scratch come from.
        bias: (S,), added; with ``relu`` what is negative then becomes zero.
        mask: (B, h, w, S); without a bias, the result is kept where this is
            positive and zero elsewhere.

    Raises:
        ValueError: a shape or dtype that does not fit the layer.
    """
    x = _large(x, layer, x.dtype)
    panels = _panels(w, layer, x.dtype, True, arena)
    columns = panels.shape[0] * panels.shape[2]
    chunk = _chunk(len(x), layer)
    shape = len(x), *layer.small
    ending = _ending(bias, relu, mask, (*shape, layer.filters), x.dtype)
    kind, *arrays = ending
    y = arena.take((*shape, columns), x.dtype)
    convolution_cpu.shrink(
        *(x, panels, layer.table(chunk), y, layer, chunk),
        (kind, *(_pad(array, columns) for array in arrays)),
    )
    return np.ascontiguousarray(y[..., : layer.filters])


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

    The arguments are those of ``shrink``, with x (B, h, w, S), bias (G,) and
    mask (B, H, W, G).
    """
    x = _small(x, layer, x.dtype)
    panels = _panels(w, layer, x.dtype, False, arena)
    threads = numba.get_num_threads()
    chunk = min(_chunk(len(x), layer), max(1, -(-len(x) // threads)))
    pixels = chunk * layer.small[0] * layer.small[1]
    patches = arena.take((threads, pixels, panels.shape[0] * panels.shape[2]), x.dtype)
    y = arena.take((len(x), layer.height, layer.width, layer.channels), x.dtype)
    convolution_cpu.grow(
        *(x, panels, np.arange(pixels) * layer.filters, patches, y),
        *(layer, chunk, _ending(bias, relu, mask, y.shape, x.dtype)),
    )
    return y


def weight_gradient(
    large: np.ndarray, small: np.ndarray, layer: Layer, arena: Arena
) -> np.ndarray:
    """Gradient of the weights, (S, G, k, k).

    Args:
        large: (B, H, W, G), a convolution's input or the gradient of a
            transposed one's output.
        small: (B, h, w, S), the other of the two.
    """
    dtype = large.dtype
    large, small = _large(large, layer, dtype), _small(small, layer, dtype)
    _check('small', small, (len(large), *small.shape[1:]), dtype)
    width = tile.panel_width(dtype.itemsize)
    columns = -(-layer.filters // width) * width
    run = layer.kernel * layer.channels
    heights = np.array(tile.block_heights(run))
    chunk = _chunk(len(large), layer)
    total = arena.take((layer.kernel * run, columns), dtype)
    total.fill(0)
    convolution_cpu.weight_gradient(
        *(large, _pad(small, columns), layer.table(chunk), total, width),
        *(heights, layer, chunk, numba.get_num_threads()),
    )
    places = layer.kernel**2
    w = arena.take((layer.filters, layer.channels, places), dtype)
    convolution_cpu.unpack(total, w)
    return w.reshape(*w.shape[:2], layer.kernel, layer.kernel)


def channel_sums(x: np.ndarray) -> np.ndarray:
    """Sum of (B, H, W, C) over all but the channels."""
    lines = convolution_cpu.picture_sums(x.reshape(len(x), x.shape[1], -1))
    return lines.reshape(-1, x.shape[3]).sum(axis=0)


def _chunk(batch: int, layer: Layer) -> int:
    """Pictures of one step, about the same work for every thread."""
    threads = numba.get_num_threads()
    most = max(1, _ROWS // (layer.small[0] * layer.small[1]))
    steps = -(-batch // (most * threads)) * threads
    return max(1, -(-batch // max(1, steps)))


def _panels(
    w: np.ndarray, layer: Layer, dtype: np.dtype, shrinks: bool, arena: Arena
) -> np.ndarray:
    """The weights as ``tile`` reads them: panels (n, sums, panel width)."""
    shape = layer.filters, layer.channels, layer.kernel, layer.kernel
    w = _check('the weights', w, shape, dtype)
    width = tile.panel_width(dtype.itemsize)
    patch = layer.kernel**2 * layer.channels
    sums, columns = patch, layer.filters
    if not shrinks:
        sums, columns = columns, sums
    panels = arena.take((-(-columns // width), sums, width), dtype)
    pack = convolution_cpu.pack_filters if shrinks else convolution_cpu.pack_patches
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
        return convolution_cpu.BIAS_RELU if relu else convolution_cpu.BIAS, bias, no_mask
    if mask is not None:
        return convolution_cpu.MASK, no_bias, _check('the mask', mask, shape, dtype)
    return convolution_cpu.NOTHING, no_bias, no_mask


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
