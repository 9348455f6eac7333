"""Write V's posteriors of every recorded frame, for M."""

from __future__ import annotations

import os
from collections.abc import Callable

import chainer
import numpy as np
import tqdm

from chainer_wm import files
from chainer_wm.links.conv_vae import ConvVAE, to_input
from chainer_wm.rollouts import DamagedEpisode, RolloutStore
from chainer_wm.rollouts.latents import LatentWriter

BLOCK = 512  # frames encoded at once


def encode(
    folder: str | os.PathLike,
    store: RolloutStore,
    vision: ConvVAE,
    vision_path: str | os.PathLike,
    play_again: Callable[[], None],
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Encode every episode of the store; goes on where it was stopped.

    Args:
        folder: of the codes, see ``datasets.Latents``.
        vision_path: V's file; codes of another one are refused.
        play_again: plays the store's missing episodes. Called when one is
            found damaged, after it has been named and set aside.
    """
    actions = store.read(store.episodes[0]).actions.shape[1]
    source = {'vision': files.sha256(vision_path)}
    with LatentWriter(folder, vision.latent_size, actions, source) as writer:
        while True:
            store.refresh()
            try:
                _encode_missing(writer, store, vision, tick)
                break
            except DamagedEpisode as error:
                print(f'{error}: set aside, played again')
                store.set_aside(error)
                play_again()
        writer.finish()


def _encode_missing(writer, store, vision, tick) -> None:
    bar = tqdm.tqdm(store.episodes, desc='encode', unit='episode', mininterval=1.0)
    for episode in bar:
        if episode in writer.written:
            continue
        rollout = store.read(episode)
        mu, ln_var = posteriors(vision, rollout.observations)
        ended = bool(rollout.terminated[-1])
        writer.add(episode, mu, ln_var, rollout.actions, ended)
        tick()


def posteriors(vision: ConvVAE, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mu and ln_var of frames (T, 64, 64, 3) uint8, each (T, Z)."""
    parts = []
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        for at in range(0, len(frames), BLOCK):
            x = to_input(frames[at : at + BLOCK], vision.xp, vision.dtype.type)
            parts.append(
                [chainer.get_device('@numpy').send(part.array) for part in vision.encode(x)]
            )
    mu, ln_var = (np.concatenate(column) for column in zip(*parts))
    return mu, ln_var
