"""The original game, where it is installed, with the interface of ``pommerman_games.OneGame``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chainer_wm.envs.pommerman_agents import KINDS
from chainer_wm.envs.pommerman_boards import MAPS
from chainer_wm.envs.pommerman_games import MAX_STEPS, featurize
from chainer_wm.envs.pommerman_rules import AGENTS, INCOMPLETE, PASSAGE, SIZE

NAMES = {
    'ffa': 'PommeFFACompetition-v0',
    'team': 'PommeTeamCompetition-v0',
    'radio': 'PommeRadioCompetition-v2',
}


class OriginalPommerman:
    """One game of the package ``pommerman``; see ``pommerman_games.OneGame``.

    It draws its boards from a set with the interpreter's global generator: seeds do not make them
    the same again.

    Args:
        mode: a key of ``NAMES``.
        kind: of the agents whose actions ``act`` gives: its SimpleAgent for 'hunter', its
            RandomAgent for 'random'.

    Raises:
        ImportError: it is not installed, or does not run on this Python.
        ValueError: it has no such agents.
    """

    def __init__(self, mode: str = 'ffa', kind: str = KINDS[-1]) -> None:
        try:
            import pommerman
            from pommerman import agents
        except Exception as error:  # on today's Python it fails in many ways
            raise ImportError(
                f'the original Pommerman cannot be imported ({type(error).__name__}: {error}). It '
                'is on no package index: take https://github.com/MultiAgentLearning/playground, '
                'put it on PYTHONPATH, and mend it for this Python: random.sample of a set, '
                'gym.make with disable_env_checker, imports of graphics and network'
            ) from error

        makers = {'hunter': agents.SimpleAgent, 'random': agents.RandomAgent}
        if kind not in makers or mode not in NAMES:
            raise ValueError(
                f'the original has no {kind!r} agents, or no mode {mode!r}: expected one of '
                f'{tuple(makers)} and one of {tuple(NAMES)}'
            )
        self.mode = mode
        self.env = pommerman.make(NAMES[mode], [makers[kind]() for _ in range(AGENTS)])
        self.versions = {'pommerman': str(getattr(pommerman, '__version__', 'unknown'))}
        self.settings = {'mode': mode, 'max_steps': MAX_STEPS, 'original': True}
        self.over = True
        self._info: dict[str, Any] = {}

    @property
    def late(self) -> bool:
        """Whether the time limit has come."""
        return self.env._step_count >= MAX_STEPS

    @property
    def alive(self) -> np.ndarray:
        """(4,) bool."""
        return np.array([agent.is_alive for agent in self.env._agents])

    @property
    def winners(self) -> np.ndarray:
        """(4,) bool."""
        return np.isin(np.arange(AGENTS), self._info.get('winners', []))

    def begin(self, seed: int) -> None:
        """Begin a game; nothing follows from the seed."""
        self._observations, self._info, self.over = self.env.reset(), {}, False

    def act(self) -> np.ndarray:
        """(4,) int64, what the original's agents do now."""
        told = self.env.act(self._observations)
        return np.array([int(np.ravel(each)[0]) for each in told])

    def features(self, agent: int) -> np.ndarray:
        """The 372 numbers of one agent, (372,) uint8."""
        return featurize(self._observations[agent]).astype(np.uint8)

    def restore(self, start: Mapping[str, np.ndarray]) -> None:
        """Begin in a recorded state; see ``PommermanGames.restore``."""
        env = self.env
        self.begin(0)
        env._board = np.array(start['board'])
        hidden = start['hidden_items']
        env._items = {
            (int(r), int(c)): int(hidden[r, c]) for r, c in np.argwhere(hidden != PASSAGE)
        }
        for i, agent in enumerate(env._agents):
            row, column = start['position'][i].tolist()
            agent.set_start_position((row, column))
            agent.reset(
                int(start['ammo'][i]),
                bool(start['alive'][i]),
                int(start['blast_strength'][i]),
                bool(start['can_kick'][i]),
            )
        self._observations = env.get_observations()

    def step(self, actions: np.ndarray, words: np.ndarray | None = None) -> np.ndarray:
        """One step; returns (4,) rewards."""
        told: list[Any] = [int(action) for action in actions]
        if words is not None:
            told = [(action, *map(int, said)) for action, said in zip(told, words)]
        self._observations, rewards, self.over, self._info = self.env.step(told)
        return np.array(rewards)

    def snapshot(self) -> dict[str, Any]:
        """The whole state; see ``PommermanGames.snapshot``."""
        env, agents = self.env, self.env._agents
        hidden = np.zeros((SIZE, SIZE), np.uint8)
        for cell, item in env._items.items():
            hidden[cell] = item
        seen = self._observations
        state = {
            'board': np.array(env._board),
            'hidden_items': hidden,
            'position': [agent.position for agent in agents],
            **{n: [getattr(a, n) for a in agents] for n in ('ammo', 'blast_strength', 'can_kick')},
            'alive': [agent.is_alive for agent in agents],
            'bombs': np.reshape([_bomb(bomb) for bomb in env._bombs], (-1, 6)),
            'flames': np.reshape([(*f.position, f._life) for f in env._flames], (-1, 3)),
            'step_count': env._step_count,
            'result': getattr(self._info.get('result'), 'value', INCOMPLETE),
            'winner_mask': self.winners,
            'message': [o.get('message', (0, 0)) for o in seen],
            'maps': [[o[name] for name in MAPS] for o in seen],
            'teammate': [o['teammate'].value for o in seen],
            'enemies': [[e.value for e in o['enemies']] for o in seen],
        }
        return {name: np.asarray(value) for name, value in state.items()}

    def observations(self) -> list[dict[str, Any]]:
        """What each agent observes."""
        return list(self._observations)


def _bomb(bomb: Any) -> tuple[int, ...]:
    direction = getattr(bomb.moving_direction, 'value', 0)
    return (*bomb.position, bomb.bomber.agent_id, bomb.life, bomb.blast_strength, direction)
