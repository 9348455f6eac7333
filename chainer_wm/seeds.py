"""One random generator per piece of work, whoever does the work."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """The generator of one piece of work: same arguments, same numbers.

    Args:
        seed: root seed of the run, not negative.
        purpose: name of the stage or use, e.g. ``'collect'``.
        indices: e.g. (generation, episode), not negative.

    Raises:
        ValueError: a negative number.
    """
    if min((seed, *indices)) < 0:
        raise ValueError(f'seeds and indices must not be negative, got {(seed, *indices)}')
    name = zlib.crc32(purpose.encode())
    # a spawn key: in a plain list, zeros at the end make no difference
    key = np.random.SeedSequence(seed, spawn_key=(name, *indices))
    return np.random.default_rng(key)


def derived_seed(seed: int, purpose: str, *indices: int) -> int:
    """A root seed for a piece of work that names streams of its own.

    Not ``seed + 1``: that is the root of another run.

    Args:
        seed, purpose, indices: see ``stream``.

    Returns:
        A number below 2**31.
    """
    return int(stream(seed, purpose, *indices).integers(2**31))
