"""A long corridor with a key and a door: a check of exploration, ours.

The agent begins in the middle; the key lies at the left end, the door is at the right end and
opens only for who has the key. Nothing but the open door is rewarded. A policy that knows nothing
walks at random and does not get there: at the default size none of 20,000 random episodes did.
"""

from __future__ import annotations

from typing import Any

import gym
import numpy as np

from chainer_wm.envs.grid import MOVES, Cell, GridGame, shortest_path

OBSERVATIONS = ('vector', 'pixels')

_COLOURS = np.array(
    [
        (245, 245, 245),  # floor
        (30, 80, 220),  # agent
        (240, 190, 20),  # key; the agent who has it
        (150, 110, 70),  # door
    ],
    np.uint8,
)
_FLOOR, _AGENT, _KEY, _DOOR = range(4)
_PIXELS = 4  # per cell


class KeyCorridor(GridGame):
    """Fetch the key on the left, open the door on the right: reward 1.

    Actions: 0 up, 1 down, 2 left, 3 right. Reward 1 at the door with the key, which terminates the
    episode; 0 for all else.

    Args:
        length: columns of the corridor.
        width: rows of it; key, start and door are in the middle one.
        observation: 'vector', a one-hot cell, and behind it another for who has the key, (2 *
            width * length,) float32; or 'pixels',
            (4 width, 4 length, 3) uint8.
        max_steps: of an episode; None is 4 * length, while the shortest way takes 1.5 * length.
        render_mode: 'rgb_array' for ``render``, or None.

    Attributes:
        has_key: whether the key was fetched in this episode.
    """

    def __init__(
        self,
        length: int = 31,
        width: int = 3,
        observation: str = 'vector',
        max_steps: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        if observation not in OBSERVATIONS:
            raise ValueError(f'observation is {observation!r}, expected one of {OBSERVATIONS}')
        if length < 3 or width < 1:
            raise ValueError(
                f'length {length} and width {width}, expected 3 or more and 1 or more'
            )
        if max_steps is None:
            max_steps = 4 * length
        super().__init__(
            np.zeros((width, length), bool),
            (_PIXELS * width, _PIXELS * length),
            _COLOURS,
            max_steps,
            render_mode,
        )
        self.observation = observation
        if observation == 'vector':
            self.observation_space = gym.spaces.Box(0, 1, (2 * width * length,), np.float32)
        middle = width // 2
        self.key = (middle, 0)
        self.start = (middle, length // 2)
        self.door = (middle, length - 1)
        self.has_key = False
        self.settings = {
            'length': length,
            'width': width,
            'observation': observation,
            'max_steps': max_steps,
        }

    def path(self) -> list[Cell]:
        """Cells of a shortest way to the reward, from here."""
        path = shortest_path(
            (self.position, self.has_key),
            lambda state: [
                (cell, state[1] or cell == self.key)
                for cell in (self.neighbour(state[0], a) for a in range(len(MOVES)))
            ],
            lambda state: state == (self.door, True),
        )
        assert path is not None
        return [cell for cell, _ in path]

    @property
    def shortest(self) -> int:
        """Steps of a shortest way to the reward, from here."""
        return len(self.path()) - 1

    def _begin(self) -> None:
        self.position = self.start
        self.has_key = False

    def _enter(self, cell: Cell) -> tuple[float, bool]:
        self.position = cell
        self.has_key = self.has_key or cell == self.key
        opened = self.has_key and cell == self.door
        return float(opened), opened

    def _observe(self) -> np.ndarray:
        if self.observation == 'pixels':
            return self._picture()
        seen = np.zeros((2, *self.walls.shape), np.float32)
        seen[(int(self.has_key), *self.position)] = 1
        return seen.ravel()

    def _info(self) -> dict[str, Any]:
        return {'position': self.position, 'has_key': self.has_key}

    def _cells(self) -> np.ndarray:
        cells = np.full(self.walls.shape, _FLOOR)
        cells[self.door] = _DOOR
        if not self.has_key:
            cells[self.key] = _KEY
        cells[self.position] = _KEY if self.has_key else _AGENT
        return cells
