"""Many steps of an LSTM in one loop, with products in register tiles."""

from __future__ import annotations

import numba
import numpy as np

from chainer_wm.functions.arena import Arena
from chainer_wm.functions.elementary import OPTIONS
from chainer_wm.functions.lstm_cpu import _backward_row, _forward_row
from chainer_wm.functions.register_tiles import panel_width, rows_times_panel
from dnc.kernel_cache import cached_njit

CHUNK = 56  # lanes whose gates stay in the cache from product to activation


def pack(W: np.ndarray, arena: Arena) -> np.ndarray:
    """The transpose of W (N, K) as panels (ceil(N / width), K, width).

    The last panel is filled up with zeros.
    """
    width = panel_width(W.dtype.itemsize)
    columns, depth = W.shape
    panels = arena.take((-(-columns // width), depth, width), W.dtype)
    _pack(W, panels)
    return panels


@cached_njit(parallel=True, **OPTIONS)
def _pack(W, panels):
    columns, depth = W.shape
    count, _, width = panels.shape
    for p in numba.prange(count):
        filled = min(width, columns - p * width)
        for k in range(depth):
            for j in range(filled):
                panels[p, k, j] = W[p * width + j, k]
            for j in range(filled, width):
                panels[p, k, j] = 0


@cached_njit(**OPTIONS)
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
def advance(xs, keep, panels, gates, c, staged, ys, stored, parts):
    """Take all lanes forward through all steps.

    Args:
        xs: (T, B, X). keep: (T + 1, B). panels: of W.
        gates: (T, B, >= 4H) if ``stored``, else scratch (parts, CHUNK, >= 4H).
        c, staged: (T + 1, B, ...), or (1, B, ...) where steps take turns; the
            first slot of both holds the start, staged ends in a column of 1.
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
                        *(keep[t, n], keep[t + 1, n]),
                        *(c[after, n], ys[t, n], staged[after, n]),
                    )


@cached_njit(parallel=True, **OPTIONS)
def retreat(gates, c, keep, gys, gc, gh, ga, panels, parts):
    """Take all gradients back through S steps.

    Args:
        gates: (S, B, >= 4H) activated. c, keep: (S + 1, B, ...).
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
