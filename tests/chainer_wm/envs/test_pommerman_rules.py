"""Pommerman's rules on boards made by hand."""

import numpy as np
import pytest

from chainer_wm.envs.pommerman_games import PommermanGames
from chainer_wm.envs.pommerman_rules import (
    BOMB,
    EXTRA_BOMB,
    FIRST_AGENT,
    FLAMES,
    KICK,
    LAY,
    LEFT,
    MORE_RANGE,
    PASSAGE,
    RIGHT,
    RIGID,
    SIZE,
    STOP,
    UP,
    WOOD,
)

CORNERS = [(0, 0), (0, 10), (10, 10), (10, 0)]
DOWN = 2


def game(positions=CORNERS, mode='ffa', max_steps=800, **changes):
    """An empty board, or with ``things``: {(row, column): what is there}."""
    games = PommermanGames(1, mode, max_steps)
    start = {
        'board': np.zeros((SIZE, SIZE), np.uint8),
        'hidden_items': np.zeros((SIZE, SIZE), np.uint8),
        'position': np.array(positions),
        'ammo': np.ones(4),
        'blast_strength': np.full(4, 2),
        'can_kick': np.zeros(4, bool),
        'alive': np.ones(4, bool),
    }
    for cell, thing in changes.pop('things', {}).items():
        start['board'][cell] = thing
    for cell, thing in changes.pop('hidden', {}).items():
        start['hidden_items'][cell] = thing
    for name, value in changes.items():
        start[name] = np.array(value)
    for agent, cell in enumerate(positions):
        if start['alive'][agent]:
            start['board'][cell] = FIRST_AGENT + agent
    games.restore(0, start)
    return games


def play(games, *steps):
    """Steps of some agents, {agent: action}; the rest stands still. Returns the state."""
    for step in steps:
        actions = np.zeros((1, 4), np.int64)
        for agent, action in step.items():
            actions[0, agent] = action
        games.step(actions)
    return games.snapshot()


def where(state, agent):
    return tuple(state['position'][agent].tolist())


def flames(state):
    """{cell: life}; of flames on one cell the last."""
    return {(r, c): life for r, c, life in state['flames'].tolist()}


def test_agents_move_and_stop_at_walls_and_the_edge():
    games = game([(5, 5), (0, 10), (10, 10), (10, 0)], things={(5, 6): RIGID, (4, 5): WOOD})
    state = play(games, {0: RIGHT, 1: UP, 2: RIGHT, 3: UP})
    assert where(state, 0) == (5, 5)
    assert where(state, 1) == (0, 10)
    assert where(state, 2) == (10, 10)
    assert where(state, 3) == (9, 0)
    state = play(games, {0: UP}, {0: LEFT})
    assert where(state, 0) == (5, 4)
    assert state['board'][5, 4] == FIRST_AGENT and state['board'][5, 5] == PASSAGE


def test_a_bomb_explodes_in_the_tenth_step_after_nine_to_one():
    games = game()
    lives = [play(games, {0: LAY})['bombs'][0, 3]]
    assert games.games.ammo[0, 0] == 0
    lives += [play(games, {0: step})['bombs'][0, 3] for step in (DOWN, DOWN, *[STOP] * 6)]
    assert lives == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    state = play(games, {0: STOP})
    assert len(state['bombs']) == 0
    assert flames(state) == {(0, 0): 2, (1, 0): 2, (0, 1): 2}
    assert games.games.ammo[0, 0] == 1
    assert state['alive'].all()


def test_flames_are_seen_for_three_steps_and_then_the_cell_is_open():
    games = game()
    play(games, {0: LAY}, {0: DOWN}, {0: DOWN}, *[{}] * 6)
    seen = []
    for _ in range(4):
        state = play(games, {})
        seen.append((state['maps'][0, 4, 0, 1], state['board'][0, 1]))
    assert seen == [(3, FLAMES), (2, FLAMES), (1, FLAMES), (0, PASSAGE)]


def test_who_walks_into_flames_or_stands_in_a_blast_dies():
    games = game(position=CORNERS)
    state = play(games, {0: LAY}, {0: DOWN}, {0: DOWN}, *[{}] * 7, {0: UP})
    assert state['alive'].tolist() == [False, True, True, True]
    assert where(state, 0) == (1, 0)
    assert state['board'][1, 0] == FLAMES
    games = game()
    state = play(games, {0: LAY}, {0: DOWN}, *[{}] * 8)
    assert not state['alive'][0]


def test_a_second_bomb_needs_ammunition_and_a_cell_of_its_own():
    games = game()
    assert len(play(games, {0: LAY}, {0: DOWN}, {0: LAY})['bombs']) == 1
    games = game(ammo=[2, 1, 1, 1])
    assert len(play(games, {0: LAY}, {0: LAY})['bombs']) == 1
    state = play(games, {0: DOWN}, {0: LAY})
    assert state['bombs'][:, :3].tolist() == [[0, 0, 0], [1, 0, 0]]
    assert state['ammo'][0] == 0


