"""A trained network as a policy that evaluation can play."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import chainer
import gym
import numpy as np

from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.links.recurrent import detach


class _State(NamedTuple):
    memory: Any  # of the network, B lanes
    rngs: Sequence[np.random.Generator]


@dataclasses.dataclass(frozen=True)
class NetworkPolicy:
    """Plays an ActorCritic, one lane per generator.

    Attributes:
        network: what acts.
        action_space: of the environment.
        greedy: take the likeliest action (a Gaussian's mean); otherwise draw, lane b from its own
            generator.
    """

    network: ActorCritic
    action_space: gym.Space
    greedy: bool = False

    def start(self, rngs: Sequence[np.random.Generator]) -> _State:
        """The state before the first observation."""
        return _State(self.network.initial_state(len(rngs)), tuple(rngs))

    def act(self, observations: np.ndarray, state: _State) -> tuple[np.ndarray, _State]:
        """Actions for the environment: (B,) integers, or (B, A)."""
        network = self.network
        with chainer.no_backprop_mode(), chainer.using_config('train', False):
            sent = network.device.send(observations)
            output, memory = network.step(sent, state.memory)
        actions = output.policy.mode() if self.greedy else self._draw(output.policy, state.rngs)
        actions = to_environment(actions, self.action_space)
        return actions, _State(detach(memory), state.rngs)

    @staticmethod
    def _draw(policy: Any, rngs: Sequence[np.random.Generator]) -> np.ndarray:
        return np.stack(
            [
                type(policy)(*(field[lane] for field in policy)).sample(rng)
                for lane, rng in enumerate(rngs)
            ]
        )


def to_environment(actions: np.ndarray, space: gym.Space) -> np.ndarray:
    """The policy's actions as the environment wants them.

    Integers stay as they are. Of numbers, -1 and 1 become the bounds of the box, and what is
    beyond them is cut off (the policy's own action, whose chance it knows, stays what it was).
    """
    if not isinstance(space, gym.spaces.Box):
        return actions
    if not space.is_bounded():
        return actions.astype(space.dtype)
    share = (np.clip(actions, -1, 1) + 1) / 2
    return (space.low + share * (space.high - space.low)).astype(space.dtype)
