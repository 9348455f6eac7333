"""The LSTM's sequence as a loop over time, on every device.

Every step is one matrix product, [h, x, 1] times W, and one fused element-wise
kernel; the gradient of W is taken a block of time at a time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from chainer import backend

from chainer_wm.functions.kernels import kernels_for

BLOCK_ROWS = 2048  # time steps times lanes in one product of the backward pass


class Tape(NamedTuple):
    """What the backward pass needs. T steps, B lanes, K = H + X + 1.

    Fields:
        W: (4H, K). keep: (T + 1, B), 0 where the state is zeroed before t.
        gates: (T, B, 4H) activated, or None: compute them again.
        c: (T, B, H), cells after each step. first: (B, H), before them all.
        staged: (T + 1, B, K), rows of [h, x, 1].
    """

    W: Any
    keep: Any
    gates: Any
    c: Any
    first: Any
    staged: Any


def forward(xs, c, h, W, keep, arena, *, taped: bool, recompute: bool):
    """((ys, c, h), tape) of a sequence; see ``LSTMSequence`` and ``Tape``."""
    del arena  # a loop on the GPU has CuPy's pool, one step needs none
    xp = backend.get_array_module(xs)
    first = c = xp.ascontiguousarray(c)
    (steps, lanes, _), size = xs.shape, h.shape[1]
    # without a backward pass the same memory serves every step
    gate_slots = steps if taped and not recompute else 1
    gates = xp.empty((gate_slots, lanes, 4 * size), xs.dtype)
    cells = xp.empty((steps if taped else min(2, steps), *h.shape), xs.dtype)
    slots = steps + 1 if taped else 1
    staged = xp.empty((slots, lanes, W.shape[1]), xs.dtype)
    ys = xp.empty((steps, lanes, size), xs.dtype)
    xp.multiply(h, keep[0, :, None], out=staged[0, :, :size])
    staged[:, :, -1] = 1
    advance = kernels_for(xs).lstm_forward
    for t in range(steps):
        stage, gate = staged[t % slots], gates[t % gate_slots]
        stage[:, size:-1] = xs[t]
        xp.matmul(stage, W.T, out=gate)
        after = cells[t % len(cells)], ys[t], staged[(t + 1) % slots]
        advance(gate, c, keep[t], keep[t + 1], *after)
        c = after[0]
    kept = None if recompute else gates
    tape = Tape(W, keep, kept, cells, first, staged) if taped else None
    if steps > 1:  # the state shall not hold on to the whole sequence
        return (ys, c.copy(), ys[-1].copy()), tape
    return (ys, c, ys[-1]), tape


def backward(tape: Tape, gys, gc, gh, arena, *, inputs: bool):
    """Gradients of (xs, c, h, W); that of xs only if ``inputs``."""
    del arena
    W, keep, c, staged = tape.W, tape.keep, tape.c, tape.staged
    xp = backend.get_array_module(c)
    steps, lanes, size = c.shape
    zeros = xp.zeros((lanes, size), c.dtype)
    gc, gh = (zeros.copy() if g is None else g.copy() for g in (gc, gh))
    gxs = xp.empty((steps, lanes, W.shape[1] - size - 1), c.dtype)
    W_x = xp.ascontiguousarray(W[:, size:-1])
    gW = xp.zeros_like(W)
    for start, stop, ga in _blocks(xp, tape, gys, gc, gh, zeros):
        ga = ga.reshape(-1, 4 * size)
        gW += ga.T @ staged[start:stop].reshape(len(ga), -1)
        if inputs:
            xp.matmul(ga, W_x, out=gxs[start:stop].reshape(len(ga), -1))
    gh *= keep[0, :, None]
    return gxs if inputs else None, gc, gh, gW


def _blocks(xp, tape: Tape, gys, gc, gh, zeros):
    """Go back in time; yield (start, stop, ga (stop - start, B, 4H)).

    The array is used again for the next block. gc and gh (B, H) hold the
    gradients of the cell and of the unmasked h, and are overwritten.
    """
    W, keep, gates, c, first, staged = tape
    steps, lanes, size = c.shape
    length = max(1, min(steps, BLOCK_ROWS // lanes))
    ga = xp.empty((length, lanes, 4 * size), c.dtype)
    again = xp.empty_like(ga) if gates is None else ga
    W_h = xp.ascontiguousarray(W[:, :size].T)
    gys = None if gys is None else xp.ascontiguousarray(gys)
    kernels = kernels_for(c)
    for stop in range(steps, 0, -length):
        start = max(0, stop - length)
        if gates is None:
            rows = again[: stop - start].reshape(-1, 4 * size)
            stages = staged[start:stop].reshape(len(rows), -1)
            kernels.lstm_activate(xp.matmul(stages, W.T, out=rows))
        for t in range(stop - 1, start - 1, -1):
            kernels.lstm_backward(
                again[t - start] if gates is None else gates[t],
                *(c[t], c[t - 1] if t else first, keep[t], keep[t + 1]),
                *(zeros if gys is None else gys[t], gh, gc, ga[t - start]),
            )
            xp.matmul(ga[t - start], W_h.T, out=gh)
        yield start, stop, ga[: stop - start]
