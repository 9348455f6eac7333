"""The element-wise part of an LSTM's step on the CPU, compiled by numba.

Rows are lanes; large batches are shared out over the cores.
"""

from __future__ import annotations

import numba

from chainer_wm.functions.elementary import OPTIONS, exp, tanh
from dnc.kernel_cache import cached_njit

PARALLEL_SIZE = 50_000  # numbers; below, waking the other core costs more


@cached_njit(**OPTIONS)
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


@cached_njit(**OPTIONS)
def _forward(gates, c_prev, keep, keep_next, c, y, staged):
    for n in range(gates.shape[0]):
        _forward_row(gates[n], c_prev[n], keep[n], keep_next[n], c[n], y[n], staged[n])


@cached_njit(parallel=True, **OPTIONS)
def _forward_parallel(gates, c_prev, keep, keep_next, c, y, staged):
    for n in numba.prange(gates.shape[0]):
        _forward_row(gates[n], c_prev[n], keep[n], keep_next[n], c[n], y[n], staged[n])


@cached_njit(**OPTIONS)
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


@cached_njit(**OPTIONS)
def _backward(gates, c, c_prev, keep, keep_next, gy, gh, gc, ga):
    for n in range(gates.shape[0]):
        _backward_row(
            *(gates[n], c[n], c_prev[n], keep[n], keep_next[n]), *(gy[n], gh[n], gc[n], ga[n])
        )


@cached_njit(parallel=True, **OPTIONS)
def _backward_parallel(gates, c, c_prev, keep, keep_next, gy, gh, gc, ga):
    for n in numba.prange(gates.shape[0]):
        _backward_row(
            *(gates[n], c[n], c_prev[n], keep[n], keep_next[n]), *(gy[n], gh[n], gc[n], ga[n])
        )


@cached_njit(**OPTIONS)
def _activate_row(gates):
    one = gates.dtype.type(1)
    size = gates.size // 4
    for j in range(3 * size):
        gates[j] = one / (one + exp(-gates[j]))
    for j in range(size):
        gates[3 * size + j] = tanh(gates[3 * size + j])


@cached_njit(parallel=True, **OPTIONS)
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
