"""Where simulated episodes begin: points of real ones, with M's memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_wm.links.pixel_model import PixelModel
from chainer_wm.links.recurrent import detach
from chainer_wm.rollouts.pictures import Episodes


class Starts(NamedTuple):
    """n points where an episode may begin.

    Fields:
        codes: (n, H * W) uint8, the picture.
        state: of the model before it sees it, fields (n, ...).
        curious: (n,) bool, whether a dream from here may be ended by
            ``Curiosity``.
    """

    codes: np.ndarray
    state: Any
    curious: np.ndarray


def draw_points(
    levels: np.ndarray,
    episodes: Episodes,
    count: int,
    newest: float,
    anywhere: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Points of real episodes to begin at.

    Args:
        levels: (E,), of each episode.
        count: n.
        newest: share of the points in the newest level; the others are
            shared out equally among the earlier ones, if any.
        anywhere: share of the points that are not first steps but any, each
            picture of a level as likely as any other, however often it was
            seen: real episodes may spend most of their time in one place.

    Returns:
        (n, 2) integers: episode and step.
    """
    known = np.unique(levels)
    chances = np.full(len(known), (1 - newest) / max(1, len(known) - 1))
    chances[-1] = newest if len(known) > 1 else 1
    chosen = rng.choice(len(known), size=count, p=chances)
    first = rng.random(count) >= anywhere
    owner = np.repeat(np.arange(len(episodes)), episodes.lengths)
    rows = np.zeros(count, np.int64)
    for number, level in enumerate(known):
        begins = episodes.starts[levels == level]
        here = np.flatnonzero(levels[owner] == level)
        _, kind, seen = np.unique(
            episodes.codes[here], axis=0, return_inverse=True, return_counts=True
        )
        weights = 1 / (seen[kind.reshape(-1)] * len(seen))
        mine = chosen == number
        rows[mine & first] = rng.choice(begins, (mine & first).sum())
        rows[mine & ~first] = rng.choice(here, (mine & ~first).sum(), p=weights)
    return np.stack([owner[rows], rows - episodes.starts[owner[rows]]], 1)


def starts_at(
    model: PixelModel, episodes: Episodes, points: np.ndarray, curious: np.ndarray | None = None
) -> Starts:
    """The pictures at these points, and the model's memory of the way there.

    Args:
        points: (n, 2), episode and step.
        curious: (n,) bool, see ``Starts``; None is nowhere.
    """
    if curious is None:
        curious = np.zeros(len(points), bool)
    chosen, lane = np.unique(points[:, 0], return_inverse=True)
    batch = episodes.whole(chosen)
    state = model.initial_state(len(chosen))
    kept = model.initial_state(len(points))
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        for step in range(points[:, 1].max() + 1):
            here = np.flatnonzero(points[:, 1] == step)
            for field, now in zip(kept, state):
                field[model.device.send(here)] = now[model.device.send(lane[here])]
            _, state = model.step(batch.codes[step], batch.actions[step], state)
            state = detach(state)
    return Starts(batch.codes[points[:, 1], lane], kept, curious)
