"""Games of Pommerman side by side, four agents each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numba
import numpy as np

from chainer_wm.envs.pommerman_agents import KINDS, choose_actions
from chainer_wm.envs.pommerman_boards import (
    MAPS,
    N_FEATURES,
    begin_games,
    featurize_games,
    observe_games,
)
from chainer_wm.envs.pommerman_rules import (
    ACTIONS,
    AGENTS,
    CELLS,
    DUMMY,
    FIRST_AGENT,
    INCOMPLETE,
    N_BOMBS,
    N_FLAMES,
    OVER,
    SIZE,
    STEPS,
    Settings,
    empty_games,
    step_games,
)
from chainer_wm.seeds import stream

MAX_STEPS = 800
WORDS = 8  # of the radio: 0 to 7

_SCALARS = ('ammo', 'blast_strength', 'can_kick', 'alive')


def mode_settings(mode: str, max_steps: int = MAX_STEPS) -> Settings:
    """The rules of one kind of game.

    Args:
        mode: 'ffa', all against all, who see the whole board; 'team', 0 and 2 against 1 and 3,
            who see 9x9 cells; 'radio', as 'team', with two words to the teammate in each step.
        max_steps: the game ends in a tie after as many.

    Raises:
        ValueError: no such mode.
    """
    if mode == 'ffa':
        return Settings(False, 10, max_steps, SIZE)
    if mode in ('team', 'radio'):
        return Settings(True, 4, max_steps, 4)
    raise ValueError(f"the mode is {mode!r}, expected 'ffa', 'team' or 'radio'")


def teammates(team: bool) -> np.ndarray:
    """(4,) uint8: the number of each agent's teammate on boards; 9 is nobody."""
    if not team:
        return np.full(AGENTS, DUMMY, np.uint8)
    return ((np.arange(AGENTS) + 2) % AGENTS + FIRST_AGENT).astype(np.uint8)


def enemies(team: bool) -> np.ndarray:
    """(4, 3) uint8: the numbers of each agent's enemies on boards; 9 is nobody."""
    others = np.arange(AGENTS)
    rows = []
    for agent in range(AGENTS):
        against = others[(others % 2 != agent % 2) if team else (others != agent)] + FIRST_AGENT
        rows.append(np.append(against, [DUMMY] * (AGENTS - 1 - len(against))))
    return np.array(rows, np.uint8)


