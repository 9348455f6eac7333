"""Policy and value functions: pixels or numbers, with or without memory.

A body makes features of observations, a core may remember, heads say the chances of discrete or
continuous actions and the values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import chainer
import chainer.functions as F
import chainer.links as L
import gym
import numpy as np
from chainer import initializers

from chainer_wm.devices import to_cpu
from chainer_wm.links.recurrent import make_core

Array = Any  # Variable, numpy or cupy
Generator = np.random.Generator


class Categorical(NamedTuple):
    """One of A actions.

    Fields:
        logits: (..., A), chances before the softmax.
    """

    logits: Array

    def log_prob(self, actions: Array) -> chainer.Variable:
        """ln of the chance of actions (...) of integers, (...)."""
        shape, count = self.logits.shape[:-1], self.logits.shape[-1]
        _check(actions, shape)
        chances = F.log_softmax(F.reshape(self.logits, (-1, count)))
        chosen = actions.reshape(-1).astype(np.int32)
        return F.reshape(F.select_item(chances, chosen), shape)

    def entropy(self) -> chainer.Variable:
        """In nats, (...)."""
        ln = F.log_softmax(self.logits, axis=-1)
        return -F.sum(F.exp(ln) * ln, axis=-1)  # -sum_a p ln p

    def sample(self, rng: Generator) -> np.ndarray:
        """Actions (...) int64 on the CPU, from one uniform number each."""
        logits = to_cpu(self.logits).astype(np.float64)
        chances = np.exp(logits - logits.max(axis=-1, keepdims=True))
        edges = chances.cumsum(axis=-1)
        drawn = rng.random(logits.shape[:-1])[..., None] * edges[..., -1:]
        # the last edge is never passed, whatever the rounding
        return (drawn >= edges[..., :-1]).sum(axis=-1)

    def mode(self) -> np.ndarray:
        """The likeliest actions, (...) int64 on the CPU."""
        return to_cpu(self.logits).argmax(axis=-1)


class DiagonalGaussian(NamedTuple):
    """A numbers, independent of one another.

    Fields:
        mu: (..., A), means.
        ln_sigma: (..., A), natural logarithms of the deviations.
    """

    mu: Array
    ln_sigma: Array

    def log_prob(self, actions: Array) -> chainer.Variable:
        """ln of the density at actions (..., A), summed over A, (...)."""
        _check(actions, self.mu.shape)
        scaled = (actions - self.mu) * F.exp(-self.ln_sigma)
        each = scaled**2 / 2 + self.ln_sigma + math.log(2 * math.pi) / 2  # -ln N(a; mu, sigma)
        return -F.sum(each, axis=-1)

    def entropy(self) -> chainer.Variable:
        """In nats, summed over A, (...)."""
        each = self.ln_sigma + (1 + math.log(2 * math.pi)) / 2  # ln(2 pi e sigma^2) / 2
        return F.sum(each, axis=-1)

    def sample(self, rng: Generator) -> np.ndarray:
        """Actions (..., A) on the CPU, in the dtype of mu."""
        mu, ln_sigma = to_cpu(self.mu), to_cpu(self.ln_sigma)
        noise = rng.standard_normal(mu.shape)
        return (mu + np.exp(ln_sigma) * noise).astype(mu.dtype)

    def mode(self) -> np.ndarray:
        """The means, (..., A) on the CPU."""
        return to_cpu(self.mu)


def _check(actions: Array, shape: tuple[int, ...]) -> None:
    if actions.shape != shape:
        raise ValueError(
            f'actions have shape {actions.shape} but the policy speaks of '
            f'{shape}: time and batch come first, and nothing is broadcast'
        )


ACTIVATIONS = {'tanh': F.tanh, 'relu': F.relu, 'leaky_relu': F.leaky_relu}  # slope 0.2
RND_CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 4, 1))
"""(filters, kernel, stride) of the policy in the code of Random Network
Distillation; its paper has 3 for the last kernel."""

_HIDDEN_SCALE = 2**0.5


class Body(chainer.Chain):
    """Observations to features: convolutions, if any, then linear layers.

    Args:
        shape: of one observation: (H, W, C) where there are convolutions, anything otherwise.
        convolutions: (filters, kernel, stride) of each.
        hidden: widths of the linear layers.
        activation: 'tanh', 'relu' or 'leaky_relu'; convolutions that would have tanh have ReLU.
        rng: for the orthogonal initial weights (scale sqrt 2, biases 0).

    Bytes (uint8) are divided by 255.
    """

    def __init__(
        self,
        shape: Sequence[int],
        convolutions: Sequence[tuple[int, int, int]],
        hidden: Sequence[int],
        activation: str,
        rng: np.random.RandomState,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(
                f'activation is {activation!r}, but must be one of {sorted(ACTIVATIONS)}'
            )
        if convolutions and len(shape) != 3:
            raise ValueError(
                f'convolutions want pictures (H, W, C), but an observation is {tuple(shape)}'
            )
        self.shape = tuple(shape)
        self._activation = activation
        self._dtype = np.dtype(chainer.get_dtype())
        width = int(np.prod(shape))
        with self.init_scope():
            self.convolutions = chainer.ChainList()
            self.layers = chainer.ChainList()
        if convolutions:
            width = self._add_convolutions(convolutions, rng)
        self.output_size = self._append(self.layers, width, hidden, rng)

    @staticmethod
    def _append(links: chainer.ChainList, width: int, hidden: Sequence[int], rng) -> int:
        """Append linear layers to links; returns how many numbers they leave."""
        init = initializers.Orthogonal(_HIDDEN_SCALE, rng=rng)
        for units in hidden:
            links.append(L.Linear(width, units, initialW=init))
            width = units
        return width

    def _add_convolutions(self, convolutions, rng) -> int:
        """Append them; returns how many numbers they leave."""
        init = initializers.Orthogonal(_HIDDEN_SCALE, rng=rng)
        height, width, channels = self.shape
        for filters, kernel, stride in convolutions:
            self.convolutions.append(
                L.Convolution2D(channels, filters, kernel, stride, initialW=init)
            )
            height = (height - kernel) // stride + 1
            width = (width - kernel) // stride + 1
            channels = filters
            if height < 1 or width < 1:
                raise ValueError(
                    f'pictures of {self.shape[0]}x{self.shape[1]} are too '
                    f'small for the convolutions {tuple(convolutions)}'
                )
        return height * width * channels

    def forward(self, x):
        """(N, *shape) of bytes or floats -> (N, output_size)."""
        scale = 255 if x.dtype == np.uint8 else 1
        x = x.astype(self._dtype) / self._dtype.type(scale)
        activation = ACTIVATIONS[self._activation]
        if len(self.convolutions):
            rectify = F.relu if self._activation == 'tanh' else activation
            x = self.xp.ascontiguousarray(x.transpose(0, 3, 1, 2))
            for convolution in self.convolutions:
                x = rectify(convolution(x))
        x = F.reshape(x, (len(x), -1))
        for layer in self.layers:
            x = activation(layer(x))
        return x


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
        action_space: gym's ``Discrete``, or a one-dimensional ``Box`` (the policy is then a
            diagonal Gaussian whose deviations do not depend on the observation, and -1 and 1 stand
            for the box's bounds).
        values: V, one value head for each reward stream.
        convolutions, hidden, activation: see ``Body``.
        core: None, or a memory between body and heads: 'lstm' or 'dnc'.
        core_size: hidden units of the core.
        core_options: of a DNC, see ``recurrent.make_core``.
        separate: the value function has a body of its own; not with a core.
        value_hidden: widths of the linear layers of that body; None for those of ``hidden``.
        residual: policy and values each add one layer of their own to what they share, as in the
            code of Random Network Distillation.
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
        value_hidden: Sequence[int] | None = None,
        residual: bool = False,
        value_scale: float = 1.0,
        seed: int = 0,
        engine: str = 'fused',
    ) -> None:
        super().__init__()
        if separate and (core is not None or residual):
            raise ValueError('separate bodies cannot share a core or residual heads')
        if value_hidden is not None and not separate:
            raise ValueError(f'value_hidden {tuple(value_hidden)} needs a separate body')
        self.observation_shape = tuple(observation_shape)
        discrete, outputs = _actions(action_space)
        rng = np.random.RandomState(seed)
        valued = hidden if value_hidden is None else value_hidden
        with self.init_scope():
            self.body = Body(observation_shape, convolutions, hidden, activation, rng)
            self.value_body = (
                Body(observation_shape, convolutions, valued, activation, rng)
                if separate
                else None
            )
            width = self.body.output_size
            self.core = (
                None
                if core is None
                else make_core(
                    core, width, core_size, rng.randint(2**31), engine, **(core_options or {})
                )
            )
        if self.core is not None:
            width = self.core.output_size
        widths = width, self.value_body.output_size if self.value_body is not None else width
        self._add_heads(widths, outputs, values, residual, value_scale, rng)
        with self.init_scope():
            zeros = np.zeros(outputs, chainer.get_dtype())
            self.ln_sigma = None if discrete else chainer.Parameter(zeros)

    def _add_heads(self, widths, outputs, values, residual, value_scale, rng) -> None:
        def linear(width, size, scale):
            init = initializers.Orthogonal(scale, rng=rng)
            return L.Linear(width, size, initialW=init)

        width, valued = widths
        with self.init_scope():
            self.policy_layer: Any = linear(width, width, 0.1) if residual else None
            self.value_layer: Any = linear(width, width, 0.1) if residual else None
            self.policy_head = linear(width, outputs, 0.01)
            self.value_head = linear(valued, values, value_scale)

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

    def sequence(self, observations: Any, state: Any, reset: Any = None) -> tuple[Output, Any]:
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
            policy = DiagonalGaussian(mean, F.broadcast_to(self.ln_sigma, mean.shape))
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
        f'the action space is {space}, expected Discrete(n) from 0 on, or a one-dimensional Box'
    )
