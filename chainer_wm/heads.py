"""What M reads off its core's output beside the mixture: its parts, a reward.

The reward of a step is read from the core's output after it consumed (z, a):
the state of before the step and the action are both in there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer import backend, initializers

from chainer_wm.mixture import Mixture


class Prediction(NamedTuple):
    """What M says about the next step.

    Fields:
        mixture: of the next z, every field (..., K, Z).
        done_logit: logit of "the episode ends here", (...), or None.
        reward: of this step, (...), or None.
    """

    mixture: Mixture
    done_logit: Any
    reward: Any = None


def split_mixture(out, mixtures: int, latent_size: int) -> Mixture:
    """The first 3KZ columns of a head's output (..., >= 3KZ) as a mixture."""
    shape = (*out.shape[:-1], mixtures, latent_size)
    size = mixtures * latent_size
    fields = (
        F.reshape(out[..., n * size : (n + 1) * size], shape) for n in range(3)
    )
    return Mixture(*fields)


class RewardHead(L.Linear):
    """The mean of a Gaussian over a step's reward, linear in M's output.

    Args:
        input_size: Y, of the core's output.
        scale: standard deviation of the Gaussian, in the reward's units.
        seed: of the initial weights.

    Raises:
        ValueError: the scale is not positive.
    """

    def __init__(self, input_size: int, scale: float, seed: int) -> None:
        if not scale > 0:
            raise ValueError(f'reward_scale is {scale}, but must be positive')
        rng = np.random.RandomState(seed)
        super().__init__(
            input_size, 1, initialW=initializers.LeCunNormal(rng=rng)
        )
        self.scale = scale

    def forward(self, ys):
        """Rewards (...) in the game's units of outputs ys (..., Y)."""
        return super().forward(ys, ys.ndim - 1)[..., 0] * self.scale

    def loss(self, ys, reward):
        """Half the mean squared error in units of ``scale``, a scalar.

        It is the negative log-likelihood of the Gaussian less its constant.

        Args:
            ys: (T, B, Y).
            reward: (T, B); what is not a number is not known, and left out.

        Raises:
            ValueError: the shapes do not fit.
        """
        if reward.shape != ys.shape[:-1]:
            raise ValueError(
                f'reward has shape {reward.shape} but (T, B) is '
                f'{ys.shape[:-1]}'
            )
        xp = backend.get_array_module(reward)
        known = xp.isfinite(reward)
        target = xp.where(known, reward, 0).astype(ys.dtype)
        error = (self(ys) - target) / self.scale * known.astype(ys.dtype)
        return 0.5 * F.sum(F.square(error)) / max(int(known.sum()), 1)
