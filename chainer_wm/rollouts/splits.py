"""What V and M are trained on: frames and latent sequences, streamed.

A batch is a function of its number alone (and of the seed), so training goes
on anywhere without replaying what came before.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainer_wm.rollouts.frames import FrameDataset
from chainer_wm.rollouts.latents import JoinedLatents, Latents, LatentWriter
from chainer_wm.rollouts.sequences import LatentSequences, Window
from chainer_wm.seeds import stream

__all__ = [
    'FrameDataset',
    'JoinedLatents',
    'LatentSequences',
    'LatentWriter',
    'Latents',
    'Window',
    'split_episodes',
]


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
