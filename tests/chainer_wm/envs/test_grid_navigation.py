"""Grid games: rules, shortest paths, pictures, and the memory they need."""

import itertools

import numpy as np
import pytest
from gym.utils.env_checker import check_env

from chainer_wm.envs.grid import MOVES, parse_layout, shortest_path
from chainer_wm.envs.grid_navigation import KEY_LEVELS, LEVELS, GridNavigation, OrderedKeys

UP, DOWN, LEFT, RIGHT = range(4)
BLUE, GREEN, BROWN = (30, 80, 220), (40, 180, 70), (150, 110, 70)


def actions_along(path):
    """The moves that go from cell to cell."""
    return [MOVES.index((b[0] - a[0], b[1] - a[1])) for a, b in itertools.pairwise(path)]


def play(env, actions):
    """Every (reward, terminated, truncated); the last observation, info."""
    steps = []
    for action in actions:
        seen, *step, info = env.step(action)
        steps.append(tuple(step))
    return steps, seen, info


@pytest.mark.parametrize('level', range(len(LEVELS)))
def test_shortest_path_is_walked_and_ends_at_the_goal(level):
    env = GridNavigation(level)
    env.reset(seed=0)
    path = env.path()
    assert len(path) - 1 == env.shortest == (8, 8, 8, 16)[level]
    steps, _, info = play(env, actions_along(path))
    assert [step[0] for step in steps] == [-1] * (env.shortest - 1) + [9]
    assert [step[1] for step in steps] == [False] * (env.shortest - 1) + [True]
    assert info['position'] == env.goal == (4, 4)
    with pytest.raises(RuntimeError, match='reset'):
        env.step(0)


def test_levels_only_add_obstacles():
    walls = [parse_layout(level)[0] for level in LEVELS]
    for before, after in itertools.pairwise(walls):
        assert (after >= before).all() and (after > before).any()


def slow_distances(env):
    """Steps to the goal by relaxing until nothing changes."""
    rows, columns = env.walls.shape
    far = {(r, c): np.inf for r in range(rows) for c in range(columns)}
    far[env.goal] = 0
    for _ in range(rows * columns):
        for cell in far:
            if cell != env.goal and not env.walls[cell]:
                near = min(far[env.neighbour(cell, a)] for a in range(4))
                far[cell] = near + 1
    return far


@pytest.mark.parametrize('level', range(len(LEVELS)))
def test_shortest_paths_from_everywhere(level):
    env = GridNavigation(level)
    for cell, steps in slow_distances(env).items():
        if not env.walls[cell]:
            assert len(env.path(cell)) - 1 == steps


def test_moves_and_bumps():
    env = GridNavigation(1)
    env.reset()
    for action, cell in (
        (UP, (0, 0)),
        (LEFT, (0, 0)),
        (RIGHT, (0, 1)),
        (DOWN, (0, 1)),  # an obstacle
        (RIGHT, (0, 2)),
        (DOWN, (1, 2)),
        (LEFT, (1, 2)),  # the same one
    ):
        _, reward, *_, info = env.step(action)
        assert info['position'] == cell and reward == -1


def test_time_limit():
    env = GridNavigation(max_steps=3)
    env.reset()
    steps, *_ = play(env, [UP, UP, UP])
    assert steps[-1] == (-1, False, True)
    env = GridNavigation(layout=['SG'], max_steps=1)
    env.reset()
    assert play(env, [RIGHT])[0] == [(9, True, False)]


