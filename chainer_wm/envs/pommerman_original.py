"""The original game, where it is installed, with the interface of one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chainer_wm.envs.pommerman_boards import MAPS
from chainer_wm.envs.pommerman_rules import AGENTS, INCOMPLETE, PASSAGE, SIZE

NAMES = {
    'ffa': 'PommeFFACompetition-v0',
    'team': 'PommeTeamCompetition-v0',
    'radio': 'PommeRadioCompetition-v2',
}


class OriginalPommerman:
    """One game of the package ``pommerman``; see ``pommerman_games.PommermanGames``.

    It draws its boards from a set with the interpreter's global generator: seeds do not make them
    the same again.

    Args:
        mode: a key of ``NAMES``.

    Raises:
        ImportError: it is not installed, or does not run on this Python.
    """

    def __init__(self, mode: str = 'ffa') -> None:
        try:
            import pommerman
            from pommerman.agents import BaseAgent
        except Exception as error:  # on today's Python it fails in many ways
            raise ImportError(
                f'the original Pommerman cannot be imported ({type(error).__name__}: {error}). It '
                'is on no package index: take https://github.com/MultiAgentLearning/playground, '
                'put it on PYTHONPATH, and mend it for this Python: random.sample of a set, '
                'gym.make with disable_env_checker, imports of graphics and network'
            ) from error

        class Silent(BaseAgent):
            """Is told what to do from outside."""

            def act(self, *_: Any) -> int:
                return 0

        self.mode = mode
        self.env = pommerman.make(NAMES[mode], [Silent() for _ in range(AGENTS)])
        self.versions = {'pommerman': str(getattr(pommerman, '__version__', 'unknown'))}
        self.over = True
        self._info: dict[str, Any] = {}

    def restore(self, start: Mapping[str, np.ndarray]) -> None:
        """Begin in a recorded state; see ``PommermanGames.restore``."""
        env = self.env
        self._observations = env.reset()
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
        self._info = {}
        self.over = False

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
        winners = self._info.get('winners', [])
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
            'winner_mask': np.isin(np.arange(AGENTS), winners),
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
