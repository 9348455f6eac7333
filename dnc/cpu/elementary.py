"""Element-wise mathematics for the CPU kernels, written to be vectorised.

The C library's exp and tanh are called one number at a time from compiled loops; these polynomials
(Cephes' ranges and coefficients) turn into vector instructions and agree with NumPy to a few units
in the last place.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from dnc.kernel_cache import NO_WAY_IN, inner_njit

# Sums may be reordered (that makes them vectorise); NaN and infinity keep their meaning, so a run
# that diverges is still seen to diverge.
FAST = {'reassoc', 'contract', 'arcp', 'nsz'}
#: References to arrays are not counted: no kernel makes an array or keeps one, the caller holds
#: them all. One that allocates does not compile.
OPTIONS = {'fastmath': FAST, 'error_model': 'numpy', '_nrt': False}
INLINE = {**OPTIONS, 'inline': 'always'}  # before LLVM, for thin wrappers
EXACT = {**OPTIONS, 'fastmath': False}
_OVERLOAD = {**EXACT, **NO_WAY_IN, 'forceinline': True}


@intrinsic
def _float_of_bits(typing_context, bits):
    """The float whose bit pattern is the integer of the same width."""
    double = bits == types.int64
    signature = (types.float64 if double else types.float32)(bits)

    def generate(context, builder, sig, args):
        kind = ir.DoubleType() if double else ir.FloatType()
        return builder.bitcast(args[0], kind)

    return signature, generate


def exp(x):
    """e^x for float32 and float64 scalars inside compiled code."""
    raise NotImplementedError('only for compiled code')


def tanh(x):
    """tanh x for float32 and float64 scalars inside compiled code."""
    raise NotImplementedError('only for compiled code')


def _exp32(x):
    x = min(max(x, np.float32(-87.0)), np.float32(88.0))
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = x - n * np.float32(0.693359375)
    r = r + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * (r * r) + r + np.float32(1)
    return p * _float_of_bits(np.int32((np.int32(n) + np.int32(127)) << np.int32(23)))


def _exp64(x):
    x = min(max(x, -708.0), 709.0)
    n = np.floor(x * 1.4426950408889634 + 0.5)
    r = x - n * 6.93145751953125e-1
    r = r - n * 1.42860682030941723212e-6
    p = 1 / 6227020800.0  # Taylor: |r| <= ln(2) / 2
    p = p * r + 1 / 479001600.0
    p = p * r + 1 / 39916800.0
    p = p * r + 1 / 3628800.0
    p = p * r + 1 / 362880.0
    p = p * r + 1 / 40320.0
    p = p * r + 1 / 5040.0
    p = p * r + 1 / 720.0
    p = p * r + 1 / 120.0
    p = p * r + 1 / 24.0
    p = p * r + 1 / 6.0
    p = p * r + 0.5
    p = p * (r * r) + r + 1.0
    return p * _float_of_bits((np.int64(np.int32(n)) + 1023) << 52)


@overload(exp, jit_options=_OVERLOAD)
def _exp_overload(x):
    return _exp32 if x == types.float32 else _exp64


def _tanh32(x):
    z = x * x
    p = np.float32(-5.70498872745e-3)
    p = p * z + np.float32(2.06390887954e-2)
    p = p * z + np.float32(-5.37397155531e-2)
    p = p * z + np.float32(1.33314422036e-1)
    p = p * z + np.float32(-3.33332819422e-1)
    small = p * z * x + x
    large = np.float32(1) - np.float32(2) / (exp(np.float32(2) * abs(x)) + np.float32(1))
    large = large if x > np.float32(0) else -large
    return small if abs(x) < np.float32(0.625) else large


def _tanh64(x):
    z = x * x
    p = -9.64399179425052238628e-1 * z - 9.92877231001918586564e1
    p = p * z - 1.61468768441708447952e3
    q = (z + 1.12811678491632931402e2) * z + 2.23548839060100448583e3
    q = q * z + 4.84406305325125486048e3
    small = x + x * z * (p / q)
    large = 1.0 - 2.0 / (exp(2.0 * abs(x)) + 1.0)
    large = large if x > 0 else -large
    return small if abs(x) < 0.625 else large


@overload(tanh, jit_options=_OVERLOAD)
def _tanh_overload(x):
    return _tanh32 if x == types.float32 else _tanh64


@inner_njit(**OPTIONS, forceinline=True)
def sigmoid(x):
    one = np.float32(1)
    return one / (one + exp(-x))


@inner_njit(**OPTIONS)
def softmax_into(scores, scale, out):
    """out = softmax(scale * scores), all (N,)."""
    size = scores.shape[0]
    highest = scores[0] * scale
    for i in range(1, size):
        highest = max(highest, scores[i] * scale)
    total = scores.dtype.type(0)
    for i in range(size):
        out[i] = exp(scores[i] * scale - highest)
        total += out[i]
    for i in range(size):
        out[i] /= total


@inner_njit(**OPTIONS)
def copy_into(target, source):
    """target = source, both (N,).

    Numba compiles an assignment of an array with a check of shapes, whose error message takes
    longer to compile than some kernels.
    """
    for i in range(target.shape[0]):
        target[i] = source[i]


@inner_njit(**OPTIONS)
def dot(a, b):
    total = a.dtype.type(0)
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total
