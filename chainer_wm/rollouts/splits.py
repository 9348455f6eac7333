"""Which episodes are trained on, and which are held out."""

from __future__ import annotations

from collections.abc import Sequence

from chainer_wm.seeds import stream


def split_episodes(
    episodes: Sequence[int], held_out: float, seed: int
) -> tuple[list[int], list[int]]:
    """Choose held-out episodes by chance: (training, held out), in order.

    Args:
        held_out: their share, in (0, 1); at least one on either side.

    Raises:
        ValueError: the share leaves nothing on one side.
    """
    count = max(round(held_out * len(episodes)), 1)
    if not 0 < held_out < 1 or count >= len(episodes):
        raise ValueError(
            f'{held_out} of {len(episodes)} episodes cannot be held out: the '
            'share must lie in (0, 1) and leave one to train on'
        )
    order = stream(seed, 'held out').permutation(len(episodes))
    chosen = {episodes[i] for i in order[:count]}
    return [e for e in episodes if e not in chosen], sorted(chosen)


def every_tenth(episodes: Sequence[int]) -> tuple[list[int], list[int]]:
    """Episodes to train on, and held-out ones: the last of every ten.

    An episode stays on its side when a store grows, so weights that are trained on from round to
    round never saw a held-out one.

    Raises:
        ValueError: there are fewer than ten episodes.
    """
    held_out = [e for e in episodes if e % 10 == 9]
    if not held_out:
        raise ValueError(f'{len(episodes)} episodes leave none of every 10 held out')
    return [e for e in episodes if e % 10 != 9], held_out
