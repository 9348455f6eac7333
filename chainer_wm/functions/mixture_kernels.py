"""Mixtures straight from the head's product, for the CPU (numba) and the GPU (CuPy).

On the CPU rows are steps or lanes, shared out over the cores; within a row the innermost loops run
over the latent dimensions, which lie side by side.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from chainer.backends import cuda

from chainer_wm.functions.elementary import OPTIONS, exp
from dnc.kernel_cache import cached_njit, inner_njit

HALF_LN_2PI = 0.5 * math.log(2 * math.pi)


@inner_njit(**OPTIONS)
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
            u = (row[mus + at] + bias[mus + at] - z[d]) * inverse  # (mu_k - z) / sigma_k
            row[at], row[mus + at], row[sigmas + at] = exp(logit), u, inverse
            total[d] += row[at]
            ln_density[d] = logit - ln_sigma - half * u * u  # ln(pi_k N_k), two constants less
            best[d] = max(best[d], ln_density[d])
    for k in range(mixtures):
        ln_density = scratch[4 + k]
        for d in range(size):
            ln_density[d] = exp(ln_density[d] - best[d])
            mass[d] += ln_density[d]
    nll = 0.0
    for d in range(size):
        nll += math.log(total[d] / mass[d]) - best[d] + HALF_LN_2PI  # -ln sum_k pi_k N_k
    if gradient:
        for d in range(size):
            total[d], mass[d] = weight / total[d], weight / mass[d]
        for k in range(mixtures):
            density = scratch[4 + k]
            for d in range(size):
                at = k * size + d
                share = density[d] * mass[d]  # Bishop's posterior gamma_k = pi_k N_k / sum
                u = row[mus + at]
                row[at] = row[at] * total[d] - share  # dE/dlogit_k = pi_k - gamma_k
                row[mus + at] = share * u * row[sigmas + at]  # gamma_k (mu_k - z) / sigma_k^2
                row[sigmas + at] = share * (one - u * u)  # of ln sigma_k: gamma_k (1 - u^2)
    return nll


@cached_njit(parallel=True, **OPTIONS)
def _mixture_rows(out, bias, z, weight, gradient, nll):
    rows, size = z.shape
    mixtures = bias.size // (3 * size)
    chunk = 32
    for part in numba.prange((rows + chunk - 1) // chunk):
        scratch = np.empty((4 + mixtures, size), out.dtype)
        for n in range(part * chunk, min(rows, (part + 1) * chunk)):
            if weight[n] > 0:
                nll[n] = _mixture_row(out[n], bias, z[n], weight[n], gradient, scratch)
            else:
                nll[n] = 0
                out[n, : bias.size] = 0


_MIXTURE_LOSS = """
int d = i % size, block = mixtures * size;
ptrdiff_t row = (ptrdiff_t)(i / size) * width;
if (weight > 0) {
    T top = lowest, best = lowest, total = 0, mass = 0;
    for (int k = 0; k < mixtures; ++k) {
        int at = k * size + d;
        out[row + at] += bias[at];
        top = max(top, out[row + at]);
    }
    for (int k = 0; k < mixtures; ++k) {
        int at = k * size + d;
        T logit = out[row + at] - top;
        T ln_sigma = out[row + 2 * block + at] + bias[2 * block + at];
        T inverse = exp(-ln_sigma);
        T u = (out[row + block + at] + bias[block + at] - z) * inverse;
        T density = logit - ln_sigma - T(0.5) * u * u;
        total += exp(logit);
        // the sum of densities so far, relative to the best of them
        T better = max(best, density);
        mass = mass * exp(best - better) + exp(density - better);
        best = better;
        out[row + at] = logit;
        out[row + block + at] = u;
        out[row + 2 * block + at] = inverse;
    }
    nll = log(total) - log(mass) - best + half_ln_2pi;
    for (int k = 0; gradient && k < mixtures; ++k) {
        int at = k * size + d;
        T logit = out[row + at];
        T u = out[row + block + at];
        T inverse = out[row + 2 * block + at];
        T share = weight / mass
            * exp(logit + log(inverse) - T(0.5) * u * u - best);
        out[row + at] = weight * exp(logit) / total - share;
        out[row + block + at] = share * u * inverse;
        out[row + 2 * block + at] = share * (1 - u * u);
    }
} else {
    nll = 0;
    for (int k = 0; k < 3 * mixtures; ++k)
        out[row + k * size + d] = 0;
}
"""


def _mixture_loss_on_gpu(out, bias, z, weight, gradient: bool):
    size = z.shape[1]
    mixtures = bias.size // (3 * size)
    kernel = cuda.elementwise(
        'T z, T weight, raw T bias, T half_ln_2pi, T lowest, int32 size,'
        'int32 mixtures, int32 width, int32 gradient',
        'T nll, raw T out',
        _MIXTURE_LOSS,
        'chainer_wm_mixture_loss',
    )
    nll = cuda.cupy.empty_like(z)
    kernel(
        *(z, weight[:, None], bias, HALF_LN_2PI, -math.inf, size, mixtures),
        *(out.shape[1], int(gradient), nll, out),
    )
    return nll.sum(axis=1)


def mixture_loss(out, bias, z, weight, gradient: bool):
    """NLL of mixtures from the head's product, and its gradient in place.

    Args:
        out: (N, >= 3KZ) product of the head without its bias: logits, mu, ln_sigma, each (K, Z)
            and flat; further columns stay as they
            are. Overwritten with the gradient of sum(weight * nll).
        bias: (>= 3KZ,), of the head.
        z: (N, Z) targets. weight: (N,) >= 0; where it is 0, z is not read.
        gradient: False leaves something undefined in ``out``.

    Returns:
        (N,) nats, summed over the Z dims; 0 where the weight is 0.
    """
    if not isinstance(out, np.ndarray):
        return _mixture_loss_on_gpu(out, bias, z, weight, gradient)
    nll = np.empty(len(z), z.dtype)
    size = bias.size // (3 * z.shape[1]) * 3 * z.shape[1]
    _mixture_rows(out, bias[:size], z, weight, gradient, nll)
    return nll


@inner_njit(**OPTIONS)
def _sample_row(row, bias, u, eps, tau, z, scratch):
    """z of one row, (Z,): the component by the inverse of its distribution function."""
    size = z.size
    mixtures = bias.size // (3 * size)
    top, total, passed, ln_sigma = (scratch[0], scratch[1], scratch[2], scratch[3])
    zero, lowest = row.dtype.type(0), row.dtype.type(-np.inf)
    mus, sigmas = mixtures * size, 2 * mixtures * size
    for d in range(size):
        top[d], total[d], passed[d] = lowest, zero, zero
        z[d], ln_sigma[d] = (row[mus + d] + bias[mus + d], (row[sigmas + d] + bias[sigmas + d]))
    for k in range(mixtures):
        for d in range(size):
            scratch[4 + k, d] = (row[k * size + d] + bias[k * size + d]) / tau
            top[d] = max(top[d], scratch[4 + k, d])
    for k in range(mixtures):
        for d in range(size):
            scratch[4 + k, d] = exp(scratch[4 + k, d] - top[d])
            total[d] += scratch[4 + k, d]
    for k in range(1, mixtures):
        for d in range(size):
            at = k * size + d
            passed[d] += scratch[3 + k, d]
            mu = row[mus + at] + bias[mus + at]
            spread = row[sigmas + at] + bias[sigmas + at]
            further = passed[d] <= u[d] * total[d]
            z[d] = mu if further else z[d]
            ln_sigma[d] = spread if further else ln_sigma[d]
    root = row.dtype.type(math.sqrt(tau))
    for d in range(size):
        # the last term is 0, unless a logit is not finite: that must show
        z[d] += exp(ln_sigma[d]) * root * eps[d] + zero * total[d]  # mu + sigma sqrt(tau) eps


@cached_njit(parallel=True, **OPTIONS)
def _sample_rows(out, bias, u, eps, stream, tau, z):
    rows, size = z.shape
    mixtures = bias.size // (3 * size)
    chunk = 32
    for part in numba.prange((rows + chunk - 1) // chunk):
        scratch = np.empty((4 + mixtures, size), out.dtype)
        for n in range(part * chunk, min(rows, (part + 1) * chunk)):
            noise = stream[n]
            _sample_row(*(out[n], bias, u[noise], eps[noise], tau[n], z[n], scratch))


def _sample_on_gpu(out, bias, u, eps, stream, tau):
    size = u.shape[1]
    kernel = cuda.elementwise(
        'raw T out, raw T bias, raw T u, raw T eps, S stream, T tau,'
        'T lowest, int32 size, int32 mixtures, int32 width',
        'T z',
        """
        int d = i % size, block = mixtures * size;
        ptrdiff_t row = (ptrdiff_t)(i / size) * width;
        ptrdiff_t noise = (ptrdiff_t)stream * size + d;
        T top = lowest, total = 0, passed = 0;
        for (int k = 0; k < mixtures; ++k)
            top = max(
                top, (out[row + k * size + d] + bias[k * size + d]) / tau);
        for (int k = 0; k < mixtures; ++k)
            total += exp(
                (out[row + k * size + d] + bias[k * size + d]) / tau - top);
        int chosen = d;
        for (int k = 1; k < mixtures; ++k) {
            int before = (k - 1) * size + d;
            passed += exp((out[row + before] + bias[before]) / tau - top);
            if (passed <= u[noise] * total) chosen = k * size + d;
        }
        int mu = block + chosen, ln_sigma = 2 * block + chosen;
        // the last term is 0, unless a logit is not finite: that must show
        z = out[row + mu] + bias[mu] + 0 * total
            + exp(out[row + ln_sigma] + bias[ln_sigma])
            * sqrt(tau) * eps[noise];
        """,
        'chainer_wm_sample_mixture',
    )
    return kernel(
        *(out, bias, u, eps, stream[:, None], tau[:, None], -math.inf),
        *(size, bias.size // (3 * size), out.shape[1]),
        cuda.cupy.empty((len(out), size), out.dtype),
    )


def sample_mixture(out, bias, u, eps, stream, tau):
    """Draw from the mixtures that the head's product (less bias) describes.

    Args:
        out: (N, >= 3KZ) as for ``mixture_loss``; not changed.
        bias: (>= 3KZ,). u, eps: (E, Z) noise, as in ``mixture.draw_noise``.
        stream: (N,) integers: the row of the noise that each row uses.
        tau: (N,) temperatures.

    Returns:
        z (N, Z); not a number where a logit is not finite.
    """
    if not isinstance(out, np.ndarray):
        return _sample_on_gpu(out, bias, u, eps, stream, tau)
    z = np.empty((len(out), u.shape[1]), out.dtype)
    size = bias.size // (3 * u.shape[1]) * 3 * u.shape[1]
    _sample_rows(out, bias[:size], u, eps, stream, tau, z)
    return z
