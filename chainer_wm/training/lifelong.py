"""One agent, one model, one task after the other: the parts of that loop.

As the post on the Neural Computer Agent tells it: act in the real task, store, train one global
model on all data so far, train the policy inside the model alone, return to the real task, go on
to the next level. ``RealPractice`` is
what it is compared with: PPO on the real levels alone.

Everything is named by (seed, level, iteration): a loop that was interrupted and goes on gives the
numbers of an unbroken one.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import chainer
import gym
import numpy as np

from chainer_wm import files
from chainer_wm.agents.policies import RandomActions
from chainer_wm.agents.ppo.learner import PPO
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.devices import to_cpu
from chainer_wm.dream.pixel_dream import PixelDream, curiosity, draw_points, starts_at
from chainer_wm.files.archives import save_link
from chainer_wm.functions.adam import Adam
from chainer_wm.links.pixel_model import PixelModel, Prediction, choose
from chainer_wm.play.collector import Collector
from chainer_wm.rollouts import Rollout
from chainer_wm.rollouts.pixel_episodes import PixelBatch, PixelEpisodes
from chainer_wm.seeds import derived_seed, stream
from chainer_wm.training import loop, ppo
from chainer_wm.training.levels import Game, play, scores, succeeded


def episodes_of(rollouts: Sequence[Rollout], model: PixelModel) -> PixelEpisodes:
    """Episodes as a model takes them; it gets numbers for what is new in them."""
    for rollout in rollouts:
        model.palette.learn(rollout.observations)
        model.outcomes.learn(rollout.rewards, rollout.terminated)
    return PixelEpisodes(rollouts, model.palette, model.outcomes)


def train_model(
    folder: str | os.PathLike,
    model: PixelModel,
    episodes: PixelEpisodes,
    *,
    updates: int,
    lanes: int,
    steps: int,
    learning_rate: float,
    seed: int,
    outcome_weight: float = 1.0,
    beta2: float = 0.999,
    debug: bool = False,
    tick: Callable[[], None] = lambda: None,
    label: str = 'model',
) -> list[dict]:
    """Go on training the global model on all episodes so far.

    Leaves ``model.npz`` in ``folder``.

    Args:
        model: as it came out of the iteration before.
        lanes, steps: B and T of a batch.
        outcome_weight: of the loss of reward and end.
        beta2: of Adam. The first errors of pictures are a hundred times the later ones of rewards;
            Adam should soon forget them.

    Returns:
        The log: a row of losses per 20 updates.
    """
    optimizer = Adam(alpha=learning_rate, beta2=beta2, gradient_clip=1.0).setup(model)

    def loss(number: int, _: Any):
        batch = episodes.draw(steps, lanes, stream(seed, 'model batch', number))
        parts, _ = model.loss(batch, model.initial_state(lanes))
        chainer.report(parts._asdict(), model)
        return parts.total(outcome_weight), None

    updater = loop.NumberedUpdater(optimizer, loss, debug=debug)
    trainer = loop.fit(folder, updater, updates, label, tick=tick)
    save_link(pathlib.Path(folder) / 'model.npz', model)
    return loop.history(trainer)


def predicted(model: PixelModel, episodes: PixelEpisodes) -> tuple[PixelBatch, Prediction]:
    """All episodes whole, side by side, and what the model says at each step.

    The prediction's fields are NumPy arrays.
    """
    batch = episodes.whole(range(len(episodes)))
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        found, _ = model.sequence(
            batch.codes, batch.actions, model.initial_state(len(episodes)), batch.reset
        )
    return batch, Prediction(*map(to_cpu, found))


def probe(model: PixelModel, episodes: PixelEpisodes) -> dict[str, Any]:
    """How well the model predicts one step of episodes it never saw.

    Returns:
        'pictures' (share of next pictures right in every pixel), 'outcomes' (share of steps whose
        reward and end are right), 'news' (the same of the steps that are not like most, None
        without any).
    """
    batch, (colours, outcome) = predicted(model, episodes)
    seen, played = batch.seen > 0, batch.played > 0
    guess = choose(colours[seen], 0.5, len(model.palette))
    right = outcome.argmax(axis=2) == batch.outcomes
    # the commonest outcome, an ordinary step, is no news
    news = batch.outcomes != np.bincount(batch.outcomes[played]).argmax()
    return {
        'pictures': float((guess == batch.following[seen]).all(axis=1).mean()),
        'outcomes': float(right[played].mean()),
        'news': float(right[played & news].mean()) if (played & news).any() else None,
    }


def dream_of(
    model: PixelModel,
    rollouts: Sequence[Rollout],
    *,
    lanes: int,
    max_steps: int,
    newest: float,
    anywhere: float,
    rng: np.random.Generator,
    surprise: float = 0.0,
    starts: int = 512,
) -> PixelDream:
    """The model as a game of all levels seen so far.

    Args:
        rollouts: all real episodes, each with its 'level'.
        newest, anywhere: see ``pixel_dream.draw_points``.
        surprise: reward of a dream that does what was never tried in the
            real game, see ``pixel_dream.Curiosity``. In the newest level
            only, and only while no real episode of it succeeded; 0 is never.
        starts: how many points of real episodes are drawn to begin at.
    """
    episodes = episodes_of(rollouts, model)
    levels = np.array([rollout.info['level'] for rollout in rollouts])
    points = draw_points(levels, episodes, starts, newest, anywhere, rng)
    newer = levels == levels.max()
    won = any(map(succeeded, itertools.compress(rollouts, newer)))
    curious = newer[points[:, 0]] & bool(surprise and not won)
    return PixelDream(
        model,
        starts_at(model, episodes, points, curious),
        lanes,
        max_steps,
        curiosity(episodes, surprise) if curious.any() else None,
    )


def probe_level(
    model: PixelModel, game: Game, level: int, episodes: int, seed: int
) -> dict[str, Any]:
    """``probe`` on random episodes of a level that nobody learns from."""
    rollouts = play(
        [game.make(level) for _ in range(episodes)],
        RandomActions(gym.spaces.Discrete(model.actions)),
        [stream(seed, 'probe', level, n) for n in range(episodes)],
    )
    # a copy learns the numbers of what the model never saw: these it misses
    model = copy.deepcopy(model)
    return probe(model, episodes_of(rollouts, model))


@dataclasses.dataclass(frozen=True)
class RealPractice:
    """One policy that learns in the real game, one level after the other.

    Attributes:
        folder: gets one folder per level.
        game: the real levels.
        make: a new policy.
        improve: a PPO for it.
        lanes, rollout_length: B and T of an update.
        shape_rewards: see ``ppo.train``.
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
            Per level: 'real_steps', and the 'scores' on all levels after it, also those
            'reported', from fresh episodes.
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
        found = scores(self.game, network, self.report_episodes, self.seed, purpose='report')
        return {**row, 'reported': found}
