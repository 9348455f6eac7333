"""A whole LSTM sequence as one function with an analytic backward pass.

Every step is one matrix product, [h, x, 1] times [U, W, b] stacked, and one
fused element-wise kernel; the weights' gradients are taken a block of time at
a time, as large products. The equations are those of ``recurrent.LSTM.step``.
"""

from __future__ import annotations

import chainer
from chainer import backend
from chainer.utils import type_check

from chainer_wm.kernels import kernels_for

BLOCK_ROWS = 2048  # time steps times lanes in one product of the backward pass


class LSTMSequence(chainer.FunctionNode):
    """(xs, c, h, W, U, b) -> (ys, c, h).

    Args:
        reset: (T, B) of 0 and 1, or None, see ``recurrent.LSTM.sequence``.
        recompute: False keeps the gates for the backward pass: per step and
            lane 7H + X + 1 numbers with the cells, the inputs and the output.
            True computes them anew by one product per block of time: 3H + X
            + 1 numbers, and about a sixth more arithmetic.
    """

    def __init__(self, reset=None, recompute: bool = False) -> None:
        super().__init__()
        self._reset = reset
        self._recompute = recompute

    def check_type_forward(self, in_types) -> None:
        xs, c, h, W, U, b = in_types
        type_check.expect(
            xs.dtype.kind == 'f',
            *(other.dtype == xs.dtype for other in (c, h, W, U, b)),
            xs.ndim == 3,
            c.shape == h.shape,
            c.shape[0] == xs.shape[1],
            W.shape[1] == xs.shape[2],
            U.shape[1] == c.shape[1],
        )

    def forward(self, inputs):
        xs, c0, h0, W, U, b = inputs
        xp = backend.get_array_module(xs)
        steps, lanes, _ = xs.shape
        size = U.shape[1]
        taped = chainer.config.enable_backprop
        # without a backward pass two slots of time take turns
        slots = steps + 1 if taped else 2
        gate_slots = steps if taped and not self._recompute else 1
        weights = xp.concatenate((U, W, b[:, None]), axis=1)
        keep = self._keep(xp, xs)
        gates = xp.empty((gate_slots, lanes, 4 * size), xs.dtype)
        c = xp.empty((slots, lanes, size), xs.dtype)
        staged = xp.empty((slots, lanes, weights.shape[1]), xs.dtype)
        ys = xp.empty((steps, lanes, size), xs.dtype)
        staged[:, :, -1] = 1
        staged[0, :, :size] = h0 * keep[0, :, None]
        c[0] = c0
        advance = kernels_for(xs).lstm_forward
        for t in range(steps):
            now, after, gate = t % slots, (t + 1) % slots, t % gate_slots
            staged[now, :, size:-1] = xs[t]
            xp.matmul(staged[now], weights.T, out=gates[gate])
            advance(
                *(gates[gate], c[now], keep[t], keep[t + 1]),
                *(c[after], ys[t], staged[after]),
            )
        if taped:
            self._tape = weights, keep, gates, c, staged
        return ys, c[steps % slots].copy(), ys[-1].copy()

    def backward(self, indexes, grads):
        if chainer.config.enable_backprop:
            raise RuntimeError(
                'the fused LSTM has no second derivative: use '
                'engine="reference"'
            )
        weights, keep, _, c, staged = self._tape
        xp = backend.get_array_module(c)
        size = c.shape[2]
        zeros = xp.zeros(c.shape[1:], c.dtype)
        gys, gc, gh = (g if g is None else g.array for g in grads)
        gc, gh = (zeros.copy() if g is None else g.copy() for g in (gc, gh))
        steps, lanes = c.shape[0] - 1, c.shape[1]
        gxs = xp.empty((steps, lanes, staged.shape[2] - size - 1), c.dtype)
        W = xp.ascontiguousarray(weights[:, size:-1])
        gweights = xp.zeros_like(weights)
        for start, stop, ga in self._blocks(gys, gc, gh, zeros):
            ga = ga.reshape(-1, 4 * size)
            gweights += ga.T @ staged[start:stop].reshape(len(ga), -1)
            if 0 in indexes:
                xp.matmul(ga, W, out=gxs[start:stop].reshape(len(ga), -1))
        gh *= keep[0, :, None]
        gU, gW, gb = (
            xp.ascontiguousarray(gweights[:, part])
            for part in (slice(size), slice(size, -1), -1)
        )
        found = gxs, gc, gh, gW, gU, gb
        return tuple(chainer.as_variable(found[n]) for n in indexes)

    def _blocks(self, gys, gc, gh, zeros):
        """Go back in time; yield (start, stop, ga (stop - start, B, 4H)).

        The array is used again for the next block. gc and gh (B, H) hold the
        gradients of the cell and of the unmasked h, and are overwritten.
        """
        weights, keep, gates, c, staged = self._tape
        xp = backend.get_array_module(c)
        steps, (lanes, size) = len(c) - 1, zeros.shape
        length = max(1, min(steps, BLOCK_ROWS // lanes))
        ga = xp.empty((length, lanes, 4 * size), c.dtype)
        again = xp.empty_like(ga) if self._recompute else None
        U_rows = xp.ascontiguousarray(weights[:, :size].T)
        gys = None if gys is None else xp.ascontiguousarray(gys)
        kernels = kernels_for(c)
        for stop in range(steps, 0, -length):
            start = max(0, stop - length)
            if self._recompute:
                rows = again[: stop - start].reshape(-1, 4 * size)
                inputs = staged[start:stop].reshape(len(rows), -1)
                kernels.lstm_activate(xp.matmul(inputs, weights.T, out=rows))
            for t in range(stop - 1, start - 1, -1):
                kernels.lstm_backward(
                    again[t - start] if self._recompute else gates[t],
                    *(c[t + 1], c[t], keep[t], keep[t + 1]),
                    *(zeros if gys is None else gys[t], gh, gc, ga[t - start]),
                )
                xp.matmul(ga[t - start], U_rows.T, out=gh)
            yield start, stop, ga[: stop - start]

    def _keep(self, xp, xs):
        """(T + 1, B): 0 where the state is zeroed before the step, else 1."""
        keep = xp.ones((xs.shape[0] + 1, xs.shape[1]), xs.dtype)
        if self._reset is not None:
            keep[:-1] = self._reset == 0
        return keep
