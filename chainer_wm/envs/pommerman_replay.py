"""Pommerman's recordings: read, played again and compared step by step.

A recording is an ``.npz`` file without pickles. ``g_*`` have one row per game: its seed, its
``length`` in steps, where its steps begin in ``t_*`` (``step_start``), where its length + 1 states
begin in ``f_*`` (``frame_start``), what kind of game it is (``game_type``: 1 ffa, 2 team, 3
radio).
``t_*`` have one row per step, ``f_*`` one per state. Bombs and flames of state f are rows
``bomb_ptr[f]`` to ``bomb_ptr[f + 1]`` of ``bombs``, and so for flames. ``f_obs_*`` are what each
agent saw, where that is not the whole board; ``f_message`` and ``t_radio_actions`` belong to the
radio.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from chainer_wm.envs import recordings
from chainer_wm.envs.pommerman_boards import MAPS
from chainer_wm.envs.pommerman_games import OneGame
from chainer_wm.envs.pommerman_original import OriginalPommerman
from chainer_wm.envs.pommerman_rules import ACTIONS, AGENTS, SIZE
from chainer_wm.envs.recordings import Difference, RecordingError, replay_command

Arrays = dict[str, np.ndarray]

_BOARD = (SIZE, SIZE)
_AGENTS = (AGENTS,)
_MODES = ('ffa', 'team', 'radio')  # g_game_type 1, 2, 3
_STATE: dict[str, tuple[int, ...]] = {
    'board': _BOARD,
    'hidden_items': _BOARD,
    'position': (AGENTS, 2),
    **dict.fromkeys(('ammo', 'blast_strength', 'can_kick', 'alive'), _AGENTS),
    'step_count': (),
}
_STEP: dict[str, tuple[int, ...]] = {
    'rewards': _AGENTS,
    'done': (),
    'result': (),
    'winner_mask': _AGENTS,
}
_GAME: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(('seed', 'frame_start', 'step_start', 'length', 'game_type'), ()),
    'teammate': _AGENTS,
    'enemies': (AGENTS, 3),
}
_LISTS = {'bombs': ('bomb_ptr', 6), 'flames': ('flame_ptr', 3)}


class Game(Protocol):
    """What can be replayed: one game of ours, or the original's."""

    over: Any

    def restore(self, start: Mapping[str, np.ndarray]) -> None:
        """Begin in a state without bombs and flames."""

    def step(self, actions: np.ndarray, words: np.ndarray | None = None) -> np.ndarray:
        """One step; returns (4,) rewards."""

    def snapshot(self) -> Mapping[str, np.ndarray]:
        """The whole state; see ``PommermanGames.snapshot``."""


class RecordedGame(NamedTuple):
    """One recorded game of T steps.

    Attributes:
        seed: it had in the original; nothing follows from it here.
        mode: 'ffa', 'team' or 'radio'.
        states: T + 1 dicts with the names of ``PommermanGames.snapshot`` and the maps' names,
            without what holds for a step alone.
        actions: (T, 4) int64.
        words: (T, 4, 2) int64, or None without a radio.
        steps: T dicts of 'rewards', 'done', 'result' and 'winner_mask'.
    """

    seed: int
    mode: str
    states: list[Arrays]
    actions: np.ndarray
    words: np.ndarray | None
    steps: list[Arrays]


def load(path: str | os.PathLike) -> list[RecordedGame]:
    """Read a recording.

    Raises:
        RecordingError: not a recording, cut short, or its parts do not fit; says where.
    """
    return recordings.read(path, _games)


def _array(arrays: Arrays, name: str, shape: tuple[int, ...], rows: int | None) -> np.ndarray:
    """One array of numbers, (rows, *shape), or a RecordingError."""
    if name not in arrays:
        raise RecordingError(f'there is no {name!r} in it: is it a recording of Pommerman?')
    array = arrays[name]
    good = array.ndim and array.shape[1:] == shape and array.dtype.kind in 'biuf'
    if not good or rows not in (None, len(array)):
        raise RecordingError(
            f'{name!r} is {array.dtype} {array.shape}, expected numbers '
            f'{("n" if rows is None else rows, *shape)}: is it cut short?'
        )
    return array


