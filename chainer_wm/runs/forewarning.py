"""How long before a real death the dreams of M show it.

A controller can only learn to dodge in the dream what the dream knows to come.
Each real death is dreamt anew from k steps before it, with the actions that
were taken, and so is a stretch of the same episode that nobody died in.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainer_wm import plots
from chainer_wm.agents.saved import Parts
from chainer_wm.dream.foresight import foresee, foreseen, stretches
from chainer_wm.rollouts import RolloutStore
from chainer_wm.rollouts.latents import Latents
from chainer_wm.runs.report import decode
from chainer_wm.seeds import stream

HORIZONS = (0, 1, 2, 3, 5, 8, 12, 16, 20, 30, 40)
LENGTH = 100  # steps of a stretch, with those that M only follows
PEACE = 60  # steps without a death after a stretch that nobody dies in


class Unseen(NamedTuple):
    """Episodes that an M never saw."""

    store: RolloutStore
    codes: Latents
    episodes: list[int]


def measure(
    parts: Parts, kinds: Mapping[str, Unseen], temperature: float, seed: int, most: int = 100
) -> dict[str, Any]:
    """Shares of dreams that end, over deaths that M never saw.

    Args:
        parts: of a round.
        kinds: what its M never saw, see ``unseen``.
        seed: the run's.
        most: episodes of either kind.

    Returns:
        ``round``, ``horizons``, and under ``kinds``, by kind, ``death`` and
        ``none``: how many ``stretches``, and the ``shares`` of dreams that
        end, by horizon. A kind without a long enough episode is left out.
    """
    found: dict[str, Any] = {}
    model = parts.model()
    for kind, (_, codes, episodes) in kinds.items():
        rng = stream(seed, 'forewarning', parts.round)
        for name, ends in ends_of(codes, episodes[:most], rng).items():
            if not ends:
                continue
            shares = foreseen(
                model, stretches(codes, ends, LENGTH), HORIZONS, rng, temperature=temperature
            )
            found.setdefault(kind, {})[name] = {
                'stretches': shares.shape[1],
                'shares': shares.mean(axis=1).tolist(),
            }
    return {'round': parts.round, 'horizons': list(HORIZONS), 'kinds': found}


def unseen(parts: Parts, held_out: float, seed: int) -> dict[str, Unseen]:
    """What a round's M never saw, by kind.

    ``random``: held-out episodes. ``agents``, if there is a next round that
    has the same V: what its C played for that.

    Args:
        held_out, seed: the run's.
    """
    codes = Latents(parts.codes_path)
    kept = parts.split(codes.episodes, held_out, seed)[1]
    kinds = {'random': Unseen(parts.at(0).store(), codes, kept)}
    after = parts.at(parts.round + 1)
    path = after.codes_of(after.round)
    same = after.vision_round == parts.vision_round
    if same and (path / 'index.json').exists():
        codes = Latents(path)
        kinds['agents'] = Unseen(after.store(), codes, sorted(codes.episodes))
    return kinds


def ends_of(
    codes: Latents, episodes: Sequence[int], rng: np.random.Generator
) -> dict[str, list[tuple[int, int]]]:
    """Where stretches end: at deaths, and in the same episodes at none."""
    found: dict[str, list[tuple[int, int]]] = {'death': [], 'none': []}
    for episode in episodes:
        rows = codes.rows(episode)
        length = rows.stop - rows.start
        if not codes.terminated[codes.position(episode)] or length < LENGTH:
            continue
        found['death'].append((episode, length))
        if length >= LENGTH + PEACE:
            end = int(rng.integers(LENGTH, length - PEACE + 1))
            found['none'].append((episode, end))
    return found


def draw(path: pathlib.Path, found: dict[str, Any], title: str) -> None:
    """Shares of dreams that end, over how long before M dreamt on alone.

    Nothing is drawn where no episode was long enough.
    """
    series = {
        f'{kind}, {"death" if name == "death" else "no death"}': (
            np.array(found['horizons']),
            np.array(row['shares']),
        )
        for kind in ('agents', 'random')
        for name, row in found['kinds'].get(kind, {}).items()
    }
    if not series:
        return
    plots.training_curves(
        path,
        series,
        ylabel='share of dreams that end there',
        xlabel='steps before, from which M dreams alone',
        title=title,
    )


def draw_deaths(
    path: pathlib.Path,
    parts: Parts,
    kind: Unseen,
    temperature: float,
    seed: int,
    shown: int = 3,
    steps: int = 12,
) -> None:
    """The last steps before some deaths: the game, V, and two dreams.

    The first deaths that there are. Under the frames of a dream stands its
    P(done).
    """
    store, codes, episodes = kind
    ends = ends_of(codes, episodes, stream(seed, 'deaths'))['death'][:shown]
    if not ends:
        return
    model, vision = parts.model(), parts.vision()
    rng = stream(seed, 'forewarning film', parts.round)
    frames, captions, notes = [], [], []
    for episode, length in ends:
        rows, last = codes.rows(episode), slice(length - steps - 1, length)
        z, actions = np.array(codes.mu[rows]), np.array(codes.actions[rows])
        frames += [store.read(episode).observations[last]]
        frames += [decode(vision, z[last])]
        notes += [str(k) for k in range(-steps, 1)] + [''] * (steps + 1)
        for _ in range(2):
            seen = foresee(model, z, actions, length - steps, rng, temperature)
            frames.append(decode(vision, seen.dreamed[last]))
            notes += [f'{p:.2f}' for p in seen.p_done_dreamed[last]]
        for word in ('game', 'V', 'dream', 'dream'):
            captions += [word] + [''] * steps
    plots.contact_sheet(
        path,
        np.concatenate(frames),
        captions,
        notes,
        columns=steps + 1,
        scale=1,
        title=f'Deaths, and M dreaming from {steps} steps before them',
    )
