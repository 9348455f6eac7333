"""PixelCopter's recordings: read, played again and compared step by step.

A recording is an ``.npz`` file without pickles. ``ep`` has one row per episode and ``ep_columns``
names its columns (what follows a bracket is a remark): its seed, its length, where its steps begin
in ``action``, ``reward`` and ``done`` (``step_start``), where its length + 1 states begin in
``state`` (``frame_start``), and whether ``frames``, if there are any, hold the picture after each
of its steps (``has_frames``). ``state_ok``, if there, is false where the original could not tell
its state.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainer_wm.envs import recordings
from chainer_wm.envs.copter import PALETTE, SIZE, STATE_NAMES, Copter
from chainer_wm.envs.recordings import Difference, RecordingError, replay_command

Arrays = dict[str, np.ndarray]

_COLUMNS = ('seed', 'frame_start', 'step_start', 'length', 'has_frames')


class Episode(NamedTuple):
    """One recorded game of T steps."""

    seed: int
    actions: np.ndarray  # (T,), 1 climbs
    rewards: np.ndarray  # (T,)
    done: np.ndarray  # (T,) bool
    states: np.ndarray  # (T + 1, 7) float64
    known: np.ndarray  # (T + 1,) bool: the state could be told
    frames: np.ndarray | None  # (T, 48, 48, 3) uint8


def load(path: str | os.PathLike) -> list[Episode]:
    """Read a recording.

    Raises:
        RecordingError: not a recording, cut short, or its parts do not fit; says where.
    """
    return recordings.read(path, _unpacked)


def _unpacked(arrays: Arrays) -> Iterator[Episode]:
    arrays = _checked(arrays)
    return _episodes(_table(arrays), arrays)


def _checked(arrays: Arrays) -> Arrays:
    """The arrays, complete, with shapes that fit one another."""
    found = dict(arrays)
    state = _array(found, 'state', (len(STATE_NAMES),))
    found.setdefault('state_ok', np.ones(len(state), bool))
    for name in ('action', 'reward', 'done', 'state_ok'):
        _array(found, name, ())
    if 'frames' in found:
        _array(found, 'frames', (SIZE, SIZE, 3))
    lengths = {name: len(found[name]) for name in ('action', 'reward', 'done')}
    if len(set(lengths.values())) > 1:
        raise RecordingError(f'{lengths} should be as many: is it cut short?')
    if len(found['state_ok']) != len(state):
        raise RecordingError(f'{len(state)} states but {len(found["state_ok"])} in state_ok')
    if not np.isin(found['action'], (0, 1)).all():
        raise RecordingError('there are actions other than 0 and 1')
    return found


def _table(arrays: Arrays) -> np.ndarray:
    """``ep`` with the columns of ``_COLUMNS``, (episodes, 5)."""
    if 'ep_columns' not in arrays or arrays['ep_columns'].ndim != 1:
        raise RecordingError(
            "there is no list 'ep_columns' in it: is it a recording of PixelCopter?"
        )
    names = [str(n).split('(')[0] for n in arrays['ep_columns'].tolist()]
    if missing := set(_COLUMNS) - set(names):
        raise RecordingError(f'ep_columns lacks {sorted(missing)}')
    table = _array(arrays, 'ep', (len(names),))
    table = table[:, [names.index(name) for name in _COLUMNS]]
    if not len(table) or table.dtype.kind not in 'iu' or (table < 0).any():
        raise RecordingError(
            "'ep' must have one row of integers, 0 or more, per episode, but "
            f'is {table.dtype} {table.shape}'
        )
    return table


def _array(arrays: Arrays, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in arrays:
        raise RecordingError(f'there is no {name!r} in it: is it a recording of PixelCopter?')
    array = arrays[name]
    if array.shape[1:] != shape or not array.ndim or array.dtype.kind not in ('biuf'):
        raise RecordingError(
            f'{name!r} is {array.dtype} {array.shape}, expected numbers {("n", *shape)}'
        )
    return array


def _episodes(table: np.ndarray, arrays: Arrays) -> Iterator[Episode]:
    steps = _parts(arrays, 'action', table[:, 2], table[:, 3])
    states = _parts(arrays, 'state', table[:, 1], table[:, 3] + 1)
    filmed = table[:, 4] > 0
    pictures: list[slice | None] = [None] * len(table)
    if 'frames' in arrays:
        lengths = np.where(filmed, table[:, 3], 0)
        ends = np.cumsum(lengths)
        parts = _parts(arrays, 'frames', ends - lengths, lengths)
        pictures = [p if f else None for p, f in zip(parts, filmed)]
    for seed, step, seen, picture in zip(table[:, 0], steps, states, pictures):
        if seed >= 2**32:
            raise RecordingError(f'seed {seed} is not below 2**32')
        yield Episode(
            int(seed),
            arrays['action'][step],
            arrays['reward'][step],
            arrays['done'][step],
            arrays['state'][seen],
            arrays['state_ok'][seen],
            None if picture is None else arrays['frames'][picture],
        )


def _parts(arrays: Arrays, name: str, starts: np.ndarray, lengths: np.ndarray) -> list[slice]:
    """One slice per episode; together they are the whole array."""
    ends = starts + lengths
    total = len(arrays[name])
    if lengths.sum() != total or (ends > total).any():
        raise RecordingError(
            f'{name!r} has {total} rows, but the episodes in ep have '
            f'{lengths.sum()}, up to row {ends.max()}: is it cut short?'
        )
    return [slice(int(a), int(b)) for a, b in zip(starts, ends)]


class OriginalCopter:
    """The original game, with the methods of ``Copter``.

    Raises:
        ImportError: it is not installed.
    """

    def __init__(self) -> None:
        os.environ.setdefault('SDL_VIDEODRIVER', 'dummy')
        os.environ.setdefault('SDL_AUDIODRIVER', 'dummy')
        os.environ.setdefault('PYGAME_HIDE_SUPPORT_PROMPT', '1')
        try:
            import ple
            import pygame
            from ple.games.pixelcopter import Pixelcopter
        except ImportError as error:
            raise ImportError(
                f'the original PixelCopter is not installed ({error}): put '
                'the source of the PyGame Learning Environment on PYTHONPATH '
                'and install pygame-ce'
            ) from error
        self.versions = {'pygame': pygame.version.ver}
        self._game = Pixelcopter(SIZE, SIZE)
        self._ple = ple.PLE(self._game, fps=30, display_screen=False)
        self._climb = self._game.actions['up']
        self.over = True

    def reset(self, random: np.random.RandomState) -> None:
        self._game.rng = random
        self._ple.reset_game()
        self.over = False

    def step(self, up: bool) -> float:
        if self.over:
            raise RuntimeError('the game is over: call reset() first')
        reward = self._ple.act(self._climb if up else None)
        self.over = bool(self._ple.game_over())
        return float(reward)

    def state(self) -> np.ndarray:
        """(7,) float64; NaN where the original fails to tell."""
        try:
            found = self._ple.getGameState()
        except IndexError:  # it touches no column
            return np.full(len(STATE_NAMES), np.nan)
        return np.array([found[name] for name in STATE_NAMES], np.float64)

    @property
    def blocks(self) -> list:
        """The blocks that are there."""
        return list(self._game.block_group)

    def frame(self) -> np.ndarray:
        """(48, 48, 3) uint8; after a reset, still the last game's end."""
        return self._ple.getScreenRGB().transpose(1, 0, 2)

    def picture(self) -> np.ndarray:
        """``frame`` as indices into ``PALETTE``, (48, 48) uint8."""
        same = (self.frame()[..., None, :] == PALETTE).all(axis=-1)
        return same.argmax(axis=-1).astype(np.uint8)


