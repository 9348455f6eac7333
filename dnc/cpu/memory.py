"""The memory matrix of one sample on the CPU.

Inside the fused engine the memory lies transposed, (W, N): slots are many
and words short, so loops over slots make the longer vectors. Results go into arrays that the
caller gives, never into the arrays that are read: compiled loops test for overlap and take a slow
path where they find any.
"""

from __future__ import annotations

import numpy as np

from dnc.cpu.elementary import OPTIONS
from dnc.kernel_cache import inner_njit


@inner_njit(**OPTIONS)
def scores(memory, keys, out):
    """out[r, i] = keys[r] . M[i]: (W, N), (R, W) -> (R, N)."""
    width, slots = memory.shape
    out[:] = 0
    for j in range(0, width - 3, 4):
        for r in range(keys.shape[0]):
            a, b = keys[r, j], keys[r, j + 1]
            c, d = keys[r, j + 2], keys[r, j + 3]
            for i in range(slots):
                out[r, i] += (
                    a * memory[j, i]
                    + b * memory[j + 1, i]
                    + c * memory[j + 2, i]
                    + d * memory[j + 3, i]
                )
    for j in range(width // 4 * 4, width):
        for r in range(keys.shape[0]):
            a = keys[r, j]
            for i in range(slots):
                out[r, i] += a * memory[j, i]


@inner_njit(**OPTIONS)
def _combine_two_heads(memory, weights, out, r, j):
    """out[r:r + 2, j:j + 4]: eight sums for six loads."""
    zero = weights.dtype.type(0)
    a = b = c = d = e = f = g = h = zero
    for i in range(memory.shape[1]):
        x, y = weights[r, i], weights[r + 1, i]
        p, q = memory[j, i], memory[j + 1, i]
        s, t = memory[j + 2, i], memory[j + 3, i]
        a += x * p
        b += x * q
        c += x * s
        d += x * t
        e += y * p
        f += y * q
        g += y * s
        h += y * t
    out[r, j], out[r, j + 1], out[r, j + 2], out[r, j + 3] = a, b, c, d
    r += 1
    out[r, j], out[r, j + 1], out[r, j + 2], out[r, j + 3] = e, f, g, h


@inner_njit(**OPTIONS)
def combine(memory, weights, out):
    """out[r] = sum_i weights[r, i] M[i]: (W, N), (R, N) -> (R, W)."""
    width, slots = memory.shape
    heads = weights.shape[0]
    zero = weights.dtype.type(0)
    whole_width, whole_heads = width // 4 * 4, heads // 2 * 2
    for j in range(0, whole_width, 4):
        for r in range(0, whole_heads, 2):
            _combine_two_heads(memory, weights, out, r, j)
    for r in range(heads):
        for j in range(whole_width if r < whole_heads else 0, width):
            a = zero
            for i in range(slots):
                a += weights[r, i] * memory[j, i]
            out[r, j] = a


@inner_njit(**OPTIONS)
def spread(memory, weights, vectors):
    """M[i] += sum_r weights[r, i] vectors[r], into (W, N)."""
    width, slots = memory.shape
    heads = weights.shape[0]
    for j in range(width):
        for r in range(0, heads - 1, 2):
            a, b = vectors[r, j], vectors[r + 1, j]
            for i in range(slots):
                memory[j, i] += a * weights[r, i] + b * weights[r + 1, i]
        if heads % 2:
            a = vectors[heads - 1, j]
            for i in range(slots):
                memory[j, i] += a * weights[heads - 1, i]


@inner_njit(**OPTIONS)
def write(memory, new, weights, erase, vector):
    """M_t = M_{t-1} (1 - w e^T) + w v^T."""
    one = weights.dtype.type(1)
    for j in range(memory.shape[0]):
        e, v = erase[j], vector[j]
        for i in range(memory.shape[1]):
            # M_t[i, j] = M_{t-1}[i, j] (1 - w_t^w[i] e_t[j]) + w_t^w[i] v_t[j]
            new[j, i] = memory[j, i] * (one - e * weights[i]) + v * weights[i]


@inner_njit(**OPTIONS)
def inverse_norms(memory, epsilon, out):
    """out[i] = 1 / sqrt(|M[i]|^2 + epsilon)."""
    one = memory.dtype.type(1)
    width, slots = memory.shape
    out[:] = epsilon
    for j in range(0, width - 1, 2):
        for i in range(slots):
            out[i] += memory[j, i] * memory[j, i] + memory[j + 1, i] * memory[j + 1, i]
    if width % 2:
        for i in range(slots):
            out[i] += memory[width - 1, i] * memory[width - 1, i]
    for i in range(slots):
        out[i] = one / np.sqrt(out[i])


@inner_njit(**OPTIONS)
def shrink(memory, pulls, gradient):
    """gradient[i] -= pulls[i] M[i]: what the norms of M receive."""
    for j in range(memory.shape[0]):
        for i in range(memory.shape[1]):
            gradient[j, i] -= pulls[i] * memory[j, i]


@inner_njit(**OPTIONS)
def write_backward(memory, weights, erase, vector, gradient, d_weights, d_erase, d_vector):
    """Backward through `write`: gradient goes from M_t to M_{t-1} in place.

    memory is M_{t-1}; d_weights is added to.
    """
    zero = weights.dtype.type(0)
    one = weights.dtype.type(1)
    for j in range(memory.shape[0]):
        e, v = erase[j], vector[j]
        erased = written = zero
        for i in range(memory.shape[1]):
            g, m, w = gradient[j, i], memory[j, i], weights[i]
            erased -= g * m * w
            written += g * w
            d_weights[i] += g * (v - m * e)
            gradient[j, i] = g * (one - e * w)
        d_erase[j] = erased
        d_vector[j] = written
