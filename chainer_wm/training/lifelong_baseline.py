"""What a lifelong learner is compared with: PPO on the real levels alone."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainer_wm import files
from chainer_wm.agents.ppo.collect import Collector
from chainer_wm.agents.ppo.learner import PPO
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.seeds import derived_seed
from chainer_wm.training import ppo
from chainer_wm.training.levels import Game, scores


@dataclasses.dataclass(frozen=True)
class RealPractice:
    """One policy that learns in the real game, one level after the other.

    Attributes:
        folder: gets one folder per level.
        game: the real levels.
        make: a new policy.
        improve: a PPO for it.
        lanes, rollout_length: B and T of an update.
        shape_rewards: see ``policy.train``.
        episodes: of a score, by which a level is left.
        report_episodes: others, played when it has been left.
        seed: of the run.
        restart_every: updates between fresh episodes in all lanes.
        tick: called after every update.
    """

    folder: pathlib.Path
    game: Game
    make: Callable[[], ActorCritic]
    improve: Callable[[ActorCritic], PPO]
    lanes: int
    rollout_length: int
    shape_rewards: Callable[[np.ndarray], np.ndarray]
    episodes: int
    report_episodes: int
    seed: int
    restart_every: int = 4
    tick: Callable[[], None] = lambda: None

    @property
    def steps(self) -> int:
        """Real steps of an update."""
        return self.lanes * self.rollout_length

    def same_budget(self, budgets: Sequence[int]) -> list[dict[str, Any]]:
        """So many real steps on each level, rounded up to whole updates.

        Returns:
            Per level: 'real_steps', and the 'scores' on all levels after it,
            also those 'reported', from fresh episodes.
        """
        return [
            self._left(self.on(level, math.ceil(budget / self.steps)))
            for level, budget in enumerate(budgets)
        ]

    def until_solved(self, solved: float, limit: int) -> list[dict[str, Any]]:
        """Each level until it is solved.

        Args:
            solved: share of successes that is enough; looked at whenever
                fresh episodes begin.
            limit: real steps per level at most.

        Returns:
            As ``same_budget``, and 'solved' for each level.
        """
        chunk = self.restart_every
        most = max(chunk, limit // self.steps // chunk * chunk)
        found = []
        for level in range(self.game.levels):
            for updates in range(chunk, most + 1, chunk):
                row = self.on(level, updates)
                done = row['scores'][level]['success'] >= solved
                if done:
                    break
            found.append({**self._left(row), 'solved': done})
        return found

    def on(self, level: int, updates: int) -> dict[str, Any]:
        """Practise a level up to so many updates, and score all levels."""
        folder = self.folder / f'level-{level}'
        kept = folder / f'scores-{updates}.json'
        if kept.exists():
            return files.read_json(kept)
        network = self.make()
        if level:
            ppo.load(self.folder / f'level-{level - 1}', network)
        envs = [self.game.make(level) for _ in range(self.lanes)]
        ppo.train(
            folder,
            self.improve(network),
            Collector(network, envs),
            updates=updates,
            rollout_length=self.rollout_length,
            seed=derived_seed(self.seed, 'real practice', level),
            shape_rewards=self.shape_rewards,
            restart_every=self.restart_every,
            label=f'{self.folder.name}, level {level}',
            tick=self.tick,
        )
        row = {
            'level': level,
            'real_steps': updates * self.steps,
            'scores': scores(self.game, network, self.episodes, self.seed),
        }
        files.write_json(kept, row)
        return row

    def _left(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row of a level that is left, with scores of fresh episodes."""
        network = self.make()
        ppo.load(self.folder / f'level-{row["level"]}', network)
        found = scores(*(self.game, network, self.report_episodes, self.seed), purpose='report')
        return {**row, 'reported': found}
