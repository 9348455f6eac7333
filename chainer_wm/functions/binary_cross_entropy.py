"""The cross-entropy of images of 0 and 1, from the logits of their pixels.

``chainer.functions.sigmoid_cross_entropy`` in one pass: on the CPU its logarithm, its logistic
function and its masks cost a network that predicts images more than some of its products do.
"""

from __future__ import annotations

import chainer
import numpy as np
from chainer import backend
from chainer.utils import type_check

from chainer_wm.functions.elementary import OPTIONS, exp, log1p
from dnc.kernel_cache import cached_njit


class BinaryCrossEntropy(chainer.FunctionNode):
    """Logits (n, P) -> sum over all of -log p(target), in nats, (); p(1) = sigmoid(logit).

    Args:
        targets: (n, P) uint8 of 0 and 1, on the logits' device.
        counts: (n,) bool, the rows that count; None is all of them.
    """

    def __init__(self, targets, counts=None) -> None:
        super().__init__()
        self._targets, self._counts = targets, counts

    def check_type_forward(self, in_types) -> None:
        type_check.expect(
            in_types.size() == 1,
            in_types[0].dtype.kind == 'f',
            in_types[0].shape == self._targets.shape,
        )

    def forward(self, inputs):
        (x,) = inputs
        xp = backend.get_array_module(x)
        t = self._targets
        counts = xp.ones(len(x), bool) if self._counts is None else self._counts
        if xp is np:
            self._slope, total = np.empty(x.shape, x.dtype), np.empty(len(x))
            _rows(np.ascontiguousarray(x), t, counts, self._slope, total)
        else:
            # softplus(x) - t x, whose slope is sigmoid(x) - t
            small = xp.exp(-abs(x))
            losses = xp.maximum(x, 0) + xp.log1p(small) - t * x
            total = losses.sum(axis=1, dtype=np.float64) * counts
            self._slope = (xp.where(x > 0, 1, small) / (1 + small) - t).astype(x.dtype)
            self._slope *= counts[:, None]
        return (xp.asarray(total.sum(), x.dtype),)

    def backward(self, indexes, grads):
        if chainer.config.enable_backprop:
            raise RuntimeError('no second derivative here: use chainer.functions')
        return (chainer.as_variable(self._slope * grads[0].array),)


@cached_njit(**OPTIONS)
def _rows(x, t, counts, slope, total):
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for n in range(len(x)):
        total[n] = 0
        if not counts[n]:
            slope[n] = zero
            continue
        losses = slope[n]  # until they are summed up
        for i in range(x.shape[1]):
            logit = x[n, i]
            losses[i] = max(logit, zero) + log1p(exp(-abs(logit))) - logit * t[n, i]
        for i in range(x.shape[1]):
            total[n] += losses[i]
        for i in range(x.shape[1]):
            logit = x[n, i]
            small = exp(-abs(logit))
            slope[n, i] = (one if logit > zero else small) / (one + small) - t[n, i]
