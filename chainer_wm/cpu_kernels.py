"""Element-wise kernels for the CPU, compiled by numba.

Each kernel has a twin of the same name and arguments in ``gpu_kernels``. A
kernel works row by row; large arrays are shared out over the cores.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numba import types
from numba.extending import overload

# Contraction to fused multiply-adds is the only liberty taken: the argument
# reduction below would not survive a reordering of sums.
MATH = {'contract'}
OPTIONS = {
    'cache': True,
    'error_model': 'numpy',
    'fastmath': MATH,
    'nogil': True,
}
PARALLEL_SIZE = 50_000  # numbers; below, waking the other core costs more

# numpy type, integer type, bits of the fraction, exponent bias, degree of the
# series, ln 2 in two parts, largest argument of exp
FORMATS = {
    types.float32: (
        *(np.float32, np.int32, 23, 127, 8),
        *(0.693359375, -2.12194440e-4, 87.0),
    ),
    types.float64: (
        *(np.float64, np.int64, 52, 1023, 14),
        *(6.93145751953125e-1, 1.42860682030941723e-6, 700.0),
    ),
}


def _exp_parts(x):
    """(p, s) with exp(x) = s + p, s a power of two, p free of cancellation."""
    raise NotImplementedError('only inside numba')


def exp(x):
    """exp(x) within 1 unit in the last place, clipped to finite numbers."""
    raise NotImplementedError('only inside numba')


def tanh(x):
    """tanh(x) within 2 units in the last place."""
    raise NotImplementedError('only inside numba')


@overload(_exp_parts, jit_options={'fastmath': MATH})
def _(x):
    real, integer, shift, bias, degree, high, low, _ = FORMATS[x]
    high, low, inverse, zero = (
        real(v) for v in (high, low, 1 / math.log(2), 0)
    )
    shift, bias = integer(shift), integer(bias)
    series = tuple(real(1 / math.factorial(n)) for n in range(degree, 1, -1))

    def parts(x):
        k = np.rint(x * inverse)
        r = (x - k * high) - k * low
        p = zero
        for factor in series:
            p = p * r + factor
        p = p * r * r + r  # exp(r) - 1
        scale = integer((integer(k) + bias) << shift).view(real)
        return p * scale, scale

    return parts


@overload(exp, jit_options={'fastmath': MATH})
def _(x):
    limit = FORMATS[x][0](FORMATS[x][-1])

    def function(x):
        p, scale = _exp_parts(min(max(x, -limit), limit))
        return p + scale

    return function


@overload(tanh, jit_options={'fastmath': MATH})
def _(x):
    real = FORMATS[x][0]
    limit, one, two = real(-40), real(1), real(2)

    def function(x):
        p, scale = _exp_parts(max(-two * abs(x), limit))
        u = p + (scale - one)
        return math.copysign(u / (-two - u), x)

    return function


@numba.njit(**OPTIONS)
def _forward_row(gates, c_prev, keep, keep_next, c, y, staged):
    one = gates.dtype.type(1)
    size = c.size
    for j in range(3 * size):
        gates[j] = one / (one + exp(-gates[j]))
    for j in range(size):
        g = gates[3 * size + j] = tanh(gates[3 * size + j])
        c[j] = gates[size + j] * (keep * c_prev[j]) + gates[j] * g
    for j in range(size):
        y[j] = gates[2 * size + j] * tanh(c[j])
        staged[j] = keep_next * y[j]


@numba.njit(**OPTIONS)
def _forward(gates, c_prev, keep, keep_next, c, y, staged):
    for n in range(gates.shape[0]):
        _forward_row(
            gates[n], c_prev[n], keep[n], keep_next[n], c[n], y[n], staged[n]
        )


@numba.njit(parallel=True, **OPTIONS)
def _forward_parallel(gates, c_prev, keep, keep_next, c, y, staged):
    for n in numba.prange(gates.shape[0]):
        _forward_row(
            gates[n], c_prev[n], keep[n], keep_next[n], c[n], y[n], staged[n]
        )


@numba.njit(**OPTIONS)
def _backward_row(gates, c, c_prev, keep, keep_next, gy, gh, gc, ga):
    one = gates.dtype.type(1)
    size = c.size
    for j in range(size):
        i, f = gates[j], gates[size + j]
        o, g = gates[2 * size + j], gates[3 * size + j]
        tanh_c = tanh(c[j])
        dh = gy[j] + keep_next * gh[j]
        dc = gc[j] + dh * o * (one - tanh_c * tanh_c)
        ga[j] = dc * g * i * (one - i)
        ga[size + j] = dc * (keep * c_prev[j]) * f * (one - f)
        ga[2 * size + j] = dh * tanh_c * o * (one - o)
        ga[3 * size + j] = dc * i * (one - g * g)
        gc[j] = keep * (dc * f)


@numba.njit(**OPTIONS)
def _backward(gates, c, c_prev, keep, keep_next, gy, gh, gc, ga):
    for n in range(gates.shape[0]):
        _backward_row(
            *(gates[n], c[n], c_prev[n], keep[n], keep_next[n]),
            *(gy[n], gh[n], gc[n], ga[n]),
        )


@numba.njit(parallel=True, **OPTIONS)
def _backward_parallel(gates, c, c_prev, keep, keep_next, gy, gh, gc, ga):
    for n in numba.prange(gates.shape[0]):
        _backward_row(
            *(gates[n], c[n], c_prev[n], keep[n], keep_next[n]),
            *(gy[n], gh[n], gc[n], ga[n]),
        )


@numba.njit(**OPTIONS)
def _activate_row(gates):
    one = gates.dtype.type(1)
    size = gates.size // 4
    for j in range(3 * size):
        gates[j] = one / (one + exp(-gates[j]))
    for j in range(size):
        gates[3 * size + j] = tanh(gates[3 * size + j])


@numba.njit(parallel=True, **OPTIONS)
def _activate(gates):
    for n in numba.prange(gates.shape[0]):
        _activate_row(gates[n])


def lstm_forward(gates, c_prev, keep, keep_next, c, y, staged) -> None:
    """One step of an LSTM from its pre-activations.

    Args:
        gates: (B, 4H) pre-activations of i, f, o, g; overwritten with their
            activations.
        c_prev: (B, H) cell of before the step.
        keep, keep_next: (B,) 0 where the lane is reset before this step, and
            before the next one.
        c, y: (B, H), written: cell and output.
        staged: (B, K), K >= H; its first H columns receive keep_next * y.
    """
    run = _forward if gates.size < PARALLEL_SIZE else _forward_parallel
    run(gates, c_prev, keep, keep_next, c, y, staged)


def lstm_activate(gates) -> None:
    """Activate i, f, o, g (N, 4H) in place, as ``lstm_forward`` does."""
    _activate(gates)


def lstm_backward(gates, c, c_prev, keep, keep_next, gy, gh, gc, ga) -> None:
    """Gradients through one step of an LSTM.

    Args:
        gates: (B, 4H) activations. c, c_prev, keep, keep_next: as in
            ``lstm_forward``.
        gy, gh: (B, H) gradients of y: from outside, and from the next step
            (of its unmasked h).
        gc: (B, H) gradient of c; overwritten with that of the cell of before
            the step (and its reset).
        ga: (B, 4H), written: gradient of the pre-activations.
    """
    run = _backward if gates.size < PARALLEL_SIZE else _backward_parallel
    run(gates, c, c_prev, keep, keep_next, gy, gh, gc, ga)
