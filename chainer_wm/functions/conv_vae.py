"""V's encoder and decoder, each as one function with an analytic backward.

The layers of ``links.conv_vae.ConvVAE`` on the CPU: channels last inside, bias and rectification
inside the convolutions, working memory taken from an ``Arena``. Weights keep Chainer's layouts.
Maps to and from a single pixel are plain matrix products in Chainer's own order of features.
"""

from __future__ import annotations

from typing import Any

import chainer
import numba
import numpy as np

from chainer_wm.functions import convolution as conv
from chainer_wm.functions.arena import Arena
from dnc.kernel_cache import cached_njit, inner_njit

_STRIDE = 2
_PIECE = 128  # pictures at a time where nothing is kept for a backward pass


class _Engine(chainer.FunctionNode):
    """Keeps what the backward pass needs; gradients by position of input."""

    def __init__(self, arena: Arena) -> None:
        super().__init__()
        self.arena = arena
        self.saved: Any = None

    def gradients(self, indexes: tuple[int, ...], grads: Any) -> dict:
        raise NotImplementedError

    def backward(self, indexes, grads):
        if chainer.config.enable_backprop:
            raise RuntimeError(
                'V\'s fused layers have no second derivative: use engine="reference"'
            )
        found = self.gradients(indexes, grads)
        return tuple(chainer.as_variable(found[i]) for i in indexes)


