"""Mixtures of Gaussians, one per latent dimension: density, samples and M's loss.

The mixture density network of Bishop (1994) as World Models (Ha and
Schmidhuber 2018) uses it: every latent dimension has K components of its own, with its own
weights, means and deviations. All sums of densities are done in the log domain, so that a far-away
target costs many nats and never an infinity.

``MixtureLoss`` is head and loss of M as one function that never holds the whole mixture: the
head's output is by far the largest array of M's training, so it is computed, scored and turned
into its own gradient a block of rows at a time, and each block is gone before the next one comes.
``composed_loss`` is the same in Chainer's functions.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import chainer
import chainer.functions as F
import numpy as np
from chainer import backend
from chainer.utils import type_check

from chainer_wm.devices import to_cpu
from chainer_wm.functions import mixture_kernels

LN_2PI = math.log(2 * math.pi)
BLOCK_ROWS = 2048  # time steps times lanes whose mixtures exist at once


class Mixture(NamedTuple):
    """K components for each of Z latent dimensions, every field (..., K, Z).

    Fields:
        logits: unnormalised log weights of the components.
        mu: means.
        ln_sigma: natural logarithm of the standard deviations (not of the variances).
    """

    logits: Any
    mu: Any
    ln_sigma: Any


def check_latents(z, mixture: Mixture) -> None:
    """Raise ValueError unless z (..., Z) fits the mixture (..., K, Z)."""
    shape = mixture.mu.shape
    if z.shape[-1] != shape[-1]:
        raise ValueError(
            f'z has {z.shape[-1]} dims but M predicts {shape[-1]}: was M trained on another VAE?'
        )
    if z.shape[:-1] != shape[:-2]:
        raise ValueError(
            f'z has leading axes {z.shape[:-1]} but the mixture has '
            f'{shape[:-2]}: are time and batch in the same order?'
        )


def mixture_nll(z, mixture: Mixture) -> chainer.Variable:
    """Negative log-likelihood of each latent dimension under its mixture.

    Args:
        z: targets, (..., Z).
        mixture: logits, mu and ln_sigma, each (..., K, Z).

    Returns:
        (..., Z) nats, one number per latent dimension: callers take the mean.

    Raises:
        ValueError: the shapes do not fit.
    """
    check_latents(z, mixture)
    z = F.expand_dims(chainer.as_variable(z), -2)
    scaled = (F.broadcast_to(z, mixture.mu.shape) - mixture.mu) * F.exp(-mixture.ln_sigma)
    # ln N(z; mu_k, sigma_k) = -((z - mu_k) / sigma_k)^2 / 2 - ln sigma_k - ln(2 pi) / 2
    ln_density = -0.5 * (scaled**2 + LN_2PI) - mixture.ln_sigma
    ln_weight = F.log_softmax(mixture.logits, axis=-2)  # ln pi_k
    # Bishop 1994: E = -ln sum_k pi_k N(z; mu_k, sigma_k)
    return -F.logsumexp(ln_weight + ln_density, axis=-2)


def mixture_mean(mixture: Mixture) -> np.ndarray:
    """E z of each mixture, (..., Z), on the CPU."""
    logits, mu = to_cpu(mixture.logits), to_cpu(mixture.mu)
    weights = np.exp(logits - logits.max(axis=-2, keepdims=True))
    return (weights * mu).sum(axis=-2) / weights.sum(axis=-2)


def draw_noise(rng: np.random.Generator, shape):
    """Noise for one sample of each dimension: uniform u, then normal eps.

    Args:
        rng: the stream; it is always asked for float64, so that every dtype and device sees the
            same numbers.
        shape: shape of both arrays, (..., Z).

    Returns:
        (u, eps): u in [0, 1) picks the component, eps ~ N(0, 1) the value.
    """
    return rng.random(shape), rng.standard_normal(shape)


def sample_mixture(
    mixture: Mixture, rng: np.random.Generator | None = None, temperature=1.0, noise=None
):
    """Draw z from a mixture at a temperature (World Models, section 2).

    The component is picked from softmax(logits / tau) by the inverse of its distribution function;
    then z = mu + sigma sqrt(tau) eps.

    Args:
        mixture: arrays or Variables, each (..., K, Z).
        rng: source of the noise, drawn on the CPU.
        temperature: tau > 0, a number or an array (...) with one per lane.
        noise: (u, eps), each (..., Z), in the place of rng.

    Returns:
        Array (..., Z) of the mixture's dtype, on its device.

    Raises:
        ValueError: neither or both of rng and noise are given, or tau is not positive.
    """
    logits, mu, ln_sigma = (chainer.as_array(field) for field in mixture)
    if (rng is None) == (noise is None):
        raise ValueError('give either rng or noise')
    if backend.get_array_module(temperature).any(temperature <= 0):
        raise ValueError(f'temperature must be positive, not {temperature}')
    shape = mu.shape[:-2] + mu.shape[-1:]
    u, eps = draw_noise(rng, shape) if rng is not None else noise
    xp = backend.get_array_module(mu)
    u, eps, tau = (xp.asarray(v, mu.dtype) for v in (u, eps, temperature))
    tau = tau.reshape(tau.shape + (1,) * (mu.ndim - tau.ndim))
    scaled = (logits - logits.max(axis=-2, keepdims=True)) / tau  # ln pi_k / tau, unnormalised
    cumulative = xp.cumsum(xp.exp(scaled), axis=-2)
    # comparing with all thresholds but the last leaves no way to miss
    threshold = u[..., None, :] * cumulative[..., -1:, :]
    k = (cumulative[..., :-1, :] <= threshold).sum(axis=-2, keepdims=True)
    tau = tau[..., 0]
    total = cumulative[..., -1, :]
    # z = mu_k + sigma_k sqrt(tau) eps
    z = (
        xp.take_along_axis(mu, k, axis=-2)[..., 0, :]
        + xp.exp(xp.take_along_axis(ln_sigma, k, axis=-2)[..., 0, :]) * xp.sqrt(tau) * eps
    )
    # a logit that is not finite must show, whatever component it picked
    return xp.where(xp.isfinite(total), z, xp.nan)


class MixtureLoss(chainer.FunctionNode):
    """(ys, W, b) -> loss, the weighted sum over all steps, a scalar.

    The gradients are computed on the way forward, if there will be a backward pass. ``nll`` and
    ``done_loss`` are the two parts of the loss, arrays.

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
            entropy = xp.logaddexp(0, logit) - logit * done  # ln(1 + e^x) - x d
            self.done_loss += (entropy * done_weight).sum()
            block[:, -1] = done_weight * (_sigmoid(xp, logit) - done)  # d/dx of it
        nll = mixture_kernels.mixture_loss(block, b, z, weight, training)
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
