"""V learns the frames of a rollout store, then writes the codes of all of them for M."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import chainer
import numpy as np
import tqdm

from chainer_wm import files
from chainer_wm.devices import to_cpu
from chainer_wm.files.archives import save_link
from chainer_wm.functions.adam import Adam
from chainer_wm.links.conv_vae import (
    ConvVAE,
    active_latents,
    kl_divergence,
    posteriors,
    to_input,
    without_latents,
)
from chainer_wm.rollouts import DamagedEpisode, JoinedStores, RolloutStore
from chainer_wm.rollouts.frames import FrameDataset
from chainer_wm.rollouts.latents import LatentWriter
from chainer_wm.seeds import stream
from chainer_wm.training import loop
from chainer_wm.training.data_parallel import ALONE, Ranks, scaled, together


@together
def train(
    folder: str | os.PathLike,
    store: RolloutStore | JoinedStores,
    vision: ConvVAE,
    *,
    episodes: Sequence[Any],
    epochs: float,
    batch_size: int,
    learning_rate: float,
    last_learning_rate: float = math.inf,
    seed: int,
    kl_tolerance: float = 0.5,
    memory_mb: float = 1024,
    debug: bool = False,
    tick: Callable[[], None] = lambda: None,
    ranks: Ranks = ALONE,
) -> list[dict]:
    """Minimise V's loss over all frames of ``episodes``, ``epochs`` times.

    Leaves ``vision.npz``, ``log.json`` and snapshots in ``folder``.

    Args:
        vision: V, on the device to train on.
        episodes: numbers in the store to train on.
        last_learning_rate: Adam's falls to this in a straight line, if it
            is lower.
        kl_tolerance: nats per latent that cost nothing.
        memory_mb: limit of the frames held at once, by each rank.
        ranks: that train together; each has its share of every batch.

    Returns:
        The log: a row of losses per 20 updates.

    Raises:
        ValueError: a learning rate is negative, or a batch has too few frames for the ranks.
    """
    folder = pathlib.Path(folder)
    ranks.check_lanes(batch_size, 'batch_size')
    optimizer = Adam(alpha=learning_rate).setup(vision)

    def loss(number: int, state: None):
        batch = to_input(frames.batch(number), vision.xp, vision.dtype.type)
        (scale,) = ranks.scale([len(batch)])
        if not len(batch):
            return None, None
        rng = stream(seed, 'vision noise', number)
        size = frames.size(number)
        eps = rng.standard_normal((size, vision.latent_size))[ranks.lanes(size)]
        found = vision.loss(batch, eps, kl_tolerance=kl_tolerance)
        return scaled(found, scale) if ranks.size > 1 else found, None

    with contextlib.closing(
        FrameDataset(store, batch_size, seed, memory_mb, episodes=episodes, ranks=ranks)
    ) as frames:
        if ranks.leads:
            print(f'vision: {frames}')
        updates = math.ceil(epochs * frames.batches_per_epoch)
        rate = loop.linear_rate(learning_rate, last_learning_rate, updates)
        updater = loop.NumberedUpdater(
            optimizer, loss, None, frames.batches_per_epoch, debug, rate, ranks
        )
        trainer = loop.fit(folder, updater, updates, 'vision', tick=tick)
    if ranks.leads:
        save_link(folder / 'vision.npz', vision)
    return loop.history(trainer)


def measure(
    vision: ConvVAE, store: RolloutStore | JoinedStores, episodes: Sequence[Any], most: int = 2000
) -> dict[str, float]:
    """How V rebuilds held-out frames (evenly spread, ``most`` at the most).

    Returns:
        ``reconstruction`` (squared error per frame, from the means), ``kl``
        (nats) and ``active_latents`` (0: V has collapsed).
    """
    errors, kls = [], []
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        for x in _spread(vision, store, episodes, most):
            mu, ln_var = vision.encode(x)
            error = vision.decode(mu).array - x
            errors.append(float((error**2).sum()) / len(x))
            kls.append(kl_divergence(mu, ln_var).array)
    kl = vision.xp.concatenate(kls)
    return {
        'reconstruction': float(np.mean(errors)),
        'kl': float(kl.sum(axis=1).mean()),
        'active_latents': active_latents(kl),
    }


def start_at_mean(vision: ConvVAE, frames: np.ndarray) -> None:
    """Let V's decoder begin at the mean colour of frames (N, 64, 64, 3).

    On a plain ground V else learns it by pushing all its units down, and ends with one picture for
    all frames.
    """
    mean = to_input(frames, dtype=np.float64).mean(axis=(0, 2, 3))
    mean = np.clip(mean, 0.01, 0.99)
    vision.deconv4.b.array[...] = vision.device.send(
        np.log(mean / (1 - mean)).astype(vision.dtype)
    )


def drop_inactive(
    vision: ConvVAE,
    store: RolloutStore | JoinedStores,
    episodes: Sequence[Any],
    nats: float,
    most: int = 2000,
) -> ConvVAE:
    """V without its inactive latents: those that carry fewer nats per frame.

    An inactive latent is drawn from the prior, whatever the frame shows: noise of deviation 1 for
    M to predict and for C to act on, beside latents that tell of fireballs by a fraction of that.

    Args:
        nats: mean KL divergence below which a latent is dropped.
        most: frames that it is measured on, evenly spread, at the most.

    Raises:
        ValueError: all latents are inactive.
    """
    kl, means = latent_nats(vision, store, episodes, most)
    inactive = kl < nats
    if inactive.all():
        raise ValueError(
            f'all {len(inactive)} latents carry fewer than {nats:g} nats, the '
            f'best {kl.max():.2g}: V has collapsed, or was hardly trained'
        )
    print(
        f'vision: {inactive.sum()} of {len(inactive)} latents carry fewer than '
        f'{nats:g} nats, {kl[inactive].sum():.2f} together, and go'
    )
    return without_latents(vision, inactive, means)


def latent_nats(
    vision: ConvVAE, store: RolloutStore | JoinedStores, episodes: Sequence[Any], most: int = 2000
) -> tuple[np.ndarray, np.ndarray]:
    """Mean KL divergence and mean of every latent, each (Z,), on the CPU.

    Args:
        most: frames, evenly spread, at the most.
    """
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        seen = [vision.encode(x) for x in _spread(vision, store, episodes, most)]
    mu, ln_var = (vision.xp.concatenate([part.array for part in column]) for column in zip(*seen))
    kl = kl_divergence(mu, ln_var).array.mean(axis=0)
    return to_cpu(kl), to_cpu(mu.mean(axis=0))


def _spread(
    vision: ConvVAE, store: RolloutStore | JoinedStores, episodes: Sequence[Any], most: int
) -> Iterator[Any]:
    """Frames of each episode as V takes them, ``most`` in all at the most."""
    per_episode = max(1, most // len(episodes))
    for episode in episodes:
        frames = store.read(episode).observations
        # the middles of equal parts: an episode's ends weigh as others do
        count = min(per_episode, len(frames))
        chosen = ((np.arange(count) + 0.5) * len(frames) / count).astype(int)
        yield to_input(frames[chosen], vision.xp, vision.dtype.type)


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
        folder: of the codes, see ``rollouts.latents``.
        vision_path: V's file; codes of another one are refused.
        play_again: plays the store's missing episodes. Called when one is found damaged, after it
            has been named and set aside.
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
