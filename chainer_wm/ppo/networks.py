"""Policy and value functions: pixels or numbers, with or without memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import chainer
import chainer.functions as F
import chainer.links as L
import gym
import numpy as np
from chainer import initializers

from chainer_wm.model import make_core
from chainer_wm.ppo.body import Body
from chainer_wm.ppo.distributions import Categorical, DiagonalGaussian


class NoState(NamedTuple):
    """What a network without memory carries: nothing."""


class Output(NamedTuple):
    """What the network says.

    Fields:
        policy: Categorical or DiagonalGaussian, its fields (..., A).
        values: (..., V), one for each reward stream.
    """

    policy: Any
    values: Any


class ActorCritic(chainer.Chain):
    """A policy and V value functions.

    Args:
        observation_shape: of one observation; pictures are (H, W, C).
        action_space: gym's ``Discrete``, or a one-dimensional ``Box`` (the
            policy is then a diagonal Gaussian whose deviations do not depend
            on the observation, and -1 and 1 stand for the box's bounds).
        values: V, one value head for each reward stream.
        convolutions, hidden, activation: see ``Body``.
        core: None, or a memory between body and heads: 'lstm' or 'dnc'.
        core_size: hidden units of the core.
        core_options: of a DNC, see ``model.make_core``.
        separate: the value function has a body of its own; not with a core.
        residual: policy and values each add one layer of their own to what
            they share, as in the code of Random Network Distillation.
        value_scale: of the initial weights of the value heads.
        seed: of the initial weights.
        engine: of the core.
    """

    def __init__(
        self,
        observation_shape: Sequence[int],
        action_space: gym.Space,
        *,
        values: int = 1,
        convolutions: Sequence[tuple[int, int, int]] = (),
        hidden: Sequence[int] = (64, 64),
        activation: str = 'tanh',
        core: str | None = None,
        core_size: int = 128,
        core_options: dict[str, Any] | None = None,
        separate: bool = False,
        residual: bool = False,
        value_scale: float = 1.0,
        seed: int = 0,
        engine: str = 'fused',
    ) -> None:
        super().__init__()
        if separate and (core is not None or residual):
            raise ValueError(
                'separate bodies cannot share a core or residual heads'
            )
        self.observation_shape = tuple(observation_shape)
        discrete, outputs = _actions(action_space)
        rng = np.random.RandomState(seed)
        body = observation_shape, convolutions, hidden, activation, rng
        with self.init_scope():
            self.body = Body(*body)
            self.value_body = Body(*body) if separate else None
            width = self.body.output_size
            self.core = (
                None
                if core is None
                else make_core(
                    core,
                    width,
                    core_size,
                    rng.randint(2**31),
                    engine,
                    **(core_options or {}),
                )
            )
        if self.core is not None:
            width = self.core.output_size
        self._add_heads(width, outputs, values, residual, value_scale, rng)
        with self.init_scope():
            zeros = np.zeros(outputs, chainer.get_dtype())
            self.ln_sigma = None if discrete else chainer.Parameter(zeros)

    def _add_heads(
        self, width, outputs, values, residual, value_scale, rng
    ) -> None:
        def linear(size, scale):
            init = initializers.Orthogonal(scale, rng=rng)
            return L.Linear(width, size, initialW=init)

        with self.init_scope():
            self.policy_layer: Any = linear(width, 0.1) if residual else None
            self.value_layer: Any = linear(width, 0.1) if residual else None
            self.policy_head = linear(outputs, 0.01)
            self.value_head = linear(values, value_scale)

    @property
    def recurrent(self) -> bool:
        """Whether there is a memory."""
        return self.core is not None

    @property
    def values(self) -> int:
        """V, the number of value heads."""
        return self.value_head.b.shape[0]

    def initial_state(self, batch: int) -> Any:
        """The state before an episode: zeros, or NoState."""
        if self.core is None:
            return NoState()
        return self.core.initial_state(batch)

    def step(self, observations: Any, state: Any) -> tuple[Output, Any]:
        """One step: observations (B, *shape) -> (Output, state)."""
        self._check(observations, 1)
        features = self.body(observations)
        if self.core is not None:
            features, state = self.core.step(features, state)
        return self._heads(features, observations), state

    def sequence(
        self, observations: Any, state: Any, reset: Any = None
    ) -> tuple[Output, Any]:
        """Whole sequences, with gradients through time.

        Args:
            observations: (T, B, *shape).
            state: of before the first step.
            reset: (T, B) of 0 and 1: 1 zeroes the lane's state before step
                t, because an episode starts there.

        Returns:
            (Output, state), fields (T, B, ...).
        """
        self._check(observations, 2)
        time, batch = observations.shape[:2]
        flat = observations.reshape(time * batch, *self.observation_shape)
        features = self.body(flat)
        if self.core is not None:
            if reset is not None:
                reset = reset.astype(features.dtype)
            features, state = self.core.sequence(
                F.reshape(features, (time, batch, -1)), state, reset
            )
            features = F.reshape(features, (time * batch, -1))
        policy, values = self._heads(features, flat)
        return Output(
            type(policy)(*(_split(field, time, batch) for field in policy)),
            _split(values, time, batch),
        ), state

    def _heads(self, features, observations) -> Output:
        valued = features
        if self.value_body is not None:
            valued = self.value_body(observations)
        if self.policy_layer is not None:
            valued = features + F.relu(self.value_layer(features))
            features = features + F.relu(self.policy_layer(features))
        mean = self.policy_head(features)
        policy: Any = Categorical(mean)
        if self.ln_sigma is not None:
            policy = DiagonalGaussian(
                mean, F.broadcast_to(self.ln_sigma, mean.shape)
            )
        return Output(policy, self.value_head(valued))

    def _check(self, observations, leading: int) -> None:
        if observations.shape[leading:] != self.observation_shape:
            axes = ('T', 'B')[2 - leading :]
            raise ValueError(
                f'observations have shape {observations.shape} but '
                f'({", ".join(axes)}, *{self.observation_shape}) is wanted'
            )


def _split(x, time: int, batch: int):
    return F.reshape(x, (time, batch, *x.shape[1:]))


def _actions(space: gym.Space) -> tuple[bool, int]:
    """Whether actions are discrete, and how many outputs they need."""
    if isinstance(space, gym.spaces.Discrete) and space.start == 0:
        return True, int(space.n)
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        return False, space.shape[0]
    raise ValueError(
        f'the action space is {space}, expected Discrete(n) from 0 on, or a '
        'one-dimensional Box'
    )
