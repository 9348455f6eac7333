"""The element-wise part of an LSTM's step, for the CPU (numba) and the GPU (CuPy).

On the CPU rows are lanes, and large batches are shared out over the cores; and there whole
sequences run in one loop, with products in register tiles (``advance``, ``retreat``).
"""

from __future__ import annotations

import numba
import numpy as np
from chainer.backends import cuda

from chainer_wm.functions.arena import Arena
from chainer_wm.functions.elementary import OPTIONS, exp, tanh
from dnc.cpu.register_tiles import lay_out, panel_count, panel_width, rows_times_panel
from dnc.kernel_cache import cached_njit, inner_njit

PARALLEL_SIZE = 50_000  # numbers; below, waking the other core costs more
CHUNK = 56  # lanes whose gates stay in the cache from product to activation


@inner_njit(**OPTIONS)
def _forward_row(gates, c_prev, keep, keep_next, mask, c, y, staged):
    one = gates.dtype.type(1)
    size = c.size
    for j in range(3 * size):
        gates[j] = one / (one + exp(-gates[j]))  # i, f, o
    for j in range(size):
        g = gates[3 * size + j] = tanh(gates[3 * size + j])
        c[j] = gates[size + j] * (keep * c_prev[j]) + gates[j] * g  # c_t = f c_{t-1} + i g
    for j in range(size):
        y[j] = gates[2 * size + j] * tanh(c[j])  # h_t = o tanh c_t
        staged[j] = keep_next * mask[j] * y[j]


@cached_njit(**OPTIONS)
def _forward(gates, c_prev, keep, keep_next, mask, c, y, staged):
    for n in range(gates.shape[0]):
        _forward_row(
            *(gates[n], c_prev[n], keep[n], keep_next[n], mask[n % len(mask)]),
            *(c[n], y[n], staged[n]),
        )


@cached_njit(parallel=True, **OPTIONS)
def _forward_parallel(gates, c_prev, keep, keep_next, mask, c, y, staged):
    for n in numba.prange(gates.shape[0]):
        _forward_row(
            *(gates[n], c_prev[n], keep[n], keep_next[n], mask[n % len(mask)]),
            *(c[n], y[n], staged[n]),
        )


@inner_njit(**OPTIONS)
def _backward_row(gates, c, c_prev, keep, keep_next, gy, gh, gc, ga):
    one = gates.dtype.type(1)
    size = c.size
    for j in range(size):
        i, f = gates[j], gates[size + j]
        o, g = gates[2 * size + j], gates[3 * size + j]
        tanh_c = tanh(c[j])
        dh = gy[j] + keep_next * gh[j]
        dc = gc[j] + dh * o * (one - tanh_c * tanh_c)
        # the slopes: i (1 - i) of a logistic function, 1 - g^2 of tanh
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


@inner_njit(**OPTIONS)
def _activate_row(gates):
    one = gates.dtype.type(1)
    size = gates.size // 4
    for j in range(3 * size):
        gates[j] = one / (one + exp(-gates[j]))
    for j in range(size):
        gates[3 * size + j] = tanh(gates[3 * size + j])


@cached_njit(parallel=True, **OPTIONS)
def _activate_rows(gates):
    for n in numba.prange(gates.shape[0]):
        _activate_row(gates[n])


_ACTIVATE = """
        in = 1 / (1 + exp(-in));
        forget = 1 / (1 + exp(-forget));
        out = 1 / (1 + exp(-out));
        cell = tanh(cell);
        """


def _quarters(gates):
    size = gates.shape[1] // 4
    return [gates[:, n * size : (n + 1) * size] for n in range(4)]


def _forward_on_gpu(gates, c_prev, keep, keep_next, mask, c, y, staged) -> None:
    kernel = cuda.elementwise(
        'T c_prev, T keep, T keep_next, T mask',
        'T in, T forget, T out, T cell, T c, T y, T staged',
        _ACTIVATE
        + """
        c = forget * (keep * c_prev) + in * cell;
        y = out * tanh(c);
        staged = keep_next * mask * y;
        """,
        'chainer_wm_lstm_forward',
    )
    kernel(
        *(c_prev, keep[:, None], keep_next[:, None], mask),
        *(*_quarters(gates), c, y, staged[:, : c.shape[1]]),
    )


def _activate_on_gpu(gates) -> None:
    kernel = cuda.elementwise(
        '', 'T in, T forget, T out, T cell', _ACTIVATE, 'chainer_wm_activate'
    )
    kernel(*_quarters(gates))


def _backward_on_gpu(gates, c, c_prev, keep, keep_next, gy, gh, gc, ga) -> None:
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


def lstm_forward(gates, c_prev, keep, keep_next, mask, c, y, staged) -> None:
    """One step of an LSTM from its pre-activations.

    Args:
        gates: (B, 4H) pre-activations of i, f, o, g; overwritten with their activations.
        c_prev: (B, H) cell of before the step.
        keep, keep_next: (B,) 0 where the lane is reset before this step, and before the next one.
        mask: (B, H), or (1, H) for all lanes: what y is multiplied by for the next step.
        c, y: (B, H), written: cell and output.
        staged: (B, K), K >= H; its first H columns receive keep_next * mask * y.
    """
    on_cpu = _forward if gates.size < PARALLEL_SIZE else _forward_parallel
    run = on_cpu if isinstance(gates, np.ndarray) else _forward_on_gpu
    run(gates, c_prev, keep, keep_next, mask, c, y, staged)


