"""What the grid games share: cells, moves, shortest paths, pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

import gym
import numpy as np

Cell = tuple[int, int]
"""Row and column, from the top left."""

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""Of the actions 0 to 3: up, down, left, right."""

State = TypeVar('State', bound=Hashable)


def shortest_path(
    start: State, neighbours: Callable[[State], Iterable[State]], is_goal: Callable[[State], bool]
) -> list[State] | None:
    """States from ``start`` to the nearest goal, both included; or None."""
    came_from: dict[State, State | None] = {start: None}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        if is_goal(state):
            path: list[State] = []
            step: State | None = state
            while step is not None:
                path.append(step)
                step = came_from[step]
            return path[::-1]
        for other in neighbours(state):
            if other not in came_from:
                came_from[other] = state
                waiting.append(other)
    return None


def parse_layout(layout: Iterable[str]) -> tuple[np.ndarray, dict[str, Cell]]:
    """A map of characters: walls, and where each other thing is.

    Args:
        layout: one string per row; '#' is a wall, '.' is free, any other character names its cell
            and occurs once.

    Returns:
        (walls, places): (rows, columns) bool, and cells by character.

    Raises:
        ValueError: rows of different lengths, or a name that occurs twice.
    """
    rows = list(layout)
    if not rows or len({len(row) for row in rows}) != 1 or not rows[0]:
        raise ValueError(f'the rows of {rows} must be of one length, not 0')
    walls = np.array([[c == '#' for c in row] for row in rows])
    places: dict[str, Cell] = {}
    for r, row in enumerate(rows):
        for c, name in enumerate(row):
            if name in '#.':
                continue
            if name in places:
                raise ValueError(f'{name!r} occurs twice in {rows}')
            places[name] = (r, c)
    return walls, places


class GridGame(gym.Env):
    """A game of cells; what it is about is added by its subclasses.

    Actions 0 to 3 go up, down, left and right; who bumps into a wall or the edge stays. After
    ``max_steps`` steps the episode is truncated.

    Args:
        walls: (rows, columns) bool.
        resolution: (height, width) of the pictures.
        palette: (n, 3) uint8, colours by the indices of ``_cells``.
        max_steps: of an episode.
        render_mode: 'rgb_array' for ``render``, or None.

    Attributes:
        position: the agent's cell.
        settings, versions: dicts for manifests.
    """

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 10}  # noqa: RUF012
    arrows = ((0, 1), (0, -1), (-1, 0), (1, 0))  # (right, up) of each action

    def __init__(
        self,
        walls: np.ndarray,
        resolution: tuple[int, int],
        palette: np.ndarray,
        max_steps: int,
        render_mode: str | None,
    ) -> None:
        rows, columns = walls.shape
        if resolution[0] < rows or resolution[1] < columns or max_steps < 1:
            raise ValueError(
                f'{rows}x{columns} cells need as many pixels and 1 step or '
                f'more, but got {resolution} and {max_steps}'
            )
        self.walls = walls
        self.max_steps = max_steps
        self.render_mode = render_mode
        self.settings: dict[str, Any] = {}
        self.versions = {'numpy': np.__version__}
        self.position: Cell = (0, 0)
        self._palette = palette
        self._window = np.ix_(
            *(
                np.arange(pixels) * cells // pixels
                for pixels, cells in zip(resolution, walls.shape)
            )
        )
        self._steps: int | None = None  # None: over, or never begun
        self.action_space = gym.spaces.Discrete(len(MOVES))
        self.observation_space = gym.spaces.Box(0, 255, (*resolution, 3), np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict]:
        """Begin an episode; all its chance comes from ``seed``."""
        super().reset(seed=seed)
        self._steps = 0
        self._begin()
        return self._observe(), self._info()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One move.

        Raises:
            RuntimeError: the episode is over, or was never begun.
            ValueError: no such action.
        """
        if self._steps is None:
            raise RuntimeError('the episode is over: call reset() first')
        if action not in range(len(MOVES)):
            raise ValueError(f'the action is {action!r}, expected 0, 1, 2 or 3')
        self._steps += 1
        reward, terminated = self._enter(self.neighbour(self.position, int(action)))
        observation = self._observe()
        truncated = self._steps >= self.max_steps and not terminated
        if terminated or truncated:
            self._steps = None
        return observation, float(reward), terminated, truncated, self._info()

    def render(self) -> Any:
        """The picture, (height, width, 3) uint8; None without a mode."""
        return None if self.render_mode is None else self._picture()

    def neighbour(self, cell: Cell, action: int) -> Cell:
        """Where a move from ``cell`` leads, as far as walls are concerned."""
        row, column = (at + by for at, by in zip(cell, MOVES[action]))
        rows, columns = self.walls.shape
        inside = 0 <= row < rows and 0 <= column < columns
        return (row, column) if inside and not self.walls[row, column] else cell

    def _observe(self) -> np.ndarray:
        return self._picture()

    def _picture(self) -> np.ndarray:
        return self._palette.take(self._cells()[self._window], axis=0)

    def _info(self) -> dict[str, Any]:
        return {}

    def _begin(self) -> None:
        """Set up an episode."""
        raise NotImplementedError

    def _enter(self, cell: Cell) -> tuple[float, bool]:
        """Go to a cell (at times the own one): (reward, terminated)."""
        raise NotImplementedError

    def _cells(self) -> np.ndarray:
        """Indices into the palette, (rows, columns)."""
        raise NotImplementedError
