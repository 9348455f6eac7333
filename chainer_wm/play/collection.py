"""Play episodes with a policy and put them into a rollout store."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import importlib.metadata
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gym
import numpy as np
import tqdm

from chainer_wm.agents.policies import Policy, describe
from chainer_wm.play import lanes
from chainer_wm.play.cluster import Cluster
from chainer_wm.play.engines import Workers, count_of, label_of, portable, run_tasks
from chainer_wm.rollouts import Rollout, RolloutStore
from chainer_wm.seeds import stream

MakeEnv = Callable[[], gym.Env]
MakePolicy = Callable[[], Any]

_MOST_ATTEMPTS = 1000
_DATA = 'data'  # the file of an episode, on its way
GROUP = 32  # episodes of a task, where a policy plays several together


def play_rollouts(
    envs: Any,
    policy: Policy,
    rngs: Sequence[np.random.Generator],
    max_steps: int | None = None,
    num_envs: int | None = None,
) -> Iterator[tuple[int, Rollout]]:
    """Episodes from their first frames to their ends: (number, rollout).

    Args:
        envs, policy, max_steps, num_envs: see ``lanes.play``.
        rngs: one per episode; gives the game's seed, then the policy's noise.
    """
    taken: dict[int, list[tuple]] = collections.defaultdict(list)

    def note(number: int, step: lanes.Transition) -> None:
        *rest, _ = step[1:]
        taken[number].append((step.observation.copy(), *rest))

    for played in lanes.play(envs, policy, rngs, max_steps, note, num_envs):
        seen, actions, rewards, terminated, truncated = zip(*taken.pop(played.number))
        yield (
            played.number,
            Rollout(
                observations=np.stack(seen),
                actions=np.array(actions, np.float32).reshape(len(seen), -1),
                rewards=np.array(rewards, np.float32),
                terminated=np.array(terminated, np.bool_),
                truncated=np.array(truncated, np.bool_),
                info={'seed': played.seed},
            ),
        )


@dataclasses.dataclass(frozen=True)
class _Setup:
    """What a worker needs, built once in each."""

    make_env: MakeEnv
    make_policy: MakePolicy
    path: str  # of the store; '' where a worker does not see it
    seed: int
    min_length: int
    max_steps: int | None

    def __call__(self) -> tuple:
        folder = None if self.path else tempfile.TemporaryDirectory(prefix='episodes-')
        store = RolloutStore(folder.name if folder else self.path)
        return self, lanes.Envs(self.make_env), self.make_policy(), store, folder


def _collect_some(context: tuple, episodes: Sequence[int]) -> list[dict[str, Any]]:
    """Play episodes and write their files; their lines are sent back.

    Where the store is out of sight, the compressed files go with them.
    """
    setup, envs, policy, store, _ = context
    entries, missing = [], list(episodes)
    for attempt in range(_MOST_ATTEMPTS):
        rngs = [stream(setup.seed, 'collect', e, attempt) for e in missing]
        short = []
        for number, rollout in play_rollouts(envs, policy, rngs, setup.max_steps):
            if len(rollout) < setup.min_length:
                short.append((missing[number], len(rollout)))
                continue
            rollout.info.update(episode=missing[number], attempt=attempt)
            line = store.write(missing[number], rollout)
            entries.append({**line, 'attempt': attempt})
            if not setup.path:
                entries[-1][_DATA] = store.take(line)
        if not short:
            return sorted(entries, key=lambda entry: entry['episode'])
        missing = sorted(episode for episode, _ in short)
    raise ValueError(
        f'episode {short[0][0]}: none of {_MOST_ATTEMPTS} attempts lasted '
        f'{setup.min_length} steps (the last {short[0][1]}): is '
        'min_length longer than this policy ever lives?'
    )


def _describe_store(store: RolloutStore, setup: _Setup) -> Any:
    """Write the manifest; returns the policy."""
    env, policy = setup.make_env(), setup.make_policy()
    game = env.unwrapped
    libraries = {name: importlib.metadata.version(name) for name in ('numpy', 'gym', 'chainer')}
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
    return policy


def collect(
    store: RolloutStore,
    make_env: MakeEnv,
    make_policy: MakePolicy,
    episodes: int,
    seed: int,
    workers: Workers = 1,
    min_length: int | None = None,
    max_steps: int | None = None,
    progress: bool = True,
) -> list[int]:
    """Bring a store to ``episodes`` whole episodes; play only the missing.

    Episode i is the same, to the byte, whatever the number of workers and however often the
    collection was interrupted: its randomness is named by (seed, 'collect', i, attempt). What the
    store holds is verified first, and what is damaged is set aside and played again. Frames stay
    in the worker that played them: it writes the file, this process lists it.

    Args:
        make_env, make_policy: picklable; called once in every worker, and
            once here to describe the game in the manifest.
        workers: processes, 0 for this one; or a cluster, whose episodes this process writes.
        min_length: play an episode again, with its next attempt's randomness, until it lasts so
            many steps (the paper's data: 100).
        max_steps: end episodes after so many steps, as truncated.
        progress: show bars with the rate and the time left.

    Returns:
        Numbers of the episodes that were played now.

    Raises:
        ValueError: the store holds episodes of other settings.
        WorkerError: an episode failed again when it was repeated.
    """
    setup = _Setup(make_env, make_policy, str(store.path), seed, min_length or 1, max_steps)
    store.refresh()
    policy = _describe_store(store, setup)
    store.verify(progress=progress)
    store.remove_unfinished()
    if lost := store.unlisted():
        print(f'{store.path}: {len(lost)} files are not listed, {lost[0]} the first; played again')
    missing = store.missing(episodes)
    most = GROUP if lanes.lanes_of(policy) > 1 else 1
    tasks = lanes.groups(missing, count_of(workers), most)
    if isinstance(workers, Cluster):
        maker = portable(make_policy, workers)
        setup = dataclasses.replace(setup, make_policy=maker, path='')
    results = run_tasks(_collect_some, tasks, workers=workers, setup=setup)
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
        for _, entries in results:
            for entry in entries:
                if _DATA in entry:
                    store.put(entry, entry.pop(_DATA))
                store.append(entry)
                frames += entry['length']
            rate = frames / (time.perf_counter() - start)
            where = filter(None, (f'{rate:.0f} frames/s', label_of(workers)))
            bar.set_postfix_str(', '.join(where), refresh=False)
            bar.update(len(entries))
    return missing
