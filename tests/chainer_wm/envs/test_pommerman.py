"""Pommerman's boards, agents, observations, pictures and environment."""

import collections

import numpy as np
import pytest

from chainer_wm.envs.pommerman import Pommerman, PommermanGames, featurize
from chainer_wm.envs.pommerman_agents import CAUTIOUS, HUNTER, RANDOM, predict_fire
from chainer_wm.envs.pommerman_boards import GROUPS, N_FEATURES
from chainer_wm.envs.pommerman_games import enemies, teammates
from chainer_wm.envs.pommerman_pictures import UNKNOWN, draw_board
from chainer_wm.envs.pommerman_rules import CELLS, LAY, RIGID, SIZE, WOOD

STARTS = ((1, 1), (9, 1), (9, 9), (1, 9))


def kinds(count, *four):
    return np.tile(np.array(four), (count, 1))


def played(games, agents, steps=10_000):
    """Play with scripted agents; returns the actions of every step."""
    actions = []
    while not games.over.all() and len(actions) < steps:
        actions.append(games.act(agents))
        games.step(actions[-1])
    return np.array(actions)


def unreachable(board):
    """Passages that cannot be reached, wood being open; another way than the kernel's."""
    seen, waiting = {(1, 9)}, collections.deque([(1, 9)])
    while waiting:
        r, c = waiting.popleft()
        for cell in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
            inside = min(cell) >= 0 and max(cell) < SIZE
            if inside and cell not in seen and board[cell] != RIGID:
                seen.add(cell)
                waiting.append(cell)
    return sum(board[cell] == 0 and cell not in seen for cell in np.ndindex(SIZE, SIZE))


def test_boards_are_drawn_as_the_original_draws_them():
    games = PommermanGames(200)
    games.reset(range(200))
    boards = games.games.board.reshape(-1, SIZE, SIZE)
    hidden = games.games.hidden.reshape(-1, SIZE, SIZE)
    assert ((boards == RIGID).sum((1, 2)) == 36).all()
    assert ((boards == WOOD).sum((1, 2)) == 36).all()
    walls = np.where((boards == RIGID) | (boards == WOOD), boards, 0)
    assert (walls == walls.transpose(0, 2, 1)).all()
    for agent, cell in enumerate(STARTS):
        assert (boards[:, cell[0], cell[1]] == 10 + agent).all()
    for line in (boards[:, 1], boards[:, 9], boards[:, :, 1], boards[:, :, 9]):
        assert (line[:, 4:7] == WOOD).all()
        assert (line[:, [2, 3, 7, 8]] == 0).all()
    assert all(unreachable(np.where(b > 9, 0, b)) <= 4 for b in boards)
    assert ((hidden > 0).sum((1, 2)) == 20).all()
    assert (boards[hidden > 0] == WOOD).all()
    shares = np.bincount(hidden[hidden > 0], minlength=9)[6:] / (20 * 200)
    assert abs(shares - 1 / 3).max() < 0.04
    assert len({board.tobytes() for board in boards}) == 200
    assert (boards[:, 0, 2] == RIGID).mean() == pytest.approx(18 / 40, abs=0.12)


def test_a_seed_gives_the_same_game_alone_and_among_others():
    four = (HUNTER, CAUTIOUS, RANDOM, HUNTER)
    together = PommermanGames(5)
    together.reset([4, 8, 15, 16, 23])
    actions = played(together, kinds(5, *four))
    for b, seed in enumerate([4, 8, 15, 16, 23]):
        alone = PommermanGames(1)
        alone.reset([seed])
        steps = int(together.steps[b])
        assert (played(alone, kinds(1, *four))[:, 0] == actions[:steps, b]).all()
        for mine, other in zip(alone.games, together.games):
            assert (mine[0] == other[b]).all()
    again = PommermanGames(1)
    again.reset([5])
    assert (again.games.board[0] != together.games.board[0]).any()


def test_hunters_beat_random_agents_and_outlive_them():
    games = PommermanGames(40)
    games.reset(range(40))
    played(games, kinds(40, HUNTER, RANDOM, RANDOM, RANDOM))
    assert games.winners[:, 0].mean() > 0.8
    games.reset(range(40))
    played(games, kinds(40, RANDOM, RANDOM, RANDOM, RANDOM))
    assert games.steps.mean() < 40
    assert games.winners[:, 0].mean() < 0.5
    games.reset(range(40))
    played(games, kinds(40, HUNTER, HUNTER, HUNTER, HUNTER))
    assert games.steps.mean() > 100
    woods = (games.games.board == WOOD).sum(axis=1)
    assert woods.mean() < 30  # of 36
    assert games.games.kick.any() and (games.games.blast > 2).any()


