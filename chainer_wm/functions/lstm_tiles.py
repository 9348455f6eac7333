"""The LSTM's sequence on the CPU: one compiled loop over time per lane group.

BLAS rearranges the weights on every call, which takes half the time of the
small products of a single step. Here they are rearranged once per sequence,
into panels as wide as a block of registers; and since lanes do not meet, each
core takes its lanes through all of time without waiting for the others.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from chainer_wm.functions import lstm_tiles_cpu
from chainer_wm.functions.arena import Arena
from chainer_wm.functions.lstm_cpu import lstm_activate

BLOCK_ROWS = 2048  # time steps times lanes in one product of the backward pass
LANES = 4  # at least as many per thread


class Tape(NamedTuple):
    """What the backward pass needs. T steps, B lanes, K = H + X + 1.

    Fields:
        W: (4H, K). keep: (T + 1, B), 0 where the state is zeroed before t.
        gates: (T, B, 4H or more) activated, or None: compute them again.
        c: (T + 1, B, H), cells before each step and after the last.
        staged: (T + 1, B, K), rows of [h, x, 1].
    """

    W: np.ndarray
    keep: np.ndarray
    gates: np.ndarray | None
    c: np.ndarray
    staged: np.ndarray


def forward(xs, c, h, W, keep, arena: Arena, *, taped: bool, recompute: bool):
    """((ys, c, h), tape) of a sequence; see ``LSTMSequence`` and ``Tape``."""
    (steps, lanes, _), size = xs.shape, h.shape[1]
    panels = lstm_tiles_cpu.pack(W, arena)
    stored = taped and not recompute
    parts = _parts(lanes)
    rows = (steps, lanes) if stored else (parts, lstm_tiles_cpu.CHUNK)
    width = panels.shape[0] * panels.shape[2]
    gates = arena.take((*rows, width), xs.dtype)
    slots = steps + 1 if taped else 1
    cells = arena.take((slots, lanes, size), xs.dtype)
    staged = arena.take((slots, lanes, W.shape[1]), xs.dtype)
    ys = arena.take((steps, lanes, size), xs.dtype)
    cells[0] = c
    np.multiply(h, keep[0, :, None], out=staged[0, :, :size])
    staged[:, :, -1] = 1
    lstm_tiles_cpu.advance(
        *(np.ascontiguousarray(xs), keep, panels, gates, cells, staged, ys), *(stored, parts)
    )
    tape = Tape(W, keep, gates if stored else None, cells, staged)
    last = cells[-1].copy(), ys[-1].copy()
    return (ys, *last), tape if taped else None


def backward(tape: Tape, gys, gc, gh, arena: Arena, *, inputs: bool):
    """Gradients of (xs, c, h, W); that of xs only if ``inputs``."""
    W, _, _, c, staged = tape
    steps, lanes, size = len(c) - 1, *c.shape[1:]
    gc = np.zeros((lanes, size), c.dtype) if gc is None else gc.copy()
    panels = lstm_tiles_cpu.pack(W[:, :size].T, arena)
    padded = np.zeros((lanes, panels.shape[0] * panels.shape[2]), c.dtype)
    if gh is not None:
        padded[:, :size] = gh
    if gys is None:
        gys = np.zeros((1, lanes, size), c.dtype)
    gxs = arena.take((steps, lanes, W.shape[1] - size - 1), c.dtype)
    W_x = np.ascontiguousarray(W[:, size:-1])
    gW, part = np.zeros_like(W), np.empty_like(W)
    for start, stop, ga in _blocks(tape, gys, gc, padded, panels, arena):
        gW += np.matmul(ga.T, staged[start:stop].reshape(len(ga), -1), out=part)
        if inputs:
            np.matmul(ga, W_x, out=gxs[start:stop].reshape(len(ga), -1))
    gh = padded[:, :size] * tape.keep[0, :, None]
    return gxs if inputs else None, gc, gh, gW


def _blocks(tape: Tape, gys, gc, gh, panels, arena: Arena):
    """Go back in time; yield (start, stop, ga (rows, 4H)).

    The array is used again for the next block. gc (B, H) and gh (B, H or
    more) are the gradients of the cell and of the unmasked h; overwritten.
    """
    W, keep, gates, c, staged = tape
    steps, (lanes, size) = len(c) - 1, c.shape[1:]
    length = max(1, min(steps, BLOCK_ROWS // lanes))
    # a row's length that is no power of two spares the cache
    stride = 4 * size + panels.shape[2]
    ga = arena.take((length, lanes, stride), c.dtype)
    again = ga
    if gates is None:
        again = arena.take((length, lanes, 4 * size), c.dtype)
    gys = np.ascontiguousarray(gys)
    for stop in range(steps, 0, -length):
        start = max(0, stop - length)
        now = slice(start, stop)
        if gates is None:
            rows = again[: stop - start].reshape(-1, 4 * size)
            stages = staged[now].reshape(len(rows), -1)
            lstm_activate(np.matmul(stages, W.T, out=rows))
        lstm_tiles_cpu.retreat(
            again[: stop - start] if gates is None else gates[now],
            *(c[start : stop + 1], keep[start : stop + 1]),
            gys if len(gys) < steps else gys[now],
            *(gc, gh, ga[: stop - start], panels, _parts(lanes)),
        )
        yield (start, stop, ga[: stop - start].reshape(-1, stride)[:, : 4 * size])


def _parts(lanes: int) -> int:
    return max(1, min(numba.get_num_threads(), lanes // LANES))
