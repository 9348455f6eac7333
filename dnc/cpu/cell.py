"""The LSTM cell of one controller layer, one lane, forward and backward."""

from __future__ import annotations

from dnc.cpu.elementary import OPTIONS, sigmoid, tanh
from dnc.kernel_cache import inner_njit

# Slices, because Numba tests an index like size + k for being negative, and that keeps a loop from
# being vectorised.


@inner_njit(**OPTIONS)
def cell_forward(sums, gates, c, new_c, new_h, fresh):
    """sums (4 H, or more) are what goes into the gates' activations.

    gates (4 H) receive the activated gates: input, forget, output,
    candidate. Where fresh is set, the cell before is zero.
    """
    size = c.shape[0]
    i, f = gates[:size], gates[size : 2 * size]
    o, g = gates[2 * size : 3 * size], gates[3 * size :]
    for k in range(3 * size):
        gates[k] = sigmoid(sums[k])  # i, f, o
    rest = sums[3 * size :]
    for k in range(size):
        g[k] = tanh(rest[k])
    keep = c.dtype.type(0 if fresh else 1)
    for k in range(size):
        new_c[k] = i[k] * g[k] + keep * f[k] * c[k]  # s_t^l = f s_{t-1}^l + i tanh(.)
    for k in range(size):
        new_h[k] = o[k] * tanh(new_c[k])  # h_t^l = o tanh(s_t^l)


@inner_njit(**OPTIONS)
def cell_backward(gates, c, new_c, d_h, d_c, fresh):
    """gates turn from activations into their gradients before activation.

    d_c goes from the cell after the step to the one before it.
    """
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
