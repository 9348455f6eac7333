"""A V without some of its latents: those that tell nothing of the frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainer_wm.vision import ConvVAE


def without(vision: ConvVAE, dropped: Any, means: Any) -> ConvVAE:
    """The same V without some latents, decoding as if at their means.

    Args:
        dropped: (Z,) booleans.
        means: (Z,), where the decoder takes a dropped latent to be.

    Raises:
        ValueError: all would be dropped, or there are not Z.
    """
    dropped = np.asarray(dropped, bool)
    if dropped.shape != (vision.latent_size,) or dropped.all():
        raise ValueError(
            f'{dropped.sum()} of {dropped.size} latents to drop from a V '
            f'of {vision.latent_size}: at least one must stay'
        )
    rest = ConvVAE(
        int((~dropped).sum()), seed=vision.seed, engine=vision.engine
    )
    rest.to_device(vision.device)
    xp = vision.xp
    dropped, means = xp.asarray(dropped), xp.asarray(means, vision.dtype)
    for layer in vision.children():
        W, b = layer.W.array, layer.b.array
        if layer.name in ('mu', 'ln_var'):
            W, b = W[~dropped], b[~dropped]
        elif layer.name == 'fc':
            b = b + W[:, dropped] @ means[dropped]
            W = W[:, ~dropped]
        rest[layer.name].W.array = W.copy()
        rest[layer.name].b.array = b.copy()
    return rest
