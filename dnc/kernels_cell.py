"""The LSTM cell of one controller layer for a batch, forward and backward."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from dnc.kernels_math import OPTIONS, sigmoid, tanh

ENTRY = {**OPTIONS, 'parallel': True, 'cache': True}


@njit(**ENTRY)
def cell_forward(recurrent, gates, c, new_c, new_h, fresh):
    """gates (B, 4 H) come in as the share of the input and the bias.

    recurrent is the rest of the sum. The activated gates (input, forget,
    output, candidate) stay in gates. Where fresh (B,) is set, the cell
    before is zero.
    """
    size = c.shape[1]
    for b in prange(c.shape[0]):
        for k in range(3 * size):
            gates[b, k] = sigmoid(gates[b, k] + recurrent[b, k])
        for k in range(3 * size, 4 * size):
            gates[b, k] = tanh(gates[b, k] + recurrent[b, k])
        for k in range(size):
            value = gates[b, k] * gates[b, 3 * size + k]
            if not fresh[b]:
                value += gates[b, size + k] * c[b, k]
            new_c[b, k] = value
        for k in range(size):
            new_h[b, k] = gates[b, 2 * size + k] * tanh(new_c[b, k])


@njit(**ENTRY)
def cell_backward(gates, c, new_c, d_h, d_c, fresh):
    """gates turn from activations into their gradients before activation.

    d_c goes from the cell after the step to the one before it.
    """
    size = c.shape[1]
    one = gates[0, 0] * 0 + np.float32(1)
    for b in prange(c.shape[0]):
        for k in range(size):
            i, f = gates[b, k], gates[b, size + k]
            o, g = gates[b, 2 * size + k], gates[b, 3 * size + k]
            squashed = tanh(new_c[b, k])
            dh = d_h[b, k]
            dc = d_c[b, k] + dh * o * (one - squashed * squashed)
            before = one - one if fresh[b] else c[b, k]
            gates[b, k] = dc * g * i * (one - i)
            gates[b, size + k] = dc * before * f * (one - f)
            gates[b, 2 * size + k] = dh * squashed * o * (one - o)
            gates[b, 3 * size + k] = dc * i * (one - g * g)
            d_c[b, k] = one - one if fresh[b] else dc * f
