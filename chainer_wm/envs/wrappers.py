"""Wrappers of gym 0.26 environments; those that draw are seeded by reset.

Sticky actions belong inside the environment (Machado et al., 2018): the
policy is credited with the action that it chose and knows the chance of, and what was carried out
instead is the world's doing.
"""

from __future__ import annotations

from typing import Any

import gym
import numpy as np
from gym.utils import seeding

from chainer_wm.seeds import stream

_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class StickyActions(gym.Wrapper):
    """With a probability the action carried out before is repeated.

    The info of a step has 'executed', the action that was carried out.

    Args:
        env: with discrete actions.
        probability: of a repetition, drawn anew in each step; 0.25 in
            Machado et al. and in Random Network Distillation.
        first: what counts as the action before an episode's first.

    Raises:
        ValueError: no probability, or actions that are not discrete.
    """

    def __init__(self, env: gym.Env, probability: float = 0.25, first: int = 0) -> None:
        super().__init__(env)
        if not 0 <= probability < 1:
            raise ValueError(f'probability is {probability}, expected 0 to below 1')
        if not isinstance(env.action_space, gym.spaces.Discrete):
            raise ValueError(f'the action space is {env.action_space}, expected Discrete')
        self.probability, self.first = probability, first
        self._rng: np.random.Generator | None = None
        self._executed = first

    def reset(self, *, seed: int | None = None, **options: Any) -> Any:
        """A seed makes the repetitions the same again; None goes on."""
        if seed is not None:
            self._rng = stream(seed, 'sticky actions')
        elif self._rng is None:
            self._rng, _ = seeding.np_random()
        self._executed = self.first
        return self.env.reset(seed=seed, **options)

    def step(self, action: Any) -> Any:
        """Carry out ``action``, or the one before."""
        if self._rng is None:
            raise RuntimeError('no episode was begun: call reset() first')
        if self._rng.random() >= self.probability:
            self._executed = action
        *answer, info = self.env.step(self._executed)
        return *answer, {**info, 'executed': self._executed}


class FrameSkip(gym.Wrapper):
    """Every action is carried out for several frames; rewards are added up.

    What is seen, and the info, are the last frame's. An end inside cuts the rest. The flicker that
    the paper's "max of two frames" is against is Atari's alone, so there is none of it here.

    Args:
        count: frames per action; 4 in Random Network Distillation.
    """

    def __init__(self, env: gym.Env, count: int) -> None:
        super().__init__(env)
        if count < 1:
            raise ValueError(f'count is {count}, expected 1 or more')
        self.count = count

    def step(self, action: Any) -> Any:
        total = 0.0
        for _ in range(self.count):
            seen, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return seen, total, terminated, truncated, info


class FrameStack(gym.Wrapper):
    """The last observations, side by side on the last axis, newest last.

    (H, W, C) becomes (H, W, count * C), (N,) becomes (count * N,). In the beginning the first one
    stands for those before it.

    Args:
        env: with a Box of observations.
        count: how many.
    """

    def __init__(self, env: gym.Env, count: int) -> None:
        super().__init__(env)
        if count < 1:
            raise ValueError(f'count is {count}, expected 1 or more')
        space = _box(env)
        self.count, self._width = count, space.shape[-1]
        self.observation_space = gym.spaces.Box(
            np.concatenate([space.low] * count, axis=-1),
            np.concatenate([space.high] * count, axis=-1),
            dtype=space.dtype,  # type: ignore[arg-type]
        )

    def reset(self, **options: Any) -> Any:
        seen, info = self.env.reset(**options)
        self._stack = np.concatenate([seen] * self.count, axis=-1)
        return self._stack.copy(), info

    def step(self, action: Any) -> Any:
        seen, *answer = self.env.step(action)
        older = self._stack[..., self._width :]
        self._stack = np.concatenate([older, seen], axis=-1)
        return self._stack.copy(), *answer


class Grey(gym.ObservationWrapper):
    """Pictures (H, W, 3) uint8 as luminance, (H, W, 1) uint8."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        shape = _box(env).shape
        if len(shape) != 3 or shape[2] != 3:
            raise ValueError(f'observations have shape {shape}, expected (H, W, 3)')
        self.observation_space = gym.spaces.Box(0, 255, (*shape[:2], 1), np.uint8)

    def observation(self, seen: np.ndarray) -> np.ndarray:
        return (seen @ _GREY + 0.5).astype(np.uint8)[..., None]


class Scaled(gym.ObservationWrapper):
    """(seen - centre) / scale, float32.

    Args:
        env: with a Box of observations.
        centre, scale: numbers, or arrays of an observation's shape.
    """

    def __init__(self, env: gym.Env, centre: Any, scale: Any) -> None:
        super().__init__(env)
        self.centre = np.asarray(centre, np.float32)
        self.scale = np.asarray(scale, np.float32)
        if (self.scale <= 0).any():
            raise ValueError(f'scale is {scale}, expected positive numbers')
        space = _box(env)
        self.observation_space = gym.spaces.Box(
            self.observation(space.low), self.observation(space.high), space.shape, np.float32
        )

    def observation(self, seen: np.ndarray) -> np.ndarray:
        return ((seen - self.centre) / self.scale).astype(np.float32)


class FlightLog(gym.Wrapper):
    """PixelCopter: infos tell how the flight went so far.

    'blocks': how many were passed; 'climbs': frames in which the button was held; 'sinking':
    frames since the last of them.
    """

    def reset(self, **options: Any) -> Any:
        answer = self.env.reset(**options)
        self._passed, self._there = 0, self._count()
        self._climbs = self._sinking = 0
        return answer

    def step(self, action: Any) -> Any:
        *answer, info = self.env.step(action)
        there = self._count()
        # a new block comes when the one before has been passed, never else
        self._passed += there > self._there
        self._there = there
        self._climbs += int(action == 1)
        self._sinking = 0 if action == 1 else self._sinking + 1
        told = {'blocks': self._passed, 'climbs': self._climbs, 'sinking': self._sinking}
        return *answer, {**info, **told}

    def _count(self) -> int:
        return len(self.env.unwrapped.game.blocks)  # type: ignore


def _box(env: gym.Env) -> gym.spaces.Box:
    space = env.observation_space
    if not isinstance(space, gym.spaces.Box) or not space.shape:
        raise ValueError(f'observations are {space}, expected a Box')
    return space
