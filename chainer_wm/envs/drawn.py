"""Pictures of what rollouts hold, where a game is recorded as numbers."""

from __future__ import annotations

import numpy as np

from chainer_wm.envs.pommerman_pictures import draw_states

#: By the manifest's name of the game: observations (T, ...) -> (T, H, W, 3) uint8.
_DRAWN = {'Pommerman': draw_states}


def as_pictures(game: str, observations: np.ndarray) -> np.ndarray:
    """Frames as they are, other observations drawn: (T, H, W, 3) uint8.

    Args:
        game: its name in the manifest of the rollouts.
        observations: (T, ...) uint8.

    Raises:
        ValueError: they are no frames, and this game has no picture of such observations.
    """
    if observations.ndim == 4 and observations.shape[3] == 3:
        return observations
    if game not in _DRAWN:
        raise ValueError(
            f'observations have shape {observations.shape}, expected (T, H, W, 3), and there is '
            f'no picture of {game or "an unknown game"}: only of {", ".join(_DRAWN)}'
        )
    return _DRAWN[game](observations)
