"""Pictures of Pommerman's board, in simple shapes.

Grey blocks are rigid, brown ones wood; a black disc is a bomb, with an orange bar that is as long
as its remaining life; flames are yellow on red; items are a disc (one bomb more), a cross (a
longer blast) and a triangle (kick) on pale ground; agents are discs in four colours; fog is dark.
What is no thing of the game, as models may predict it, is magenta.
"""

from __future__ import annotations

import functools

import numpy as np

from chainer_wm.envs.pommerman_boards import MAPS, N_FEATURES
from chainer_wm.envs.pommerman_rules import (
    AGENTS,
    BOMB,
    CELLS,
    EXTRA_BOMB,
    FIRST_AGENT,
    FLAMES,
    FOG,
    FUSE,
    KICK,
    MORE_RANGE,
    PASSAGE,
    RIGID,
    SIZE,
    WOOD,
)

AGENT_COLOURS = ((214, 69, 65), (52, 110, 200), (40, 150, 90), (240, 170, 30))
UNKNOWN = FIRST_AGENT + AGENTS
"""Number of the tile for what is no thing of the game."""

_GROUND = (206, 214, 196)
_ITEM_GROUND = (250, 246, 224)
_BLACK = (25, 25, 28)
_LIFE = (245, 130, 30)
_WRONG = (230, 0, 60)
_LEAST = 6  # pixels of a cell


def draw_board(
    board: np.ndarray,
    bomb_life: np.ndarray | None = None,
    wrong: np.ndarray | None = None,
    cell: int = 12,
) -> np.ndarray:
    """A board as a picture.

    Args:
        board: (..., 11, 11) integers, 0 to 13; others are drawn as unknown.
        bomb_life: like ``board``, 0 where there is no bomb; None draws no bars.
        wrong: like ``board``, bool: cells to frame in red.
        cell: pixels of a cell's side, 6 or more.

    Returns:
        (..., 11 * cell, 11 * cell, 3) uint8.

    Raises:
        ValueError: cells too small, or shapes that do not fit.
    """
    board = np.asarray(board)
    for name, other in (('bomb_life', bomb_life), ('wrong', wrong)):
        if other is not None and np.shape(other) != board.shape:
            raise ValueError(f'{name} is {np.shape(other)}, but the board is {board.shape}')
    if cell < _LEAST or board.ndim < 2:
        raise ValueError(
            f'the board is {board.shape} and a cell {cell} pixels, expected (..., 11, 11) and '
            f'{_LEAST} or more'
        )
    known = (board >= PASSAGE) & (board < UNKNOWN)
    pixels = _tiles(cell)[np.where(known, board, UNKNOWN).astype(np.intp)]
    if bomb_life is not None:
        _draw_lives(pixels, np.asarray(bomb_life), cell)
    if wrong is not None:
        framed = np.asarray(wrong, bool)[..., None, None, None] & _frame(cell)[..., None]
        pixels = np.where(framed, np.array(_WRONG, np.uint8), pixels)
    *before, rows, columns, _, _, _ = pixels.shape
    return np.swapaxes(pixels, -4, -3).reshape(*before, rows * cell, columns * cell, 3)


def draw_states(states: np.ndarray, truth: np.ndarray | None = None) -> np.ndarray:
    """The boards in states as ``featurize`` gives them.

    Args:
        states: (T, 372) integers.
        truth: true states; cells whose board differs are framed.

    Returns:
        (T, 132, 132, 3) uint8.

    Raises:
        ValueError: the states are no such states.
    """
    if states.ndim != 2 or states.shape[1] != N_FEATURES:
        raise ValueError(f'states have shape {states.shape}, expected (T, {N_FEATURES})')
    shape = (len(states), SIZE, SIZE)
    life = states[:, MAPS.index('bomb_life') * CELLS :][:, :CELLS].reshape(shape)
    board = states[:, :CELLS].reshape(shape)
    wrong = None if truth is None else board != truth[:, :CELLS].reshape(shape)
    return draw_board(board, life, wrong)


def _draw_lives(pixels: np.ndarray, life: np.ndarray, cell: int) -> None:
    """Bars along the lower edge of the cells with bombs."""
    length = np.ceil(np.clip(life, 0, FUSE) * ((cell - 2) / FUSE))
    columns = np.arange(cell)
    shown = (columns >= 1) & (columns <= length[..., None])
    height = max(cell // 6, 1)
    lower = pixels[..., cell - 1 - height : cell - 1, :, :]
    lower[...] = np.where(shown[..., None, :, None], np.array(_LIFE, np.uint8), lower)


def _frame(cell: int) -> np.ndarray:
    """(cell, cell) bool, the border of a cell."""
    frame = np.ones((cell, cell), bool)
    width = max(cell // 8, 1)
    frame[width:-width, width:-width] = False
    return frame


@functools.cache
def _tiles(cell: int) -> np.ndarray:
    """One picture for each thing, (15, cell, cell, 3) uint8."""
    y, x = ((np.indices((cell, cell)) + 0.5) / cell * 2 - 1).astype(np.float64)
    radius = np.hypot(x, y)
    ring = _frame(cell)

    def tile(ground, *layers):
        pixels = np.empty((cell, cell, 3), np.uint8)
        pixels[...] = ground
        for mask, colour in layers:
            pixels[mask] = colour
        return pixels

    cross = (np.minimum(abs(x), abs(y)) < 0.22) & (radius < 0.75)
    tiles = {
        PASSAGE: tile(_GROUND),
        RIGID: tile((120, 124, 130), (ring, (92, 95, 102))),
        WOOD: tile((172, 122, 70), (ring | (abs(y) < 0.12), (130, 88, 48))),
        BOMB: tile(_GROUND, (radius < 0.72, _BLACK)),
        FLAMES: tile((224, 72, 32), (abs(x) + abs(y) < 0.8, (255, 214, 64))),
        FOG: tile((66, 70, 80)),
        EXTRA_BOMB: tile(_ITEM_GROUND, (radius < 0.5, _BLACK)),
        MORE_RANGE: tile(_ITEM_GROUND, (cross, (224, 72, 32))),
        KICK: tile(_ITEM_GROUND, (abs(y) * 1.2 < x * 0.5 + 0.4, (52, 110, 200))),
        FIRST_AGENT - 1: tile((150, 150, 200)),  # in a board only where a model puts it
        UNKNOWN: tile((255, 0, 255)),
    }
    for number, colour in enumerate(AGENT_COLOURS):
        eyes = (abs(abs(x) - 0.3) < 0.14) & (abs(y + 0.15) < 0.18)
        tiles[FIRST_AGENT + number] = tile(_GROUND, (radius < 0.85, colour), (eyes, _BLACK))
    return np.stack([tiles[thing] for thing in range(UNKNOWN + 1)])
