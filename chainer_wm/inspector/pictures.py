"""Single episodes as contact sheets and animations."""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np

from chainer_wm import plots
from chainer_wm.envs.drawn import as_pictures
from chainer_wm.inspector import folders
from chainer_wm.rollouts import DamagedEpisode, Rollout, RolloutStore

CELLS = 48  # frames on a sheet, about, unless --every says otherwise
FPS = 35.0  # Doom's
SHEET = 1000  # frames on a sheet at most


def read_episode(path: str | os.PathLike, episode: int) -> Rollout:
    """One episode of the store at or below ``path``, its observations as pictures.

    Raises:
        InspectorError: no such episode (tells which there are), it is damaged, or there are no
            pictures of its observations.
    """
    store, _ = folders.open_store(folders.the_store(path))
    if episode not in store:
        raise folders.InspectorError(_absent(store, episode))
    try:
        rollout = store.read(episode)
    except DamagedEpisode as error:
        raise folders.InspectorError(f'{error}: collecting again replaces it') from error
    try:
        frames = as_pictures(folders.game_of(store), rollout.observations)
    except ValueError as error:
        raise folders.InspectorError(f'episode {episode} of {store.path}: {error}') from error
    return dataclasses.replace(rollout, observations=frames)


def _absent(store: RolloutStore, episode: int) -> str:
    listed = store.episodes
    if not listed:
        return (
            f'episode {episode} is not in {store.path}: it has none yet, '
            'is it still being collected?'
        )
    gaps = len(store.missing(listed[-1] + 1))
    without = f' without {gaps} missing ones' if gaps else ''
    return (
        f'episode {episode} is not in {store.path}: it has {listed[0]} to '
        f'{listed[-1]}{without}; is it still being collected?'
    )


def write_sheet(
    path: str | os.PathLike,
    episode: int,
    out: str | os.PathLike | None = None,
    every: int | None = None,
    columns: int = 8,
) -> pathlib.Path:
    """A contact sheet of an episode; returns where it was written.

    Args:
        every: show each so many steps (None: what gives about 48 frames);
            the last step is always shown.
    """
    rollout = read_episode(path, episode)
    if every is None:
        every = max(1, -(-len(rollout) // CELLS))
    if every < 1 or columns < 1:
        raise folders.InspectorError(f'--every {every} and --columns {columns} must be at least 1')
    steps = sorted({*range(0, len(rollout), every), len(rollout) - 1})
    if len(steps) > SHEET:
        raise folders.InspectorError(
            f'--every {every} gives {len(steps)} frames, a sheet holds '
            f'{SHEET}: use --every {-(-len(rollout) // SHEET)} or more'
        )
    target = pathlib.Path(out or f'episode-{episode:06d}.png')
    plots.contact_sheet(
        target,
        rollout.observations[steps],
        captions=[f't {step}' for step in steps],
        notes=[
            f'{action_words(rollout.actions[step])} {rollout.rewards[step]:+.3g}' for step in steps
        ],
        marks=[''] * (len(steps) - 1) + [ending(rollout)],
        columns=columns,
        title=title(rollout, episode),
    )
    return target


def write_gif(
    path: str | os.PathLike,
    episode: int,
    out: str | os.PathLike | None = None,
    fps: float = FPS,
    scale: int = 4,
) -> tuple[pathlib.Path, plots.Animation]:
    """An animation of an episode; returns where it was written, and what."""
    rollout = read_episode(path, episode)
    if not fps > 0 or scale < 1:
        raise folders.InspectorError(
            f'--fps {fps} must be positive and --scale {scale} at least 1'
        )
    target = pathlib.Path(out or f'episode-{episode:06d}.gif')
    totals = rollout.rewards.cumsum(dtype=np.float64)
    captions = [
        f't {step} {action_words(action)}\treturn {total:.4g}'
        for step, (action, total) in enumerate(zip(rollout.actions, totals))
    ]
    return target, plots.gif(target, rollout.observations, fps, scale, captions)


def title(rollout: Rollout, episode: int) -> str:
    """What one wants to know of an episode in one line."""
    seed = rollout.info.get('seed')
    total = rollout.rewards.sum(dtype=np.float64)
    return f'episode {episode}: {len(rollout)} steps, return {total:.6g}' + (
        f', seed {seed}' if seed is not None else ''
    )


def ending(rollout: Rollout) -> str:
    """How the episode ended, in a word or two."""
    if rollout.terminated[-1]:
        return 'game over'
    return 'time limit' if rollout.truncated[-1] else 'cut off'


def action_words(action: np.ndarray) -> str:
    """An arrow for a single action by its third, else its numbers."""
    if len(action) == 1:
        value = float(action[0])
        return '◀' if value < -1 / 3 else '▶' if value > 1 / 3 else '●'
    return ' '.join(f'{value:.1f}' for value in action)