def test_explosions_chain_in_one_step_and_return_all_ammunition():
    games = game([(5, 1), (5, 3), (5, 5), (10, 0)], blast_strength=[3, 3, 2, 2], ammo=[1, 1, 1, 1])
    # the second and third bombs are younger; the third reaches one cell only
    play(games, {0: LAY}, {0: UP, 1: LAY}, {0: UP, 1: UP, 2: LAY}, {1: UP, 2: UP}, {2: UP})
    assert (games.games.ammo[0] == [0, 0, 0, 1]).all()
    state = play(games, *[{}] * 5)
    assert len(state['bombs']) == 0
    assert (games.games.ammo[0] == 1).all()
    burnt = flames(state)
    assert {(5, c) for c in range(7)} <= set(burnt)
    assert (3, 5) not in burnt and (4, 5) in burnt
    assert state['alive'].tolist() == [False, False, True, True]


def test_wood_stops_a_blast_burns_and_shows_its_item():
    things = {(0, 1): WOOD, (0, 2): WOOD, (1, 0): RIGID}
    games = game(
        [(0, 3), (5, 10), (10, 10), (10, 0)],
        things={**things, (0, 4): EXTRA_BOMB, (1, 3): PASSAGE},
        hidden={(0, 2): KICK},
        blast_strength=[4, 2, 2, 2],
    )
    state = play(games, {0: LAY}, {0: DOWN}, {0: RIGHT}, *[{}] * 7)
    burnt = flames(state)
    assert (0, 2) in burnt and (0, 1) not in burnt
    assert (0, 4) in burnt and (0, 6) in burnt and (0, 7) not in burnt  # an item is no cover
    assert state['hidden_items'][0, 2] == KICK
    state = play(games, {}, {}, {})
    assert state['board'][0, 2] == KICK
    assert state['hidden_items'][0, 2] == 0
    assert state['board'][0, 1] == WOOD
    assert state['board'][0, 4] == PASSAGE


def test_rigid_walls_stop_a_blast():
    games = game(things={(0, 1): RIGID}, blast_strength=[5, 2, 2, 2])
    state = play(games, {0: LAY}, {0: DOWN}, *[{}] * 8)
    assert set(flames(state)) == {(r, 0) for r in range(5)}


@pytest.mark.parametrize('mode, most', [('ffa', 10), ('team', 4)])
def test_items_are_picked_up_within_limits(mode, most):
    things = {(0, 1): EXTRA_BOMB, (0, 2): MORE_RANGE, (0, 3): KICK, (0, 4): MORE_RANGE}
    games = game(mode=mode, things=things, ammo=[10, 1, 1, 1], blast_strength=[most - 1, 2, 2, 2])
    state = play(games, *[{0: RIGHT}] * 4)
    assert state['ammo'][0] == 10
    assert state['blast_strength'][0] == most
    assert state['can_kick'].tolist() == [True, False, False, False]
    assert (state['board'][0, :4] == PASSAGE).all()


def test_two_who_want_one_cell_or_each_others_stay():
    games = game([(5, 4), (5, 6), (8, 8), (8, 9)])
    state = play(games, {0: RIGHT, 1: LEFT, 2: RIGHT, 3: LEFT})
    assert [where(state, a) for a in range(4)] == [(5, 4), (5, 6), (8, 8), (8, 9)]
    # who wants the cell of one that has to stay stays too
    games = game([(5, 4), (5, 6), (5, 7), (0, 0)])
    state = play(games, {0: RIGHT, 1: LEFT, 2: LEFT})
    assert [where(state, a) for a in range(3)] == [(5, 4), (5, 6), (5, 7)]
    # a row that moves on together is free to
    games = game([(5, 4), (5, 5), (5, 6), (0, 0)])
    state = play(games, {0: RIGHT, 1: RIGHT, 2: RIGHT})
    assert [where(state, a) for a in range(3)] == [(5, 5), (5, 6), (5, 7)]


def test_a_kicked_bomb_rolls_until_something_is_in_its_way():
    games = game([(5, 2), (0, 10), (10, 10), (10, 0)], can_kick=[True] * 4, things={(5, 8): WOOD})
    play(games, {0: LAY}, {0: LEFT})
    state = play(games, {0: RIGHT})
    assert where(state, 0) == (5, 2)
    assert state['bombs'].tolist() == [[5, 3, 0, 7, 2, RIGHT]]
    state = play(games, *[{}] * 4)
    assert state['bombs'].tolist() == [[5, 7, 0, 3, 2, RIGHT]]
    state = play(games, {})
    assert state['bombs'].tolist() == [[5, 7, 0, 2, 2, STOP]]
    assert state['board'][5, 7] == BOMB and state['board'][5, 3] == PASSAGE


