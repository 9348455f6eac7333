"""Element-wise kernels for the GPU, compiled by CuPy.

Twins of ``cpu_kernels``, where each function's arguments are described.
"""

from __future__ import annotations

import math

from chainer.backends import cuda

HALF_LN_2PI = 0.5 * math.log(2 * math.pi)


def _quarters(gates):
    size = gates.shape[1] // 4
    return [gates[:, n * size : (n + 1) * size] for n in range(4)]


def lstm_forward(gates, c_prev, keep, keep_next, c, y, staged) -> None:
    """Twin of ``cpu_kernels.lstm_forward``."""
    kernel = cuda.elementwise(
        'T c_prev, T keep, T keep_next',
        'T i, T f, T o, T g, T c, T y, T staged',
        """
        i = 1 / (1 + exp(-i));
        f = 1 / (1 + exp(-f));
        o = 1 / (1 + exp(-o));
        g = tanh(g);
        c = f * (keep * c_prev) + i * g;
        y = o * tanh(c);
        staged = keep_next * y;
        """,
        'chainer_wm_lstm_forward',
    )
    kernel(
        *(c_prev, keep[:, None], keep_next[:, None]),
        *(*_quarters(gates), c, y, staged[:, : c.shape[1]]),
    )


def lstm_activate(gates) -> None:
    """Twin of ``cpu_kernels.lstm_activate``."""
    kernel = cuda.elementwise(
        '',
        'T i, T f, T o, T g',
        """
        i = 1 / (1 + exp(-i));
        f = 1 / (1 + exp(-f));
        o = 1 / (1 + exp(-o));
        g = tanh(g);
        """,
        'chainer_wm_lstm_activate',
    )
    kernel(*_quarters(gates))


def lstm_backward(gates, c, c_prev, keep, keep_next, gy, gh, gc, ga) -> None:
    """Twin of ``cpu_kernels.lstm_backward``."""
    kernel = cuda.elementwise(
        'T i, T f, T o, T g, T c, T c_prev, T keep, T keep_next, T gy, T gh',
        'T gc, T gi, T gf, T go, T gg',
        """
        T tanh_c = tanh(c);
        T dh = gy + keep_next * gh;
        T dc = gc + dh * o * (1 - tanh_c * tanh_c);
        gi = dc * g * i * (1 - i);
        gf = dc * (keep * c_prev) * f * (1 - f);
        go = dh * tanh_c * o * (1 - o);
        gg = dc * i * (1 - g * g);
        gc = keep * (dc * f);
        """,
        'chainer_wm_lstm_backward',
    )
    kernel(
        *(*_quarters(gates), c, c_prev, keep[:, None], keep_next[:, None]),
        *(gy, gh, gc, *_quarters(ga)),
    )


def mixture_loss(out, bias, z, weight, gradient: bool):
    """Twin of ``cpu_kernels.mixture_loss``."""
    size = z.shape[1]
    mixtures = bias.size // (3 * size)
    kernel = cuda.elementwise(
        'T z, T weight, raw T bias, T half_ln_2pi, int32 size, int32 mixtures,'
        'int32 width, int32 gradient',
        'T nll, raw T out',
        """
        int n = i / size, d = i % size, block = mixtures * size;
        ptrdiff_t row = (ptrdiff_t)n * width;
        if (weight > 0) {
            T top = -INFINITY, best = -INFINITY, total = 0, mass = 0;
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
        """,
        'chainer_wm_mixture_loss',
    )
    nll = z * 0
    kernel(
        *(z, weight[:, None], bias, HALF_LN_2PI, size, mixtures),
        *(out.shape[1], gradient, nll, out),
    )
    return nll.sum(axis=1)