def _games(arrays: Arrays) -> Iterator[RecordedGame]:
    frames = len(_array(arrays, 'f_step_count', (), None))
    steps = len(_array(arrays, 't_actions', _AGENTS, None))
    games = len(_array(arrays, 'g_length', (), None))
    table = {name: _array(arrays, f'g_{name}', shape, games) for name, shape in _GAME.items()}
    kinds = table['game_type']
    if not games or not np.isin(kinds, (1, 2, 3)).all():
        raise RecordingError(f'game types are {sorted(set(kinds.tolist()))}, expected 1, 2 or 3')
    per_frame, lists = _per_frame(arrays, frames, bool((kinds > 1).any()), bool((kinds > 2).any()))
    per_step = {name: _array(arrays, f't_{name}', shape, steps) for name, shape in _STEP.items()}
    actions = _in_range(arrays['t_actions'], 't_actions', ACTIONS)
    words = None
    if (kinds > 2).any():
        words = _array(arrays, 't_radio_actions', (AGENTS, 2), steps)
        words = _in_range(words, 't_radio_actions', 8)
    spans = zip(
        _spans('frame_start', table['frame_start'], table['length'] + 1, frames),
        _spans('step_start', table['step_start'], table['length'], steps),
    )
    for g, (seen, played) in enumerate(spans):
        same = {name: table[name][g] for name in ('teammate', 'enemies')}
        states = [
            {
                **{name: array[f] for name, array in per_frame.items()},
                **{name: table[first:end] for name, (table, first, end) in _rows(lists, f)},
                **same,
            }
            for f in range(seen.start, seen.stop)
        ]
        if len(states[0]['bombs']) or len(states[0]['flames']):
            raise RecordingError(f'game {g} begins with bombs or flames, which is not supported')
        yield RecordedGame(
            int(table['seed'][g]),
            _MODES[int(kinds[g]) - 1],
            states,
            actions[played],
            None if words is None else words[played],
            [{n: a[t] for n, a in per_step.items()} for t in range(played.start, played.stop)],
        )


def _per_frame(arrays: Arrays, frames: int, fog: bool, radio: bool) -> tuple[Arrays, Arrays]:
    """What each state consists of, and the lists of bombs and flames with their pointers."""
    found = {name: _array(arrays, f'f_{name}', shape, frames) for name, shape in _STATE.items()}
    for name in MAPS[1:]:
        found[name] = _array(arrays, f'f_{name}', _BOARD, frames)
    if fog:
        shape = (AGENTS, *_BOARD)
        seen = [_array(arrays, f'f_obs_{name}', shape, frames) for name in MAPS]
    else:  # everybody sees everything
        seen = [np.stack([found[name]] * AGENTS, axis=1) for name in MAPS]
    found['maps'] = np.stack(seen, axis=2)
    if radio:
        found['message'] = _array(arrays, 'f_message', (AGENTS, 2), frames)
    lists = {}
    for name, (pointer, columns) in _LISTS.items():
        lists[name] = _array(arrays, name, (columns,), None)
        ends = lists[pointer] = _array(arrays, pointer, (), frames + 1)
        if ends[0] != 0 or ends[-1] != len(lists[name]) or (np.diff(ends) < 0).any():
            raise RecordingError(
                f'{pointer!r} goes from {ends[0]} to {ends[-1]}, but {name!r} has '
                f'{len(lists[name])} rows: is it cut short?'
            )
    if _in_range(found['position'], 'f_position', SIZE).min() < 0:
        raise RecordingError('there are positions below 0')
    return found, lists