@pytest.mark.parametrize('resolution', [20, 64])
def test_pictures(resolution):
    env = GridNavigation(3, resolution=resolution, render_mode='rgb_array')
    seen, _ = env.reset()
    assert seen.shape == (resolution, resolution, 3)
    np.testing.assert_array_equal(seen, env.render())
    cell = resolution // 5
    assert (seen[: cell - 1, : cell - 1] == BLUE).all()
    assert (seen[-cell + 1 :, -cell + 1 :] == GREEN).all()
    centres = (np.arange(5) * resolution + resolution // 2) // 5
    dark = (seen[np.ix_(centres, centres)] == 60).all(axis=2)
    np.testing.assert_array_equal(dark, env.walls)
    moved = env.step(RIGHT)[0]
    assert (moved[: cell - 1, cell + 1 : 2 * cell - 1] == BLUE).all()
    assert (seen[: cell - 1, : cell - 1] == BLUE).all()  # not written into


@pytest.mark.parametrize(
    'make',
    [
        lambda: GridNavigation(2, render_mode='rgb_array'),
        lambda: OrderedKeys(2, resolution=64, render_mode='rgb_array'),
    ],
)
def test_are_gym_environments(make):
    check_env(make())


@pytest.mark.parametrize('level', range(len(KEY_LEVELS)))
@pytest.mark.parametrize('seed', range(6))
def test_keys_in_order_open_the_door(level, seed):
    env = OrderedKeys(level)
    env.reset(seed=seed)
    keys = len(env.keys)
    shortest = env.shortest
    steps, _, info = play(env, actions_along(env.path()))
    assert len(steps) == shortest
    rewards = np.array([step[0] for step in steps])
    assert rewards.sum() == pytest.approx(keys + 10 - 0.1 * shortest)
    assert steps[-1][1:] == (True, False)
    assert info['found'] == keys
    picked = np.flatnonzero(np.isclose(rewards, 0.9))
    assert len(picked) == keys


def test_a_key_out_of_turn_ends_it():
    env = OrderedKeys(1)
    for seed in range(10):
        env.reset(seed=seed)
        if env.order == ('b', 'a'):
            break
    # a is in the corner below the door, b below the start
    steps, *_ = play(env, [RIGHT, RIGHT, DOWN, DOWN, RIGHT, DOWN])
    assert steps[-1] == (pytest.approx(-5.1), True, False)
    assert all(reward == -0.1 for reward, *_ in steps[:-1])


def test_the_door_is_a_wall_before():
    env = OrderedKeys(0)
    env.reset(seed=0)
    _, seen, info = play(env, [RIGHT, RIGHT, RIGHT])
    assert info['position'] == (0, 2)
    assert (seen[1, -2] == BROWN).all()
    _, seen, _ = play(env, [DOWN, DOWN, DOWN, RIGHT])
    assert (seen[1, -2] == GREEN).all()


def test_the_order_is_shown_first_and_then_never():
    env = OrderedKeys(2)
    for seed in range(8):
        seen, _ = env.reset(seed=seed)
        colours = {name: tuple(seen[4 * r + 1, 4 * c + 1]) for name, (r, c) in env.keys.items()}
        door = 4 * env.door[0] + 1, 4 * env.door[1] + 1
        for name in env.order:
            assert tuple(seen[door]) == colours[name]
            seen = env.step(UP)[0]
        assert tuple(seen[door]) == BROWN


def test_two_orders_look_alike_after_the_cue():
    pictures = {}
    for seed in range(20):
        env = OrderedKeys(1)
        env.reset(seed=seed)
        for _ in range(3):
            seen = env.step(UP)[0]
        pictures.setdefault(env.order, seen)
    assert len(pictures) == 2
    first, second = pictures.values()
    np.testing.assert_array_equal(first, second)


def test_seeds_fix_the_order():
    def orders(seed):
        env = OrderedKeys(2)
        env.reset(seed=seed)
        found = [env.order]
        for _ in range(5):
            env.reset()
            found.append(env.order)
        return found

    assert orders(3) == orders(3)
    assert orders(3) != orders(4)
    assert len({order for s in range(20) for order in orders(s)}) == 6


def test_refuses_what_cannot_be_played():
    for wrong, match in (
        ({'level': 4}, '0 to 3'),
        ({'level': -1}, '0 to 3'),
        ({'layout': ['S#G']}, 'no way'),
        ({'layout': ['S..']}, 'one G'),
        ({'layout': ['S.', 'G']}, 'one length'),
        ({'layout': ['SS', '.G']}, 'twice'),
        ({'resolution': 4}, 'pixels'),
        ({'max_steps': 0}, '1 step'),
    ):
        with pytest.raises(ValueError, match=match):
            GridNavigation(**wrong)
    env = GridNavigation()
    with pytest.raises(RuntimeError, match='reset'):
        env.step(0)
    env.reset()
    with pytest.raises(ValueError, match='action is 4'):
        env.step(4)


def test_no_path_is_none():
    assert shortest_path(0, lambda n: [(n + 1) % 3], lambda n: n == 5) is None
    assert shortest_path(0, lambda n: [], lambda n: n == 0) == [0]
