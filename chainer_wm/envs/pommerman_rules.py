"""The rules of Pommerman for many games at once, compiled.

A restatement of the game of the Pommerman playground (commit 5315f6d), on its board of 11x11 with
four agents. A batch of games is a struct of arrays (``Games``), and every kernel goes through them
one by one, so that a game is the same whatever it is played beside.

Cells are numbered along the rows, 0 to 120. Directions have the numbers of the actions that move:
0 none, 1 up, 2 down, 3 left, 4 right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dnc.kernel_cache import cached_njit, inner_njit

SIZE = 11
CELLS = SIZE * SIZE
AGENTS = 4

PASSAGE, RIGID, WOOD, BOMB, FLAMES, FOG = range(6)
EXTRA_BOMB, MORE_RANGE, KICK, DUMMY, FIRST_AGENT = range(6, 11)
STOP, UP, DOWN, LEFT, RIGHT, LAY = range(6)
ACTIONS = 6

STARTS = tuple(row * SIZE + column for row, column in ((1, 1), (9, 1), (9, 9), (1, 9)))
FUSE = 10  # life of a bomb before the step in which it is laid is over
FLAME_LIFE = 2
LIMIT = 10  # of ammunition
RIGIDS, WOODS, ITEMS = 36, 36, 20
UNREACHABLE = 4  # passages, at most

# columns of Games.bombs, Games.flames and Games.counts
CELL, OWNER, LIFE, BLAST, DIRECTION = range(5)
FLAME_CELL, FLAME_LEFT = range(2)
N_BOMBS, N_FLAMES, STEPS, OVER = range(4)
WIN, TIE, INCOMPLETE = 0, 2, 3
"""Results, with the numbers that the original gives them."""

_MOST_FLAMES = CELLS * (FLAME_LIFE + 1)


def _neighbours() -> np.ndarray:
    """(121, 5) int16: the cell in each direction, -1 where the board ends."""
    cells = np.arange(CELLS).reshape(SIZE, SIZE)
    padded = np.pad(cells, 1, constant_values=-1)
    around = [cells, padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
    return np.stack(around, axis=-1).reshape(CELLS, 5).astype(np.int16)


NEXT = _neighbours()


class Settings(NamedTuple):
    """What one kind of game differs in from another.

    Attributes:
        team: agents 0 and 2 play against 1 and 3.
        max_blast: largest blast strength that items can give.
        max_steps: the game ends in a tie after as many.
        view: cells that are seen in each direction; 11 sees everything.
    """

    team: bool
    max_blast: int
    max_steps: int
    view: int


class Games(NamedTuple):
    """A batch of B games, or without the leading axis one of them.

    Attributes:
        board: (B, 121) uint8, what is seen in each cell.
        hidden: (B, 121) uint8, items under wood or flames; 0 none.
        cell: (B, 4) int16, where each agent is, or where it died.
        ammo, blast: (B, 4) int16.
        kick, alive: (B, 4) bool.
        bombs: (B, 121, 5) int16: cell, owner, life, blast, direction, in the order in which they
            were laid; ``counts`` tells how many there are.
        flames: (B, 363, 2) int16: cell, life; as ``bombs``.
        counts: (B, 4) int32: bombs, flames, steps played, and whether the game is over.
        words: (B, 4, 2) uint8, what each agent said over the radio in the last step.
        random: (B, 1) uint64, state of the game's own generator.
    """

    board: np.ndarray
    hidden: np.ndarray
    cell: np.ndarray
    ammo: np.ndarray
    blast: np.ndarray
    kick: np.ndarray
    alive: np.ndarray
    bombs: np.ndarray
    flames: np.ndarray
    counts: np.ndarray
    words: np.ndarray
    random: np.ndarray


def empty_games(count: int) -> Games:
    """``count`` games that have not begun: no agent is alive, all are over."""
    shapes = {
        'board': ((CELLS,), np.uint8),
        'hidden': ((CELLS,), np.uint8),
        **{name: ((AGENTS,), np.int16) for name in ('cell', 'ammo', 'blast')},
        **{name: ((AGENTS,), np.bool_) for name in ('kick', 'alive')},
        'bombs': ((CELLS, 5), np.int16),
        'flames': ((_MOST_FLAMES, 2), np.int16),
        'counts': ((4,), np.int32),
        'words': ((AGENTS, 2), np.uint8),
        'random': ((1,), np.uint64),
    }
    games = Games(**{n: np.zeros((count, *shape), dtype) for n, (shape, dtype) in shapes.items()})
    games.counts[:, OVER] = 1
    return games


@inner_njit()
def game_at(games, b):
    """Views of the arrays of one game."""
    return Games(
        games.board[b],
        games.hidden[b],
        games.cell[b],
        games.ammo[b],
        games.blast[b],
        games.kick[b],
        games.alive[b],
        games.bombs[b],
        games.flames[b],
        games.counts[b],
        games.words[b],
        games.random[b],
    )


@inner_njit()
def draw(random, n):
    """A number from 0 to n - 1; advances ``random``, (1,) uint64 (splitmix64)."""
    random[0] += np.uint64(0x9E3779B97F4A7C15)
    z = random[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = (z ^ (z >> np.uint64(31))) >> np.uint64(32)  # 32 bits: n is small
    return np.int64((z * np.uint64(n)) >> np.uint64(32))


@inner_njit()
def is_item(thing):
    return EXTRA_BOMB <= thing <= KICK


@inner_njit()
def is_wall(thing):
    return thing in (RIGID, WOOD)


# One step of one game, in the order in which things happen.


@cached_njit()
def step_games(games, actions, settings, rewards, results, winners):
    """One step of every game that is not over.

    Args:
        games: of B games, changed in place.
        actions: (B, 4) integers, 0 to 5; those of the dead are ignored.
        settings: of all games.
        rewards: (B, 4) int8, filled; 0 where a game was over before.
        results: (B,) uint8, filled: ``WIN``, ``TIE`` or ``INCOMPLETE``; untouched where a game was
            over before.
        winners: (B, 4) bool, filled; as ``results``.
    """
    for b in range(len(actions)):
        game = game_at(games, b)
        if game.counts[OVER]:
            rewards[b] = 0
            continue
        _advance(game, actions[b], settings.max_blast)
        results[b] = _judge(game, settings, rewards[b], winners[b])


@inner_njit()
def _advance(game, actions, max_blast):
    targets = np.full(AGENTS, -1, np.int16)  # of the agents; -1 the dead
    bomb_targets = np.empty(CELLS, np.int16)
    kicker = np.full(CELLS, -1, np.int8)  # agent that kicked a bomb in this step
    _burn(game)
    _choose_targets(game, actions, targets, bomb_targets)
    _undo_swaps(game, targets, bomb_targets)
    agents_at, bombs_at = _count_wishes(game, targets, bomb_targets)
    _undo_crowds(game, targets, bomb_targets, agents_at, bombs_at)
    if _kick_bombs(game, actions, targets, bomb_targets, kicker, agents_at, bombs_at):
        _undo_late(game, targets, bomb_targets, kicker, agents_at, bombs_at)
    _move(game, targets, bomb_targets, kicker, max_blast)
    _explode(game)
    game.counts[STEPS] += 1


@inner_njit()
def _burn(game):
    """Flames grow older; those that end uncover what was hidden."""
    kept = 0
    flames = game.flames
    for i in range(game.counts[N_FLAMES]):
        cell, life = flames[i, FLAME_CELL], flames[i, FLAME_LEFT]
        if life == 0:
            game.board[cell] = game.hidden[cell]  # an item, or PASSAGE
            game.hidden[cell] = PASSAGE
        else:
            flames[kept, FLAME_CELL] = cell
            flames[kept, FLAME_LEFT] = life - 1
            kept += 1
    game.counts[N_FLAMES] = kept
    for i in range(kept):  # another flame may still burn where one has ended
        game.board[flames[i, FLAME_CELL]] = FLAMES


@inner_njit()
def bomb_at(game, cell):
    """Whether a bomb lies in a cell."""
    return np.any(game.bombs[: game.counts[N_BOMBS], CELL] == cell)


@inner_njit()
def _choose_targets(game, actions, targets, bomb_targets):
    """Where agents and bombs would go if they were alone; bombs are laid."""
    for a in range(AGENTS):
        if not game.alive[a]:
            continue
        cell, action = game.cell[a], actions[a]
        game.board[cell] = PASSAGE
        targets[a] = cell
        if action == LAY:
            if game.ammo[a] > 0 and not bomb_at(game, cell):
                game.ammo[a] -= 1
                bomb = game.bombs[game.counts[N_BOMBS]]
                bomb[CELL], bomb[OWNER], bomb[LIFE] = cell, a, FUSE
                bomb[BLAST], bomb[DIRECTION] = game.blast[a], STOP
                game.counts[N_BOMBS] += 1
        else:
            there = NEXT[cell, action]
            if there >= 0 and not is_wall(game.board[there]):
                targets[a] = there
    for i in range(game.counts[N_BOMBS]):
        cell = game.bombs[i, CELL]
        game.board[cell] = PASSAGE
        bomb_targets[i] = cell
        there = NEXT[cell, game.bombs[i, DIRECTION]]
        if there >= 0 and not is_wall(game.board[there]) and not is_item(game.board[there]):
            bomb_targets[i] = there


@inner_njit()
def _border(a, b):
    """A number for the border between two neighbouring cells."""
    return 2 * min(a, b) + (abs(a - b) == 1)


@inner_njit()
def _undo_swaps(game, targets, bomb_targets):
    """Two that would pass through one border: both stay; of agent and bomb only the bomb."""
    crossed = np.full(2 * CELLS, -1, np.int16)  # agents 0 to 3, then bombs
    for a in range(AGENTS):
        here, there = game.cell[a], targets[a]
        if there < 0 or there == here:
            continue
        border = _border(here, there)
        other = crossed[border]
        if other < 0:
            crossed[border] = a
        else:
            targets[a] = here
            targets[other] = game.cell[other]
    for i in range(game.counts[N_BOMBS]):
        here, there = game.bombs[i, CELL], bomb_targets[i]
        if there == here:
            continue
        border = _border(here, there)
        other = crossed[border]
        if other < 0:
            crossed[border] = AGENTS + i
        else:
            bomb_targets[i] = here
            if other >= AGENTS:
                bomb_targets[other - AGENTS] = game.bombs[other - AGENTS, CELL]


@inner_njit()
def _count_wishes(game, targets, bomb_targets):
    """How many agents and how many bombs want each cell, two (121,) int16.

    From here on the counts only grow: whoever has to stay is counted where it stays, and goes on
    being counted where it wanted to go.
    """
    agents_at = np.zeros(CELLS, np.int16)
    bombs_at = np.zeros(CELLS, np.int16)
    for a in range(AGENTS):
        if targets[a] >= 0:
            agents_at[targets[a]] += 1
    for i in range(game.counts[N_BOMBS]):
        bombs_at[bomb_targets[i]] += 1
    return agents_at, bombs_at


@inner_njit()
def _undo_crowds(game, targets, bomb_targets, agents_at, bombs_at):
    """Who wants a cell that two agents or two bombs want stays, until nobody else must."""
    changed = True
    while changed:
        changed = False
        for a in range(AGENTS):
            here, there = game.cell[a], targets[a]
            if there < 0 or there == here:
                continue
            if agents_at[there] > 1 or bombs_at[there] > 1:
                targets[a] = here
                agents_at[here] += 1
                changed = True
        for i in range(game.counts[N_BOMBS]):
            here, there = game.bombs[i, CELL], bomb_targets[i]
            if there != here and (agents_at[there] > 1 or bombs_at[there] > 1):
                bomb_targets[i] = here
                bombs_at[here] += 1
                changed = True


@inner_njit()
def _kick_bombs(game, actions, targets, bomb_targets, kicker, agents_at, bombs_at):
    """Bombs where an agent wants to be: kicked, or in the way. Returns whether there were any."""
    new_targets = np.full(AGENTS, -1, np.int16)
    new_bomb_targets = np.full(CELLS, -1, np.int16)
    for i in range(game.counts[N_BOMBS]):
        here, there = game.bombs[i, CELL], bomb_targets[i]
        if agents_at[there] == 0:
            continue
        for a in range(AGENTS):
            if targets[a] == there:
                if there == game.cell[a]:  # it does not move
                    if there != here:
                        new_bomb_targets[i] = here
                    continue
                beyond = NEXT[there, actions[a]]
                if (
                    game.kick[a]
                    and beyond >= 0
                    and agents_at[beyond] == 0
                    and bombs_at[beyond] == 0
                    and not is_item(game.board[beyond])
                    and not is_wall(game.board[beyond])
                ):
                    bombs_at[there] = 0
                    new_bomb_targets[i] = beyond
                    game.bombs[i, DIRECTION] = actions[a]
                    kicker[i] = a
                else:
                    new_bomb_targets[i] = here
                    new_targets[a] = game.cell[a]
    changed = False
    for i in range(game.counts[N_BOMBS]):
        if new_bomb_targets[i] >= 0:
            bomb_targets[i] = new_bomb_targets[i]
            bombs_at[bomb_targets[i]] += 1
            changed = True
    for a in range(AGENTS):
        if new_targets[a] >= 0:
            targets[a] = new_targets[a]
            agents_at[targets[a]] += 1
            changed = True
    return changed


@inner_njit()
def _undo_late(game, targets, bomb_targets, kicker, agents_at, bombs_at):
    """What kicks and bombs in the way have set off, until all is settled; undoes kicks."""
    changed = True
    while changed:
        changed = False
        for a in range(AGENTS):
            here, there = game.cell[a], targets[a]
            if there < 0 or there == here or (agents_at[there] <= 1 and bombs_at[there] == 0):
                continue
            for i in range(game.counts[N_BOMBS]):
                if kicker[i] == a:
                    bomb_targets[i] = game.bombs[i, CELL]
                    bombs_at[bomb_targets[i]] += 1
                    kicker[i] = -1
            targets[a] = here
            agents_at[here] += 1
            changed = True
        for i in range(game.counts[N_BOMBS]):
            here, there, a = game.bombs[i, CELL], bomb_targets[i], kicker[i]
            # a bomb may be kicked back to where it came from
            if (there == here and a < 0) or (bombs_at[there] <= 1 and agents_at[there] == 0):
                continue
            bomb_targets[i] = here
            bombs_at[here] += 1
            if a >= 0:
                targets[a] = game.cell[a]
                agents_at[targets[a]] += 1
                kicker[i] = -1
            changed = True


@inner_njit()
def _move(game, targets, bomb_targets, kicker, max_blast):
    """All go where they may; agents pick up what lies there."""
    for i in range(game.counts[N_BOMBS]):
        if bomb_targets[i] == game.bombs[i, CELL] and kicker[i] < 0:
            game.bombs[i, DIRECTION] = STOP
        game.bombs[i, CELL] = bomb_targets[i]
    for a in range(AGENTS):
        if targets[a] < 0 or targets[a] == game.cell[a]:
            continue
        game.cell[a] = targets[a]
        thing = game.board[targets[a]]
        if thing == EXTRA_BOMB:
            game.ammo[a] = min(game.ammo[a] + 1, LIMIT)
        elif thing == MORE_RANGE:
            game.blast[a] = min(game.blast[a] + 1, max_blast)
        elif thing == KICK:
            game.kick[a] = True


@inner_njit()
def mark_blast(board, cell, blast, marked):
    """Mark the cells that a bomb reaches: up to walls, with the first wood."""
    marked[cell] = True
    for direction in range(UP, RIGHT + 1):
        there = cell
        for _ in range(blast - 1):
            there = NEXT[there, direction]
            if there < 0 or board[there] == RIGID:
                break
            marked[there] = True
            if board[there] == WOOD:
                break


@inner_njit()
def _explode(game):
    """Bombs whose time has come, and what they reach; paints bombs, flames, agents."""
    bombs, board = game.bombs, game.board
    burning = np.zeros(CELLS, np.bool_)
    exploding = False
    for i in range(game.counts[N_BOMBS]):
        bombs[i, LIFE] -= 1
        if board[bombs[i, CELL]] == FLAMES:
            bombs[i, LIFE] = 0
        exploding |= bombs[i, LIFE] == 0
    while exploding:
        kept = 0
        for i in range(game.counts[N_BOMBS]):
            if bombs[i, LIFE] > 0:
                bombs[kept] = bombs[i]
                kept += 1
                continue
            owner = bombs[i, OWNER]
            game.ammo[owner] = min(game.ammo[owner] + 1, LIMIT)
            mark_blast(board, bombs[i, CELL], bombs[i, BLAST], burning)
        game.counts[N_BOMBS] = kept
        exploding = False
        for i in range(kept):
            if burning[bombs[i, CELL]]:
                bombs[i, LIFE] = 0
                exploding = True
    for i in range(game.counts[N_BOMBS]):
        board[bombs[i, CELL]] = BOMB
    for cell in range(CELLS):
        if burning[cell]:
            flame = game.flames[game.counts[N_FLAMES]]
            flame[FLAME_CELL], flame[FLAME_LEFT] = cell, FLAME_LIFE
            game.counts[N_FLAMES] += 1
    for i in range(game.counts[N_FLAMES]):
        board[game.flames[i, FLAME_CELL]] = FLAMES
    for a in range(AGENTS):
        if game.alive[a]:
            if board[game.cell[a]] == FLAMES:
                game.alive[a] = False
            else:
                board[game.cell[a]] = FIRST_AGENT + a


@inner_njit()
def _judge(game, settings, rewards, winners):
    """Fill rewards and winners, set whether the game is over; returns the result."""
    alive = np.sum(game.alive)
    late = game.counts[STEPS] >= settings.max_steps
    winners[:] = False
    if settings.team:
        first, second = game.alive[0] or game.alive[2], game.alive[1] or game.alive[3]
        over = late or not (first and second)
        won = first != second
        if won:
            winners[0] = winners[2] = first
            winners[1] = winners[3] = second
    else:
        over = late or alive <= 1
        won = alive == 1
        if won:
            winners[:] = game.alive
    for a in range(AGENTS):
        if won:
            rewards[a] = 1 if winners[a] else -1
        elif over:
            rewards[a] = -1
        else:
            rewards[a] = 0 if settings.team or game.alive[a] else -1
    game.counts[OVER] = over
    if not over:
        return INCOMPLETE
    return WIN if won else TIE
