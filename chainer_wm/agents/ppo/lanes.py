"""Several environments side by side, one lane each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import gym
import numpy as np


class Step(NamedTuple):
    """What B lanes answer to B actions.

    Fields:
        observations: (B, *S), what to act on next: of a new episode where one
            has ended.
        last: (B, *S), what the action led to: the last observation of the old
            episode where one has ended. The same array where none has.
        rewards: (B,) float64.
        terminated, truncated: (B,) bool.
        infos: one dict per lane, of the action's own step.
    """

    observations: np.ndarray
    last: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    infos: list[dict[str, Any]]


class Lanes(Protocol):
    """B environments; a lane whose episode ends starts anew at once."""

    num_envs: int
    observation_space: gym.Space
    action_space: gym.Space

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Start an episode in each lane: observations (B, *S)."""

    def step(self, actions: np.ndarray) -> Step:
        """Act in every lane: (B,) integers or (B, A) numbers."""


class SyncLanes:
    """Environments of this process, stepped in turn.

    Args:
        envs: B gym 0.26 environments with equal spaces; the lanes take them
            over.

    Raises:
        ValueError: none, or spaces that differ.
    """

    def __init__(self, envs: Sequence[gym.Env]) -> None:
        if not envs:
            raise ValueError('no environments: at least one lane is needed')
        self.envs = list(envs)
        self.num_envs = len(self.envs)
        self.observation_space = self.envs[0].observation_space
        self.action_space = self.envs[0].action_space
        spaces = self.observation_space, self.action_space
        for env in self.envs:
            if (env.observation_space, env.action_space) != spaces:
                raise ValueError(
                    f'lanes differ: {spaces} and {(env.observation_space, env.action_space)}'
                )

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        _check_count('seeds', seeds, self.num_envs)
        return np.stack([env.reset(seed=int(s))[0] for env, s in zip(self.envs, seeds)])

    def step(self, actions: np.ndarray) -> Step:
        _check_count('actions', actions, self.num_envs)
        answers = [env.step(a) for env, a in zip(self.envs, actions)]
        last = np.stack([answer[0] for answer in answers])
        rewards = np.array([answer[1] for answer in answers], np.float64)
        terminated, truncated = (np.array([answer[n] for answer in answers], bool) for n in (2, 3))
        observations = last
        if (ended := np.flatnonzero(terminated | truncated)).size:
            observations = last.copy()
            for lane in ended:
                observations[lane] = self.envs[lane].reset()[0]
        infos = [answer[4] for answer in answers]
        return Step(observations, last, rewards, terminated, truncated, infos)


class VectorLanes:
    """A gym vector environment, such as gym's own or the dream's.

    Args:
        env: of gym 0.26, with autoreset and ``final_observation``.
    """

    def __init__(self, env: gym.vector.VectorEnv) -> None:
        self.env = env
        self.num_envs = env.num_envs
        self.observation_space = env.single_observation_space
        self.action_space = env.single_action_space

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        _check_count('seeds', seeds, self.num_envs)
        return self.env.reset(seed=[int(seed) for seed in seeds])[0].copy()

    def step(self, actions: np.ndarray) -> Step:
        _check_count('actions', actions, self.num_envs)
        seen, rewards, terminated, truncated, infos = self.env.step(actions)
        # the environment may write the next observations into the same array
        observations = last = seen.copy()
        if (ended := np.flatnonzero(terminated | truncated)).size:
            last = observations.copy()
            for lane in ended:
                last[lane] = infos['final_observation'][lane]
        return Step(
            observations,
            last,
            np.asarray(rewards, np.float64),
            np.array(terminated, bool),
            np.array(truncated, bool),
            [_of_lane(infos, lane) for lane in range(self.num_envs)],
        )


def as_lanes(envs: Any) -> Lanes:
    """Lanes of a list of environments or of a vector environment."""
    if isinstance(envs, gym.vector.VectorEnv):
        return VectorLanes(envs)
    if isinstance(envs, (list, tuple)):
        return SyncLanes(envs)
    return envs


def _of_lane(infos: dict[str, Any], lane: int) -> dict[str, Any]:
    """A lane's share of a vector environment's infos."""
    final = infos.get('final_info')
    if final is not None and final[lane] is not None:
        return dict(final[lane])
    return {
        name: value[lane]
        for name, value in infos.items()
        if not name.startswith(('_', 'final_')) and infos.get(f'_{name}', np.zeros(lane + 1))[lane]
    }


def _check_count(name: str, values: Any, lanes: int) -> None:
    if len(values) != lanes:
        raise ValueError(f'{len(values)} {name} for {lanes} lanes')
