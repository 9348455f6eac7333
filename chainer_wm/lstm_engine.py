"""A whole LSTM sequence as one function with an analytic backward pass.

Every step is one matrix product, [h, x, 1] times W, and one fused element-wise
kernel; the gradient of W is taken a block of time at a time, as a large
product. The equations are those of ``recurrent.LSTM.step``.
"""

from __future__ import annotations

import chainer
from chainer import backend
from chainer.utils import type_check

from chainer_wm.kernels import kernels_for

BLOCK_ROWS = 2048  # time steps times lanes in one product of the backward pass


class LSTMSequence(chainer.FunctionNode):
    """(xs, c, h, W) -> (ys, c, h).

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
        xs, c_prev, h, W = inputs
        xp = backend.get_array_module(xs)
        c_prev = xp.ascontiguousarray(c_prev)
        (steps, lanes, _), size = xs.shape, h.shape[1]
        taped = chainer.config.enable_backprop
        # without a backward pass the same memory serves every step
        gate_slots = steps if taped and not self._recompute else 1
        gates = xp.empty((gate_slots, lanes, 4 * size), xs.dtype)
        c = xp.empty((steps if taped else min(2, steps), *h.shape), xs.dtype)
        slots = steps + 1 if taped else 1
        staged = xp.empty((slots, lanes, W.shape[1]), xs.dtype)
        ys = xp.empty((steps, lanes, size), xs.dtype)
        keep = self._keep(xp, xs)
        self._tape = W, keep, gates, c, c_prev, staged
        xp.multiply(h, keep[0, :, None], out=staged[0, :, :size])
        staged[:, :, -1] = 1
        advance = kernels_for(xs).lstm_forward
        for t in range(steps):
            stage, gate = staged[t % slots], gates[t % gate_slots]
            stage[:, size:-1] = xs[t]
            xp.matmul(stage, W.T, out=gate)
            advance(
                *(gate, c_prev, keep[t], keep[t + 1]),
                *(c[t % len(c)], ys[t], staged[(t + 1) % slots]),
            )
            c_prev = c[t % len(c)]
        if steps > 1:  # the state shall not hold on to the whole sequence
            return ys, c_prev.copy(), ys[-1].copy()
        return ys, c_prev, ys[-1]

    def backward(self, indexes, grads):
        if chainer.config.enable_backprop:
            raise RuntimeError(
                'the fused LSTM has no second derivative: use '
                'engine="reference"'
            )
        W, keep, _, c, _, staged = self._tape
        xp = backend.get_array_module(c)
        steps, lanes, size = c.shape
        zeros = xp.zeros((lanes, size), c.dtype)
        gys, gc, gh = (g if g is None else g.array for g in grads)
        gc, gh = (zeros.copy() if g is None else g.copy() for g in (gc, gh))
        gxs = xp.empty((steps, lanes, W.shape[1] - size - 1), c.dtype)
        W_x = xp.ascontiguousarray(W[:, size:-1])
        gW = xp.zeros_like(W)
        for start, stop, ga in self._blocks(gys, gc, gh, zeros):
            ga = ga.reshape(-1, 4 * size)
            gW += ga.T @ staged[start:stop].reshape(len(ga), -1)
            if 0 in indexes:
                xp.matmul(ga, W_x, out=gxs[start:stop].reshape(len(ga), -1))
        gh *= keep[0, :, None]
        found = gxs, gc, gh, gW
        return tuple(chainer.as_variable(found[n]) for n in indexes)

    def _blocks(self, gys, gc, gh, zeros):
        """Go back in time; yield (start, stop, ga (stop - start, B, 4H)).

        The array is used again for the next block. gc and gh (B, H) hold the
        gradients of the cell and of the unmasked h, and are overwritten.
        """
        W, keep, gates, c, c_first, staged = self._tape
        xp = backend.get_array_module(c)
        steps, lanes, size = c.shape
        length = max(1, min(steps, BLOCK_ROWS // lanes))
        ga = xp.empty((length, lanes, 4 * size), c.dtype)
        again = xp.empty_like(ga) if self._recompute else None
        W_h = xp.ascontiguousarray(W[:, :size].T)
        gys = None if gys is None else xp.ascontiguousarray(gys)
        kernels = kernels_for(c)
        for stop in range(steps, 0, -length):
            start = max(0, stop - length)
            if self._recompute:
                rows = again[: stop - start].reshape(-1, 4 * size)
                inputs = staged[start:stop].reshape(len(rows), -1)
                kernels.lstm_activate(xp.matmul(inputs, W.T, out=rows))
            for t in range(stop - 1, start - 1, -1):
                kernels.lstm_backward(
                    again[t - start] if self._recompute else gates[t],
                    *(c[t], c[t - 1] if t else c_first, keep[t], keep[t + 1]),
                    *(zeros if gys is None else gys[t], gh, gc, ga[t - start]),
                )
                xp.matmul(ga[t - start], W_h.T, out=gh)
            yield start, stop, ga[: stop - start]

    def _keep(self, xp, xs):
        """(T + 1, B): 0 where the state is zeroed before the step, else 1."""
        keep = xp.ones((xs.shape[0] + 1, xs.shape[1]), xs.dtype)
        if self._reset is not None:
            keep[:-1] = self._reset == 0
        return keep
