"""exp, tanh and log1p for numba kernels, written so that loops vectorise.

The C library's functions, which numba calls otherwise, take one number at a time and ten times as
long. ``dnc.cpu.elementary`` has other polynomials, whose
last digits differ: neither takes the other's place without moving every number that was measured
with it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import overload

# Contraction to fused multiply-adds is the only liberty taken: the argument reduction below would
# not survive a reordering of sums.
MATH = {'contract'}
OPTIONS = {'error_model': 'numpy', 'fastmath': MATH, 'nogil': True}

# numpy type, integer type, bits of the fraction, exponent bias, degree of the series, ln 2 in two
# parts, largest argument of exp
FORMATS = {
    types.float32: (*(np.float32, np.int32, 23, 127, 8), *(0.693359375, -2.12194440e-4, 87.0)),
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


def log1p(u):
    """ln(1 + u) of u in [0, 1] within 2 units in the last place."""
    raise NotImplementedError('only inside numba')


@overload(_exp_parts, jit_options={'fastmath': MATH})
def _(x):
    real, integer, shift, bias, degree, high, low, _ = FORMATS[x]
    high, low, inverse, zero = (real(v) for v in (high, low, 1 / math.log(2), 0))
    shift, bias = integer(shift), integer(bias)
    series = tuple(real(1 / math.factorial(n)) for n in range(degree, 1, -1))

    def parts(x):
        # e^x = 2^k e^r with |r| <= ln(2) / 2
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
        u = p + (scale - one)  # e^(-2 |x|) - 1; tanh |x| = -u / (2 + u)
        return math.copysign(u / (-two - u), x)

    return function


@overload(log1p, jit_options={'fastmath': MATH})
def _(u):
    real = FORMATS[u][0]
    two, zero = real(2), real(0)
    terms = 8 if FORMATS[u][0] is np.float32 else 17
    series = tuple(real(2 / (2 * n + 1)) for n in range(terms, 0, -1))

    def function(u):
        # 2 artanh s = 2 (s + s^3 / 3 + s^5 / 5 + ...), s = u / (2 + u) <= 1 / 3
        s = u / (two + u)
        square = s * s
        p = zero
        for factor in series:
            p = p * square + factor
        return s * (p * square + two)

    return function