def _rows(lists: Arrays, f: int) -> Iterator[tuple[str, tuple[np.ndarray, int, int]]]:
    """The lists of state f: (name, (table, first row, end))."""
    for name, (pointer, _) in _LISTS.items():
        yield name, (lists[name], int(lists[pointer][f]), int(lists[pointer][f + 1]))


def _in_range(array: np.ndarray, name: str, end: int) -> np.ndarray:
    if array.size and (array.min() < 0 or array.max() >= end):
        raise RecordingError(
            f'{name!r} are from {array.min()} to {array.max()}, expected 0 to {end - 1}'
        )
    return array.astype(np.int64)


def _spans(name: str, starts: np.ndarray, lengths: np.ndarray, total: int) -> list[slice]:
    """One slice per game; together they are the whole array."""
    ends = starts + lengths
    if (
        (lengths < 1).any()
        or starts[0] != 0
        or ends[-1] != total
        or (ends[:-1] != starts[1:]).any()
    ):
        raise RecordingError(
            f'g_{name} and g_length lead from {starts[0]} to {ends.max()} with {lengths.sum()} '
            f'rows, but there are {total}: is it cut short?'
        )
    return [slice(int(a), int(b)) for a, b in zip(starts, ends)]


def replay(game: Game, recorded: RecordedGame) -> None:
    """Play a game again from its first state and its actions.

    Raises:
        Difference: what differs first; all was equal up to there.
    """
    game.restore(recorded.states[0])
    _compare(0, recorded.states[0], _told(game))
    for step, actions in enumerate(recorded.actions, 1):
        if game.over:
            raise Difference(f'step {step}: recorded, but the game had ended in step {step - 1}')
        words = None if recorded.words is None else recorded.words[step - 1]
        rewards = game.step(actions, words if recorded.mode == 'radio' else None)
        found = _told(game)
        found.update(rewards=rewards, done=np.asarray(game.over))
        _compare(step, {**recorded.steps[step - 1], **recorded.states[step]}, found)


def _told(game: Game) -> Arrays:
    """The game's state with the maps that its bombs and flames make."""
    state = dict(game.snapshot())
    maps = np.zeros((len(MAPS) - 1, *_BOARD), np.int64)
    for row, column, _, life, blast, direction in state['bombs'].tolist():
        maps[:3, row, column] = blast, life, direction
    for row, column, life in state['flames'].tolist():
        maps[3, row, column] = life + 1
    return {**state, **dict(zip(MAPS[1:], maps))}


def _compare(step: int, recorded: Arrays, found: Arrays) -> None:
    for name, expected in recorded.items():
        value = np.asarray(found[name])
        if expected.shape != value.shape:
            raise Difference(
                f'step {step}, {name}: recorded {len(expected)}: {expected.tolist()}, '
                f'played {len(value)}: {value.tolist()}'
            )
        if np.array_equal(expected, value):
            continue
        where = tuple(np.argwhere(expected != value)[0].tolist())
        a, b = expected[where], value[where]
        if name == 'maps':
            name, where = f'what agent {where[0]} sees of {MAPS[where[1]]}', where[2:]
        place = f' at {list(where)}' if where else ''
        raise Difference(f'step {step}, {name}{place}: recorded {a}, played {b}')


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit status, see ``recordings.replay_command``."""
    return replay_command(
        arguments,
        game='Pommerman',
        unit='game',
        package='pommerman',
        compares='states, rewards, ends and observations',
        prepare=_prepare,
        summary=lambda _: '(states, bombs, flames, rewards, ends, observations, messages)',
    )


def _prepare(
    path: str, original: bool
) -> tuple[list[RecordedGame], Callable[[RecordedGame], None]]:
    recorded = load(path)
    make: Any = OriginalPommerman if original else OneGame
    games = {mode: make(mode) for mode in sorted({game.mode for game in recorded})}
    return recorded, lambda one: replay(games[one.mode], one)
