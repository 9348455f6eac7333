"""The rules of PixelCopter, without pictures of anything but the game.

A restatement of the game of the PyGame Learning Environment (commit 3dbe79d) at its own size,
48x48 pixels, 30 frames per second. y points down. All arithmetic is done in the order of the
original, so that every number is equal to the last bit, and rectangles are placed as pygame-ce 2.5
and pygame before
2.6 place them: coordinates are cut off towards zero. (pygame 2.6 rounds them; the games then
differ from the second step on.)
"""

from __future__ import annotations

import math

import numpy as np

SIZE = 48
STATE_NAMES = (
    'player_y',
    'player_vel',
    'player_dist_to_ceil',
    'player_dist_to_floor',
    'next_gate_dist_to_player',
    'next_gate_block_top',
    'next_gate_block_bottom',
)
_GREEN = (120, 240, 80)
PALETTE = np.array([(0, 0, 0), (255, 255, 255), _GREEN, _GREEN], np.uint8)
"""Colours: background, player (bit 0), blocks and walls (bit 1), both."""

_SPEED = 0.0004 * SIZE  # pixels per millisecond
_TICK = 1000 / 30  # milliseconds
_SHIFT = _SPEED * _TICK  # pixels that blocks and walls go left per step
_CLIMB = _SPEED * -0.875 * _TICK
_FALL = _SPEED * 0.09 * _TICK
_X = 16  # of the player's centre
_PLAYER = 2  # width and height of the player's rectangle
_REACH = SIZE * 0.05  # the player's height where the ceiling is concerned
_BLOCK = (4, 9)  # width, height
_WALL = (4, 72)  # width, height of a column: wall, gap and wall
_GAP = SIZE * 0.25  # from the middle of the gap to the walls
_LEAST_Y, _LARGEST_Y = SIZE * 0.125, SIZE * 0.875
_FEW = 13  # columns: new ones are added when no more are left
_ON_SCREEN = SIZE // _WALL[0] + 3  # columns, at most
_LOSS = -5.0


