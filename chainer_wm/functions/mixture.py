"""Mixtures of Gaussians, one per latent dimension: density and samples.

The mixture density network of Bishop (1994) as World Models (Ha and
Schmidhuber 2018) uses it: every latent dimension has K components of its own,
with its own weights, means and deviations. All sums of densities are done in
the log domain, so that a far-away target costs many nats and never an
infinity.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import chainer
import chainer.functions as F
import numpy as np

LN_2PI = math.log(2 * math.pi)


class Mixture(NamedTuple):
    """K components for each of Z latent dimensions, every field (..., K, Z).

    Fields:
        logits: unnormalised log weights of the components.
        mu: means.
        ln_sigma: natural logarithm of the standard deviations (not of the
            variances).
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
    ln_density = -0.5 * (scaled**2 + LN_2PI) - mixture.ln_sigma
    ln_weight = F.log_softmax(mixture.logits, axis=-2)
    return -F.logsumexp(ln_weight + ln_density, axis=-2)


def draw_noise(rng: np.random.Generator, shape):
    """Noise for one sample of each dimension: uniform u, then normal eps.

    Args:
        rng: the stream; it is always asked for float64, so that every dtype
            and device sees the same numbers.
        shape: shape of both arrays, (..., Z).

    Returns:
        (u, eps): u in [0, 1) picks the component, eps ~ N(0, 1) the value.
    """
    return rng.random(shape), rng.standard_normal(shape)


def sample_mixture(
    mixture: Mixture, rng: np.random.Generator | None = None, temperature=1.0, noise=None
):
    """Draw z from a mixture at a temperature (World Models, section 2).

    The component is picked from softmax(logits / tau) by the inverse of its
    distribution function; then z = mu + sigma sqrt(tau) eps.

    Args:
        mixture: arrays or Variables, each (..., K, Z).
        rng: source of the noise, drawn on the CPU.
        temperature: tau > 0, a number or an array (...) with one per lane.
        noise: (u, eps), each (..., Z), in the place of rng.

    Returns:
        Array (..., Z) of the mixture's dtype, on its device.

    Raises:
        ValueError: neither or both of rng and noise are given, or tau is not
            positive.
    """
    logits, mu, ln_sigma = (chainer.as_array(field) for field in mixture)
    if (rng is None) == (noise is None):
        raise ValueError('give either rng or noise')
    if chainer.backend.get_array_module(temperature).any(temperature <= 0):
        raise ValueError(f'temperature must be positive, not {temperature}')
    shape = mu.shape[:-2] + mu.shape[-1:]
    u, eps = draw_noise(rng, shape) if rng is not None else noise
    xp = chainer.backend.get_array_module(mu)
    u, eps, tau = (xp.asarray(v, mu.dtype) for v in (u, eps, temperature))
    tau = tau.reshape(tau.shape + (1,) * (mu.ndim - tau.ndim))
    scaled = (logits - logits.max(axis=-2, keepdims=True)) / tau
    cumulative = xp.cumsum(xp.exp(scaled), axis=-2)
    # comparing with all thresholds but the last leaves no way to miss
    threshold = u[..., None, :] * cumulative[..., -1:, :]
    k = (cumulative[..., :-1, :] <= threshold).sum(axis=-2, keepdims=True)
    tau = tau[..., 0]
    total = cumulative[..., -1, :]
    z = (
        xp.take_along_axis(mu, k, axis=-2)[..., 0, :]
        + xp.exp(xp.take_along_axis(ln_sigma, k, axis=-2)[..., 0, :]) * xp.sqrt(tau) * eps
    )
    # a logit that is not finite must show, whatever component it picked
    return xp.where(xp.isfinite(total), z, xp.nan)
