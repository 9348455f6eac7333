"""Playing on and on, for PPO to learn from."""

from __future__ import annotations

from typing import Any

import chainer
import numpy as np

from chainer_wm.agents.ppo.experience import Episode, Experience
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.agents.ppo.policy import to_environment
from chainer_wm.devices import to_cpu
from chainer_wm.functions.non_finite import NonFiniteError
from chainer_wm.links.recurrent import detach
from chainer_wm.play.lanes import Lanes, Step, as_lanes
from dnc.state import reset_state


class Collector:
    """Plays a policy in lanes, and keeps what it saw.

    Args:
        network: the policy; it may learn between calls of ``collect``.
        envs: a list of gym environments, or a vector environment.
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

        All that follows depends on ``rng`` and on the network alone: who starts anew before each
        snapshot can resume from it exactly.
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
            'log_probs': to_cpu(log_probs),
            'values': to_cpu(output.values),
            'reset': self._reset,
        }
        space = self.lanes.action_space
        step = self.lanes.step(to_environment(actions, space))
        self._check_rewards(step.rewards)
        self._state = state
        row.update(
            last=step.observations,
            rewards=step.rewards,
            terminated=step.terminated,
            truncated=step.truncated,
            cut_values=self._cut_values(step, row['values']),
        )
        episodes = self._count(step)
        self._reset = step.terminated | step.truncated
        self._observations = self._restarted(step.observations)
        return row, episodes

    def _restarted(self, observations: np.ndarray) -> np.ndarray:
        """What to act on next: where an episode ended, a new one's first."""
        if self._reset.any():
            observations = observations.copy()
            for lane in np.flatnonzero(self._reset):
                observations[lane] = self.lanes.restart(lane)
        return observations

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
        output, _ = self._look(step.observations, new=False)
        return np.where(cut[:, None], to_cpu(output.values), 0)

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
        values=np.stack([row['values'] for row in rows] + [to_cpu(after.values)]),
        ends=ends,
        last=last,
        state=state,
        episodes=episodes,
        **stacked,
    )