def _strips() -> np.ndarray:
    """The cave at one x on the screen, by the middle of its gap, (49, 48).

    Green are rows 0 to 23 and 50 to 71 of a column. The last is empty.
    """
    rows = np.arange(SIZE) - (np.arange(SIZE)[:, None] - _WALL[1] // 2)
    green = (rows < 24) | (rows >= 50)
    return np.vstack([green, np.zeros(SIZE)]).astype(np.uint8) * 2


_STRIPS = _strips()
_MARGIN = 8  # on the left of the screen, where columns may begin


class Copter:
    """One game: fly through a cave with blocks in it.

    Attributes:
        over: the game has ended, or has not begun.
        lives: 1 at the start; each collision of a step costs one, and the
            game ends at 0 or below.
        score: sum of the rewards.
        y, velocity: of the player, in pixels and pixels per step.
        blocks: [x, y] of the centre of each block.
        versions: dict of library versions, for manifests.
    """

    def __init__(self) -> None:
        self.over = True
        self.versions = {'numpy': np.__version__}

    def reset(self, random: np.random.RandomState) -> None:
        """Begin a game; the same state of ``random`` gives the same game."""
        self.over = False
        self.lives = 1
        self.score = 0.0
        self.y, self.velocity = SIZE / 2, 0.0
        self._random = random
        self.blocks = [self._new_block()]
        self._xs, self._ys = self._new_columns(0)

    @property
    def columns(self) -> int:
        """How many columns of the cave exist."""
        return len(self._xs)

    def step(self, up: bool) -> float:
        """One frame of the game; returns the change of the score.

        +1 for a column that leaves the screen, +1 for a block that is passed, -5 for the end.

        Raises:
            RuntimeError: the game is over.
        """
        if self.over:
            raise RuntimeError('the game is over: call reset() first')
        before = self.score
        self._move(up)
        self.lives -= self._collisions()
        self._pass_blocks()
        self._pass_columns()
        self.lives -= (self.y < _LEAST_Y) + (self.y > _LARGEST_Y)
        if len(self._xs) <= _FEW:
            xs, ys = self._new_columns(SIZE)
            self._xs = np.concatenate([self._xs, xs])
            self._ys += ys
        if self.lives <= 0:
            self.score += _LOSS
            self.over = True
        return self.score - before

    def state(self) -> np.ndarray:
        """The seven numbers of ``STATE_NAMES``, (7,) float64.

        All in pixels: y and velocity of the player, its distances to the ceiling and the floor of
        the first column that it touches, and of the nearest block ahead the distance, the centre's
        y and that + 9.
        """
        middle = next(self._columns_at_player())
        ahead = [b for b in self.blocks if b[0] > _X]
        x, y = min(ahead, key=lambda block: block[0])
        return np.array(
            (
                self.y,
                self.velocity,
                self.y - (middle - _GAP),
                (middle + _GAP) - self.y,
                x - _X,
                y,
                y + _BLOCK[1],
            )
        )

    def picture(self) -> np.ndarray:
        """The screen as indices into ``PALETTE``, (48, 48) uint8."""
        # Two columns may overlap, so odd and even ones are kept apart.
        layers = [bytearray([SIZE]) * (SIZE + 2 * _MARGIN) for _ in range(2)]
        for i, x in enumerate(self._xs[:_ON_SCREEN].tolist()):
            start = int(x) - _WALL[0] // 2 + _MARGIN
            wall = bytes([self._ys[i]]) * _WALL[0]
            layers[i % 2][start : start + _WALL[0]] = wall
        odd, even = (
            _STRIPS.take(np.frombuffer(layer, np.uint8, SIZE, _MARGIN), axis=0) for layer in layers
        )
        image = (odd | even).T
        for x, y in self.blocks:
            image[_span(y, _BLOCK[1]), _span(x, _BLOCK[0])] |= 2
        image[_span(self.y, _PLAYER), _span(_X, _PLAYER)] |= 1
        return image

    def frame(self) -> np.ndarray:
        """The screen, (48, 48, 3) uint8: rows, columns, RGB."""
        return PALETTE.take(self.picture(), axis=0)

    def _new_block(self) -> list[float]:
        x = self._random.randint(SIZE, int(SIZE * 1.5))
        y = self._random.randint(int(SIZE * 0.25), int(SIZE * 0.75))
        return [x, y]

    def _new_columns(self, start: int) -> tuple[np.ndarray, list[int]]:
        """48 columns from ``start`` on: x and middle of the gap of each."""
        width = _WALL[0]
        first = start + width // 2
        xs = range(first, first + 4 * SIZE, width)
        frequency = 4.5 / SIZE + self._random.uniform(-0.01, 0.01)
        ys = []
        for x in xs:
            phase = frequency * x + self._random.uniform(0.0, 0.5)
            ys.append(int(SIZE / 2 + SIZE * 0.125 * math.sin(phase)))
        return np.array(xs, np.float64), ys

    def _move(self, up: bool) -> None:
        self.velocity += _CLIMB if up else _FALL
        self.velocity *= 0.99
        self.y += self.velocity
        for block in self.blocks:
            block[0] -= _SHIFT
        self._xs -= _SHIFT

    def _collisions(self) -> int:
        top = int(self.y) - _PLAYER // 2
        hits = 0
        for x, y in self.blocks:
            width, height = _BLOCK
            below = int(y) - height // 2 - top
            hits += _meets_player(x, width) and -height < below < _PLAYER
        for middle in self._columns_at_player():
            below = middle - _WALL[1] // 2 - top
            if -_WALL[1] < below < _PLAYER:
                hits += self.y - _REACH <= middle - _GAP
                hits += self.y >= middle + _GAP
        return hits

    def _columns_at_player(self):
        """Middles of the gap of the columns beside the player, in order."""
        # the columns stand in order: none behind the eighth can be this near
        for x, middle in zip(self._xs[:8].tolist(), self._ys):
            if _meets_player(x, _WALL[0]):
                yield middle

    def _pass_blocks(self) -> None:
        for block in self.blocks[:]:
            if block[0] <= _X and len(self.blocks) == 1:
                self.score += 1
                self.blocks.append(self._new_block())
            if block[0] <= -_BLOCK[0]:
                self.blocks.remove(block)

    def _pass_columns(self) -> None:
        while self._xs[0] <= -_WALL[0]:
            self.score += 1
            self._xs = self._xs[1:]
            del self._ys[0]


def _span(centre: float, length: int) -> slice:
    """Rows or columns of a rectangle; what is off the screen falls away."""
    start = int(centre) - length // 2
    return slice(max(start, 0), max(start + length, 0))


def _meets_player(x: float, width: int) -> bool:
    start = int(x) - width // 2
    return start < _X + _PLAYER // 2 and start + width > _X - _PLAYER // 2
