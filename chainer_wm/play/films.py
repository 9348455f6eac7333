"""An episode of a game, or of a dream, as it was seen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import gym
import numpy as np

from chainer_wm.agents.policies import Policy
from chainer_wm.play import lanes


class Film(NamedTuple):
    """One episode of T steps.

    Fields:
        frames: (T + 1, H, W, 3) uint8: what each action answered, and what
            the last one led to.
        actions: (T, A), or (T,) integers.
        rewards: (T,) float32.
        terminated: the game itself ended, not a time limit.
        total: the return, the sum of the rewards.
    """

    frames: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool
    total: float


def film(
    make_env: Callable[[], Any],
    policy: Policy,
    rng: np.random.Generator,
    max_steps: int | None = None,
    rendered: bool = False,
) -> Film:
    """Play one episode and keep what was seen.

    A generator of ``evaluation.episode_rngs`` gives the episode that ``evaluate`` plays.

    Args:
        make_env: makes the game, a gym environment or a vector environment
            of one lane.
        rng: gives the game's seed, then the policy's noise.
        max_steps: ends what has not ended by then.
        rendered: frames are what ``env.render()`` shows, not observations.
    """
    steps: list[lanes.Transition] = []

    def note(_: int, step: lanes.Transition) -> None:
        seen = {name: getattr(step, name).copy() for name in ('observation', 'following')}
        steps.append(step._replace(**seen))

    with contextlib.closing(make_env()) as env:
        camera = _Camera(env) if rendered else None
        envs = env if isinstance(env, gym.vector.VectorEnv) else [camera or env]
        (played,) = lanes.play(envs, policy, [rng], max_steps, note)
    seen = camera.frames if camera else [*(s.observation for s in steps), steps[-1].following]
    return Film(
        np.stack(seen),
        np.stack([step.action for step in steps]),
        np.array([step.reward for step in steps], np.float32),
        steps[-1].terminated,
        played.total,
    )


class _Camera(gym.Wrapper):
    """Keeps what the game shows of itself, from the reset on."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.frames: list[Any] = []

    def reset(self, **options: Any) -> Any:
        answer = self.env.reset(**options)
        self.frames = [self.env.render()]
        return answer

    def step(self, action: Any) -> Any:
        answer = self.env.step(action)
        self.frames.append(self.env.render())
        return answer
