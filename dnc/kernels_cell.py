"""The LSTM cell of one controller layer for a batch, forward and backward."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from dnc.kernels_entry import entry
from dnc.kernels_math import OPTIONS, sigmoid, tanh


@njit(**OPTIONS)
def _forward(recurrent, gates, c, new_c, new_h, fresh):
    size = c.shape[0]
    for k in range(3 * size):
        gates[k] = sigmoid(gates[k] + recurrent[k])
    for k in range(3 * size, 4 * size):
        gates[k] = tanh(gates[k] + recurrent[k])
    keep = c[0] * 0 if fresh else c[0] * 0 + np.float32(1)
    for k in range(size):
        new_c[k] = (
            gates[k] * gates[3 * size + k] + keep * gates[size + k] * c[k]
        )
    for k in range(size):
        new_h[k] = gates[2 * size + k] * tanh(new_c[k])


@njit(**OPTIONS)
def _backward(gates, c, new_c, d_h, d_c, fresh):
    size = c.shape[0]
    one = gates[0] * 0 + np.float32(1)
    keep = one - one if fresh else one
    for k in range(size):
        i, f = gates[k], gates[size + k]
        o, g = gates[2 * size + k], gates[3 * size + k]
        squashed = tanh(new_c[k])
        dh = d_h[k]
        dc = d_c[k] + dh * o * (one - squashed * squashed)
        gates[k] = dc * g * i * (one - i)
        gates[size + k] = dc * keep * c[k] * f * (one - f)
        gates[2 * size + k] = dh * squashed * o * (one - o)
        gates[3 * size + k] = dc * i * (one - g * g)
        d_c[k] = dc * f * keep


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
