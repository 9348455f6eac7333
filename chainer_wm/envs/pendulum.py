"""Pendulum: swing a rod up and hold it there, from pixels.

The dynamics and rewards of gym's Pendulum-v1, restated and equal to them step by step; drawn by
NumPy alone, so neither pygame nor a display is needed. One picture shows where the rod is and not
how fast it turns: that a player has to remember.
"""

from __future__ import annotations

import functools
from typing import Any

import gym
import numpy as np

SIZE = 64
MAX_SPEED, MAX_TORQUE, TIME_STEP = 8.0, 2.0, 0.05
GRAVITY, MASS, LENGTH = 10.0, 1.0, 1.0
OBSERVATIONS = ('pixels', 'state')
PIXELS_PER_METRE = 26.0
HALF_WIDTH, SOFT_EDGE = 5.0, 2.0  # pixels
ROD, GROUND = (255, 180, 120), (0, 0, 0)


class Pendulum(gym.Env):
    """Gym's Pendulum-v1 with an action in [-1, 1] and a picture to look at.

    Action: one number, the share of the largest torque (2 N m). Reward, the sum over the skipped
    steps of -(angle^2 + 0.1 speed^2 + 0.001 torque^2) before each of them, 0 at best; the angle is
    0 upright. An episode never terminates; it is truncated after 200 steps of 0.05 s.

    Args:
        observation: 'pixels', (64, 64, 3) uint8, or 'state', gym's (cos
            angle, sin angle, speed), (3,) float32.
        frame_skip: steps for which an action is held.
        max_steps: of the game, whatever the frame skip.
        render_mode: 'rgb_array' for ``render``, or None.

    Attributes:
        state: (2,) float64: angle (rad, not wrapped) and speed (rad/s).
        settings, versions: dicts for manifests.

    Raises:
        ValueError: an unknown observation, or a count that does not fit.
    """

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 20}  # noqa: RUF012

    def __init__(
        self,
        observation: str = 'pixels',
        frame_skip: int = 1,
        max_steps: int = 200,
        render_mode: str | None = None,
    ) -> None:
        if observation not in OBSERVATIONS:
            raise ValueError(f'observation is {observation!r}, expected one of {OBSERVATIONS}')
        if frame_skip < 1 or max_steps < 1 or max_steps % frame_skip:
            raise ValueError(
                f'frame_skip is {frame_skip} and max_steps {max_steps}: '
                'expected positive numbers, the first a divisor of the second'
            )
        self.observation, self.frame_skip = observation, frame_skip
        self.max_steps, self.render_mode = max_steps, render_mode
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        high = np.array([1, 1, MAX_SPEED], np.float32)
        self.observation_space = (
            gym.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
            if observation == 'pixels'
            else gym.spaces.Box(-high, high, dtype=np.float32)
        )
        self.settings = {
            'observation': observation,
            'frame_skip': frame_skip,
            'max_steps': max_steps,
        }
        self.versions: dict[str, str] = {}
        self.state = np.zeros(2)
        self._steps = max_steps

    def reset(
        self, *, seed: int | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict]:
        """Begin where gym's Pendulum begins with this seed."""
        super().reset(seed=seed)
        high = np.array([np.pi, 1.0])
        self.state = self.np_random.uniform(-high, high)
        self._steps = 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Apply a torque for ``frame_skip`` steps.

        Raises:
            RuntimeError: the episode is over, or was never begun.
            ValueError: the action is not one finite number.
        """
        if self._steps >= self.max_steps:
            raise RuntimeError('the episode is over: call reset() first')
        value = np.asarray(action, np.float64)
        if value.size != 1 or not np.isfinite(value).all():
            raise ValueError(
                f'the action is {action!r}, expected one finite number: did '
                'the network diverge, or was it made for another game?'
            )
        torque = MAX_TORQUE * float(np.clip(value.item(), -1, 1))
        reward = 0.0
        for _ in range(self.frame_skip):
            self.state, part = advance(self.state, torque)
            reward += float(part)
        self._steps += self.frame_skip
        over = self._steps >= self.max_steps
        return self._observe(), reward, False, over, {}

    def render(self) -> Any:
        """The picture, (64, 64, 3) uint8; None without a mode."""
        return None if self.render_mode is None else draw(self.state[0])

    def _observe(self) -> np.ndarray:
        angle, speed = self.state
        if self.observation == 'pixels':
            return draw(angle)
        return np.array([np.cos(angle), np.sin(angle), speed], np.float32)


def advance(state: np.ndarray, torque: Any) -> tuple[np.ndarray, Any]:
    """One step of 0.05 s.

    Args:
        state: (..., 2) angle and speed. torque: (...) in N m, within limits.

    Returns:
        (state, reward): (..., 2) and (...), the reward of before the step.
    """
    angle, speed = state[..., 0], state[..., 1]
    wrapped = (angle + np.pi) % (2 * np.pi) - np.pi
    reward = -(wrapped**2 + 0.1 * speed**2 + 0.001 * torque**2)
    speed = speed + TIME_STEP * (
        3 * GRAVITY / (2 * LENGTH) * np.sin(angle) + 3.0 / (MASS * LENGTH**2) * torque
    )
    speed = np.clip(speed, -MAX_SPEED, MAX_SPEED)
    return np.stack([angle + speed * TIME_STEP, speed], axis=-1), reward


def draw(angle: float) -> np.ndarray:
    """The rod at an angle (rad, 0 upright, growing anticlockwise).

    Edges are soft: a pixel's colour tells how far it is from the rod, so that a turn by far less
    than a pixel shows.

    Returns:
        (64, 64, 3) uint8.
    """
    right, up = _grid()
    sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    along = cosine * up - sine * right
    beside = cosine * right + sine * up
    along -= np.clip(along, 0, PIXELS_PER_METRE * LENGTH)
    distance = np.sqrt(along * along + beside * beside)
    share = (HALF_WIDTH + SOFT_EDGE / 2 - distance) / SOFT_EDGE
    shade = np.clip(255 * share, 0, 255).astype(np.intp)
    return _shades().take(shade, axis=0)


@functools.cache
def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Pixels right of and above the middle, each (64, 64) float32."""
    at = (np.arange(SIZE) - (SIZE - 1) / 2).astype(np.float32)
    right, up = np.meshgrid(at, -at)
    return right, up


@functools.cache
def _shades() -> np.ndarray:
    """(256, 3) uint8, from ground to rod."""
    share = np.linspace(0, 1, 256)[:, None]
    colours = np.array(GROUND) + share * (np.array(ROD) - GROUND)
    return (colours + 0.5).astype(np.uint8)
