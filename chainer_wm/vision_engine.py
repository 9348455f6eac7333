"""V's encoder and decoder, each as one function with an analytic backward.

The layers of ``vision.ConvVAE`` on the CPU: channels last inside, bias and
rectification inside the convolutions, working memory taken from an ``Arena``.
Weights keep Chainer's layouts. Maps to and from a single pixel are plain
matrix products in Chainer's own order of features.
"""

from __future__ import annotations

from typing import Any

import chainer
import numba
import numpy as np

from chainer_wm import convolution as conv
from chainer_wm.arena import Arena

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
            raise RuntimeError("V's fused layers have no second derivative: "
                               'use engine="reference"')
        found = self.gradients(indexes, grads)
        return tuple(chainer.as_variable(found[i]) for i in indexes)

    def weights(self, large, small, layer, indexes, index, found, of_large):
        """Gradients of the weights ``index`` and of the bias after them."""
        if index in indexes:
            found[index] = conv.weight_gradient(
                large, small, layer, self.arena)
        if index + 1 in indexes:
            found[index + 1] = conv.channel_sums(large if of_large else small)


class Encode(_Engine):
    """(frames, W1, b1 .. W4, b4, W mu, b mu, W ln_var, b) -> (mu, ln_var)."""

    def forward(self, inputs):
        frames, *layers = inputs
        layers, heads = layers[:-4], layers[-4:]
        if chainer.config.enable_backprop:
            self.saved = self._hidden(frames, layers), layers, heads
            return _heads(self.saved[0][-1], heads)
        pieces = [
            _heads(self._hidden(frames[i:i + _PIECE], layers)[-1], heads)
            for i in range(0, len(frames), _PIECE)]
        return tuple(np.concatenate(outputs) for outputs in zip(*pieces))

    def _hidden(self, frames, layers):
        """Frames and hidden layers, channels last; the last one flat."""
        hidden = [_channels_last(frames, self.arena)]
        for w, b in zip(layers[::2], layers[1::2]):
            hidden.append(conv.shrink(
                hidden[-1], w, _layer(hidden[-1], w), self.arena, bias=b,
                kind=conv.BIAS_RELU))
        flat = _channels_first(hidden[-1], self.arena)
        return [*hidden, flat.reshape(len(frames), -1)]

    def gradients(self, indexes, grads):
        (*hidden, flat), layers, heads = self.saved
        last = len(layers) + 1
        found, g = {}, np.zeros_like(flat)
        for i, grad in enumerate(grads):
            if grad is not None:
                g += grad.array @ heads[2 * i]
            grad = np.zeros((len(flat), len(heads[2 * i])), flat.dtype) \
                if grad is None else grad.array
            found[last + 2 * i] = grad.T @ flat
            found[last + 2 * i + 1] = grad.sum(axis=0)
        shape = hidden[-1].shape
        g *= flat > 0
        g = _channels_last(g.reshape(shape[0], shape[3], *shape[1:3]),
                           self.arena)
        for i in range(len(layers) - 2, -1, -2):
            below, w = hidden[i // 2], layers[i]
            layer = _layer(below, w)
            self.weights(below, g, layer, indexes, i + 1, found, False)
            if i:
                g = conv.grow(g, w, layer, self.arena, mask=below,
                              kind=conv.MASK)
            elif 0 in indexes:
                g = conv.grow(g, w, layer, self.arena)
                found[0] = _channels_first(g, self.arena)
        return found


class Decode(_Engine):
    """(z, W fc, b fc, W1, b1 .. W4, b4) -> frames.

    W fc maps to one pixel, W1 from it; then transposed convolutions. The last
    result goes through the logistic function.
    """

    def forward(self, inputs):
        z, *layers = inputs
        if chainer.config.enable_backprop:
            self.saved = self.run(z, layers), z, layers
            return _channels_first(self.saved[0][-1]),
        pieces = [_channels_first(self.run(z[i:i + _PIECE], layers)[-1])
                  for i in range(0, len(z), _PIECE)]
        return np.concatenate(pieces),

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
        for w, b in zip(layers[4::2], layers[5::2]):
            final = w is layers[-2]
            hidden.append(conv.grow(
                hidden[-1], w, _layer_above(hidden[-1], w), self.arena,
                bias=b, kind=conv.BIAS if final else conv.BIAS_RELU))
        _logistic(hidden[-1])
        return hidden

    def gradients(self, indexes, grads):
        y = self.saved[0][-1]
        g = _channels_last(grads[0].array, self.arena)
        _logistic_gradient(g.reshape(-1), y.reshape(-1))
        return self.below(g, indexes, 1)

    def below(self, g, indexes, first):
        """Gradients from that before the logistic function, g.

        ``first`` is the index of the first weights.
        """
        (features, *hidden), z, layers = self.saved
        found: dict[int, np.ndarray] = {}
        for i in range(len(layers) - 2, 2, -2):
            x, w = hidden[i // 2 - 2], layers[i]
            layer = _layer_above(x, w)
            self.weights(g, x, layer, indexes, first + i, found, True)
            g = conv.shrink(g, w, layer, self.arena, mask=x, kind=conv.MASK)
        fc, _, w, _ = layers[:4]
        found[first + 3] = conv.channel_sums(g)
        g = _channels_first(g, self.arena).reshape(len(g), -1)
        if first + 2 in indexes:
            found[first + 2] = np.matmul(
                features.T, g, out=self.arena.take(
                    (len(w), g.shape[1]), w.dtype)).reshape(w.shape)
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
        sums = _squared_errors(y.reshape(len(z), -1),
                               self.target.reshape(len(z), -1))
        return np.asarray(sums.sum() / len(z), z.dtype),

    def gradients(self, indexes, grads):
        y = self.saved[0][-1]
        scale = grads[0].array * y.dtype.type(2 / len(y))
        g = self.arena.take(y.shape, y.dtype)
        np.subtract(y, self.target, out=g)
        g *= scale
        found = {}
        if 1 in indexes:
            found[1] = -_channels_first(g)
        _logistic_gradient(g.reshape(-1), y.reshape(-1))
        return {**self.below(g, indexes, 2), **found}


def _layer(large, w):
    return conv.Layer(*large.shape[1:], w.shape[2], 2, len(w))


def _layer_above(small, w):
    """The layer whose small picture this is: just large enough."""
    kernel = w.shape[2]
    height, width = ((n - 1) * 2 + kernel for n in small.shape[1:3])
    return conv.Layer(height, width, w.shape[1], kernel, 2, len(w))


def _heads(flat, heads):
    w_mu, b_mu, w_ln_var, b_ln_var = heads
    return flat @ w_mu.T + b_mu, flat @ w_ln_var.T + b_ln_var


def _channels_last(x, arena):
    y = arena.take((x.shape[0], *x.shape[2:], x.shape[1]), x.dtype)
    y[...] = x.transpose(0, 2, 3, 1)
    return y


def _channels_first(x, arena=None):
    shape = x.shape[0], x.shape[3], *x.shape[1:3]
    y = np.empty(shape, x.dtype) if arena is None else arena.take(
        shape, x.dtype)
    y[...] = x.transpose(0, 3, 1, 2)
    return y


def _logistic(x):
    """In place, as Chainer computes it."""
    half = x.dtype.type(0.5)
    x *= half
    np.tanh(x, out=x)
    x *= half
    x += half


@numba.njit(cache=True, parallel=True, nogil=True)
def _logistic_gradient(g, y):
    for i in numba.prange(g.size):
        g[i] *= y[i] * (1 - y[i])


@numba.njit(cache=True, parallel=True, nogil=True)
def _squared_errors(y, x):
    """Per picture, so that the sum does not depend on the threads."""
    sums = np.empty(len(y), y.dtype)
    for b in numba.prange(len(y)):
        sums[b] = np.sum((y[b] - x[b]) ** 2)
    return sums
