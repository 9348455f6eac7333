"""The iterative procedure: play with what was learnt, learn from it, repeat.

World Models (Ha and Schmidhuber 2018, "Iterative Training Procedure"): random episodes do not show
what a better player meets. Every round lets candidates of the search of the round before play the
game, adds their episodes to the data, and goes on with the training of M (in some rounds, or in
all, of V too) and the evolution of C. Round 0 is the training on random episodes alone. ``saved``
is everywhere the ``SavedAgent`` at the round that is worked on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chainer_wm.agents.saved import SavedAgent
from chainer_wm.agents.world_model import Player
from chainer_wm.dream.simulator import Dream
from chainer_wm.play import collection, evaluation
from chainer_wm.play.engines import Workers
from chainer_wm.rollouts import JoinedStores
from chainer_wm.rollouts.sequences import LatentSequences
from chainer_wm.seeds import derived_seed, stream
from chainer_wm.training import evolution, vae

Split = Callable[[Sequence[int]], tuple[list[int], list[int]]]
"""Episodes -> those to train on, and held-out ones."""


def seed_of(seed: int, round: int, purpose: str = 'round') -> int:
    """The root of a round's random streams; round 0 is the run's own."""
    if not round:
        return seed
    return derived_seed(seed, purpose, round)


def collect(
    saved: SavedAgent,
    make_env: Callable,
    beginner: Callable[[], Any],
    episodes: tuple[int, int],
    seed: int,
    workers: Workers,
    min_length: int | None = None,
    **candidates: Any,
) -> None:
    """Play this round's episodes; goes on where it stopped.

    In round 0 somebody plays who has learnt nothing, later every episode is played by a candidate
    of the search of the round before. In a store that all rounds share, a damaged episode is
    played again by whom it was played.

    Args:
        beginner: a picklable maker of who plays round 0.
        episodes: of round 0, and of each later one.
        seed: the run's.
        min_length: of an episode of round 0, see ``collection.collect``.
        candidates: see ``SavedAgent.candidate_maker``.
    """
    first, more = episodes
    for number in range(saved.round + 1) if saved.one_store else [saved.round]:
        player = saved.at(number - 1).candidate_maker(**candidates) if number else beginner
        if saved.one_store:
            player, count = functools.partial(Player, player), first + number * more
        else:
            count = more if number else first
        collection.collect(
            saved.at(number).store(),
            make_env,
            player,
            count,
            seed if saved.one_store else seed_of(seed, number),
            workers,
            None if number else min_length,
            progress=number == saved.round,
        )


def record(
    saved: SavedAgent,
    players: Mapping[str, tuple[Callable[[], Any], int]],
    make_env: Callable,
    seed: int,
    workers: Workers,
) -> None:
    """Play the recordings of round 0; goes on where it stopped.

    Args:
        players: by the recording's name, a picklable maker of who plays, and how many episodes.
        seed: the run's.
    """
    for name in saved.recordings:
        player, count = players[name]
        collection.collect(
            saved.store_of(name),
            make_env,
            player,
            count,
            derived_seed(seed, f'recording {name}'),
            workers,
        )


def played(saved: SavedAgent) -> dict[str, Any]:
    """What the agents did in a round: ``steps``, and the returns as ``played``."""
    store = saved.store()
    return {'steps': int(np.sum(store.lengths)), 'played': evaluation.summary(store.returns)}


def recorded(saved: SavedAgent, split: Split) -> tuple[JoinedStores, list, list]:
    """All episodes so far, and which of them V is trained on and held out from.

    Args:
        split: of the episodes of a round's store.
    """
    store = JoinedStores([saved.store_of(part) for part in saved.parts])
    sides = [split(one.episodes) for one in store.parts]
    seen, unseen = (
        [(part, episode) for part, side in enumerate(sides) for episode in side[kind]]
        for kind in (0, 1)
    )
    return store, seen, unseen


def encode(
    saved: SavedAgent, play_again: Callable[[int], Any], tick: Callable[[], None] = lambda: None
) -> None:
    """The codes of this round's episodes; of all so far, where V is new.

    Another run's random episodes have their codes.

    Args:
        play_again: plays what is missing of a round, by its number, see ``vae.encode``.
    """
    vision = saved.vision()
    parts = saved.all_parts if saved.vision_round == saved.round else [saved.round]
    for part in parts[1:] if saved.reuse and not saved.round else parts:
        vae.encode(
            saved.codes_of(part),
            saved.store_of(part),
            vision,
            saved.vision_path,
            play_again=functools.partial(play_again, 0 if isinstance(part, str) else part),
            tick=tick,
        )


def windows(
    saved: SavedAgent,
    split: Split,
    batch_size: int,
    length: int,
    seed: int,
    repeats: int = 1,
    dtype: np.typing.DTypeLike = np.float32,
    rewards: bool = False,
    end_rewards: bool = True,
) -> tuple[LatentSequences, LatentSequences]:
    """What M of a round is trained on, and what it is judged by.

    Args:
        split: of the episodes of a round's store.
        batch_size, length: of the windows, see ``LatentSequences``; a batch has no more lanes than
            there are episodes.
        seed: of the order.
        repeats: how often an episode of the agents is seen in an epoch; those of a store that all
            rounds share are seen once.
        rewards: whether M predicts them.
        end_rewards: whether also those of the steps that end an episode.
    """
    latents = saved.latents()
    known = None
    if rewards:
        stores = [saved.store_of(part) for part in saved.parts]
        rollouts = (
            store.read(int(episode))
            for store, codes in zip(stores, latents.parts)
            for episode in codes.episodes
        )
        known = np.concatenate(
            [
                np.where(rollout.terminated & (not end_rewards), np.nan, rollout.rewards)
                for rollout in rollouts
            ]
        )
    seen: list[int] = []
    unseen: list[int] = []
    for part, (name, codes) in enumerate(zip(saved.parts, latents.parts)):
        train, test = split(sorted(codes.episodes))
        agents = part and not isinstance(name, str)
        seen += [latents.number(part, e) for e in train] * (repeats if agents else 1)
        unseen += [latents.number(part, e) for e in test]
    return tuple(  # type: ignore[return-value]
        LatentSequences(
            latents, min(batch_size, len(episodes)), length, seed, episodes, dtype, known
        )
        for episodes in (seen, unseen)
    )


def hand_on(saved: SavedAgent, dream: Dream, dreams: int, seed: int) -> dict[str, float]:
    """Let C go on with its search, or begin anew where zeros do better.

    Args:
        dream: this round's.
        dreams: that decide.
        seed: the run's.

    Returns:
        ``inherited`` and ``zero``: mean returns of both in the dream.
    """
    before = saved.at(saved.round - 1)
    worth = evolution.against_zero(
        before.search().mean,
        dream,
        saved.new_controller(dream.model).act,
        dreams,
        stream(seed, 'against zero', saved.round),
        saved.features,
    )
    evolution.inherit(
        before.home / 'controller', saved.home / 'controller', anew=begins_anew(worth)
    )
    return worth


def begins_anew(worth: Mapping[str, float]) -> bool:
    """Whether C begins anew, by what ``hand_on`` returned."""
    return worth['inherited'] < worth['zero']
