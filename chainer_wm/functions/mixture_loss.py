"""Head and loss of M as one function that never holds the whole mixture.

The head's output is by far the largest array of M's training: it is computed,
scored and turned into its own gradient a block of rows at a time, and each
block is gone before the next one comes. Equal to the composed functions of
``model.MDNRNN`` with the engine 'reference'.
"""

from __future__ import annotations

import chainer
import chainer.functions as F
from chainer import backend
from chainer.utils import type_check

from chainer_wm.functions.kernels import kernels_for
from chainer_wm.functions.mixture import mixture_nll

BLOCK_ROWS = 2048  # time steps times lanes whose mixtures exist at once


class MixtureLoss(chainer.FunctionNode):
    """(ys, W, b) -> loss, the weighted sum over all steps, a scalar.

    The gradients are computed on the way forward, if there will be a backward
    pass. ``nll`` and ``done_loss`` are the two parts of the loss, arrays.

    Args:
        z_next: targets, (T, B, Z).
        weight: (T, B): of the sum of the NLL over the dims of a step; a
            target is not read where it is 0.
        done_weight: (T, B): of the binary cross entropy of a step.
        done: (T, B) 0 or 1, or None where death is not predicted.
    """

    def __init__(self, z_next, weight, done_weight=None, done=None) -> None:
        super().__init__()
        self._z_next = z_next
        self._weights = weight, done_weight, done
        self.nll = self.done_loss = None

    def check_type_forward(self, in_types) -> None:
        ys, W, b = in_types
        type_check.expect(
            ys.dtype.kind == 'f',
            W.dtype == ys.dtype,
            b.dtype == ys.dtype,
            ys.ndim == 3,
            W.shape[1] == ys.shape[2],
            W.shape[0] == b.shape[0],
        )

    def forward(self, inputs):
        ys, W, b = inputs
        xp = backend.get_array_module(ys)
        training = chainer.config.enable_backprop
        rows = ys.reshape(-1, ys.shape[2])
        out = xp.empty((min(BLOCK_ROWS, len(rows)), len(W)), ys.dtype)
        W_rows = xp.ascontiguousarray(W)
        grads = xp.empty_like(rows), xp.zeros_like(W), xp.zeros_like(b)
        parts = xp.zeros((2, 1), ys.dtype)
        self.nll, self.done_loss = (part.reshape(()) for part in parts)
        for start in range(0, len(rows), BLOCK_ROWS):
            here = slice(start, start + BLOCK_ROWS)
            block = out[: len(rows[here])]
            xp.matmul(rows[here], W_rows.T, out=block)
            self._score(xp, block, b, here, training)
            if training:
                xp.matmul(block, W_rows, out=grads[0][here])
                grads[1][...] += block.T @ rows[here]
                grads[2][...] += block.sum(axis=0)
        self._grads = (grads[0].reshape(ys.shape), *grads[1:])
        return (xp.asarray(parts.sum()),)

    def backward(self, indexes, grads):
        if chainer.config.enable_backprop:
            raise RuntimeError('the fused loss has no second derivative: use engine="reference"')
        return tuple(chainer.as_variable(self._grads[n] * grads[0].array) for n in indexes)

    def _score(self, xp, block, b, here: slice, training: bool) -> None:
        """Add a block's losses; turn the block into its gradient."""
        z = self._z_next.reshape(-1, self._z_next.shape[-1])[here]
        weight, done_weight, done = (
            part if part is None else part.reshape(-1)[here] for part in self._weights
        )
        if done is not None:
            logit = block[:, -1] + b[-1]
            entropy = xp.logaddexp(0, logit) - logit * done
            self.done_loss += (entropy * done_weight).sum()
            block[:, -1] = done_weight * (_sigmoid(xp, logit) - done)
        nll = kernels_for(block).mixture_loss(block, b, z, weight, training)
        self.nll += (nll * weight).sum()


def _sigmoid(xp, x):
    return 0.5 * xp.tanh(0.5 * x) + 0.5


def composed_loss(mixture, logit, z_next, weight, done_weight, done):
    """What ``MixtureLoss`` computes, as composed functions.

    Args:
        mixture: fields (T, B, K, Z). logit: of death, (T, B), or None.
        z_next, weight, done_weight, done: as for ``MixtureLoss``.

    Returns:
        (loss, nll, done_loss): scalars; done_loss is None without logit.
    """
    xp = backend.get_array_module(weight)
    z_next = xp.where(weight[..., None] > 0, z_next, 0)
    nll = F.sum(mixture_nll(z_next, mixture), axis=-1)
    nll = F.sum(nll * weight)
    if logit is None:
        return nll, nll, None
    entropy = F.softplus(logit) - logit * done
    done_loss = F.sum(entropy * done_weight)
    return nll + done_loss, nll, done_loss


def nll_weight(mask, latent_size: int, dtype):
    """(T, B) weights that make a mean over the dims of the known steps."""
    xp = backend.get_array_module(mask)
    known = (mask != 0).astype(dtype)
    return known / (xp.maximum(known.sum(), 1) * latent_size)


def entropy_weight(done, done_weight: float, dtype):
    """(T, B) weights of a mean over the steps where done is not -1.

    A step where done is 1 has done_weight times the weight of the others.
    """
    xp = backend.get_array_module(done)
    known = (done >= 0).astype(dtype)
    weight = known / xp.maximum(known.sum(), 1)
    return xp.where(done > 0, done_weight * weight, weight).astype(dtype)


def check_targets(z, z_next, mask, done) -> None:
    """Raise ValueError unless the targets have the shape of z (T, B, Z)."""
    if z_next.shape != z.shape:
        raise ValueError(
            f'z_next has shape {z_next.shape} but z has {z.shape}: was one '
            f'of them encoded by another V?'
        )
    for name, value in (('mask', mask), ('done', done)):
        if value.shape != z.shape[:2]:
            raise ValueError(f'{name} has shape {value.shape} but z needs (T, B) = {z.shape[:2]}')