class PommermanGames:
    """B games, each with four agents that move at once.

    A game is the same whatever is played beside it: it depends on its seed and on the actions.
    A game that is over stands still until ``reset``.

    Args:
        count: how many games.
        mode, max_steps: see ``mode_settings``.

    Attributes:
        games: the state, ``pommerman_rules.Games``.
        rules: ``pommerman_rules.Settings``.
        results: (B,) uint8, 0 won, 2 tie, 3 not over.
        winners: (B, 4) bool.
        settings, versions: dicts for manifests.
    """

    def __init__(self, count: int, mode: str = 'ffa', max_steps: int = MAX_STEPS) -> None:
        if count < 1 or max_steps < 1:
            raise ValueError(f'{count} games of {max_steps} steps, expected 1 or more of both')
        self.mode = mode
        self.rules = mode_settings(mode, max_steps)
        self.games = empty_games(count)
        self.results = np.full(count, INCOMPLETE, np.uint8)
        self.winners = np.zeros((count, AGENTS), np.bool_)
        self.settings: dict[str, Any] = {'mode': mode, 'max_steps': max_steps, 'original': False}
        self.versions = {'numpy': np.__version__, 'numba': numba.__version__}

    def __len__(self) -> int:
        return len(self.games.board)

    @property
    def over(self) -> np.ndarray:
        """(B,) bool: which games are over, or have not begun."""
        return self.games.counts[:, OVER] != 0

    @property
    def steps(self) -> np.ndarray:
        """(B,) int32: steps that were played in each game."""
        return self.games.counts[:, STEPS]

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin all games, each on a board of its own.

        Args:
            seeds: one per game, not negative; the board, and what scripted agents draw, follow
                from it.
        """
        if len(seeds) != len(self):
            raise ValueError(f'{len(seeds)} seeds for {len(self)} games')
        drawn = [stream(seed, 'pommerman').integers(2**64, dtype=np.uint64) for seed in seeds]
        begin_games(self.games, np.array(drawn, np.uint64))
        self.results[:] = INCOMPLETE
        self.winners[:] = False

    def step(
        self, actions: np.ndarray, words: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """One step of all games that are not over.

        Args:
            actions: (B, 4) integers: 0 nothing, 1 up, 2 down, 3 left, 4 right, 5 lay a bomb; those
                of the dead are ignored.
            words: (B, 4, 2) integers, 0 to 7, what each says over the radio; None is silence.

        Returns:
            (B, 4) int8 rewards, 0 where a game was over before; (B,) bool, which games are over.

        Raises:
            ValueError: other shapes, other actions, or words without a radio.
        """
        actions = _numbers('actions', actions, (len(self), AGENTS), ACTIONS)
        spoken = np.zeros_like(self.games.words)
        if words is not None:
            if self.mode != 'radio':
                raise ValueError(f'there are words, but the mode is {self.mode!r}, not radio')
            spoken[...] = _numbers('words', words, spoken.shape, WORDS)
            spoken[~self.games.alive] = 0
        going = ~self.over
        rewards = np.zeros((len(self), AGENTS), np.int8)
        step_games(self.games, actions, self.rules, rewards, self.results, self.winners)
        self.games.words[going] = spoken[going]
        return rewards, self.over

    def act(self, kinds: np.ndarray) -> np.ndarray:
        """What scripted agents do now, (B, 4) int64.

        Args:
            kinds: (B, 4) indices into ``pommerman_agents.KINDS``.
        """
        kinds = _numbers('kinds', kinds, (len(self), AGENTS), len(KINDS)).astype(np.uint8)
        actions = np.empty(kinds.shape, np.int64)
        choose_actions(self.games, kinds, self.rules.team, self.rules.view, actions)
        return actions

    def maps(self) -> np.ndarray:
        """What every agent sees, (B, 4, 5, 11, 11) uint8; the third axis are ``MAPS``."""
        maps = np.empty((len(self), AGENTS, len(MAPS), CELLS), np.uint8)
        observe_games(self.games, self.rules.view, maps)
        return maps.reshape(*maps.shape[:3], SIZE, SIZE)

    def features(self, agent: int = 0) -> np.ndarray:
        """The 372 numbers that ``featurize`` makes of one agent's observations, (B, 372) uint8."""
        features = np.empty((len(self), N_FEATURES), np.uint8)
        featurize_games(self.games, agent, self.rules.team, self.rules.view, features)
        return features

    def messages(self) -> np.ndarray:
        """(B, 4, 2) uint8: what each agent's teammate said in the last step."""
        return np.roll(self.games.words, 2, axis=1)

    def restore(self, b: int, start: Mapping[str, np.ndarray]) -> None:
        """Put one game into a state without bombs and flames, with no step played.

        Args:
            start: 'board' and 'hidden_items' (11, 11), 'position' (4, 2), 'ammo',
                'blast_strength', 'can_kick' and 'alive' (4,).
        """
        games = self.games
        games.board[b] = start['board'].reshape(CELLS)
        games.hidden[b] = start['hidden_items'].reshape(CELLS)
        games.cell[b] = start['position'].astype(np.int16) @ np.array([SIZE, 1], np.int16)
        for array, name in zip((games.ammo, games.blast, games.kick, games.alive), _SCALARS):
            array[b] = start[name]
        games.counts[b] = 0
        games.words[b] = 0
        self.results[b] = INCOMPLETE
        self.winners[b] = False

    def snapshot(self, b: int = 0) -> dict[str, np.ndarray]:
        """The whole state of one game, under the names that recordings use.

        Returns:
            'board', 'hidden_items' (11, 11); 'position' (4, 2), row and column; 'ammo',
            'blast_strength', 'can_kick', 'alive' (4,); 'bombs' (n, 6): row, column, owner, life,
            blast, direction; 'flames' (n, 3): row, column, life; 'step_count', 'result' ();
            'winner_mask' (4,); 'message' (4, 2); 'maps' (4, 5, 11, 11); 'teammate' (4,);
            'enemies' (4, 3).
        """
        games = self.games
        n_bombs, n_flames = games.counts[b, N_BOMBS], games.counts[b, N_FLAMES]
        scalars = (games.ammo, games.blast, games.kick, games.alive)
        return {
            'board': games.board[b].reshape(SIZE, SIZE),
            'hidden_items': games.hidden[b].reshape(SIZE, SIZE),
            'position': _rows_columns(games.cell[b]),
            **{name: array[b] for name, array in zip(_SCALARS, scalars)},
            'bombs': _with_rows_columns(games.bombs[b, :n_bombs]),
            'flames': _with_rows_columns(games.flames[b, :n_flames]),
            'step_count': games.counts[b, STEPS],
            'result': self.results[b],
            'winner_mask': self.winners[b],
            'message': self.messages()[b],
            'maps': self.maps()[b],
            'teammate': teammates(self.rules.team),
            'enemies': enemies(self.rules.team),
        }

    def observations(self, b: int = 0) -> list[dict[str, Any]]:
        """What each agent of one game observes, as the original puts it.

        Each is a dict: the maps by their names, 'board' uint8 and the others float64, (11, 11);
        'position', (row, column); 'ammo', 'blast_strength', 'can_kick'; 'alive', the numbers of
        the living on boards; 'teammate', 'enemies' as such numbers; 'message' with a radio;
        'step_count', 'game_type' (1 ffa, 2 team, 3 radio).
        """
        state = self.snapshot(b)
        alive = (np.flatnonzero(state['alive']) + FIRST_AGENT).tolist()
        seen = []
        for agent in range(AGENTS):
            maps = zip(MAPS, state['maps'][agent])
            row, column = state['position'][agent].tolist()
            observation: dict[str, Any] = {
                **{name: m if name == 'board' else m.astype(np.float64) for name, m in maps},
                'position': (row, column),
                'ammo': int(state['ammo'][agent]),
                'blast_strength': int(state['blast_strength'][agent]),
                'can_kick': bool(state['can_kick'][agent]),
                'alive': alive,
                'teammate': int(state['teammate'][agent]),
                'enemies': state['enemies'][agent].tolist(),
                'step_count': int(state['step_count']),
                'game_type': ('ffa', 'team', 'radio').index(self.mode) + 1,
            }
            if self.mode == 'radio':
                observation['message'] = tuple(state['message'][agent].tolist())
            seen.append(observation)
        return seen


