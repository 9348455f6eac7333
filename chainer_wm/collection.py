"""Play episodes with a policy and put them into a rollout store."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import platform
import time
from collections.abc import Callable
from typing import Any

import gym
import numpy as np
import tqdm

from chainer_wm import workers as worker_processes
from chainer_wm.policies import describe
from chainer_wm.rollouts import Rollout, RolloutStore
from chainer_wm.streams import stream

MakeEnv = Callable[[], gym.Env]
MakePolicy = Callable[[], Any]

_MOST_ATTEMPTS = 1000


def play_rollout(
    env: gym.Env,
    policy: Any,
    rng: np.random.Generator,
    max_steps: int | None = None,
) -> Rollout:
    """One episode from its first frame to its end.

    Args:
        env: a gym 0.26 environment.
        policy: see ``policies.Policy``; used with one lane.
        rng: gives the game's seed, then the policy's noise.
        max_steps: end after so many steps at the latest, as truncated.
    """
    seed = int(rng.integers(2**31))
    observation, _ = env.reset(seed=seed)
    state = policy.start([rng])
    steps: list[tuple] = []
    over = False
    while not over:
        action, state = policy.act(observation[None], state)
        following, reward, terminated, truncated, _ = env.step(action[0])
        truncated = truncated or (
            not terminated and len(steps) + 1 == max_steps
        )
        steps.append((observation, action[0], reward, terminated, truncated))
        observation, over = following, terminated or truncated
    columns = zip(*steps)
    return Rollout(
        observations=np.stack(next(columns)),
        actions=np.array(next(columns), np.float32),
        rewards=np.array(next(columns), np.float32),
        terminated=np.array(next(columns), np.bool_),
        truncated=np.array(next(columns), np.bool_),
        info={'seed': seed},
    )


@dataclasses.dataclass(frozen=True)
class _Setup:
    """What a worker needs, built once in each."""

    make_env: MakeEnv
    make_policy: MakePolicy
    path: str
    seed: int
    min_length: int
    max_steps: int | None

    def __call__(self) -> tuple:
        return (
            self,
            self.make_env(),
            self.make_policy(),
            RolloutStore(self.path),
        )


def _collect_one(context: tuple, episode: int) -> dict[str, Any]:
    """Play one episode and write its file; only its line is sent back."""
    setup, env, policy, store = context
    for attempt in range(_MOST_ATTEMPTS):
        rng = stream(setup.seed, 'collect', episode, attempt)
        rollout = play_rollout(env, policy, rng, setup.max_steps)
        if len(rollout) >= setup.min_length:
            break
    else:
        raise ValueError(
            f'episode {episode}: none of {_MOST_ATTEMPTS} attempts lasted '
            f'{setup.min_length} steps (the last {len(rollout)}): is '
            'min_length longer than this policy ever lives?'
        )
    rollout.info.update(episode=episode, attempt=attempt)
    return {**store.write(episode, rollout), 'attempt': attempt}


def _describe_store(store: RolloutStore, setup: _Setup) -> None:
    env, policy = setup.make_env(), setup.make_policy()
    game = env.unwrapped
    libraries = {
        name: importlib.metadata.version(name)
        for name in ('numpy', 'gym', 'chainer')
    }
    store.describe(
        game=type(game).__name__,
        settings={
            **getattr(game, 'settings', {}),
            'policy': describe(policy),
            'min_length': setup.min_length,
            'max_steps': setup.max_steps,
        },
        seed=setup.seed,
        versions={
            'python': platform.python_version(),
            **libraries,
            **getattr(game, 'versions', {}),
        },
    )
    env.close()


def collect(
    store: RolloutStore,
    make_env: MakeEnv,
    make_policy: MakePolicy,
    episodes: int,
    seed: int,
    workers: int = 1,
    min_length: int | None = None,
    max_steps: int | None = None,
    progress: bool = True,
) -> list[int]:
    """Bring a store to ``episodes`` whole episodes; play only the missing.

    Episode i is the same, to the byte, whatever the number of workers and
    however often the collection was interrupted: its randomness is named by
    (seed, 'collect', i, attempt). What the store holds is verified first, and
    what is damaged is set aside and played again. Frames stay in the worker
    that played them: it writes the file, this process lists it.

    Args:
        make_env, make_policy: picklable; called once in every worker, and
            once here to describe the game in the manifest.
        workers: processes; 0 plays in this one.
        min_length: play an episode again, with its next attempt's randomness,
            until it lasts so many steps (the paper's data: 100).
        max_steps: end episodes after so many steps, as truncated.
        progress: show bars with the rate and the time left.

    Returns:
        Numbers of the episodes that were played now.

    Raises:
        ValueError: the store holds episodes of other settings.
        WorkerError: an episode failed again when it was repeated.
    """
    setup = _Setup(
        make_env,
        make_policy,
        str(store.path),
        seed,
        min_length or 1,
        max_steps,
    )
    store.refresh()
    _describe_store(store, setup)
    store.verify(progress=progress)
    store.remove_unfinished()
    missing = store.missing(episodes)
    results = worker_processes.run_tasks(
        _collect_one, missing, workers=min(workers, len(missing)), setup=setup
    )
    frames, start = 0, time.perf_counter()
    with (
        contextlib.closing(results),
        tqdm.tqdm(
            total=episodes,
            initial=episodes - len(missing),
            desc='collect',
            unit='episode',
            disable=not progress,
        ) as bar,
    ):
        for _, entry in results:
            store.append(entry)
            frames += entry['length']
            rate = frames / (time.perf_counter() - start)
            bar.set_postfix_str(f'{rate:.0f} frames/s', refresh=False)
            bar.update()
    return missing
