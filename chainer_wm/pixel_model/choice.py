"""From the scores of a class to the class that happens."""

from __future__ import annotations

import numpy as np

RARE = 0.1
"""What is less likely than this never happens in a simulation."""


def choose(
    scores: np.ndarray, chance: np.ndarray | float, known: int
) -> np.ndarray:
    """Draw a class from each row of scores, rare ones left out.

    The classes whose softmax is at least ``RARE``, and the likeliest in any
    case, divide [0, 1) between them in the order of their numbers; the one in
    whose share ``chance`` falls is taken. So a picture whose pixels all get
    the same chance is of one piece: a door of which the model knows that it
    will be red or yellow becomes all red or all yellow, and what the model is
    nearly sure of is not speckled by the rest.

    Args:
        scores: (..., K).
        chance: in [0, 1), broadcast to (...).
        known: classes from this number on do not exist yet.

    Returns:
        (...) integers.
    """
    scores = scores[..., :known].astype(np.float64)
    top = scores.max(axis=-1, keepdims=True)
    shares = np.exp(scores - top)
    total = shares.sum(axis=-1, keepdims=True)
    shares[(shares < RARE * total) & (scores < top)] = 0
    edges = shares.cumsum(axis=-1)
    at = np.broadcast_to(chance, scores.shape[:-1])[..., None]
    return (at * edges[..., -1:] >= edges[..., :-1]).sum(axis=-1)
