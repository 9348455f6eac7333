"""One dream that somebody plays, or watches C play, step by step."""

from __future__ import annotations

from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_wm.envs.car_racing import pedals_of_keys
from chainer_wm.inspector import folders
from chainer_wm.inspector.episode_trace import dream_step
from chainer_wm.inspector.trained import Trained
from chainer_wm.links.conv_vae import decoded
from chainer_wm.links.mdn_rnn import p_done

FPS = 35.0  # steps a second, unless asked for otherwise
#: What arrow keys do where C's actions are not simply numbers from -1 to 1, by their kind.
KEYS = {'driving': pedals_of_keys}


class Shown(NamedTuple):
    """What is to be seen after a step.

    Fields:
        frame: (H, W, 3) uint8: in a dream as V draws the latents.
        steps: lived so far.
        action: (A,) that led here; zeros at the start.
        over: the episode has ended.
        p_done: that M predicted; 0 where it predicts no end, and in the game.
        total: the return so far; 0 in a dream that predicts no rewards.
    """

    frame: np.ndarray
    steps: int
    action: np.ndarray
    over: bool
    p_done: float = 0.0
    total: float = 0.0


class Dreamer:
    """M as the game, one lane, with a temperature that may change at any step.

    Args:
        trained: V and M, and C where there is one.

    Attributes:
        fps, actions, player, counted: as of `real_game.RealGame`.

    Raises:
        InspectorError: there is no M, or nowhere to begin.
    """

    counted = 'P(done)'

    def __init__(self, trained: Trained):
        if trained.model is None:
            raise folders.InspectorError('M is not trained yet: there is no dream')
        if trained.starts is None:
            raise folders.InspectorError('no codes are kept: there is no frame to begin at')
        self.trained, self.model = trained, trained.model
        self.temperature = trained.temperature
        self.fps = FPS
        kind = trained.controller.actions if trained.controller is not None else ''
        self._keys = KEYS.get(kind)
        self.actions = 2 if self._keys else self.model.action_size
        self.player = trained.controller is not None
        self._step = dream_step(self.model)

    def begin(self, seed: int, z: np.ndarray | None = None, state: Any = None, **_: Any) -> Shown:
        """Start an episode, at a recorded first frame or at what is given.

        Args:
            z: (1, Z), and ``state``: M's before it consumes z; None draws a first frame.
        """
        self._rng = np.random.default_rng(seed)
        self._first, self.steps, self.over = state is None, 0, False
        if z is None:
            assert self.trained.starts is not None
            mu, ln_var = self.trained.starts
            chosen = self._rng.integers(len(mu))
            eps = self._rng.standard_normal(mu.shape[1])
            z = (mu[chosen] + np.exp(ln_var[chosen] / 2) * eps)[None]  # z_0 ~ N(mu, sigma^2)
        self._z = np.asarray(z, self.model.dtype)
        self._state = self.model.initial_state(1) if state is None else state
        return self._shown(np.zeros(self.model.action_size), 0.0)

    def step(self, action: np.ndarray | None) -> Shown:
        """Take a step with an action (A,), or with C's where it is None.

        Raises:
            InspectorError: M predicts a number that is not finite.
        """
        a = np.zeros((1, self.model.action_size))
        if action is not None:
            a = (self._keys(action) if self._keys else action)[None]
        elif self.trained.controller is not None:
            found = self.model.features(self._state, self._z)
            seen = np.concatenate([found[name] for name in self.trained.features], axis=1)
            a = self.trained.controller.act(seen)  # a_t = C(z_t, h_t)
        a = np.asarray(a, self.model.dtype)
        self._z, logit, self._state = self._step(
            *(self._z, a, self._state, self._first), self._rng, self.temperature
        )
        self._first, self.steps = False, self.steps + 1
        end = 0.0 if logit is None else float(p_done(logit)[0])
        if not np.isfinite(self._z).all():
            raise folders.InspectorError('M predicts z that is not finite: did it diverge?')
        self.over = end > self.trained.done_threshold
        return self._shown(chainer.as_array(a)[0], end)

    def close(self) -> None:
        """Nothing is held."""

    def _shown(self, action: np.ndarray, p_done: float) -> Shown:
        frame = decoded(self.trained.vision, self._z)[0]
        return Shown(frame, self.steps, action, self.over, p_done)
