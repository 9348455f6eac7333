"""Scripted agents of Pommerman, compiled.

All but the random one look ahead before they move: where will fire be in each of the coming steps,
if nobody lays another bomb, and which first steps lead to a place that outlives it? One sweep over
cells and time answers that for all first steps at once: every cell carries the set of first
actions, one bit each, by which it can be reached alive.
"""

from __future__ import annotations

import numpy as np

from chainer_wm.envs.pommerman_boards import sees
from chainer_wm.envs.pommerman_rules import (
    ACTIONS,
    AGENTS,
    BLAST,
    BOMB,
    CELL,
    CELLS,
    DIRECTION,
    FIRST_AGENT,
    FLAME_CELL,
    FLAME_LEFT,
    FLAME_LIFE,
    FLAMES,
    FUSE,
    LAY,
    LIFE,
    N_BOMBS,
    N_FLAMES,
    NEXT,
    OVER,
    PASSAGE,
    RIGHT,
    RIGID,
    SIZE,
    STOP,
    UP,
    WOOD,
    bomb_at,
    draw,
    game_at,
    is_item,
    is_wall,
    mark_blast,
)
from dnc.kernel_cache import cached_njit, inner_njit

KINDS = ('random', 'cautious', 'hunter')
"""random: any action. cautious: any that it can survive, as far as it sees ahead. hunter: bombs
wood and enemies, takes items, goes where there are some, and survives as the cautious one."""
RANDOM, CAUTIOUS, HUNTER = range(3)