def test_cautious_agents_die_late():
    games = PommermanGames(20)
    games.reset(range(20))
    played(games, kinds(20, CAUTIOUS, CAUTIOUS, CAUTIOUS, CAUTIOUS), 100)
    assert games.games.alive.mean() > 0.9


def test_a_hunter_bombs_wood_and_leaves_the_blast():
    games = PommermanGames(1)
    games.reset([0])
    alone = games.games.alive
    alone[0, 1:3] = False  # the fourth stays where it is
    laid = 0
    for _ in range(60):
        actions = games.act(kinds(1, HUNTER, HUNTER, HUNTER, HUNTER))
        actions[0, 1:] = 0
        laid += actions[0, 0] == LAY
        games.step(actions)
    assert laid >= 2 and alone[0, 0]
    assert (games.games.board == WOOD).sum() < 36


def test_foreseen_fire_is_the_fire_that_comes():
    games = PommermanGames(1)
    games.reset([3])
    played(games, kinds(1, HUNTER, HUNTER, HUNTER, HUNTER), 60)
    bombs = games.snapshot()['bombs']
    assert len(bombs) and (bombs[:, 5] == 0).all()  # none rolls
    one = type(games.games)(*(array[0] for array in games.games))
    fire = np.zeros(13 * 13, np.uint16)
    predict_fire(one, one.cell[0], 11, np.empty(0, np.int16), 2, fire)
    fire = fire.reshape(13, 13)[1:-1, 1:-1]
    games.games.alive[0] = [True, True, True, True]
    games.games.ammo[0] = 0
    for k in range(1, 13):
        burning = games.games.board[0].reshape(SIZE, SIZE)
        games.step(np.zeros((1, 4), np.int64))
        assert ((burning == 4) == ((fire >> k) & 1).astype(bool)).all(), k


def test_features_are_those_of_the_observation():
    assert N_FEATURES == sum(GROUPS.values()) == 372
    for mode in ('ffa', 'team', 'radio'):
        games = PommermanGames(2, mode)
        games.reset([1, 2])
        played(games, kinds(2, HUNTER, HUNTER, CAUTIOUS, HUNTER), 40)
        for agent in range(4):
            for b in range(2):
                numbers = featurize(games.observations(b)[agent])
                assert numbers.shape == (372,) and numbers.dtype == np.float32
                assert (numbers == games.features(agent)[b]).all()
    seen = games.observations(0)[1]
    assert numbers[363:365].tolist() == list(games.observations(1)[3]['position'])
    assert seen['teammate'] == 13 and seen['enemies'] == [10, 12, 9]
    assert seen['game_type'] == 3 and seen['message'] == (0, 0)
    assert teammates(False).tolist() == [9] * 4
    assert enemies(False)[2].tolist() == [10, 11, 13]


def test_featurize_takes_numbers_in_objects_too():
    games = PommermanGames(1)
    games.reset([0])
    seen = games.observations()[0]
    Item = collections.namedtuple('Item', 'value')
    boxed = {**seen, 'teammate': Item(9), 'enemies': [Item(e) for e in seen['enemies']]}
    assert (featurize(boxed) == featurize(seen)).all()


def test_words_reach_the_teammate_and_the_dead_are_silent():
    games = PommermanGames(1, 'radio')
    games.reset([0])
    words = np.array([[[1, 2], [3, 4], [5, 6], [7, 0]]])
    games.step(np.zeros((1, 4), int), words)
    assert games.messages()[0].tolist() == [[5, 6], [7, 0], [1, 2], [3, 4]]
    assert games.observations()[0]['message'] == (5, 6)
    games.games.alive[0, 2] = False
    games.step(np.zeros((1, 4), int), words)
    assert games.messages()[0].tolist() == [[0, 0], [7, 0], [1, 2], [3, 4]]
    games.reset([0])
    assert not games.messages().any()


def test_games_refuse_what_makes_no_sense():
    games = PommermanGames(2)
    games.reset([0, 1])
    zeros = np.zeros((2, 4), np.int64)
    for call, said in [
        (lambda: PommermanGames(0), '1 or more'),
        (lambda: PommermanGames(1, 'duel'), "mode is 'duel'"),
        (lambda: games.reset([1]), '1 seeds for 2 games'),
        (lambda: games.step(zeros[0]), 'expected integers'),
        (lambda: games.step(zeros + 6), 'expected 0 to 5'),
        (lambda: games.step(zeros * 0.5), 'float64'),
        (lambda: games.step(zeros, np.zeros((2, 4, 2), int)), 'not radio'),
        (lambda: games.act(zeros + 3), 'expected 0 to 2'),
    ]:
        with pytest.raises(ValueError, match=said):
            call()


