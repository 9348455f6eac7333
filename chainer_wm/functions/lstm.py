"""A whole LSTM sequence as one function with an analytic backward pass.

The equations are those of ``recurrent.LSTM.step``. Two engines do the work: a loop over time in
Python, on every device; and whole blocks of time in one compiled loop on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import chainer
import numba
import numpy as np
from chainer import backend
from chainer.utils import type_check

from chainer_wm.functions import lstm_kernels as kernels
from chainer_wm.functions.arena import Arena

BLOCK_ROWS = 2048  # time steps times lanes in one product of the backward pass
LANES = 4  # at least as many per thread


class LSTMSequence(chainer.FunctionNode):
    """(xs, c, h, W) -> (ys, c, h).

    Args:
        arena: working memory for the CPU.
        reset: (T, B) of 0 and 1, or None, see ``recurrent.LSTM.sequence``.
        recompute: False keeps the gates for the backward pass: per step and lane 7H + X + 1
            numbers with the cells, the inputs and the output. True computes them anew by one
            product per block of time: 3H + X
            + 1 numbers, and about a sixth more arithmetic.
        mask: (B, H), or None, see ``recurrent.LSTM.sequence``.
    """

    def __init__(self, arena: Arena, reset=None, recompute: bool = False, mask=None) -> None:
        super().__init__()
        self._arena = arena
        self._reset = reset
        self._mask = mask
        self._recompute = recompute

    def check_type_forward(self, in_types) -> None:
        xs, c, h, W = in_types
        type_check.expect(
            xs.dtype.kind == 'f',
            c.dtype == xs.dtype,
            h.dtype == xs.dtype,
            W.dtype == xs.dtype,
            xs.ndim == 3,
            c.shape == h.shape,
            c.shape[0] == xs.shape[1],
            W.shape[0] == 4 * c.shape[1],
            W.shape[1] == c.shape[1] + xs.shape[2] + 1,
        )

    def forward(self, inputs):
        xs, c, h, W = inputs
        keep = backend.get_array_module(xs).ones((xs.shape[0] + 1, xs.shape[1]), xs.dtype)
        if self._reset is not None:
            keep[:-1] = self._reset == 0
        self._engine = engine_for(xs)(
            W, keep, self._mask, self._arena, chainer.config.enable_backprop, self._recompute
        )
        return self._engine.forward(xs, c, h)

    def backward(self, indexes, grads):
        if chainer.config.enable_backprop:
            raise RuntimeError('the fused LSTM has no second derivative: use engine="reference"')
        arrays = (g if g is None else g.array for g in grads)
        found = self._engine.backward(*arrays, inputs=0 in indexes)
        return tuple(chainer.as_variable(found[n]) for n in indexes)


def engine_for(xs) -> type[_Engine]:
    """``Tiles`` for a sequence on the CPU; else, and for one step, ``Steps``.

    Arranging the weights for ``Tiles`` costs as much as a step or two.
    """
    return Tiles if isinstance(xs, np.ndarray) and len(xs) > 1 else Steps


class _Engine:
    """One sequence of T steps and B lanes, forward and back; K = H + X + 1.

    Args:
        W: (4H, K). keep: (T + 1, B), 0 where the state is zeroed before t.
        mask: (B, H), what the gates see of h is multiplied by; or None.
        arena: working memory for the CPU.
        taped: there will be a backward pass.
        recompute: compute the gates again in it.

    Attributes:
        gates: (T, B, 4H or more) activated; None if they are computed again.
        staged: (T + 1, B, K), rows of [h, x, 1].
    """

    gates: Any
    staged: Any

    def __init__(self, W, keep, mask, arena: Arena, taped: bool, recompute: bool) -> None:
        self.W, self.keep, self.arena = W, keep, arena
        self.taped, self.stored = taped, taped and not recompute
        self.steps, self.lanes = len(keep) - 1, keep.shape[1]
        self.size = len(W) // 4
        self.xp = backend.get_array_module(W)
        self.masked = mask is not None
        self.mask = mask if self.masked else self.xp.ones((1, self.size), W.dtype)

    def forward(self, xs, c, h) -> tuple[Any, Any, Any]:
        """(ys, c, h) of a sequence."""
        raise NotImplementedError

    def backward(self, gys, gc, gh, *, inputs: bool):
        """Gradients of (xs, c, h, W); that of xs only if ``inputs``."""
        xp, W, size = self.xp, self.W, self.size
        gc, gh = (
            xp.zeros((self.lanes, size), W.dtype) if g is None else g.copy() for g in (gc, gh)
        )
        gxs = self._empty(self.steps, self.lanes, W.shape[1] - size - 1)
        W_x = xp.ascontiguousarray(W[:, size:-1])
        gW, part = xp.zeros_like(W), xp.empty_like(W)
        for start, stop, ga in self._blocks(gys, gc, gh):
            # dL/dW = sum_t ga_t [h; x; 1]^T, dL/dx_t = W_x^T ga_t
            gW += xp.matmul(ga.T, self.staged[start:stop].reshape(len(ga), -1), out=part)
            if inputs:
                xp.matmul(ga, W_x, out=gxs[start:stop].reshape(len(ga), -1))
        gh *= self.keep[0, :, None]
        return gxs if inputs else None, gc, gh, gW

    def _blocks(self, gys, gc, gh) -> Iterator[tuple[int, int, Any]]:
        """Go back in time; yield (start, stop, ga (rows, 4H)).

        ga is used again for the next block. gc and gh (B, H) hold the gradients of the cell and of
        the unmasked h, and are overwritten.
        """
        raise NotImplementedError

    def _ranges(self) -> tuple[int, list[tuple[int, int]]]:
        """Steps in a block, and (start, stop) of the blocks from the last."""
        length = max(1, min(self.steps, BLOCK_ROWS // self.lanes))
        stops = range(self.steps, 0, -length)
        return length, [(max(0, stop - length), stop) for stop in stops]

    def _activated(self, start: int, stop: int, scratch):
        """The gates of a block, computed again where they were not kept."""
        if self.gates is not None:
            return self.gates[start:stop]
        block = scratch[: stop - start]
        rows = block.reshape(-1, 4 * self.size)
        stages = self.staged[start:stop].reshape(len(rows), -1)
        kernels.lstm_activate(self.xp.matmul(stages, self.W.T, out=rows))
        return block

    def _empty(self, *shape: int):
        return self.xp.empty(shape, self.W.dtype)


class Steps(_Engine):
    """A loop over time, on every device.

    Every step is one matrix product, [h, x, 1] times W, and one fused element-wise kernel; the
    gradient of W is taken a block of time at a time.

    Attributes:
        c: (T, B, H), cells after each step. first: (B, H), before them all.
    """

    def forward(self, xs, c, h):
        xp, size, steps, keep = self.xp, self.size, self.steps, self.keep
        self.first = c = xp.ascontiguousarray(c)
        # without a backward pass the same memory serves every step
        gates = self._empty(steps if self.stored else 1, self.lanes, 4 * size)
        self.c = cells = self._empty(steps if self.taped else min(2, steps), *h.shape)
        slots = steps + 1 if self.taped else 1
        self.staged = staged = self._empty(slots, self.lanes, self.W.shape[1])
        self.gates = gates if self.stored else None
        ys = self._empty(steps, self.lanes, size)
        xp.multiply(h, keep[0, :, None] * self.mask, out=staged[0, :, :size])
        staged[:, :, -1] = 1
        for t in range(steps):
            stage, gate = staged[t % slots], gates[t % len(gates)]
            stage[:, size:-1] = xs[t]
            xp.matmul(stage, self.W.T, out=gate)  # W [h; x; 1]
            after = cells[t % len(cells)], ys[t], staged[(t + 1) % slots]
            kernels.lstm_forward(gate, c, keep[t], keep[t + 1], self.mask, *after)
            c = after[0]
        if steps > 1:  # the state shall not hold on to the whole sequence
            return ys, c.copy(), ys[-1].copy()
        return ys, c, ys[-1]

    def _blocks(self, gys, gc, gh):
        xp, c, keep = self.xp, self.c, self.keep
        length, ranges = self._ranges()
        ga = self._empty(length, self.lanes, 4 * self.size)
        scratch = xp.empty_like(ga) if self.gates is None else None
        W_h = xp.ascontiguousarray(self.W[:, : self.size].T)
        zeros = xp.zeros_like(gc)
        gys = None if gys is None else xp.ascontiguousarray(gys)
        for start, stop in ranges:
            gates = self._activated(start, stop, scratch)
            for t in range(stop - 1, start - 1, -1):
                kernels.lstm_backward(
                    *(gates[t - start], c[t], c[t - 1] if t else self.first),
                    *(keep[t], keep[t + 1], zeros if gys is None else gys[t]),
                    *(gh, gc, ga[t - start]),
                )
                xp.matmul(ga[t - start], W_h.T, out=gh)  # dL/dh_{t-1} = W_h^T ga_t
                if self.masked:
                    gh *= self.mask
            yield start, stop, ga[: stop - start].reshape(-1, 4 * self.size)


class Tiles(_Engine):
    """On the CPU: one compiled loop over time per group of lanes.

    BLAS rearranges the weights on every call, which takes half the time of
    the small products of a single step. Here they are rearranged once per sequence, into panels as
    wide as a block of registers; and since lanes do not meet, each core takes its lanes through
    all of time without waiting
    for the others.

    Attributes:
        c: (T + 1, B, H), cells before each step and after the last.
    """

    def forward(self, xs, c, h):
        size, steps, lanes, keep = self.size, self.steps, self.lanes, self.keep
        panels = kernels.pack(self.W, self.arena)
        rows = (steps, lanes) if self.stored else (self._parts(), kernels.CHUNK)
        gates = self._empty(*rows, panels.shape[0] * panels.shape[2])
        slots = steps + 1 if self.taped else 1
        self.c = self._empty(slots, lanes, size)
        self.staged = self._empty(slots, lanes, self.W.shape[1])
        self.gates = gates if self.stored else None
        ys = self._empty(steps, lanes, size)
        self.c[0] = c
        np.multiply(h, keep[0, :, None] * self.mask, out=self.staged[0, :, :size])
        self.staged[:, :, -1] = 1
        kernels.advance(
            *(np.ascontiguousarray(xs), keep, self.mask, panels, gates, self.c, self.staged, ys),
            *(self.stored, self._parts()),
        )
        return ys, self.c[-1].copy(), ys[-1].copy()

    def _blocks(self, gys, gc, gh):
        lanes, size, c, keep = self.lanes, self.size, self.c, self.keep
        length, ranges = self._ranges()
        panels = kernels.pack(self.W[:, :size].T, self.arena)
        padded = np.zeros((lanes, panels.shape[0] * panels.shape[2]), c.dtype)
        padded[:, :size] = gh
        # a row's length that is no power of two spares the cache
        ga = self._empty(length, lanes, 4 * size + panels.shape[2])
        scratch = self._empty(length, lanes, 4 * size) if self.gates is None else None
        gys = np.zeros((1, lanes, size), c.dtype) if gys is None else np.ascontiguousarray(gys)
        for start, stop in ranges:
            block = ga[: stop - start]
            kernels.retreat(
                self._activated(start, stop, scratch),
                *(c[start : stop + 1], keep[start : stop + 1], self.mask),
                gys if len(gys) < self.steps else gys[start:stop],
                *(gc, padded, block, panels, self._parts()),
            )
            yield start, stop, block.reshape(-1, ga.shape[2])[:, : 4 * size]
        gh[...] = padded[:, :size]

    def _parts(self) -> int:
        return max(1, min(numba.get_num_threads(), self.lanes // LANES))

    def _empty(self, *shape: int):
        return self.arena.take(shape, self.W.dtype)
