"""The iterative procedure: play with what was learnt, learn from it, repeat.

World Models (Ha and Schmidhuber 2018, section 5): random episodes do not show
what a better player meets. Every round lets the controllers of the round
before play the game, adds their episodes to the data, and goes on with the
training of M (in some rounds of V too) and the evolution of C.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.saved import Parts
from chainer_wm.dream.simulator import Dream
from chainer_wm.play import collection, evaluation
from chainer_wm.rollouts import JoinedStores
from chainer_wm.rollouts.latents import JoinedLatents
from chainer_wm.rollouts.sequences import LatentSequences
from chainer_wm.seeds import derived_seed, stream
from chainer_wm.training import encode, evolution, vae


def seed_of(seed: int, round: int) -> int:
    """The root of a round's random streams; round 0 is the run's own."""
    if not round:
        return seed
    return derived_seed(seed, 'round', round)


def play(
    parts: Parts, make_env: Callable, episodes: int, seed: int, workers: int
) -> dict[str, Any]:
    """Play this round's episodes; goes on where it stopped.

    Every episode is played by a controller drawn from the distribution that
    the evolution of the round before ended with.

    Args:
        parts: at this round, from 1.
        seed: the run's.

    Returns:
        ``steps``, and the returns (``evaluation.summary``) as ``played``.
    """
    store = parts.store()
    collection.collect(
        store,
        make_env,
        parts.at(parts.round - 1).candidate_maker(),
        episodes,
        seed_of(seed, parts.round),
        workers,
    )
    lines = [store.entry(episode) for episode in store.episodes]
    return {
        'steps': int(np.sum([line['length'] for line in lines])),
        'played': evaluation.summary(line['return'] for line in lines),
    }


def recorded(
    parts: Parts, held_out: float, seed: int
) -> tuple[JoinedStores, list[tuple[int, int]]]:
    """All episodes up to this round's, and which of them V is trained on.

    Args:
        held_out: share of the episodes, of every round, that V never sees.
        seed: the run's.
    """
    store = JoinedStores([parts.at(n).store() for n in range(parts.round + 1)])
    return store, [
        (part, episode)
        for part, one in enumerate(store.parts)
        for episode in parts.split(one.episodes, held_out, seed)[0]
    ]


def see(
    parts: Parts, play_again: Callable[[int], Any], tick: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Encode this round's episodes; all so far, where V is new.

    Args:
        play_again: plays what is missing of a round, by its number, see
            ``encode.encode``.

    Returns:
        V's measures on this round's frames.
    """
    seer = parts.vision()
    new = parts.vision_round == parts.round
    for number in range(0 if new else parts.round, parts.round + 1):
        encode.encode(
            parts.codes_of(number),
            parts.at(number).store(),
            seer,
            parts.vision_path,
            play_again=functools.partial(play_again, number),
            tick=tick,
        )
    store = parts.store()
    return vae.measure(seer, store, store.episodes, 1000)


def hand_on(before: Parts, parts: Parts, dream: Dream, dreams: int, seed: int) -> dict[str, float]:
    """Let C go on with its search, or begin anew where zeros do better.

    Args:
        before, parts: of the round before and of this one.
        dream: this round's.
        dreams: that decide.
        seed: the run's.

    Returns:
        ``inherited`` and ``zero``: mean returns of both in the dream.
    """
    worth = evolution.against_zero(
        CMAES.load(before.search_path).mean,
        dream,
        parts.new_controller(dream.model).act,
        dreams,
        stream(seed, 'against zero', parts.round),
        parts.features,
    )
    evolution.inherit(
        before.home / 'controller', parts.home / 'controller', anew=begins_anew(worth)
    )
    return worth


def begins_anew(worth: Mapping[str, float]) -> bool:
    """Whether C begins anew, by what ``hand_on`` returned."""
    return worth['inherited'] < worth['zero']


def windows(
    parts: Parts,
    batch_size: int,
    length: int,
    held_out: float,
    seed: int,
    repeats: int = 1,
    dtype: np.typing.DTypeLike = np.float32,
) -> tuple[LatentSequences, LatentSequences]:
    """What M of a round is trained on, and what it is judged by.

    Args:
        batch_size, length: of the windows, see ``LatentSequences``; a batch
            has no more lanes than there are episodes.
        held_out: share of the episodes, of every round, that M never sees.
        seed: the run's.
        repeats: how often an episode of the agents is seen in an epoch.
    """
    latents = parts.latents()
    return tuple(  # type: ignore[return-value]
        LatentSequences(
            latents,
            min(batch_size, len(episodes)),
            length,
            seed_of(seed, parts.round),
            episodes,
            dtype,
        )
        for episodes in _split(parts, latents, held_out, seed, repeats)
    )


def _split(
    parts: Parts, latents: JoinedLatents, held_out: float, seed: int, repeats: int
) -> tuple[list[int], list[int]]:
    """Episodes to train on, and held-out ones, by their numbers in latents."""
    seen: list[int] = []
    unseen: list[int] = []
    for part, codes in enumerate(latents.parts):
        train, test = parts.split(codes.episodes, held_out, seed)
        times = repeats if part else 1
        seen += [latents.number(part, e) for e in train] * times
        unseen += [latents.number(part, e) for e in test]
    return seen, unseen