class OneGame:
    """One of ``PommermanGames`` alone, with three axes less; see there.

    Args:
        mode, max_steps: of the game.
        kind: of the scripted agents whose actions ``act`` gives.

    Attributes:
        games: the game as a batch of one.
    """

    def __init__(self, mode: str, kind: str = 'hunter', max_steps: int = MAX_STEPS) -> None:
        if kind not in KINDS:
            raise ValueError(f'the agents are {kind!r}, expected one of {KINDS}')
        self.games = PommermanGames(1, mode, max_steps)
        self._kinds = np.full((1, AGENTS), KINDS.index(kind))
        self.settings, self.versions = self.games.settings, self.games.versions

    @property
    def over(self) -> bool:
        """Whether the game has ended, or has not begun."""
        return bool(self.games.over[0])

    @property
    def late(self) -> bool:
        """Whether the time limit has come."""
        return bool(self.games.steps[0] >= self.games.rules.max_steps)

    @property
    def alive(self) -> np.ndarray:
        """(4,) bool."""
        return self.games.games.alive[0].copy()

    @property
    def winners(self) -> np.ndarray:
        """(4,) bool."""
        return self.games.winners[0].copy()

    def begin(self, seed: int) -> None:
        """Begin a game on the board of this seed."""
        self.games.reset([seed])

    def restore(self, start: Mapping[str, np.ndarray]) -> None:
        """Begin in a state, see ``PommermanGames.restore``."""
        self.games.restore(0, start)

    def act(self) -> np.ndarray:
        """(4,) int64, what the scripted agents do now."""
        return self.games.act(self._kinds)[0]

    def step(self, actions: np.ndarray, words: np.ndarray | None = None) -> np.ndarray:
        """One step with actions (4,) and words (4, 2); returns (4,) rewards."""
        rewards, _ = self.games.step(actions[None], None if words is None else words[None])
        return rewards[0]

    def snapshot(self) -> dict[str, np.ndarray]:
        """The whole state, see ``PommermanGames.snapshot``."""
        return self.games.snapshot()

    def observations(self) -> list[dict[str, Any]]:
        """What each agent observes, see ``PommermanGames.observations``."""
        return self.games.observations()

    def features(self, agent: int) -> np.ndarray:
        """The 372 numbers of one agent, (372,) uint8."""
        return self.games.features(agent)[0]


def featurize(observation: Mapping[str, Any]) -> np.ndarray:
    """An observation as the 372 numbers of ``pommerman_boards.GROUPS``, (372,) float32."""
    maps = [np.asarray(observation[n]).ravel() for n in ('board', *MAPS[1:3])]
    scalars = [observation[n] for n in ('ammo', 'blast_strength', 'can_kick')]
    who = [getattr(o, 'value', o) for o in (observation['teammate'], *observation['enemies'])]
    return np.concatenate([*maps, observation['position'], scalars, who]).astype(np.float32)


def _numbers(name: str, array: Any, shape: tuple[int, ...], end: int) -> np.ndarray:
    """An array of integers below ``end``, not negative, or a ValueError."""
    array = np.asarray(array)
    if array.shape != shape or array.dtype.kind not in 'iu':
        raise ValueError(f'{name} are {array.dtype} {array.shape}, expected integers {shape}')
    if array.size and (array.min() < 0 or array.max() >= end):
        raise ValueError(
            f'{name} are from {array.min()} to {array.max()}, expected 0 to {end - 1}'
        )
    return array.astype(np.int64)


def _rows_columns(cells: np.ndarray) -> np.ndarray:
    """(n,) cells as (n, 2) rows and columns."""
    return np.stack(np.divmod(cells, SIZE), axis=-1)


def _with_rows_columns(table: np.ndarray) -> np.ndarray:
    """A table whose first column is a cell, with row and column instead."""
    return np.concatenate([_rows_columns(table[:, 0]), table[:, 1:]], axis=1)
