"""A whole LSTM sequence as one function with an analytic backward pass.

The equations are those of ``recurrent.LSTM.step``. Two modules with the same
two functions do the work: ``steps``, a loop over time in Python, on every
device; and ``tiles``, whole blocks of time in one compiled loop on the CPU.
"""

from __future__ import annotations

from types import ModuleType

import chainer
import numpy as np
from chainer import backend
from chainer.utils import type_check

from chainer_wm.functions import lstm_steps, lstm_tiles
from chainer_wm.functions.arena import Arena


class LSTMSequence(chainer.FunctionNode):
    """(xs, c, h, W) -> (ys, c, h).

    Args:
        arena: working memory for the CPU.
        reset: (T, B) of 0 and 1, or None, see ``recurrent.LSTM.sequence``.
        recompute: False keeps the gates for the backward pass: per step and
            lane 7H + X + 1 numbers with the cells, the inputs and the output.
            True computes them anew by one product per block of time: 3H + X
            + 1 numbers, and about a sixth more arithmetic.
    """

    def __init__(self, arena: Arena, reset=None, recompute: bool = False) -> None:
        super().__init__()
        self._arena = arena
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
        xs, c, h, W = inputs
        keep = backend.get_array_module(xs).ones((xs.shape[0] + 1, xs.shape[1]), xs.dtype)
        if self._reset is not None:
            keep[:-1] = self._reset == 0
        self._engine = engine_for(xs)
        outputs, self._tape = self._engine.forward(
            *(xs, c, h, W, keep, self._arena),
            taped=chainer.config.enable_backprop,
            recompute=self._recompute,
        )
        return outputs

    def backward(self, indexes, grads):
        if chainer.config.enable_backprop:
            raise RuntimeError('the fused LSTM has no second derivative: use engine="reference"')
        arrays = (g if g is None else g.array for g in grads)
        found = self._engine.backward(self._tape, *arrays, self._arena, inputs=0 in indexes)
        return tuple(chainer.as_variable(found[n]) for n in indexes)


def engine_for(xs) -> ModuleType:
    """``tiles`` for a sequence on the CPU; else, and for one step, ``steps``.

    Arranging the weights for ``tiles`` costs as much as a step or two.
    """
    return lstm_tiles if isinstance(xs, np.ndarray) and len(xs) > 1 else lstm_steps
