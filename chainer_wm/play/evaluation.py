"""Play policies in real environments and report their returns."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import gym
import numpy as np
import tqdm

from chainer_wm.agents.policies import Policy
from chainer_wm.play import lanes
from chainer_wm.play.engines import Workers, count_of, label_of, portable, run_tasks
from chainer_wm.play.lanes import Played
from chainer_wm.seeds import stream

MakeEnv = Callable[[], gym.Env]


def summary(returns: Iterable[float]) -> dict[str, Any]:
    """Episodes, mean, standard deviation (n - 1), standard error, returns.

    Raises:
        ValueError: there is none, or one is not finite.
    """
    values = np.asarray(list(returns), np.float64)
    if not len(values):
        raise ValueError('no returns to summarise: were 0 episodes asked for?')
    if bad := np.flatnonzero(~np.isfinite(values)).tolist():
        raise ValueError(
            f'the returns of episodes {bad} are {values[bad].tolist()}, not '
            'finite: no mean of them is a score'
        )
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {
        'episodes': len(values),
        'mean': float(values.mean()),
        'std': spread,
        'standard_error': spread / len(values) ** 0.5,
        'returns': values.tolist(),
    }


class Band(NamedTuple):
    """What happened after ``first`` steps of an episode, up to ``last``."""

    first: int
    last: int
    steps: int  # that all episodes together lived at these ages
    deaths: int

    @property
    def rate(self) -> float:
        """Deaths per 1,000 steps, where any step was lived."""
        return 1000 * self.deaths / self.steps


def ages(lifetimes: Iterable[float], limit: float, edges: Sequence[int]) -> list[Band]:
    """At which ages episodes ended.

    A mean does not show whether a dream grows as dangerous as the game does: deaths per step
    lived, age by age, do.

    Args:
        lifetimes: (n,) steps that each episode lasted.
        limit: where episodes are cut off; whoever got there did not die.
        edges: of the bands, rising.
    """
    lasted = np.asarray(list(lifetimes), np.float64)
    died = lasted[lasted < limit]
    return [
        Band(
            first,
            last,
            int(np.clip(lasted - first, 0, last - first).sum()),
            int(((first < died) & (died <= last)).sum()),
        )
        for first, last in itertools.pairwise(edges)
    ]


def episode_rngs(
    seed: int, episodes: Iterable[int], purpose: str = 'evaluate'
) -> list[np.random.Generator]:
    """A generator per episode, named by (seed, purpose, episode)."""
    return [stream(seed, purpose, episode) for episode in episodes]


def play_together(
    make_env: MakeEnv,
    policy: Policy,
    rngs: Sequence[np.random.Generator],
    max_steps: int | None = None,
) -> list[Played]:
    """Play episodes all side by side in this process, one lane and environment each.

    Args:
        rngs: one per episode, see ``episode_rngs``.
        max_steps: ends what has not ended by then.

    Returns:
        The episodes in the order of their generators.
    """
    with contextlib.closing(lanes.Envs(make_env)) as envs:
        played = lanes.play(envs, policy, rngs, max_steps, num_envs=len(rngs))
        return sorted(played, key=lambda episode: episode.number)


def evaluate(
    make_env: MakeEnv,
    policies: Mapping[str, Callable[[], Any]],
    episodes: int,
    seed: int,
    purpose: str = 'evaluate',
    workers: Workers = 1,
    max_steps: int | None = None,
    label: str = 'evaluate',
) -> dict[str, np.ndarray]:
    """Returns of every policy over the same episodes, by several processes.

    Episode ``e`` is the same for every policy and any number of workers: the game's seed and the
    policy's noise come from (seed, purpose, e).

    Args:
        make_env: picklable; called once in every worker.
        policies: name -> picklable maker, called once in every worker.
        workers: processes, 0 for this one; or a cluster.

    Returns:
        name -> (episodes,) float64.

    Raises:
        workers.WorkerError: an episode failed twice.
    """
    returns = {name: np.full(episodes, np.nan) for name in policies}
    tasks = [
        (name, seed, purpose, group, max_steps)
        for name in policies
        for group in lanes.groups(range(episodes), count_of(workers))
    ]
    makers = {name: portable(make, workers) for name, make in policies.items()}
    setup = functools.partial(_setup, make_env, makers)
    results = run_tasks(_play_task, tasks, workers=workers, setup=setup)
    with (
        contextlib.closing(results),  # on an error, workers end at once
        tqdm.tqdm(
            total=episodes * len(policies), desc=label, unit='episode', mininterval=1.0
        ) as bar,
    ):
        for index, values in results:
            name, _, _, group, _ = tasks[index]
            returns[name][list(group)] = values
            bar.set_postfix_str(label_of(workers), refresh=False)
            bar.update(len(group))
    return returns


def _setup(make_env: MakeEnv, policies: Mapping[str, Callable[[], Any]]):
    made = {name: make() for name, make in policies.items()}
    return lanes.Envs(make_env), made


def _play_task(context, task) -> list[float]:
    """Returns of a group of episodes."""
    envs, policies = context
    name, seed, purpose, group, max_steps = task
    rngs = episode_rngs(seed, group, purpose)
    played = lanes.play(envs, policies[name], rngs, max_steps)
    return [episode.total for episode in sorted(played, key=lambda one: one.number)]
