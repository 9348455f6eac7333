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
HALF_LN_2PI = 0.5 * math.log(2 * math.pi)
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


@numba.njit(**OPTIONS)
def _mixture_row(row, bias, z, weight, gradient, scratch):
    """NLL summed over the dims of one row; its gradient replaces the row."""
    size = z.size
    mixtures = bias.size // (3 * size)
    top, total, best, mass = scratch[0], scratch[1], scratch[2], scratch[3]
    one, half = row.dtype.type(1), row.dtype.type(0.5)
    zero, lowest = row.dtype.type(0), row.dtype.type(-np.inf)
    mus, sigmas = mixtures * size, 2 * mixtures * size
    for d in range(size):
        top[d], total[d], best[d], mass[d] = lowest, zero, lowest, zero
    for k in range(mixtures):
        for d in range(size):
            row[k * size + d] += bias[k * size + d]
            top[d] = max(top[d], row[k * size + d])
    for k in range(mixtures):
        ln_density = scratch[4 + k]
        for d in range(size):
            at = k * size + d
            logit = row[at] - top[d]
            ln_sigma = row[sigmas + at] + bias[sigmas + at]
            inverse = exp(-ln_sigma)
            u = (row[mus + at] + bias[mus + at] - z[d]) * inverse
            row[at], row[mus + at], row[sigmas + at] = exp(logit), u, inverse
            total[d] += row[at]
            ln_density[d] = logit - ln_sigma - half * u * u
            best[d] = max(best[d], ln_density[d])
    for k in range(mixtures):
        ln_density = scratch[4 + k]
        for d in range(size):
            ln_density[d] = exp(ln_density[d] - best[d])
            mass[d] += ln_density[d]
    nll = 0.0
    for d in range(size):
        nll += math.log(total[d] / mass[d]) - best[d] + HALF_LN_2PI
    if gradient:
        for d in range(size):
            total[d], mass[d] = weight / total[d], weight / mass[d]
        for k in range(mixtures):
            density = scratch[4 + k]
            for d in range(size):
                at = k * size + d
                share = density[d] * mass[d]
                u = row[mus + at]
                row[at] = row[at] * total[d] - share
                row[mus + at] = share * u * row[sigmas + at]
                row[sigmas + at] = share * (one - u * u)
    return nll


@numba.njit(parallel=True, **OPTIONS)
def _mixture_rows(out, bias, z, weight, gradient, nll):
    rows, size = z.shape
    mixtures = bias.size // (3 * size)
    chunk = 32
    for part in numba.prange((rows + chunk - 1) // chunk):
        scratch = np.empty((4 + mixtures, size), out.dtype)
        for n in range(part * chunk, min(rows, (part + 1) * chunk)):
            if weight[n] > 0:
                nll[n] = _mixture_row(
                    out[n], bias, z[n], weight[n], gradient, scratch
                )
            else:
                nll[n] = 0
                out[n, : bias.size] = 0


def mixture_loss(out, bias, z, weight, gradient: bool):
    """NLL of mixtures from the head's product, and its gradient in place.

    Args:
        out: (N, >= 3KZ) product of the head without its bias: logits, mu,
            ln_sigma, each (K, Z) and flat; further columns stay as they
            are. Overwritten with the gradient of sum(weight * nll).
        bias: (>= 3KZ,), of the head.
        z: (N, Z) targets. weight: (N,) >= 0; where it is 0, z is not read.
        gradient: False leaves something undefined in ``out``.

    Returns:
        (N,) nats, summed over the Z dims; 0 where the weight is 0.
    """
    nll = np.empty(len(z), z.dtype)
    size = bias.size // (3 * z.shape[1]) * 3 * z.shape[1]
    _mixture_rows(out, bias[:size], z, weight, gradient, nll)
    return nll
