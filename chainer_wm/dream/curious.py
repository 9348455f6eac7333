"""A dream that also pays for what M does not know."""

from __future__ import annotations

import chainer
import numpy as np

from chainer_wm.dream.simulator import Dream
from chainer_wm.functions.mixture import mixture_nll


class CuriousDream(Dream):
    """A dream whose reward holds M's own loss, with the sign flipped.

    Every step also pays ``curiosity`` times M's negative log-likelihood of
    the next z that it drew itself, in nats per latent dimension. That is what
    M expects its own loss to be there (at temperature 1, on average, the
    entropy of its prediction), so a controller evolved in this dream goes
    where M is unsure. Ha and Schmidhuber 2018 propose to flip the sign of M's
    loss in the actual game; here no game has to be played for it.

    Args:
        curiosity: reward per nat.
        the others: as for ``Dream``.
    """

    def __init__(self, model, starts, curiosity: float, **options) -> None:
        super().__init__(model, starts, **options)
        self.curiosity = curiosity

    def _reward(self) -> np.ndarray:
        model = self.model
        with chainer.no_backprop_mode():
            said = model.predict(model.output(self._state)).mixture
            nll = mixture_nll(self._z, said).array.mean(axis=-1)
        surprise = chainer.get_device('@numpy').send(nll).astype(np.float64)
        return super()._reward() + self.curiosity * surprise