def lstm_activate(gates) -> None:
    """Activate i, f, o, g (N, 4H) in place, as ``lstm_forward`` does."""
    run = _activate_rows if isinstance(gates, np.ndarray) else _activate_on_gpu
    run(gates)


def lstm_backward(gates, c, c_prev, keep, keep_next, gy, gh, gc, ga) -> None:
    """Gradients through one step of an LSTM.

    Args:
        gates: (B, 4H) activations. c, c_prev, keep, keep_next: as in ``lstm_forward``.
        gy, gh: (B, H) gradients of y: from outside, and from the next step
            (of its unmasked h).
        gc: (B, H) gradient of c; overwritten with that of the cell of before the step (and its
            reset).
        ga: (B, 4H), written: gradient of the pre-activations.
    """
    on_cpu = _backward if gates.size < PARALLEL_SIZE else _backward_parallel
    run = on_cpu if isinstance(gates, np.ndarray) else _backward_on_gpu
    run(gates, c, c_prev, keep, keep_next, gy, gh, gc, ga)


def pack(W: np.ndarray, arena: Arena) -> np.ndarray:
    """The transpose of W (N, K) as panels (ceil(N / width), K, width).

    The last panel is filled up with zeros.
    """
    columns, depth = W.shape
    shape = panel_count(columns, W.dtype), depth, panel_width(W.dtype)
    panels = arena.take(shape, W.dtype)
    lay_out(W.T, panels)
    return panels


@inner_njit(**OPTIONS)
def _product(a, a_start, panels, c, c_start, strides, rows):
    """c rows = a rows times all panels; flat a and c, begins and strides."""
    count, depth, width = panels.shape
    table = np.arange(rows) * strides[0]
    flat = panels.reshape(-1)
    for p in range(count):
        rows_times_panel(
            *(a, table, flat, c),
            (a_start, p * depth * width, c_start + p * width),
            *((width, strides[1]), (1, depth, 0), rows),
        )


@cached_njit(parallel=True, **OPTIONS)
def advance(xs, keep, mask, panels, gates, c, staged, ys, stored, parts):
    """Take all lanes forward through all steps.

    Args:
        xs: (T, B, X). keep: (T + 1, B). mask: (B or 1, H), of h. panels: of W.
        gates: (T, B, >= 4H) if ``stored``, else scratch (parts, CHUNK, >= 4H).
        c, staged: (T + 1, B, ...), or (1, B, ...) where steps take turns; the first slot of both
            holds the start, staged ends in a column of 1.
        ys: (T, B, H), written.
        stored: keep the activated gates of all steps.
        parts: groups of lanes, one for each thread.
    """
    steps, lanes, inputs = xs.shape
    slots, depth, size = len(staged), staged.shape[2], ys.shape[2]
    stride = gates.shape[2]
    rows_of_gates = gates.reshape(-1, stride)
    flat_staged, flat_gates = staged.reshape(-1), gates.reshape(-1)
    for part in numba.prange(parts):
        low, high = part * lanes // parts, (part + 1) * lanes // parts
        for t in range(steps):
            now, after = t % slots, (t + 1) % slots
            for n in range(low, high):
                for j in range(inputs):
                    staged[now, n, size + j] = xs[t, n, j]
            for first in range(low, high, CHUNK):
                rows = min(CHUNK, high - first)
                base = t * lanes + first if stored else part * CHUNK
                _product(
                    *(flat_staged, (now * lanes + first) * depth, panels),
                    *(flat_gates, base * stride, (depth, stride), rows),
                )
                for n in range(first, first + rows):
                    _forward_row(
                        *(rows_of_gates[base + n - first], c[now, n]),
                        *(keep[t, n], keep[t + 1, n], mask[n % len(mask)]),
                        *(c[after, n], ys[t, n], staged[after, n]),
                    )


@cached_njit(parallel=True, **OPTIONS)
def retreat(gates, c, keep, mask, gys, gc, gh, ga, panels, parts):
    """Take all gradients back through S steps.

    Args:
        gates: (S, B, >= 4H) activated. c, keep: (S + 1, B, ...). mask: (B or 1, H), of h.
        gys: (S, B, H), or (1, B, H), the same for every step.
        gc: (B, H), gh: (B, >= H): gradients of the cell and of the unmasked
            h after the last step; overwritten with those of before the first.
        ga: (S, B, > 4H), written: gradients of the pre-activations.
        panels: of the transposed columns of W that belong to h.
        parts: groups of lanes, one for each thread.
    """
    steps, lanes = len(ga), len(gc)
    stride = ga.shape[2]
    flat_ga, flat_gh = ga.reshape(-1), gh.reshape(-1)
    for part in numba.prange(parts):
        low, high = part * lanes // parts, (part + 1) * lanes // parts
        for back in range(steps):
            t = steps - 1 - back
            for first in range(low, high, CHUNK):
                rows = min(CHUNK, high - first)
                for n in range(first, first + rows):
                    _backward_row(
                        *(gates[t, n], c[t + 1, n], c[t, n]),
                        *(keep[t, n], keep[t + 1, n], gys[t % len(gys), n]),
                        *(gh[n], gc[n], ga[t, n]),
                    )
                _product(
                    *(flat_ga, (t * lanes + first) * stride, panels),
                    *(flat_gh, first * gh.shape[1], (stride, gh.shape[1])),
                    rows,
                )
                for n in range(first, first + rows):
                    seen = mask[n % len(mask)]
                    for j in range(len(seen)):
                        gh[n, j] *= seen[j]