@pytest.mark.parametrize('mode', ['ffa', 'team', 'radio'])
def test_environment_plays_whole_episodes(mode):
    env = Pommerman(mode, others='random', max_steps=60)
    rng = np.random.default_rng(0)
    env.action_space.seed(0)
    ends = collections.Counter()
    for episode in range(12):
        seen, info = env.reset(seed=episode)
        assert env.observation_space.contains(seen) and info == {}
        over, total = False, 0.0
        while not over:
            action = (
                env.action_space.sample() if rng.random() < 0.5 else 0 * env.action_space.sample()
            )
            seen, reward, terminated, truncated, info = env.step(action)
            assert env.observation_space.contains(seen)
            over, total = terminated or truncated, total + reward
        assert total in (-1, 1)
        assert not (terminated and truncated)
        ends[truncated] += 1
        with pytest.raises(RuntimeError, match='call reset'):
            env.step(action)
    assert ends[False]


def test_environment_repeats_by_seed_and_goes_on_without():
    def episode(env, **options):
        env.reset(**options)
        return [env.step(0)[0].copy() for _ in range(20)]

    env = Pommerman()
    first = episode(env, seed=7)
    assert np.array_equal(episode(env, seed=7), first)
    assert not np.array_equal(episode(env), first)
    assert not np.array_equal(episode(env, seed=8), first)


def test_environment_is_truncated_by_the_time_limit():
    env = Pommerman(max_steps=2)
    env.reset(seed=0)
    assert env.step(0)[1:4] == (0, False, False)
    assert env.step(0)[1:4] == (-1, False, True)


@pytest.mark.parametrize(
    'options', [{'observation': 'sound'}, {'others': 'nice'}, {'agent': 4}, {'mode': 'duel'}]
)
def test_environment_refuses_unknown_options(options):
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        Pommerman(**options)


def test_environment_refuses_actions_that_there_are_not():
    env = Pommerman()
    with pytest.raises(RuntimeError, match='call reset'):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match='the action is 6'):
        env.step(6)


def test_pictures_tell_things_lives_and_errors_apart():
    things = np.arange(UNKNOWN + 1)[None]
    picture = draw_board(things)
    assert picture.shape == (12, 12 * 15, 3) and picture.dtype == np.uint8
    tiles = {picture[:, 12 * i : 12 * i + 12].tobytes() for i in range(15)}
    assert len(tiles) == 15
    beyond = draw_board(np.array([[99, -3]]))
    assert (beyond[:, :12] == picture[:, -12:]).all() and (
        beyond[:, 12:] == picture[:, -12:]
    ).all()
    board, life = np.full((2, 3, 3), 3), np.zeros((2, 3, 3))
    plain = draw_board(board, life)
    assert plain.shape == (2, 36, 36, 3)
    life[1, 2, 0] = 5
    half = draw_board(board, life)
    assert (half[0] == plain[0]).all()
    changed = (half[1] != plain[1]).any(axis=-1)
    assert changed.any() and changed[24:, :12].sum() == changed.sum()
    life[1, 2, 0] = 9
    assert (draw_board(board, life)[1] != plain[1]).sum() > (half[1] != plain[1]).sum()
    wrong = np.zeros((2, 3, 3), bool)
    wrong[0, 1, 1] = True
    framed = (draw_board(board, wrong=wrong) != draw_board(board)).any(axis=-1)
    assert framed[0, 12, 12:24].all() and not framed[0, 14:22, 14:22].any() and not framed[1].any()
    with pytest.raises(ValueError, match='bomb_life is'):
        draw_board(board, life[0])
    with pytest.raises(ValueError, match='cell 5 pixels'):
        draw_board(board, cell=5)


def test_environment_draws_what_is_seen_and_the_whole_board():
    env = Pommerman('team', observation='pixels', cell=8, render_mode='rgb_array')
    seen, _ = env.reset(seed=0)
    assert seen.shape == (88, 88, 3)
    whole = env.render()
    assert (seen[:48, :48] == whole[:48, :48]).all()
    assert (seen[48:] == seen[-1, -1]).all()
    assert len(np.unique(whole.reshape(-1, 3), axis=0)) > 8
    assert Pommerman().render() is None
    assert CELLS == 121
