"""What V's and M's training left, as pictures in a run's folder."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import chainer
import numpy as np

from chainer_wm import plots
from chainer_wm.links.conv_vae import ConvVAE, to_input
from chainer_wm.rollouts import JoinedStores, RolloutStore


def draw_vision(
    folder: pathlib.Path,
    log: list[dict],
    vision: ConvVAE,
    store: RolloutStore | JoinedStores,
    episodes: Sequence[Any],
    count: int = 16,
) -> None:
    """The learning curve, and held-out frames beside what V makes of them."""
    plots.training_curves(
        folder / 'vision_training.png',
        {
            'train': (
                np.array([row['iteration'] for row in log]),
                np.array([row['main/loss'] for row in log]),
            )
        },
        ylabel='loss (squared error + KL, nats)',
        xlabel='update',
        title='V: ConvVAE',
    )
    frames = np.stack([_middle(store, episodes, k, count) for k in range(count)])
    with chainer.no_backprop_mode():
        x = to_input(frames, vision.xp, vision.dtype.type)
        rebuilt = chainer.get_device('@numpy').send(vision.reconstruct(x).array)
    plots.reconstructions(folder / 'reconstructions.png', frames, rebuilt, title='held-out frames')


def _middle(
    store: RolloutStore | JoinedStores, episodes: Sequence[Any], k: int, count: int
) -> np.ndarray:
    """Picture k of ``count``: another episode and another moment each."""
    frames = store.read(episodes[k % len(episodes)]).observations
    return frames[(k + 1) * len(frames) // (count + 1)]


def draw_model(folder: pathlib.Path, log: list[dict]) -> None:
    """Training and held-out loss of the mixtures, over updates, if any."""
    if not log:
        return
    curves = {'train': _curve(log, 'main/nll'), 'held-out': _curve(log, 'held_out/nll')}
    plots.training_curves(
        folder / 'model_training.png',
        {name: curve for name, curve in curves.items() if len(curve[0])},
        ylabel='nats per latent dimension',
        xlabel='update',
        title='M: negative log-likelihood of the next z',
    )


def _curve(log: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    rows = [row for row in log if name in row]
    return (np.array([row['iteration'] for row in rows]), np.array([row[name] for row in rows]))
