"""Pommerman's boards: how they are drawn for a new game, and what an agent sees of them.

Kernels over ``pommerman_rules.Games``. Everything that is drawn comes from the game's own
generator, so a game's board depends on its seed alone.
"""

from __future__ import annotations

import numpy as np

from chainer_wm.envs.pommerman_rules import (
    AGENTS,
    BLAST,
    CELL,
    CELLS,
    DIRECTION,
    DUMMY,
    EXTRA_BOMB,
    FIRST_AGENT,
    FLAME_CELL,
    FLAME_LEFT,
    FOG,
    ITEMS,
    LIFE,
    N_BOMBS,
    N_FLAMES,
    NEXT,
    PASSAGE,
    RIGHT,
    RIGID,
    RIGIDS,
    SIZE,
    STARTS,
    UNREACHABLE,
    UP,
    WOOD,
    WOODS,
    draw,
    game_at,
)
from dnc.kernel_cache import cached_njit, inner_njit

MAPS = ('board', 'bomb_blast_strength', 'bomb_life', 'bomb_moving_direction', 'flame_life')
"""What ``observe_games`` fills, in this order."""

GROUPS = {
    'board': CELLS,
    'bomb_blast_strength': CELLS,
    'bomb_life': CELLS,
    'position': 2,
    'ammo': 1,
    'blast_strength': 1,
    'can_kick': 1,
    'teammate': 1,
    'enemies': 3,
}
"""The parts of the feature vector in their order, with their lengths."""

N_FEATURES = sum(GROUPS.values())
N_KINDS = 3  # of items


def _fixed_wood() -> np.ndarray:
    """(12,) cells in the middle of the outermost rows and columns but one, always wood."""
    middle = range(4, SIZE - 4)
    ends = (1, SIZE - 2)
    cells = {(r, c) for r in ends for c in middle} | {(r, c) for r in middle for c in ends}
    return np.array(sorted(r * SIZE + c for r, c in cells), np.int16)


def _pairs() -> np.ndarray:
    """(n, 2) mirrored cells (r, c), (c, r) that walls may take."""
    ends = (1, SIZE - 2)
    near = [*range(1, 4), *range(SIZE - 4, SIZE - 1)]  # starts, and two cells beside each
    kept = {(r, c) for r in ends for c in near} | {(r, c) for r in near for c in ends}
    kept |= {(int(c) // SIZE, int(c) % SIZE) for c in FIXED_WOOD}
    free = [
        (r * SIZE + c, c * SIZE + r)
        for r in range(SIZE)
        for c in range(r)
        if (r, c) not in kept and (c, r) not in kept
    ]
    return np.array(free, np.int16)


FIXED_WOOD = _fixed_wood()
PAIRS = _pairs()
_STARTS = np.array(STARTS, np.int16)


@cached_njit()
def begin_games(games, seeds):
    """Draw a new board for each game and put the agents at their starts.

    Args:
        games: of B games, changed in place.
        seeds: (B,) uint64, of the games' generators.
    """
    for b in range(len(seeds)):
        game = game_at(games, b)
        game.random[0] = seeds[b]
        _draw_walls(game)
        while _unreachable(game.board) > UNREACHABLE:
            _draw_walls(game)
        _hide_items(game)
        for a in range(AGENTS):
            game.cell[a] = _STARTS[a]
            game.board[_STARTS[a]] = FIRST_AGENT + a
        game.ammo[:] = 1
        game.blast[:] = 2
        game.kick[:] = False
        game.alive[:] = True
        game.counts[:] = 0
        game.words[:] = 0


@inner_njit()
def _draw_walls(game):
    board = game.board
    board[:] = PASSAGE
    board[FIXED_WOOD] = WOOD
    order = np.arange(len(PAIRS))
    for i in range((RIGIDS + WOODS - len(FIXED_WOOD)) // 2):
        other = i + draw(game.random, len(order) - i)
        order[i], order[other] = order[other], order[i]
        for cell in PAIRS[order[i]]:
            board[cell] = RIGID if i < RIGIDS // 2 else WOOD


@inner_njit()
def _unreachable(board):
    """How many passages cannot be reached from the last start, if all wood were burnt."""
    waiting = np.empty(CELLS, np.int16)
    seen = np.zeros(CELLS, np.bool_)
    waiting[0] = _STARTS[AGENTS - 1]
    seen[waiting[0]] = True
    n = 1
    while n:
        n -= 1
        cell = waiting[n]
        for direction in range(UP, RIGHT + 1):
            there = NEXT[cell, direction]
            if there >= 0 and not seen[there] and board[there] != RIGID:
                seen[there] = True
                waiting[n] = there
                n += 1
    return np.sum((board == PASSAGE) & ~seen)


@inner_njit()
def _hide_items(game):
    wood = np.flatnonzero(game.board == WOOD)
    game.hidden[:] = PASSAGE
    for i in range(ITEMS):
        other = i + draw(game.random, len(wood) - i)
        wood[i], wood[other] = wood[other], wood[i]
        game.hidden[wood[i]] = EXTRA_BOMB + draw(game.random, N_KINDS)


@inner_njit()
def sees(view, agent_cell, cell):
    """Whether an agent that sees ``view`` cells far in each direction sees a cell."""
    rows = abs(agent_cell // SIZE - cell // SIZE)
    return rows <= view and abs(agent_cell % SIZE - cell % SIZE) <= view


@inner_njit()
def observe_game(game, agent, view, maps):
    """What one agent sees of one game; ``maps`` (5, 121) is filled with ``MAPS``."""
    here = game.cell[agent]
    for cell in range(CELLS):
        maps[0, cell] = game.board[cell] if sees(view, here, cell) else FOG
    maps[1:] = 0
    for i in range(game.counts[N_BOMBS]):
        bomb = game.bombs[i]
        if sees(view, here, bomb[CELL]):
            maps[1, bomb[CELL]] = bomb[BLAST]
            maps[2, bomb[CELL]] = bomb[LIFE]
            maps[3, bomb[CELL]] = bomb[DIRECTION]
    for i in range(game.counts[N_FLAMES]):
        cell = game.flames[i, FLAME_CELL]
        if sees(view, here, cell):
            maps[4, cell] = game.flames[i, FLAME_LEFT] + 1


@cached_njit()
def observe_games(games, view, maps):
    """What every agent sees; ``maps`` (B, 4, 5, 121) uint8 is filled."""
    for b in range(len(maps)):
        game = game_at(games, b)
        for agent in range(AGENTS):
            observe_game(game, agent, view, maps[b, agent])


@cached_njit()
def featurize_games(games, agent, team, view, features):
    """The 372 numbers of one agent in each game; ``features`` (B, 372) is filled."""
    maps = np.empty((len(MAPS), CELLS), np.uint8)
    for b in range(len(features)):
        game, row = game_at(games, b), features[b]
        observe_game(game, agent, view, maps)
        for i in range(3):
            row[i * CELLS : (i + 1) * CELLS] = maps[i]
        rest = row[3 * CELLS :]
        rest[0], rest[1] = game.cell[agent] // SIZE, game.cell[agent] % SIZE
        rest[2], rest[3], rest[4] = game.ammo[agent], game.blast[agent], game.kick[agent]
        rest[5] = FIRST_AGENT + (agent + 2) % AGENTS if team else DUMMY
        n = 6
        for other in range(AGENTS):
            if other != agent and not (team and other == (agent + 2) % AGENTS):
                rest[n] = FIRST_AGENT + other
                n += 1
        if team:
            rest[n] = DUMMY
