"""Kernels for the GPU, compiled by CuPy.

Twins of those in ``cpu``, where each function's arguments are described.
"""

from __future__ import annotations

import math

from chainer.backends import cuda

HALF_LN_2PI = 0.5 * math.log(2 * math.pi)
ACTIVATE = """
        in = 1 / (1 + exp(-in));
        forget = 1 / (1 + exp(-forget));
        out = 1 / (1 + exp(-out));
        cell = tanh(cell);
        """


def _quarters(gates):
    size = gates.shape[1] // 4
    return [gates[:, n * size : (n + 1) * size] for n in range(4)]


def lstm_forward(gates, c_prev, keep, keep_next, c, y, staged) -> None:
    """Twin of ``cpu.lstm_forward``."""
    kernel = cuda.elementwise(
        'T c_prev, T keep, T keep_next',
        'T in, T forget, T out, T cell, T c, T y, T staged',
        ACTIVATE
        + """
        c = forget * (keep * c_prev) + in * cell;
        y = out * tanh(c);
        staged = keep_next * y;
        """,
        'chainer_wm_lstm_forward',
    )
    kernel(
        *(c_prev, keep[:, None], keep_next[:, None]),
        *(*_quarters(gates), c, y, staged[:, : c.shape[1]]),
    )


def lstm_activate(gates) -> None:
    """Twin of ``cpu.lstm_activate``."""
    kernel = cuda.elementwise('', 'T in, T forget, T out, T cell', ACTIVATE, 'chainer_wm_activate')
    kernel(*_quarters(gates))


def lstm_backward(gates, c, c_prev, keep, keep_next, gy, gh, gc, ga) -> None:
    """Twin of ``cpu.lstm_backward``."""
    kernel = cuda.elementwise(
        'T in, T forget, T out, T cell, T c, T c_prev, T keep, T keep_next,T gy, T gh',
        'T gc, T gin, T gforget, T gout, T gcell',
        """
        T tanh_c = tanh(c);
        T dh = gy + keep_next * gh;
        T dc = gc + dh * out * (1 - tanh_c * tanh_c);
        gin = dc * cell * in * (1 - in);
        gforget = dc * (keep * c_prev) * forget * (1 - forget);
        gout = dh * tanh_c * out * (1 - out);
        gcell = dc * in * (1 - cell * cell);
        gc = keep * (dc * forget);
        """,
        'chainer_wm_lstm_backward',
    )
    kernel(
        *(*_quarters(gates), c, c_prev, keep[:, None], keep_next[:, None]),
        *(gy, gh, gc, *_quarters(ga)),
    )


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


def mixture_loss(out, bias, z, weight, gradient: bool):
    """Twin of ``cpu.mixture_loss``."""
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


def sample_mixture(out, bias, u, eps, stream, tau):
    """Twin of ``cpu.sample_mixture``."""
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
