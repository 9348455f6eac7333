"""V, M and C wired into one policy: frame -> z -> features -> action."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_wm.agents.policies import Policy
from chainer_wm.devices import to_cpu
from chainer_wm.dream.simulator import FEATURES
from chainer_wm.links.conv_vae import to_input


class AgentState(NamedTuple):
    """What the agent carries from one frame to the next, one lane per row."""

    memory: Any  # M's recurrent state, every field (B, ...)
    restart: np.ndarray  # (B,) 1 on an episode's first frame
    rngs: tuple[np.random.Generator, ...]  # one per lane, for z
    theta: np.ndarray | None = None  # (B, n), where every episode has its own
    noise_rngs: tuple[np.random.Generator, ...] | None = None  # one per lane, for actions


class WorldModelAgent:
    """The agent of World Models (Ha and Schmidhuber 2018, figure 8); its V does not change.

    A batched policy: ``start`` and ``act``. The controller acts on z and on what M held BEFORE it
    consumed (z, a); then M takes the step, with the action that is really played. For a controller
    that sees z alone M is left where it began.

    Args:
        vision: V, ``ConvVAE``.
        model: M, ``MDNRNN``.
        controller: C, with ``act(features)``.
        features: what C sees, in this order; of 'z', 'c', 'h', 'r'.
        sample: draw z from V's posterior, as in training and in the dream; False takes its mean.
        draw: ``rng -> (n,)``, parameters of C for one episode; None leaves C as it is in all of
            them.
        noise: standard deviation of the Gaussian noise on every action, whose sum with it is cut
            to [-1, 1]; 0 for none. M consumes the actions that are really played.

    Attributes:
        lanes: games that it plays together. Eight rows cost V and M on the CPU about a quarter of
            eight times one.

    Raises:
        ValueError: V, M and C do not fit (names both sizes), or the noise is negative.
    """

    lanes = 8

    def __init__(
        self,
        vision: Any,
        model: Any,
        controller: Any,
        features: Sequence[str] = FEATURES,
        sample: bool = True,
        draw: Callable[[np.random.Generator], np.ndarray] | None = None,
        noise: float = 0.0,
    ):
        if vision.latent_size != model.latent_size:
            raise ValueError(
                f'V makes {vision.latent_size} latents but M takes '
                f'{model.latent_size}: was M trained on another VAE?'
            )
        width = features_width(model, features)
        if width != controller.feature_size:
            raise ValueError(
                f'features {", ".join(features)} are {width} wide but C takes '
                f'{controller.feature_size}: was C evolved for another M, or '
                'for other features?'
            )
        if noise < 0:
            raise ValueError(f'noise is {noise}, but must not be negative')
        self.vision, self.model, self.controller = vision, model, controller
        self.features, self.sample = tuple(features), sample
        self.draw, self.noise = draw, noise
        self._encoder: Callable | None = None  # V, arranged at the first frame

    def start(self, rngs: Sequence[np.random.Generator]) -> AgentState:
        """The state before the first frame, one lane per generator."""
        return AgentState(
            self.model.initial_state(len(rngs)),
            np.ones(len(rngs), self.model.dtype),
            tuple(rngs),
            np.stack([self.draw(rng) for rng in rngs]) if self.draw else None,
            tuple(rng.spawn(1)[0] for rng in rngs) if self.noise else None,
        )

    def act(self, observations: np.ndarray, state: AgentState) -> tuple[np.ndarray, AgentState]:
        """Choose actions, then let M take the step.

        Args:
            observations: (B, 64, 64, 3) uint8.

        Returns:
            ((B, A) float32 actions, next state).
        """
        model = self.model
        with chainer.no_backprop_mode(), chainer.using_config('train', False):
            z = self._encode(observations, state.rngs)  # z_t ~ V(frame)
            found = model.features(state.memory, z)
            seen = model.xp.concatenate(
                [chainer.as_array(found[name]) for name in self.features], axis=1
            )
            actions = self.controller.act(seen, state.theta)  # a_t = C(z_t, h_t, c_t)
            if state.noise_rngs:
                eps = np.stack([rng.standard_normal(actions.shape[1]) for rng in state.noise_rngs])
                noise = self.noise * model.device.send(eps.astype(actions.dtype))
                actions = model.xp.clip(actions + noise, -1, 1)
            memory = state.memory
            if self.features != ('z',):
                restart = model.device.send(state.restart)
                # h_{t+1}, c_{t+1} = M(z_t, a_t, h_t, c_t)
                memory = model.follow(z, actions.astype(z.dtype), memory, restart)
        state = state._replace(memory=memory, restart=np.zeros_like(state.restart))
        return to_cpu(actions).astype(np.float32), state

    def _encode(self, observations, rngs):
        vision = self.vision
        frames = to_input(observations, vision.xp, vision.dtype.type)
        if self._encoder is None:
            self._encoder = vision.encoder()
        mu, ln_var = self._encoder(frames)
        if not self.sample:
            return mu
        eps = np.stack([rng.standard_normal(mu.shape[1]) for rng in rngs])
        return mu + vision.xp.exp(ln_var / 2) * vision.xp.asarray(eps, mu.dtype)


def features_width(model: Any, features: Sequence[str]) -> int:
    """How wide the named features of M are together.

    Raises:
        ValueError: an unknown name, or 'r' of a model without a DNC.
    """
    sizes = model.feature_sizes
    missing = [name for name in features if name not in sizes]
    if missing:
        raise ValueError(
            f'features {missing} are not in this model, which '
            f'has {sorted(sizes)}: r needs --model dnc'
        )
    return sum(sizes[name] for name in features)


class Player:
    """Whoever plays, one game at a time. In a manifest it has this one name.

    A rollout store that grows over the rounds of a run holds episodes of many policies; its
    manifest may not change.

    Args:
        make_policy: of who plays.
    """

    def __init__(self, make_policy: Callable[[], Policy]) -> None:
        self.policy = make_policy()

    def start(self, rngs: Sequence[np.random.Generator]) -> Any:
        return self.policy.start(rngs)

    def act(self, observations: np.ndarray, state: Any) -> tuple:
        return self.policy.act(observations, state)
