"""Nearly the best play of Pendulum, by planning on its true state.

Value iteration (Bellman 1957) on a grid of angles and speeds, with the values between the points
interpolated. It shows what a return is worth.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from chainer_wm.envs.pendulum import MAX_SPEED, MAX_TORQUE, advance

ANGLES, SPEEDS = 181, 121
CHOICES = 15  # torques tried


class _Corners(NamedTuple):
    """Where states lie between the points of the grid."""

    cells: np.ndarray  # (..., 4) into the flat grid
    weight: np.ndarray  # (..., 4), sum 1


def value(frame_skip: int, steps: int) -> np.ndarray:
    """Best sums of rewards over so many actions, (ANGLES, SPEEDS) float64."""
    angles = np.linspace(-np.pi, np.pi, ANGLES)
    speeds = np.linspace(-MAX_SPEED, MAX_SPEED, SPEEDS)
    state = np.stack(np.meshgrid(angles, speeds, indexing='ij'), axis=-1)
    after, reward = _try(state, frame_skip)
    corners = _corners(after)
    best = np.zeros((ANGLES, SPEEDS))
    for _ in range(steps):
        best = (reward + _interpolated(best, corners)).max(axis=0)
    return best


def _torques() -> np.ndarray:
    return np.linspace(-MAX_TORQUE, MAX_TORQUE, CHOICES)


def _try(state: np.ndarray, frame_skip: int) -> tuple[np.ndarray, np.ndarray]:
    """What every torque brings: (CHOICES, ..., 2) and (CHOICES, ...)."""
    torque = _torques().reshape(-1, *[1] * (state.ndim - 1))
    state = np.broadcast_to(state, (CHOICES, *state.shape))
    total = np.zeros(state.shape[:-1])
    for _ in range(frame_skip):
        state, reward = advance(state, torque)
        total += reward
    return state, total


def _corners(state: np.ndarray) -> _Corners:
    angle = (state[..., 0] + np.pi) % (2 * np.pi) / (2 * np.pi) * (ANGLES - 1)
    speed = (state[..., 1] + MAX_SPEED) / (2 * MAX_SPEED) * (SPEEDS - 1)
    row = np.minimum(angle.astype(int), ANGLES - 2)
    column = np.minimum(speed.astype(int), SPEEDS - 2)
    right, up = angle - row, speed - column
    first = row * SPEEDS + column
    return _Corners(
        np.stack([first, first + 1, first + SPEEDS, first + SPEEDS + 1], -1),
        np.stack([(1 - right) * (1 - up), (1 - right) * up, right * (1 - up), right * up], -1),
    )


def _interpolated(values: np.ndarray, corners: _Corners) -> np.ndarray:
    return (values.ravel()[corners.cells] * corners.weight).sum(axis=-1)


class Planner:
    """A policy over the true state: the torque that the values like best.

    Plays ``Pendulum(observation='state')`` with the same frame skip.

    Args:
        frame_skip: of the game.
        steps: actions to plan ahead.
    """

    def __init__(self, frame_skip: int = 1, steps: int = 100) -> None:
        self.frame_skip, self.steps = frame_skip, steps

    @functools.cached_property
    def _value(self) -> np.ndarray:
        return value(self.frame_skip, self.steps)

    def start(self, rngs: Any) -> None:
        return None

    def act(self, observations: np.ndarray, state: None) -> tuple[np.ndarray, None]:
        """Actions (B, 1) for gym's observations (B, 3)."""
        seen = np.asarray(observations, np.float64)
        where = np.stack([np.arctan2(seen[:, 1], seen[:, 0]), seen[:, 2]], axis=-1)
        after, reward = _try(where, self.frame_skip)
        total = reward + _interpolated(self._value, _corners(after))
        chosen = _torques()[total.argmax(axis=0)] / MAX_TORQUE
        return chosen[:, None].astype(np.float32), None
