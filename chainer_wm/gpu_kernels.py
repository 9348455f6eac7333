"""Element-wise kernels for the GPU, compiled by CuPy.

Twins of ``cpu_kernels``, where each function's arguments are described.
"""

from __future__ import annotations

from chainer.backends import cuda


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
