"""Pictures of a lifelong run: what M predicts, dreams, and what is kept."""

from __future__ import annotations

import copy
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import chainer
import gym
import numpy as np

from chainer_wm import plots
from chainer_wm.agents.policies import RandomActions
from chainer_wm.devices import to_cpu
from chainer_wm.dream.pixel_dream import PixelDream, Starts
from chainer_wm.links.pixel_model import PixelModel, choose
from chainer_wm.play.films import Film, film
from chainer_wm.rollouts import Rollout
from chainer_wm.runs import figures
from chainer_wm.seeds import stream
from chainer_wm.training.levels import Game, play

HOLD = 4  # frames that a film stays on its last picture


def draw_predictions(
    path: str | os.PathLike, game: Game, model: PixelModel, seed: int, steps: int = 16
) -> None:
    """One step ahead along a random episode of each level."""
    rows: dict[str, np.ndarray] = {}
    for level in range(game.levels):
        (episode,) = play(
            [game.make(level)],
            RandomActions(gym.spaces.Discrete(model.actions)),
            [stream(seed, 'pictured', level)],
        )
        frames = episode.observations[: steps + 1]
        model.palette.learn(frames)  # it may hold what M never met
        rows[f'level {level}\ngame'] = frames[1:]
        actions = episode.actions[: len(frames) - 1, 0].astype(int)
        rows[f'level {level}\nM'] = predicted(model, frames[:-1], actions)
    plots.film_rows(
        path,
        rows,
        count=steps,
        scale=max(1, 40 // frames.shape[1]),
        title='The next picture, and what M expects from the ones before',
    )


def predicted(model: PixelModel, frames: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """What M expects after each of (T, H, W, 3), as pictures."""
    codes = model.palette.encode(frames)
    reset = np.zeros((len(frames), 1))
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        found, _ = model.sequence(codes[:, None], actions[:, None], model.initial_state(1), reset)
    scores = to_cpu(found.colours)[:, 0]
    return model.palette.decode(choose(scores, 0.5, len(model.palette)))


def draw_memory(
    path: pathlib.Path, model: PixelModel, episodes: Mapping[str, Rollout], title: str
) -> None:
    """The DNC of M along episodes, one after the other; nothing for an LSTM.

    Args:
        episodes: by what is written at their first steps.
    """
    model = copy.deepcopy(model)  # it learns the colours that M never met
    for episode in episodes.values():
        model.palette.learn(episode.observations)
    codes = [model.palette.encode(episode.observations) for episode in episodes.values()]
    actions = [episode.actions[:, 0].astype(int) for episode in episodes.values()]
    starts = np.cumsum([0, *map(len, actions)])[:-1]
    reset = np.zeros(sum(map(len, actions)))
    reset[starts] = 1
    with chainer.no_backprop_mode():
        xs = model.inputs(np.concatenate(codes)[:, None], np.concatenate(actions)[:, None])
    rewards = np.concatenate([episode.rewards for episode in episodes.values()])
    marks = dict(zip(episodes, starts.tolist()))
    figures.draw_memory(path, model.core, xs[:, 0], title, marks, {'reward': rewards}, reset)


def dream_from(model: PixelModel, first: np.ndarray, max_steps: int) -> PixelDream:
    """M as a game that begins at a real first picture (H, W, 3)."""
    start = Starts(model.palette.encode(first[None]), model.initial_state(1), np.zeros(1, bool))
    return PixelDream(model, start, 1, max_steps)


def _ending(one: Film) -> str:
    if not one.terminated:
        return 'time is up'
    return 'solved' if one.rewards[-1] > 0 else 'mistake'


def draw_films(
    folder: pathlib.Path, game: Game, model: PixelModel, policy: Any, seed: int, max_steps: int
) -> None:
    """``agent.gif``: game and dream, level by level; ``dreams.png``."""
    sides: tuple[list, list] = [], []
    words: tuple[list, list] = [], []
    rows = {}
    for level in range(game.levels):
        real = functools.partial(game.make, level)
        first, _ = real().reset(seed=level)
        dream = functools.partial(dream_from, model, first, max_steps)
        films = [
            film(real, policy, stream(seed, 'film', level)),
            film(dream, policy, stream(seed, 'dreamt', level)),
        ]
        length = max(len(one.frames) for one in films) + HOLD
        names = ('game', 'dream')
        for side, said, name, one in zip(sides, words, names, films):
            frames, end = one.frames, _ending(one)
            rows[f'level {level}\n{name}: {end}'] = frames
            rest = length - len(frames)
            side.append(np.concatenate([frames, frames[-1:].repeat(rest, 0)]))
            said += [f'{name} {level}\t{t}' for t in range(len(frames) - 1)]
            said += [f'{name} {level}\t{end}'] * (rest + 1)
    left, right = (np.concatenate(side) for side in sides)
    scale = max(1, 120 // left.shape[1])
    plots.side_by_side(folder / 'agent.gif', left, right, words, fps=4, scale=scale)
    plots.film_rows(
        folder / 'dreams.png',
        rows,
        count=18,
        scale=max(1, 40 // left.shape[1]),
        title='The agent in the game, and in the dream of M',
    )


def draw_retention(path: str | os.PathLike, results: Mapping[str, Any]) -> None:
    """Success of the agent, exactness of M, and PPO on the real levels."""
    plots.matrices(
        path,
        {name: each['values'] for name, each in results['matrices'].items()},
        rows='after level',
        columns='on level',
        title=f'{results["config"]["env"]}: what is known after each level',
    )
