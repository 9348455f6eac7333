"""The LSTM cell of one controller layer for a batch, forward and backward."""

from __future__ import annotations

from numba import njit, prange

from dnc.kernels_entry import entry
from dnc.kernels_math import OPTIONS, sigmoid, tanh

# Slices, because Numba tests an index like size + k for being negative, and
# that keeps a loop from being vectorised.


@njit(**OPTIONS)
def _forward(recurrent, gates, c, new_c, new_h, fresh):
    size = c.shape[0]
    i, f = gates[:size], gates[size : 2 * size]
    o, g = gates[2 * size : 3 * size], gates[3 * size :]
    for k in range(3 * size):
        gates[k] = sigmoid(gates[k] + recurrent[k])
    rest = recurrent[3 * size :]
    for k in range(size):
        g[k] = tanh(g[k] + rest[k])
    keep = c.dtype.type(0 if fresh else 1)
    for k in range(size):
        new_c[k] = i[k] * g[k] + keep * f[k] * c[k]
    for k in range(size):
        new_h[k] = o[k] * tanh(new_c[k])


@njit(**OPTIONS)
def _backward(gates, c, new_c, d_h, d_c, fresh):
    size = c.shape[0]
    i, f = gates[:size], gates[size : 2 * size]
    o, g = gates[2 * size : 3 * size], gates[3 * size :]
    one = gates.dtype.type(1)
    keep = gates.dtype.type(0 if fresh else 1)
    for k in range(size):
        x, y, z, w = i[k], f[k], o[k], g[k]
        squashed = tanh(new_c[k])
        dh = d_h[k]
        dc = d_c[k] + dh * z * (one - squashed * squashed)
        i[k] = dc * w * x * (one - x)
        f[k] = dc * keep * c[k] * y * (one - y)
        o[k] = dh * squashed * z * (one - z)
        g[k] = dc * x * (one - w * w)
        d_c[k] = dc * y * keep


@entry
def cell_forward(recurrent, gates, c, new_c, new_h, fresh):
    """gates (B, 4 H) come in as the share of the input and the bias.

    recurrent is the rest of the sum. The activated gates (input, forget,
    output, candidate) stay in gates. Where fresh (B,) is set, the cell
    before is zero.
    """
    for b in prange(c.shape[0]):
        _forward(recurrent[b], gates[b], c[b], new_c[b], new_h[b], fresh[b])


@entry
def cell_backward(gates, c, new_c, d_h, d_c, fresh):
    """gates turn from activations into their gradients before activation.

    d_c goes from the cell after the step to the one before it.
    """
    for b in prange(c.shape[0]):
        _backward(gates[b], c[b], new_c[b], d_h[b], d_c[b], fresh[b])
