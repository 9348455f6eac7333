"""Dropout of a recurrent model: masks that stay as they are for a whole sequence.

One mask for all steps (Gal and Ghahramani 2016) makes one model out of many, so that every mask is
a world of its own to dream in (Wellmer and Kwok 2021, "Dropout's Dream Land").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Masks(NamedTuple):
    """What z and h are multiplied by before a core reads them; what it gives out stays whole.

    Fields:
        z: (B, Z). h: (B, H), of the step before. Each 0 or 1 / (1 - rate): 1 on average.
    """

    z: Any
    h: Any


def draw_masks(draw: Callable[[int], np.ndarray], rate: float, z_size: int, h_size: int) -> Masks:
    """Masks in which every number is 0 with probability ``rate``, float64.

    Args:
        draw: n -> (B, n) numbers of the uniform distribution on [0, 1).

    Raises:
        ValueError: the rate lies outside [0, 1).
    """
    check_rate(rate)
    kept = (draw(z_size + h_size) >= rate) / (1 - rate)
    return Masks(kept[:, :z_size], kept[:, z_size:])


def check_rate(rate: float) -> float:
    """The rate, seen to be one.

    Raises:
        ValueError: it lies outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise ValueError(f'a dropout rate is {rate}, but must be at least 0 and below 1')
    return rate