def test_without_kick_or_room_agent_and_bomb_stay():
    games = game([(5, 2), (0, 10), (10, 10), (10, 0)])
    state = play(games, {0: LAY}, {0: LEFT}, {0: RIGHT})
    assert where(state, 0) == (5, 1)
    assert state['bombs'][0, :2].tolist() == [5, 2]
    for thing in (RIGID, WOOD, EXTRA_BOMB):
        games = game(
            [(5, 2), (0, 10), (10, 10), (10, 0)], can_kick=[True] * 4, things={(5, 3): thing}
        )
        state = play(games, {0: LAY}, {0: LEFT}, {0: RIGHT})
        assert where(state, 0) == (5, 1), thing
        assert state['bombs'][0, :2].tolist() == [5, 2]
        assert state['bombs'][0, 5] == STOP


def test_a_rolling_bomb_that_meets_an_agent_stops():
    games = game([(5, 2), (5, 5), (10, 10), (10, 0)], can_kick=[True] * 4)
    state = play(games, {0: LAY}, {0: LEFT}, {0: RIGHT}, {}, {})
    assert state['bombs'].tolist() == [[5, 4, 0, 5, 2, STOP]]
    assert where(state, 1) == (5, 5)


def test_of_agent_and_bomb_that_would_swap_the_agent_does_not_pass_either():
    games = game([(5, 2), (5, 5), (10, 10), (10, 0)], can_kick=[True, False, True, True])
    state = play(games, {0: LAY}, {0: LEFT}, {0: RIGHT}, {}, {1: LEFT})
    assert state['bombs'].tolist() == [[5, 4, 0, 5, 2, STOP]]
    assert where(state, 1) == (5, 5)


def test_a_bomb_that_rolls_into_fire_explodes_at_once():
    games = game(
        [(5, 2), (5, 6), (10, 10), (10, 0)], can_kick=[True] * 4, blast_strength=[2, 2, 2, 2]
    )
    play(games, {1: LAY}, {1: UP}, {1: UP}, {}, {}, {}, {0: LAY}, {0: LEFT}, {0: RIGHT})
    state = play(games, {})  # the fire at (5, 5) is here, the bomb at (5, 4)
    assert (5, 5) in flames(state)
    assert state['bombs'].tolist() == [[5, 4, 0, 6, 2, RIGHT]]
    state = play(games, {})
    assert len(state['bombs']) == 0
    assert flames(state)[5, 4] == 2


def test_the_last_one_alive_wins_and_the_dead_pay_on_every_step():
    games = game(alive=[True, True, False, False], max_steps=50)
    rewards, over = games.step(np.zeros((1, 4), np.int64))
    assert rewards.tolist() == [[0, 0, -1, -1]] and not over[0]
    play(games, {0: LAY}, *[{}] * 8)
    rewards, over = games.step(np.zeros((1, 4), np.int64))
    assert rewards.tolist() == [[-1, 1, -1, -1]] and over[0]
    assert games.results[0] == 0
    assert games.winners.tolist() == [[False, True, False, False]]
    rewards, over = games.step(np.zeros((1, 4), np.int64))  # it stands still
    assert rewards.tolist() == [[0, 0, 0, 0]] and games.steps[0] == 11


def test_nobody_alive_and_the_time_limit_are_ties():
    games = game([(0, 0), (0, 1), (5, 5), (6, 6)], alive=[True, True, False, False])
    state = play(games, {0: LAY}, *[{}] * 9)
    assert not state['alive'].any()
    assert games.results[0] == 2 and not games.winners.any()
    games = game(max_steps=3)
    play(games, {}, {})
    assert not games.over[0]
    rewards, over = games.step(np.zeros((1, 4), np.int64))
    assert over[0] and rewards.tolist() == [[-1] * 4] and games.results[0] == 2


def test_a_team_wins_together_with_its_dead():
    games = game([(0, 0), (0, 10), (5, 5), (6, 6)], mode='team', alive=[True, True, True, False])
    rewards, over = games.step(np.zeros((1, 4), np.int64))
    assert rewards.tolist() == [[0, 0, 0, 0]] and not over[0]
    play(games, {1: LAY}, *[{}] * 9)
    assert games.over[0]
    assert games.winners.tolist() == [[True, False, True, False]]
    assert games.results[0] == 0


def test_teams_see_nine_by_nine_cells_and_nothing_behind():
    games = game(
        [(1, 1), (1, 9), (9, 9), (9, 1)], mode='team', things={(5, 5): WOOD, (6, 0): WOOD}
    )
    play(games, {1: LAY, 3: LAY})
    seen = games.maps()[0, 0]
    board = games.snapshot()['board']
    assert (seen[0, :6, :6] == board[:6, :6]).all()
    assert (seen[0, 6:] == 5).all() and (seen[0, :, 6:] == 5).all()
    assert seen[1].sum() == 0 and seen[2].sum() == 0
    assert games.maps()[0, 1, 2, 1, 9] == 9
    everything = game(things={(5, 5): WOOD})
    assert (everything.maps()[0, :, 0] == everything.snapshot()['board']).all()