_HORIZON = FUSE + FLAME_LIFE + 1  # when the fire of a bomb that is laid now has ended
_WIDE = SIZE + 2  # boards with a closed border, so that no cell lacks a neighbour
_FIRST, _END = _WIDE + 1, _WIDE * (SIZE + 1)  # the cells inside
_WHIM = 24  # a hunter does anything safe in one of as many steps
_WIDE_CELLS = np.array(
    [(cell // SIZE + 1) * _WIDE + cell % SIZE + 1 for cell in range(CELLS)], np.int16
)
_BITS = np.array([1 << action for action in range(ACTIONS)], np.uint8)
_OPEN = np.uint8(255)

# what hunters go for, and how many steps farther than an item it may be
_NO_GOAL, _ITEM, _WOOD, _ENEMY = range(4)
_PENALTY = np.array([0, 0, 2, 3], np.int64)


@cached_njit()
def choose_actions(games, kinds, team, view, actions):
    """What each agent does next; advances the games' generators.

    Args:
        games: of B games.
        kinds: (B, 4) uint8, indices into ``KINDS``.
        team: whether agents 0 and 2 are friends, and 1 and 3.
        view: how far agents see; 11 is everything.
        actions: (B, 4) integers, filled; 0 for the dead and where the game is over.
    """
    for b in range(len(kinds)):
        game = game_at(games, b)
        for agent in range(AGENTS):
            if game.counts[OVER] or not game.alive[agent]:
                actions[b, agent] = STOP
            elif kinds[b, agent] == RANDOM:
                actions[b, agent] = draw(game.random, ACTIONS)
            else:
                hunting = kinds[b, agent] == HUNTER
                actions[b, agent] = _think(game, agent, hunting, team, view)


@inner_njit()
def _think(game, agent, hunting, team, view):
    fire = np.zeros(_WIDE * _WIDE, np.uint16)
    free = np.zeros(_WIDE * _WIDE, np.uint8)
    goals = np.zeros(CELLS, np.uint8)
    nearest = np.full(len(_PENALTY), _HORIZON + len(_PENALTY), np.int64)
    towards = np.zeros(len(_PENALTY), np.uint8)
    feared = np.empty(AGENTS, np.int16)  # cells where bombs may be laid now
    here, blast = game.cell[agent], game.blast[agent]
    _find_free(game, agent, view, free)
    n = _find_goals(game, agent, team, view, goals, feared) if hunting else 0
    predict_fire(game, here, view, feared[:n], blast, fire)
    bombed = bomb_at(game, here)
    safe = _sweep(here, bombed, free, fire, goals, nearest, towards)
    if n and safe & _BITS[LAY]:
        n, nearest[:], towards[:] = 0, _HORIZON + len(_PENALTY), 0  # fear only what is there
        predict_fire(game, here, view, feared[:n], blast, fire)
        safe = _sweep(here, bombed, free, fire, goals, nearest, towards)
    hunting = hunting and draw(game.random, _WHIM) > 0
    if game.ammo[agent] > 0 and not bombed:
        worth = _worth_bombing(game, agent, team, view, fire) if hunting else False
        if worth or (not hunting and draw(game.random, ACTIONS) == 0):
            goals[:] = _NO_GOAL
            feared[n] = here
            predict_fire(game, here, view, feared[: n + 1], blast, fire)
            if _outlives(_sweep(here, True, free, fire, goals, nearest, towards)):
                return LAY
    if hunting:
        best = np.argmin(nearest + _PENALTY)
        if best != _NO_GOAL and towards[best] & safe:
            safe &= towards[best]
    return _any_bit(game.random, safe)


@inner_njit()
def _outlives(safe):
    """Whether one survives who stands still first, as one does in laying a bomb."""
    return safe & _BITS[STOP] and not safe & _BITS[LAY]


@inner_njit()
def _any_bit(random, bits):
    """One of the actions in a set, each as likely; STOP out of none."""
    count = 0
    for action in range(LAY):
        count += (bits & _BITS[action]) != 0
    if count == 0:
        return STOP
    chosen = draw(random, count)
    for action in range(LAY):
        if bits & _BITS[action]:
            if chosen == 0:
                return action
            chosen -= 1
    return STOP


@cached_njit()
def predict_fire(game, here, view, new_cells, new_blast, fire):
    """In which of the coming steps a cell burns, as far as one agent sees.

    Bombs that roll are taken to be where they stop. Wood that burns no longer shields what is
    behind it.

    Args:
        here, view: the agent's cell, and how far it sees.
        new_cells: (n,) int16, of bombs that are laid in the coming step.
        new_blast: their blast strength.
        fire: (169,) uint16, on the wide board, filled; bit k is set where one dies who is there at
            the end of step k, k = 1 to 13.
    """
    cells = np.empty(CELLS + AGENTS, np.int16)
    blasts = np.empty(CELLS + AGENTS, np.int16)
    times = np.empty(CELLS + AGENTS, np.int16)
    fire[:] = 0
    board = game.board.copy()
    n = 0
    for i in range(game.counts[N_BOMBS]):
        bomb = game.bombs[i]
        if sees(view, here, bomb[CELL]):
            cells[n], blasts[n], times[n] = _rest(board, bomb), bomb[BLAST], bomb[LIFE]
            n += 1
    for cell in new_cells:
        cells[n], blasts[n], times[n] = cell, new_blast, FUSE
        n += 1
    for i in range(game.counts[N_FLAMES]):
        cell, left = game.flames[i, FLAME_CELL], game.flames[i, FLAME_LEFT]
        if sees(view, here, cell):
            fire[_WIDE_CELLS[cell]] |= np.uint16((2 << left) - 2)  # steps 1 to left
    marked = np.empty(CELLS, np.bool_)
    while n:
        now = times[:n].min()
        marked[:] = False
        exploding = True
        while exploding:
            exploding, kept = False, 0
            for i in range(n):
                if times[i] <= now:
                    mark_blast(board, cells[i], blasts[i], marked)
                    exploding = True
                else:
                    cells[kept], blasts[kept], times[kept] = cells[i], blasts[i], times[i]
                    kept += 1
            n = kept
            for i in range(n):
                if marked[cells[i]]:
                    times[i] = now
        burning = np.uint16(((2 << FLAME_LIFE) - 1) << now)
        for cell in range(CELLS):
            if marked[cell]:
                fire[_WIDE_CELLS[cell]] |= burning
                if board[cell] == WOOD:
                    board[cell] = PASSAGE


@inner_njit()
def _rest(board, bomb):
    """Where a rolling bomb stops, or is when it explodes."""
    cell = bomb[CELL]
    if bomb[DIRECTION] != STOP:
        for _ in range(bomb[LIFE]):
            there = NEXT[cell, bomb[DIRECTION]]
            if there < 0 or (board[there] != PASSAGE and board[there] != FLAMES):
                break
            cell = there
    return cell


@inner_njit()
def _find_free(game, agent, view, free):
    """Fill in where one can go: not where walls, bombs, agents are, nor beyond one's view."""
    here = game.cell[agent]
    for cell in range(CELLS):
        thing = game.board[cell]
        if sees(view, here, cell) and not is_wall(thing) and thing != BOMB and thing < FIRST_AGENT:
            free[_WIDE_CELLS[cell]] = _OPEN
    free[_WIDE_CELLS[here]] = _OPEN
    if game.kick[agent]:
        for direction in range(UP, RIGHT + 1):
            there = NEXT[here, direction]
            if there >= 0 and game.board[there] == BOMB:
                beyond = NEXT[there, direction]
                if beyond >= 0 and game.board[beyond] == PASSAGE:
                    free[_WIDE_CELLS[there]] = _OPEN


@inner_njit()
def _is_enemy(thing, agent, team):
    other = np.int64(thing) - FIRST_AGENT
    return other >= 0 and other != agent and not (team and other % 2 == agent % 2)


@inner_njit()
def _find_goals(game, agent, team, view, goals, enemies):
    """Fill in what a hunter goes for: items, and cells beside wood and enemies.

    ``enemies`` (4,) is filled with the cells of those that are seen; returns how many there are.
    """
    here, n = game.cell[agent], 0
    for cell in range(CELLS):
        if not sees(view, here, cell):
            continue
        thing = game.board[cell]
        if _is_enemy(thing, agent, team):
            enemies[n] = cell
            n += 1
        if is_item(thing):
            goals[cell] = _ITEM
            continue
        for direction in range(UP, RIGHT + 1):
            there = NEXT[cell, direction]
            if there < 0 or goals[cell] == _ENEMY or not sees(view, here, there):
                continue
            beside = game.board[there]
            if beside == WOOD:
                goals[cell] = _WOOD
            elif _is_enemy(beside, agent, team):
                goals[cell] = _ENEMY
    return n


@inner_njit()
def _sweep(here, bombed, free, fire, goals, nearest, towards):
    """Which first actions lead to a place that outlives all fire that is foreseen.

    Args:
        here: the agent's cell.
        bombed: whether a bomb lies there: who leaves it does not come back.
        free: (169,) uint8, wide: 255 where one can go.
        fire: (169,) uint16, wide, as ``predict_fire`` fills it.
        goals: (121,) uint8, kinds of goals.
        nearest: (4,) int64; in how many steps a goal of each kind can be reached, filled where
            one can be.
        towards: (4,) uint8; the first actions, as bits, that lead there as soon.

    Returns:
        uint8, actions 0 to 4 as bits; where nothing survives, those that do so longest, with bit
        5 set.
    """
    lead = np.zeros(_WIDE * _WIDE, np.uint8)
    last = np.zeros(_WIDE * _WIDE, np.uint8)
    start = _WIDE_CELLS[here]
    steps = (0, -_WIDE, _WIDE, -1, 1)
    for action in range(LAY):
        lead[start + steps[action]] = _BITS[action] & free[start + steps[action]]
    safe = np.uint8(0)
    for k in range(1, _HORIZON + 1):
        if k > 1:
            lead, last = last, lead
            for c in range(_FIRST, _END):
                around = last[c - _WIDE] | last[c + _WIDE] | last[c - 1] | last[c + 1]
                lead[c] = (last[c] | around) & free[c]
            if bombed:
                lead[start] = last[start]
        alive = np.uint8(0)
        bit = np.uint16(1 << k)
        for c in range(_FIRST, _END):
            lead[c] = np.uint8(0) if fire[c] & bit else lead[c]
            alive |= lead[c]
        if not alive:
            return safe | _BITS[LAY]
        safe = alive
        for cell in range(CELLS):
            kind = goals[cell]
            if kind and nearest[kind] >= k and lead[_WIDE_CELLS[cell]]:
                nearest[kind] = k
                towards[kind] |= lead[_WIDE_CELLS[cell]]
    return safe


@inner_njit()
def _worth_bombing(game, agent, team, view, fire):
    """Whether a bomb here would reach an enemy, or wood that no other bomb burns."""
    here = game.cell[agent]
    for direction in range(UP, RIGHT + 1):
        there = here
        for _ in range(game.blast[agent] - 1):
            there = NEXT[there, direction]
            if there < 0 or not sees(view, here, there) or game.board[there] == RIGID:
                break
            if _is_enemy(game.board[there], agent, team):
                return True
            if game.board[there] == WOOD:
                if not fire[_WIDE_CELLS[there]]:
                    return True
                break
    return False
