"""Pommerman as a gym environment: one agent learns, three are scripted.

The game of the Pommerman playground (commit 5315f6d), restated (``pommerman_rules.py``) and equal
to it step by step, for all against all, teams, and teams with a radio. ``PommermanGames`` plays
many games side by side: on one core of the machine where it was written 28,000 steps per second
with four scripted agents that look ahead, 300,000 with random ones, new boards included (the
original: 200 and 4,200).

``python -m chainer_wm.envs.pommerman --replay FILE`` plays a recording again and compares.
"""

from __future__ import annotations

import sys
from typing import Any

import gym
import numpy as np

from chainer_wm.envs import pommerman_replay
from chainer_wm.envs.pommerman_agents import KINDS
from chainer_wm.envs.pommerman_boards import MAPS, N_FEATURES
from chainer_wm.envs.pommerman_games import (
    MAX_STEPS,
    WORDS,
    OneGame,
    PommermanGames,
    featurize,
    mode_settings,
)
from chainer_wm.envs.pommerman_original import OriginalPommerman
from chainer_wm.envs.pommerman_pictures import draw_board
from chainer_wm.envs.pommerman_rules import ACTIONS, AGENTS, SIZE

__all__ = ['Pommerman', 'PommermanGames', 'featurize']

OBSERVATIONS = ('features', 'pixels')
_BOARD, _LIFE = MAPS.index('board'), MAPS.index('bomb_life')


class Pommerman(gym.Env):
    """One game, seen and played by one agent.

    Actions: 0 nothing, 1 up, 2 down, 3 left, 4 right, 5 lay a bomb; with a radio, such an action
    and two words from 0 to 7. The reward is the original's for this agent: 0 until the end, then
    +1 or -1. An episode ends with the game, and for all against all with this agent's death; in a
    team the dead wait, and what they do is ignored. A tie by the time limit is truncated.

    Args:
        mode: 'ffa', 'team' or 'radio', see ``pommerman_games.mode_settings``.
        others: kinds of the three other agents (``pommerman_agents.KINDS``).
        agent: number of this agent, 0 to 3.
        observation: 'features', the 372 numbers of ``featurize``, (372,) uint8; 'pixels', what
            this agent sees of the board as a picture, (11 * cell, 11 * cell, 3) uint8.
        cell: pixels of a cell's side.
        max_steps: the game ends in a tie after as many.
        original: play the original game with its own agents, which must be installed (package
            ``pommerman``), and not our restatement of it; its limit is 800 steps.
        render_mode: 'rgb_array' for ``render``, or None.

    Attributes:
        game: what is played, with the interface of ``pommerman_games.OneGame``.
        settings, versions: dicts for manifests.

    Raises:
        ValueError: an unknown mode, kind, observation or agent.
        ImportError: ``original`` without the original.
    """

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 10}  # noqa: RUF012

    def __init__(
        self,
        mode: str = 'ffa',
        others: str = 'hunter',
        agent: int = 0,
        observation: str = 'features',
        cell: int = 12,
        max_steps: int = MAX_STEPS,
        original: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if observation not in OBSERVATIONS or others not in KINDS:
            raise ValueError(
                f'observation is {observation!r} and others {others!r}, expected one of '
                f'{OBSERVATIONS} and one of {KINDS}'
            )
        if not 0 <= agent < AGENTS:
            raise ValueError(f'agent is {agent}, expected 0 to {AGENTS - 1}')
        if original and max_steps != MAX_STEPS:
            raise ValueError(f'max_steps is {max_steps}, but the original plays {MAX_STEPS}')
        self.game: Any = (
            OriginalPommerman(mode, others) if original else OneGame(mode, others, max_steps)
        )
        self.agent, self.observation, self.cell = agent, observation, cell
        self.render_mode = render_mode
        self._team, self._radio = mode_settings(mode).team, mode == 'radio'
        self._begun = False
        space = gym.spaces
        self.action_space = (
            space.MultiDiscrete([ACTIONS, WORDS, WORDS])
            if mode == 'radio'
            else space.Discrete(ACTIONS)
        )
        self.observation_space = (
            space.Box(0, 13, (N_FEATURES,), np.uint8)
            if observation == 'features'
            else space.Box(0, 255, (SIZE * cell, SIZE * cell, 3), np.uint8)
        )
        self.settings = {
            **self.game.settings,
            'others': others,
            'agent': agent,
            'observation': observation,
            'cell': cell,
        }
        self.versions = dict(self.game.versions)

    def reset(
        self, *, seed: int | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict]:
        """Begin a game on a new board.

        Args:
            seed: of the board and of the scripted agents; None goes on with the generator that is
                there.
        """
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        self.game.begin(seed)
        self._begun = True
        return self._observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """All four agents move.

        Raises:
            ValueError: no such action.
            RuntimeError: the episode is over, or was never begun.
        """
        if not self._begun:
            raise RuntimeError('the episode is over or was never begun: call reset() first')
        if not self.action_space.contains(np.asarray(action) if self._radio else int(action)):
            raise ValueError(f'the action is {action!r}, expected one of {self.action_space}')
        actions, words = self.game.act(), None
        if self._radio:
            words = np.zeros((AGENTS, 2), np.int64)
            actions[self.agent], *words[self.agent] = np.asarray(action).tolist()
        else:
            actions[self.agent] = int(action)
        rewards = self.game.step(actions, words)
        alive, winners, over = self.game.alive, self.game.winners, self.game.over
        self._begun = not over and bool(alive[self.agent] or self._team)
        truncated = bool(over and self.game.late and alive.any() and not winners.any())
        terminated = not self._begun and not truncated
        info = {'alive': alive, 'winners': winners}
        return self._observe(), float(rewards[self.agent]), terminated, truncated, info

    def render(self) -> Any:
        """The whole board, (11 * cell, 11 * cell, 3) uint8; None without a mode."""
        if self.render_mode is None:
            return None
        state = self.game.snapshot()
        life = np.zeros((SIZE, SIZE), np.uint8)
        life[tuple(state['bombs'][:, :2].T)] = state['bombs'][:, 3]
        return draw_board(state['board'], life, cell=self.cell)

    def _observe(self) -> np.ndarray:
        if self.observation == 'features':
            return self.game.features(self.agent)
        maps = self.game.snapshot()['maps'][self.agent]
        return draw_board(maps[_BOARD], maps[_LIFE], cell=self.cell)


if __name__ == '__main__':
    sys.exit(pommerman_replay.main())
