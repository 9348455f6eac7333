"""Playing, and what PPO learns from: everything (T, B)."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import chainer
import gym
import numpy as np

from chainer_wm.agents.ppo.lanes import Lanes, Step, as_lanes
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.links.recurrent import detach, reset_state
from chainer_wm.training.non_finite import NonFiniteError


class Episode(NamedTuple):
    """An episode that ended while experience was collected."""

    lane: int
    step: int  # of the last action, counted over all calls of `collect`
    length: int
    total: float  # return: the sum of the rewards
    terminated: bool
    info: dict[str, Any]  # of the last step


@dataclasses.dataclass(frozen=True)
class Experience:
    """T steps of B lanes, on the CPU (but ``state`` is where the network is).

    Attributes:
        observations: (T + 1, B, *S): what each step acted on, and what comes
            after the last one.
        ends: (n, 2) of integers: t and b of each step that ended an episode.
        last: (n, *S), the observations that these steps led to.
        actions: (T, B) integers, or (T, B, A).
        log_probs: (T, B), of the actions when they were drawn.
        values: (T + 1, B, V), of ``observations``.
        cut_values: (T, B, V), of ``last`` where an episode was truncated, 0
            elsewhere.
        rewards: (T, B) float64.
        terminated, truncated: (T, B) bool.
        reset: (T, B) bool: step t is the first of its episode.
        state: of the network before step 0 (and before its reset).
        episodes: those that ended.
    """

    observations: np.ndarray
    ends: np.ndarray
    last: np.ndarray
    actions: np.ndarray
    log_probs: np.ndarray
    values: np.ndarray
    cut_values: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    reset: np.ndarray
    state: Any
    episodes: list[Episode]

    @property
    def steps(self) -> int:
        """T * B."""
        return self.rewards.size

    def following(self, channels: slice = slice(None)) -> np.ndarray:
        """What each step led to, (T, B, *S): never a new episode's first.

        Args:
            channels: keeps only these of the last axis.
        """
        following = self.observations[1:, ..., channels].copy()
        following[tuple(self.ends.T)] = self.last[..., channels]
        return following


class Collector:
    """Plays a policy in lanes, and keeps what it saw.

    Args:
        network: the policy; it may learn between calls of ``collect``.
        envs: a list of gym environments, a vector environment, or ``Lanes``.
    """

    def __init__(self, network: ActorCritic, envs: Any) -> None:
        self.network = network
        self.lanes: Lanes = as_lanes(envs)
        shape = self.lanes.observation_space.shape
        if shape != network.observation_shape:
            raise ValueError(
                f'the environments show {shape} but the network sees {network.observation_shape}'
            )
        self.step_count = 0
        self._rng: np.random.Generator | None = None

    def start(self, rng: np.random.Generator) -> None:
        """Start new episodes in all lanes, with an empty memory.

        All that follows depends on ``rng`` and on the network alone: who
        starts anew before each snapshot can resume from it exactly.
        """
        self._rng = rng
        lanes = self.lanes.num_envs
        seeds = rng.integers(2**31, size=lanes).tolist()
        self._seeds = seeds
        self._observations = self.lanes.reset(seeds)
        self._state = self.network.initial_state(lanes)
        self._reset = np.ones(lanes, bool)
        self._totals = np.zeros(lanes)
        self._lengths = np.zeros(lanes, np.int64)

    def collect(self, steps: int) -> Experience:
        """Play on for ``steps`` steps in every lane.

        Raises:
            RuntimeError: ``start`` was never called.
            NonFiniteError: a reward is not finite; names lane and seed.
        """
        if self._rng is None:
            raise RuntimeError('nothing to play on with: call start() first')
        state, rows, episodes = self._state, [], []
        with chainer.no_backprop_mode(), chainer.using_config('train', False):
            for _ in range(steps):
                row, ended = self._step()
                rows.append(row)
                episodes.extend(ended)
            after, _ = self._look(self._observations)
        return _experience(rows, self._observations, after, state, episodes)

    def _look(self, observations: np.ndarray, new: bool = True) -> Any:
        """(Output, state): what the network says of observations (B, *S).

        Args:
            new: forget, first, where an episode starts.
        """
        state = self._state
        if new and self.network.recurrent and self._reset.any():
            device = self.network.device
            state = detach(reset_state(state, device.send(self._reset)))
        sent = self.network.device.send(observations)
        output, state = self.network.step(sent, state)
        return output, detach(state)

    def _step(self) -> tuple[dict[str, Any], list[Episode]]:
        output, state = self._look(self._observations)
        actions = output.policy.sample(self._rng)
        log_probs = output.policy.log_prob(self.network.device.send(actions))
        row = {
            'observations': self._observations,
            'actions': actions,
            'log_probs': _to_cpu(log_probs),
            'values': _to_cpu(output.values),
            'reset': self._reset,
        }
        space = self.lanes.action_space
        step = self.lanes.step(to_environment(actions, space))
        self._check_rewards(step.rewards)
        self._state = state
        row.update(
            last=step.last,
            rewards=step.rewards,
            terminated=step.terminated,
            truncated=step.truncated,
            cut_values=self._cut_values(step, row['values']),
        )
        episodes = self._count(step)
        self._observations = step.observations
        self._reset = step.terminated | step.truncated
        return row, episodes

    def _check_rewards(self, rewards: np.ndarray) -> None:
        bad = np.flatnonzero(~np.isfinite(rewards))
        if len(bad):
            lane = int(bad[0])
            raise NonFiniteError(
                f'reward {rewards[lane]} in lane {lane}, whose first episode '
                f'had the game seed {self._seeds[lane]}, in step '
                f'{int(self._lengths[lane])} of its episode: did the game '
                'divide by 0?'
            )

    def _cut_values(self, step: Step, values: np.ndarray) -> np.ndarray:
        """Values of the last observations of cut episodes, 0 elsewhere."""
        cut = step.truncated & ~step.terminated
        if not cut.any():
            return np.zeros_like(values)
        output, _ = self._look(step.last, new=False)
        return np.where(cut[:, None], _to_cpu(output.values), 0)

    def _count(self, step: Step) -> list[Episode]:
        self._totals += step.rewards
        self._lengths += 1
        self.step_count += 1
        ended = step.terminated | step.truncated
        episodes = [
            Episode(
                int(lane),
                self.step_count - 1,
                int(self._lengths[lane]),
                float(self._totals[lane]),
                bool(step.terminated[lane]),
                step.infos[lane],
            )
            for lane in np.flatnonzero(ended)
        ]
        self._totals[ended] = 0
        self._lengths[ended] = 0
        return episodes


def to_environment(actions: np.ndarray, space: gym.Space) -> np.ndarray:
    """The policy's actions as the environment wants them.

    Integers stay as they are. Of numbers, -1 and 1 become the bounds of the
    box, and what is beyond them is cut off (the policy's own action, whose
    chance it knows, stays what it was).
    """
    if not isinstance(space, gym.spaces.Box):
        return actions
    if not space.is_bounded():
        return actions.astype(space.dtype)
    share = (np.clip(actions, -1, 1) + 1) / 2
    return (space.low + share * (space.high - space.low)).astype(space.dtype)


def _experience(rows, observations, after, state, episodes) -> Experience:
    stacked = {
        name: np.stack([row[name] for row in rows])
        for name in rows[0]
        if name not in ('observations', 'values', 'last')
    }
    ends = np.argwhere(stacked['terminated'] | stacked['truncated'])
    last = np.empty((len(ends), *observations.shape[1:]), observations.dtype)
    for n, (t, b) in enumerate(ends):
        last[n] = rows[t]['last'][b]
    return Experience(
        observations=np.stack([row['observations'] for row in rows] + [observations]),
        values=np.stack([row['values'] for row in rows] + [_to_cpu(after.values)]),
        ends=ends,
        last=last,
        state=state,
        episodes=episodes,
        **stacked,
    )


def _to_cpu(x: Any) -> np.ndarray:
    return chainer.get_device('@numpy').send(chainer.as_array(x))