class Encode(_Engine):
    """(frames, W1, b1 .. W4, b4, W mu, b mu, W ln_var, b) -> (mu, ln_var)."""

    def forward(self, inputs):
        frames, *layers = inputs
        layers, heads = layers[:-4], layers[-4:]
        if chainer.config.enable_backprop:
            self.saved = _encoded(frames, layers, self.arena), layers, heads
            return _heads(self.saved[0][-1], heads)
        pieces = [
            _heads(_encoded(piece, layers, self.arena)[-1], heads) for piece in _pieces(frames)
        ]
        return tuple(np.concatenate(outputs) for outputs in zip(*pieces))

    def gradients(self, indexes, grads):
        (*hidden, flat), layers, heads = self.saved
        found, g = self._below_heads(flat, heads, grads, len(layers) + 1)
        batch, height, width, channels = hidden[-1].shape
        g = _channels_last(g.reshape(batch, channels, height, width), self.arena)
        for i in range(len(layers) - 2, -1, -2):
            below, w = hidden[i // 2], layers[i]
            layer = conv.Layer.of_large(below, w, _STRIDE)
            if i + 1 in indexes:
                found[i + 1] = conv.weight_gradient(below, g, layer, self.arena)
            found[i + 2] = conv.channel_sums(g)
            if i:
                g = conv.grow(g, w, layer, self.arena, mask=below)
            elif 0 in indexes:
                g = conv.grow(g, w, layer, self.arena)
                found[0] = _channels_first(g)
        return found

    @staticmethod
    def _below_heads(flat, heads, grads, first):
        """Gradients of the heads, ``first`` on, and of what feeds them."""
        found, total = {}, np.zeros_like(flat)
        for i, grad in enumerate(grads):
            w = heads[2 * i]
            g = np.zeros((len(flat), len(w)), w.dtype)
            if grad is not None:
                g = grad.array
                total += g @ w
            found[first + 2 * i] = g.T @ flat
            found[first + 2 * i + 1] = g.sum(axis=0)
        total *= flat > 0  # the slope of the rectification
        return found, total


class Decode(_Engine):
    """(z, W fc, b fc, W1, b1 .. W4, b4) -> frames.

    W fc maps to one pixel, W1 from it; then transposed convolutions. The last result goes through
    the logistic function.
    """

    def forward(self, inputs):
        z, *layers = inputs
        if chainer.config.enable_backprop:
            self.saved = self.run(z, layers), z, layers
            return (_channels_first(self.saved[0][-1]),)
        pieces = [_channels_first(self.run(piece, layers)[-1]) for piece in _pieces(z)]
        return (np.concatenate(pieces),)

    def run(self, z, layers):
        """Features, hidden layers and frames, channels last."""
        fc, b_fc, w, b = layers[:4]
        features = z @ fc.T
        features += b_fc
        y = self.arena.take((len(z), w[0].size), z.dtype)
        np.matmul(features, w.reshape(len(w), -1), out=y)
        y = _channels_last(y.reshape(len(z), *w.shape[1:]), self.arena)
        y += b
        hidden = [features, np.maximum(y, 0, out=y)]
        for i in range(4, len(layers), 2):
            x, w, b = hidden[-1], layers[i], layers[i + 1]
            layer = conv.Layer.of_small(x, w, _STRIDE)
            rectified = i + 2 < len(layers)
            hidden.append(conv.grow(x, w, layer, self.arena, b, relu=rectified))
        _logistic(hidden[-1])
        return hidden

    def gradients(self, indexes, grads):
        y = self.saved[0][-1]
        g = self.arena.take(y.shape, y.dtype)
        np.subtract(1, y, out=g)
        g *= y  # y (1 - y), the slope of the logistic function
        g *= grads[0].array.transpose(0, 2, 3, 1)
        return self.below(g, indexes, 1)

    def below(self, g, indexes, first):
        """Gradients from g, that before the logistic function.

        ``first`` is the index of the first weights.
        """
        (features, *hidden), z, layers = self.saved
        found: dict[int, np.ndarray] = {}
        for i in range(len(layers) - 2, 2, -2):
            x, w = hidden[i // 2 - 2], layers[i]
            layer = conv.Layer.of_small(x, w, _STRIDE)
            if first + i in indexes:
                found[first + i] = conv.weight_gradient(g, x, layer, self.arena)
            found[first + i + 1] = conv.channel_sums(g)
            g = conv.shrink(g, w, layer, self.arena, mask=x)
        fc, _, w, _ = layers[:4]
        found[first + 3] = conv.channel_sums(g)
        g = _channels_first(g, self.arena).reshape(len(g), -1)
        if first + 2 in indexes:
            gw = self.arena.take((len(w), g.shape[1]), w.dtype)
            np.matmul(features.T, g, out=gw)
            found[first + 2] = gw.reshape(w.shape)
        g = g @ w.reshape(len(w), -1).T
        found[first], found[first + 1] = g.T @ z, g.sum(axis=0)
        found[0] = g @ fc
        return found


class ReconstructionError(Decode):
    """(z, frames, W fc, b fc, W1 .. b4) -> sum of squared errors / B."""

    def forward(self, inputs):
        z, frames, *layers = inputs
        self.saved = self.run(z, layers), z, layers
        y = self.saved[0][-1]
        self.target = _channels_last(frames, self.arena)
        shape = len(z), -1
        sums = _squared_errors(y.reshape(shape), self.target.reshape(shape))
        return (np.asarray(sums.sum() / len(z), z.dtype),)

    def gradients(self, indexes, grads):
        y = self.saved[0][-1]
        scale = grads[0].array * y.dtype.type(2 / len(y))
        found = {}
        if 1 in indexes:
            found[1] = _channels_first((self.target - y) * scale)
        g = self.arena.take(y.shape, y.dtype)
        flat = (a.reshape(-1) for a in (g, y, self.target))
        _error_gradient(*flat, y.dtype.type(scale))
        return {**self.below(g, indexes, 2), **found}


class PackedEncoder:
    """``Encode`` for one picture after another, with weights as they were when made.

    For a single picture, arranging the weights takes as long as the convolutions.

    Args:
        parameters: (W1, b1 .. W4, b4, W mu, b mu, W ln_var, b).
    """

    def __init__(self, *parameters) -> None:
        self._arena = Arena()
        copies = [array.copy() for array in parameters]
        self._layers, self._heads = copies[:-4], copies[-4:]
        self._panels = [conv.packed(w, self._arena) for w in self._layers[::2]]

    def __call__(self, frames):
        """(mu, ln_var), each (B, Z), of frames (B, 3, H, W)."""
        hidden = _encoded(frames, self._layers, self._arena, self._panels)
        return _heads(hidden[-1], self._heads)


def _encoded(frames, layers, arena, panels=None):
    """Frames and hidden layers, channels last; the last one also flat."""
    hidden = [_channels_last(frames, arena)]
    weights = zip(layers[::2], layers[1::2], panels or [None] * (len(layers) // 2))
    for w, b, packed in weights:
        x = hidden[-1]
        layer = conv.Layer.of_large(x, w, _STRIDE)
        hidden.append(conv.shrink(x, w, layer, arena, b, relu=True, panels=packed))
    flat = _channels_first(hidden[-1], arena)
    return [*hidden, flat.reshape(len(frames), -1)]


def _pieces(x):
    """x in pieces of at most ``_PIECE`` rows, at least one."""
    return [x[i : i + _PIECE] for i in range(0, max(1, len(x)), _PIECE)]


def _heads(flat, heads):
    w_mu, b_mu, w_ln_var, b_ln_var = heads
    return flat @ w_mu.T + b_mu, flat @ w_ln_var.T + b_ln_var


def _channels_last(x, arena):
    """(B, C, H, W) -> (B, H, W, C) contiguous, a copy only where needed."""
    x = x.transpose(0, 2, 3, 1)
    if x.flags.c_contiguous:
        return x
    y = arena.take(x.shape, x.dtype)
    y[...] = x
    return y


def _channels_first(x, arena=None):
    """(B, H, W, C) -> (B, C, H, W), always a copy."""
    x = x.transpose(0, 3, 1, 2)
    take = np.empty if arena is None else arena.take
    y = take(x.shape, x.dtype)
    y[...] = x
    return y


def _logistic(x):
    """In place, as Chainer computes it."""
    half = x.dtype.type(0.5)
    x *= half
    np.tanh(x, out=x)
    x *= half
    x += half


@cached_njit(parallel=True, nogil=True)
def _error_gradient(g, y, x, scale):
    """Gradient before the logistic function y of scale (y - x)^2 / 2."""
    for i in numba.prange(g.size):
        g[i] = scale * (y[i] - x[i]) * y[i] * (1 - y[i])


@inner_njit(nogil=True, fastmath={'reassoc', 'contract'})
def _squared_error(y, x):
    total = y.dtype.type(0)
    for i in range(y.size):
        total += (y[i] - x[i]) ** 2
    return total


@cached_njit(parallel=True, nogil=True)
def _squared_errors(y, x):
    """Per picture, so that the sum does not depend on the threads."""
    sums = np.empty(len(y), y.dtype)
    for b in numba.prange(len(y)):
        sums[b] = _squared_error(y[b], x[b])
    return sums
