"""Two grid games from pixels, for the Neural Computer Agent.

The post on that agent names its first game, Obstacle-Based Grid Navigation,
and says: levels add obstacles, the start is top left, the goal bottom right, fewer steps are
better. Grid, layouts, rewards, pictures and time limit are not
told: those here are ours. The second game of the post is not public; ``OrderedKeys`` is OURS, made
to need memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from chainer_wm.envs.grid import MOVES, Cell, GridGame, parse_layout, shortest_path

LEVELS = (
    ('S....', '.....', '.....', '.....', '....G'),
    ('S....', '.#...', '.....', '...#.', '....G'),
    ('S....', '##...', '.....', '...##', '....G'),
    ('S....', '####.', '.....', '.####', '....G'),
)
"""Each level keeps the obstacles of the one before; the shortest paths are 8,
8, 8 and 16 steps."""

KEY_LEVELS = (
    ('S..D', '....', '....', '...a'),
    ('S..D', '....', '....', 'b..a'),
    ('S....', '.c.a.', '.....', '.b...', '....D'),
)
"""Maps of ``OrderedKeys``: S start, D door, letters are keys."""

_FLOOR, _WALL, _AGENT, _GOAL = range(4)
_COLOURS = np.array(
    [
        (245, 245, 245),  # floor
        (60, 60, 60),  # wall
        (30, 80, 220),  # agent
        (40, 180, 70),  # goal; an open door
        (150, 110, 70),  # a closed door
        (225, 50, 50),  # keys
        (240, 190, 20),
        (170, 60, 200),
    ],
    np.uint8,
)
_DOOR, _FIRST_KEY = 4, 5


class GridNavigation(GridGame):
    """From S to G around obstacles: -1 per step, and a bonus at the goal.

    Actions: 0 up, 1 down, 2 left, 3 right. The episode terminates at the goal and is truncated
    after ``max_steps``. Observations: (resolution, resolution, 3) uint8; the agent is blue, the
    goal green, obstacles dark.

    Args:
        level: index into ``LEVELS``.
        layout: a map of one's own instead: 'S', 'G', '#' and '.'.
        resolution: of the pictures.
        goal_reward: on top of the -1 of the last step.
        max_steps: of an episode.
        render_mode: 'rgb_array' for ``render``, or None.

    Raises:
        ValueError: no such level, or a map without a way.
    """

    def __init__(
        self,
        level: int = 0,
        layout: Sequence[str] | None = None,
        resolution: int = 20,
        goal_reward: float = 10.0,
        max_steps: int = 50,
        render_mode: str | None = None,
    ) -> None:
        layout = _chosen(LEVELS, level) if layout is None else tuple(layout)
        walls, places = parse_layout(layout)
        if set(places) != {'S', 'G'}:
            raise ValueError(f'{layout} must have one S, one G, and # and .')
        super().__init__(walls, (resolution,) * 2, _COLOURS, max_steps, render_mode)
        self.start, self.goal = places['S'], places['G']
        self.goal_reward = goal_reward
        self.settings = {
            'layout': layout,
            'resolution': resolution,
            'goal_reward': goal_reward,
            'max_steps': max_steps,
        }
        self.shortest = len(self.path(self.start)) - 1

    def path(self, start: Cell | None = None) -> list[Cell]:
        """Cells of a shortest way to the goal, first and last included.

        Args:
            start: where it begins; None is where the agent is.

        Raises:
            ValueError: there is no way.
        """
        start = self.position if start is None else start
        path = shortest_path(
            start,
            lambda cell: (self.neighbour(cell, a) for a in range(len(MOVES))),
            lambda cell: cell == self.goal,
        )
        if path is None:
            raise ValueError(f'no way leads from {start} to {self.goal}')
        return path

    def _begin(self) -> None:
        self.position = self.start

    def _enter(self, cell: Cell) -> tuple[float, bool]:
        self.position = cell
        there = cell == self.goal
        return self.goal_reward * there - 1, there

    def _info(self) -> dict[str, Any]:
        return {'position': self.position, 'shortest': self.shortest}

    def _cells(self) -> np.ndarray:
        cells = np.where(self.walls, _WALL, _FLOOR)
        cells[self.goal] = _GOAL
        cells[self.position] = _AGENT
        return cells


class OrderedKeys(GridGame):
    """Our game of memory: pick up the keys in the order that was shown.

    The order is drawn anew for each episode. It is shown at the beginning
    only, one key at a time: in the first n pictures of n keys the door has the colour of the key
    that comes next in the order; then it is brown. A key in turn is picked up (+1); one out of
    turn ends the episode (``mistake``). With all keys the door turns green, and to enter it ends
    the episode (``goal_reward``); before that it is a wall. Each step costs 0.1.

    Without memory n keys are done in 1 of n! episodes at best.

    Args:
        level: index into ``KEY_LEVELS``: 1, 2 or 3 keys.
        resolution: of the pictures.
        goal_reward, mistake: see above.
        max_steps: of an episode.
        render_mode: 'rgb_array' for ``render``, or None.

    Attributes:
        keys: cells of all keys, by letter.
        order: letters, in the order of this episode.
        found: how many keys were picked up.
    """

    step_reward = -0.1

    def __init__(
        self,
        level: int = 1,
        resolution: int = 20,
        goal_reward: float = 10.0,
        mistake: float = -5.0,
        max_steps: int = 50,
        render_mode: str | None = None,
    ) -> None:
        layout = _chosen(KEY_LEVELS, level)
        walls, places = parse_layout(layout)
        super().__init__(walls, (resolution,) * 2, _COLOURS, max_steps, render_mode)
        self.start, self.door = places.pop('S'), places.pop('D')
        self.keys = dict(sorted(places.items()))
        self.order = tuple(self.keys)
        self.found = 0
        self.goal_reward, self.mistake = goal_reward, mistake
        self.settings = {
            'layout': layout,
            'resolution': resolution,
            'goal_reward': goal_reward,
            'mistake': mistake,
            'max_steps': max_steps,
        }

    @property
    def shortest(self) -> int:
        """Steps of a shortest way to the end, from here."""
        return len(self.path()) - 1

    def path(self) -> list[Cell]:
        """Cells of a shortest way that picks up what is left, and the door.

        Raises:
            ValueError: there is none.
        """
        path = shortest_path(
            (self.position, self.found), self._next, lambda state: state[0] == self.door
        )
        if path is None:
            raise ValueError(f'no way leads on from {self.position}')
        return [cell for cell, _ in path]

    def _next(self, state: tuple[Cell, int]) -> Iterator[tuple[Cell, int]]:
        """What can follow (cell, keys found), without mistakes."""
        cell, found = state
        left = [self.keys[name] for name in self.order[found:]]
        for action in range(len(MOVES)):
            there = self.neighbour(cell, action)
            if left and there == left[0]:
                yield there, found + 1
            elif there not in left and not (there == self.door and left):
                yield there, found

    def _begin(self) -> None:
        self.position = self.start
        self.found = 0
        drawn = self.np_random.permutation(list(self.keys))
        self.order = tuple(str(name) for name in drawn)

    def _enter(self, cell: Cell) -> tuple[float, bool]:
        left = self.order[self.found :]
        if cell == self.door and left:
            return self.step_reward, False
        self.position = cell
        if cell == self.door:
            return self.step_reward + self.goal_reward, True
        if left and cell == self.keys[left[0]]:
            self.found += 1
            return self.step_reward + 1, False
        if cell in (self.keys[name] for name in left):
            return self.step_reward + self.mistake, True
        return self.step_reward, False

    def _info(self) -> dict[str, Any]:
        return {'position': self.position, 'found': self.found}

    def _cells(self) -> np.ndarray:
        cells = np.where(self.walls, _WALL, _FLOOR)
        colour = {n: _FIRST_KEY + i for i, n in enumerate(self.keys)}
        left = self.order[self.found :]
        for name in left:
            cells[self.keys[name]] = colour[name]
        shown = self._steps
        cells[self.door] = _DOOR if left else _GOAL
        if shown is not None and shown < len(self.order):
            cells[self.door] = colour[self.order[shown]]
        cells[self.position] = _AGENT
        return cells


def _chosen(levels: tuple[tuple[str, ...], ...], level: int) -> tuple[str, ...]:
    if not 0 <= level < len(levels):
        raise ValueError(f'level is {level}, expected 0 to {len(levels) - 1}')
    return levels[level]
