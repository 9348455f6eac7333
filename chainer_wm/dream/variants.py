"""Dreams that pay for what M does not know, or that show C another M's memory."""

from __future__ import annotations

from typing import Any

import chainer
import numpy as np

from chainer_wm.devices import to_cpu
from chainer_wm.dream.simulator import Dream, DreamStep
from chainer_wm.functions.mixture import mixture_nll


class CuriousDream(Dream):
    """A dream whose reward holds M's own loss, with the sign flipped.

    Every step also pays ``curiosity`` times M's negative log-likelihood of
    the next z that it drew itself, in nats per latent dimension. That is what M expects its own
    loss to be there (at temperature 1, on average, the entropy of its prediction), so a controller
    evolved in this dream goes where M is unsure. Ha and Schmidhuber 2018 propose to flip the sign
    of M's loss in the actual game; here no game has to be played for it.

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
            # -log p(z_{t+1} | z_t, a_t, h_t) / Z
            nll = mixture_nll(self._z, said).array.mean(axis=-1)
        surprise = to_cpu(nll).astype(np.float64)
        return super()._reward() + self.curiosity * surprise


class SecondModelDream(Dream):
    """A dream in which the features c, h and r are those of a second M.

    It reads the same z and actions and decides nothing. Untrained, it is the
    control of the features: what a memory with random weights is worth in the same dream.

    Args:
        second: an ``MDNRNN`` of the same latents and actions.
        remembered: what the second remembers at the dream's places: the state of the same
            ``Places``, run along by it.
        the others: as for ``Dream``.

    Raises:
        ValueError: the dream begins at places, and what the second remembers there is not given.
    """

    def __init__(self, model, starts, second, remembered: Any = None, **options) -> None:
        super().__init__(model, starts, **options)
        if (remembered is None) != (self.places is None):
            raise ValueError(
                f'places are {"not " * (self.places is None)}given but what the second M '
                f'remembers there is {"not " * (remembered is None)}given: they go together'
            )
        self.second, self._remembered = second, remembered

    def reset(self, lanes: int, rng, repeats: int = 1) -> None:
        super().reset(lanes, rng, repeats)
        self._memory = self.second.initial_state(lanes * repeats)
        if self.places is not None:
            self._remember(self._memory, self._remembered)

    def restart(self, index) -> None:
        super().restart(index)
        sent = self.model.device.send(np.asarray(index))
        for field in self._memory:
            field[sent] = 0
        if self.places is not None:
            self._remember(self._memory, self._remembered, np.asarray(index))

    def features(self) -> dict[str, Any]:
        return self.second.features(self._memory, self._z)

    def step(self, actions) -> DreamStep:
        seen, first = self._z, self._first_steps()
        result = super().step(actions)
        self._memory = self.second.follow(
            seen, self._send(actions), self._memory, self._send(first)
        )
        return result

    def keep(self, index) -> None:
        super().keep(index)
        index = self.model.device.send(np.asarray(index))
        self._memory = type(self._memory)(*(field[index] for field in self._memory))
