"""PixelCopter: the original's games again, and its rules one by one."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from gym.utils.env_checker import check_env

from chainer_wm.envs import pixelcopter_replay
from chainer_wm.envs.copter import SIZE, Copter
from chainer_wm.envs.pixelcopter import PixelCopter

ROOT = pathlib.Path(__file__).parents[3]
RECORDINGS = sorted((ROOT.parent / 'shared/recordings').glob('pixelcopter_*'))
GREEN = (120, 240, 80)

needs_recordings = pytest.mark.skipif(
    not RECORDINGS, reason='no shared/recordings/pixelcopter_* beside the project'
)


def new_game(seed=0):
    game = Copter()
    game.reset(np.random.RandomState(seed))
    return game


@needs_recordings
def test_environment_gives_what_was_recorded():
    for episode in pixelcopter_replay.load(RECORDINGS[0])[:6]:
        pixels = PixelCopter(size=SIZE)
        numbers = PixelCopter(observation='state')
        pixels.reset(seed=episode.seed)
        seen, _ = numbers.reset(seed=episode.seed)
        np.testing.assert_allclose(seen, episode.states[0], rtol=1e-6)
        for t, action in enumerate(episode.actions):
            seen, reward, terminated, truncated, _ = numbers.step(action)
            frame = pixels.step(action)[0]
            np.testing.assert_allclose(seen, episode.states[t + 1], rtol=1e-5)
            assert reward == episode.rewards[t]
            assert (terminated, truncated) == (bool(episode.done[t]), False)
            if episode.frames is not None:
                np.testing.assert_array_equal(frame, episode.frames[t])


def test_climbs_and_falls_by_the_rules():
    game = new_game()
    game.step(True)
    assert game.velocity == pytest.approx(-0.56 * 0.99)
    assert game.y == pytest.approx(24 - 0.56 * 0.99)
    game.step(False)
    assert game.velocity == pytest.approx((-0.56 * 0.99 + 0.0576) * 0.99)


def test_draws_block_first_then_columns():
    random = np.random.RandomState(5)
    block = [random.randint(48, 72), random.randint(12, 36)]
    frequency = 4.5 / 48 + random.uniform(-0.01, 0.01)
    middles = [
        int(24 + 6 * np.sin(frequency * x + random.uniform(0, 0.5))) for x in range(2, 194, 4)
    ]
    game = new_game(5)
    assert game.blocks == [block]
    assert game.columns == 48
    picture = game.picture()
    for x in range(0, 48, 4):  # ends of the walls where no block is
        gap = np.flatnonzero(picture[:, x] != 2)
        assert gap[0] == middles[x // 4] - 12
        assert gap[-1] == middles[x // 4] + 13


def test_a_column_leaves_every_six_and_a_quarter_steps():
    game = new_game()
    rewards = []
    for _ in range(100):
        game.y, game.velocity = 24, 0  # held in the air
        game.blocks = [[60, 24]]  # far away
        rewards.append(game.step(False))
    # x = 2 must fall to -4: 10 steps of 0.64 px; then 4 px per column
    expected = [int(np.ceil((6 + 4 * n) / 0.64)) for n in range(15)]
    assert [t + 1 for t in np.flatnonzero(rewards)] == expected
    assert set(rewards) == {0, 1}


def test_few_columns_bring_new_ones():
    game = new_game()
    counts = []
    for _ in range(240):
        game.y, game.velocity = 24, 0
        game.blocks = [[60, 24]]
        game.step(False)
        counts.append(game.columns)
    assert min(counts) == 14
    at = int(np.argmax(np.diff(counts))) + 1
    assert counts[at] == 13 + 48


def test_a_block_passed_is_worth_one_and_brings_the_next():
    game = new_game()
    game.blocks = [[16.5, 5]]
    assert game.step(False) == 1
    assert len(game.blocks) == 2
    assert 48 <= game.blocks[1][0] < 72
    assert game.step(False) == 0  # only once


def test_a_block_leaves_the_screen():
    game = new_game()
    game.blocks = [[-3.5, 30], [40, 30]]
    game.step(False)
    assert [y for _, y in game.blocks] == [30]
    assert game.blocks[0][0] == pytest.approx(39.36)


@pytest.mark.parametrize(
    ('x', 'y', 'hit'),
    [
        (19.7, 24, False),  # its left edge is at 17, the player's right end
        (19.6, 24, True),
        (16.5, 29, False),  # tops: 25 and 23, the player is 2 high
        (16.5, 28, True),
        (16.5, 19, True),
        (16.5, 18, False),  # rows 14 to 22
    ],
)
def test_collides_with_blocks(x, y, hit):
    game = new_game()
    game.blocks = [[x, y], [60, 20]]
    reward = game.step(False)  # to y 24.06, and x - 0.64
    assert game.over is hit
    assert reward == (-5 if hit else 0)


@pytest.mark.parametrize(('y', 'over'), [(6.5, True), (24, False), (41, True)])
def test_collides_with_walls(y, over):
    game = new_game()
    game.y = y
    game.step(False)
    assert game.over is over


def test_a_death_can_pay_as_well():
    game = new_game()
    game.blocks = [[16.5, 24]]  # passed and hit in one step
    assert game.step(False) == -4


def test_over_is_over():
    game = Copter()
    with pytest.raises(RuntimeError, match='reset'):
        game.step(True)
    env = PixelCopter()
    with pytest.raises(RuntimeError, match='reset'):
        env.step(0)


def test_draws_player_below_blocks_and_walls():
    game = new_game()
    game.blocks = [[22, 24]]
    frame = game.frame()
    assert frame.shape == (48, 48, 3)
    assert (frame[23:25, 15:17] == 255).all()
    assert (frame[20:29, 20:24] == GREEN).all()
    assert (frame[22, 24:30] == 0).all()
    game.blocks = [[16, 24]]
    assert (game.frame()[23:25, 15:17] == GREEN).all()


def test_pictures_stay_whole_at_the_edges():
    game = new_game()
    for x in np.linspace(-5, 52, 100):
        for y in (-5, 0, 47, 60):
            game.blocks = [[x, y]]
            game.y = y
            assert set(np.unique(game.picture())) <= {0, 1, 2, 3}


@pytest.mark.parametrize('size', [20, 48, 64, 84, 96])
def test_scales_by_area(size):
    env = PixelCopter(size=size)
    picture, _ = env.reset(seed=3)
    assert picture.shape == (size, size, 3) and picture.dtype == np.uint8
    frame = env.game.frame().astype(np.float64)
    fine = frame.repeat(size, 0).repeat(size, 1)  # each pixel size x size
    blocks = fine.reshape(size, SIZE, size, SIZE, 3)
    np.testing.assert_allclose(picture, blocks.mean((1, 3)), atol=0.51)


def test_scales_to_nearest():
    env = PixelCopter(size=96, resample='nearest')
    picture, _ = env.reset(seed=3)
    frame = env.game.frame()
    np.testing.assert_array_equal(picture, frame.repeat(2, 0).repeat(2, 1))
    small, _ = PixelCopter(size=24, resample='nearest').reset(seed=3)
    np.testing.assert_array_equal(small, frame[::2, ::2])


@pytest.mark.parametrize('observation', ['pixels', 'state'])
def test_is_a_gym_environment(observation):
    check_env(PixelCopter(observation, render_mode='rgb_array'))


def test_seeds_fix_the_game_and_no_seed_goes_on():
    env = PixelCopter()
    first, _ = env.reset(seed=4)
    second, _ = env.reset()
    again, _ = env.reset(seed=4)
    following, _ = env.reset()
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(second, following)
    assert (first != second).any()


@pytest.mark.parametrize('action', [2, -1, 0.5])
def test_refuses_other_actions(action):
    env = PixelCopter()
    env.reset(seed=0)
    with pytest.raises(ValueError, match='expected 0'):
        env.step(action)


@pytest.mark.parametrize('wrong', [{'observation': 'x'}, {'resample': 'x'}, {'size': 0}])
def test_refuses_wrong_options(wrong):
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        PixelCopter(**wrong)


def test_no_pygame_is_loaded():
    code = (
        'import sys; from chainer_wm.envs.pixelcopter import PixelCopter; '
        'PixelCopter().reset(seed=1); assert "pygame" not in sys.modules'
    )
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)