def replay(game: Any, episode: Episode) -> None:
    """Play an episode again.

    Args:
        game: a ``Copter`` or an ``OriginalCopter``.

    Raises:
        Difference: what differs first; all was equal up to there.
    """
    game.reset(np.random.RandomState(episode.seed))
    _compare_state(game, episode, 0)
    for step, action in enumerate(episode.actions, 1):
        if game.over:
            raise Difference(f'step {step}: recorded, but the game had ended in step {step - 1}')
        reward = game.step(action == 1)
        _compare_number(step, 'reward', episode.rewards[step - 1], reward)
        _compare_number(step, 'end', bool(episode.done[step - 1]), game.over)
        _compare_state(game, episode, step)
        if episode.frames is not None:
            _compare_frame(step, episode.frames[step - 1], game.frame())


def _compare_number(step: int, name: str, recorded: Any, found: Any) -> None:
    if recorded != found:
        raise Difference(f'step {step}, {name}: recorded {recorded}, played {found}')


def _compare_state(game: Any, episode: Episode, step: int) -> None:
    if not episode.known[step]:
        return
    found = game.state()
    for name, a, b in zip(STATE_NAMES, episode.states[step], found):
        _compare_number(step, name, float(a), float(b))


def _compare_frame(step: int, recorded: np.ndarray, found: np.ndarray) -> None:
    differs = (recorded != found).any(axis=2)
    if differs.any():
        row, column = np.argwhere(differs)[0]
        raise Difference(
            f'step {step}, frame: {differs.sum()} pixels differ, the first '
            f'in row {row}, column {column}: recorded '
            f'{recorded[row, column].tolist()}, played '
            f'{found[row, column].tolist()}'
        )


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit status, see ``recordings.replay_command``."""
    return replay_command(
        arguments,
        game='PixelCopter',
        unit='episode',
        package='ple',
        compares='states, rewards, ends and frames',
        prepare=_prepare,
        summary=lambda episodes: f'(states, rewards, ends), {_filmed(episodes)} frames',
    )


def _prepare(path: str, original: bool) -> tuple[list[Episode], Callable[[Episode], None]]:
    game = OriginalCopter() if original else Copter()
    return load(path), lambda episode: replay(game, episode)


def _filmed(episodes: Sequence[Episode]) -> int:
    """Frames of all episodes."""
    return sum(len(episode.frames) for episode in episodes if episode.frames is not None)
