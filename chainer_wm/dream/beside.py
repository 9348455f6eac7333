"""A dream watched by another M, whose memory is what C sees."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainer_wm.dream.simulator import Dream, DreamStep


class BesideDream(Dream):
    """A dream in which the features c, h and r are those of another M.

    The other one reads the same z and actions and decides nothing. Untrained,
    it is the control of the features: what a memory with random weights is
    worth in the same dream.

    Args:
        watcher: an ``MDNRNN`` of the same latents and actions.
        the others: as for ``Dream``.
    """

    def __init__(self, model, starts, watcher, **options) -> None:
        super().__init__(model, starts, **options)
        self.watcher = watcher

    def reset(self, lanes: int, rng, repeats: int = 1) -> None:
        super().reset(lanes, rng, repeats)
        self._beside = self.watcher.initial_state(lanes * repeats)

    def restart(self, index) -> None:
        super().restart(index)
        index = self.model.device.send(np.asarray(index))
        for field in self._beside:
            field[index] = 0

    def features(self) -> dict[str, Any]:
        return self.watcher.features(self._beside, self._z)

    def step(self, actions) -> DreamStep:
        seen, first = self._z, self._ages == 0
        result = super().step(actions)
        self._beside = self.watcher.follow(
            seen, self._send(actions), self._beside, self._send(first)
        )
        return result

    def keep(self, index) -> None:
        super().keep(index)
        index = self.model.device.send(np.asarray(index))
        self._beside = type(self._beside)(*(field[index] for field in self._beside))
