"""Play policies in real environments and report their returns."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import gym
import numpy as np
import tqdm

from chainer_wm import workers as worker_processes
from chainer_wm.streams import stream

MakeEnv = Callable[[], gym.Env]


class Film(NamedTuple):
    """One episode as it was seen."""

    frames: np.ndarray  # (T, H, W, 3) uint8, the frame before each action
    actions: np.ndarray  # (T, A)
    rewards: np.ndarray  # (T,)
    terminated: bool


def summary(returns: Iterable[float]) -> dict[str, Any]:
    """Episodes, mean, standard deviation (n - 1), standard error, returns."""
    values = np.asarray(list(returns), np.float64)
    if not len(values):
        raise ValueError('no returns to summarise: were 0 episodes asked for?')
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {
        'episodes': len(values),
        'mean': float(values.mean()),
        'std': spread,
        'standard_error': spread / len(values) ** 0.5,
        'returns': values.tolist(),
    }


def play(
    env: gym.Env,
    policy: Any,
    seed: int,
    purpose: str,
    episode: int,
    max_steps: int | None = None,
    film: bool = False,
) -> tuple[float, Film | None]:
    """One episode; its randomness is named by (seed, purpose, episode).

    Args:
        env: a gym 0.26 environment.
        policy: a batched policy (``start``, ``act``), used with one lane.
        film: also return what was seen and done.

    Returns:
        The return (sum of rewards), and the Film or None.
    """
    rng = stream(seed, purpose, episode)
    observation, _ = env.reset(seed=int(rng.integers(2**31)))
    state = policy.start([rng])
    total, steps, over = 0.0, 0, False
    terminated = False
    frames, actions, rewards = [], [], []
    while not over and (max_steps is None or steps < max_steps):
        action, state = policy.act(observation[None], state)
        if film:
            frames.append(observation)
        observation, reward, terminated, truncated, _ = env.step(action[0])
        total += float(reward)
        steps += 1
        over = terminated or truncated
        if film:
            actions.append(action[0])
            rewards.append(reward)
    if not film:
        return total, None
    return total, Film(
        np.stack(frames),
        np.stack(actions),
        np.asarray(rewards, np.float32),
        bool(terminated),
    )


def evaluate(
    make_env: MakeEnv,
    policies: Mapping[str, Callable[[], Any]],
    episodes: int,
    seed: int,
    purpose: str = 'evaluate',
    workers: int = 1,
    max_steps: int | None = None,
    label: str = 'evaluate',
) -> dict[str, np.ndarray]:
    """Returns of every policy over the same episodes, by several processes.

    Episode ``e`` is the same for every policy and any number of workers: the
    game's seed and the policy's noise come from (seed, purpose, e).

    Args:
        make_env: picklable; called once in every worker.
        policies: name -> picklable maker, called once in every worker.

    Returns:
        name -> (episodes,) float64.

    Raises:
        workers.WorkerError: an episode failed twice.
    """
    returns = {name: np.full(episodes, np.nan) for name in policies}
    tasks = [
        (name, seed, purpose, episode, max_steps)
        for name in policies
        for episode in range(episodes)
    ]
    results = worker_processes.run_tasks(
        _play_task,
        tasks,
        workers=workers,
        setup=functools.partial(_setup, make_env, dict(policies)),
    )
    with contextlib.closing(results):  # on an error, workers end at once
        for index, value in tqdm.tqdm(
            results,
            total=len(tasks),
            desc=label,
            unit='episode',
            mininterval=1.0,
        ):
            name, _, _, episode, _ = tasks[index]
            returns[name][episode] = value
    return returns


def _setup(make_env: MakeEnv, policies: Mapping[str, Callable[[], Any]]):
    return make_env(), {name: make() for name, make in policies.items()}


def _play_task(context, task) -> float:
    env, policies = context
    name, seed, purpose, episode, max_steps = task
    total, _ = play(env, policies[name], seed, purpose, episode, max_steps)
    return total
