"""PixelCopter: the original's games again, and its rules one by one."""

import importlib.util
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from gym.utils.env_checker import check_env

from chainer_wm.envs import pixelcopter_recording, pixelcopter_replay
from chainer_wm.envs.copter import SIZE, STATE_NAMES, Copter
from chainer_wm.envs.pixelcopter import PixelCopter

ROOT = pathlib.Path(__file__).parents[2]
RECORDINGS = sorted((ROOT.parent / 'shared/recordings').glob('pixelcopter_*'))
GREEN = (120, 240, 80)

needs_recordings = pytest.mark.skipif(
    not RECORDINGS,
    reason='no shared/recordings/pixelcopter_* beside the project',
)


def new_game(seed=0):
    game = Copter()
    game.reset(np.random.RandomState(seed))
    return game


def pilot(game):
    """Keeps to the middle: survives for about a hundred steps."""
    return game.y > 24


@pytest.fixture
def recording(tmp_path):
    """A file like the original's, made by our game: 3 episodes, 1 filmed."""
    ep, state, action, reward, done, frames = [], [], [], [], [], []
    for seed in range(3):
        game = new_game(seed)
        start, first, length = len(action), len(state), 0
        state.append(game.state())
        while not game.over:
            action.append(pilot(game))
            reward.append(game.step(action[-1]))
            done.append(game.over)
            state.append(game.state())
            length += 1
            if seed == 1:
                frames.append(game.frame())
        ep.append([seed, first, start, length, seed == 1])
    arrays = {
        'ep': np.array(ep),
        'ep_columns': np.array(
            ['seed', 'frame_start', 'step_start', 'length', 'has_frames(x)']
        ),
        'state': np.array(state),
        'action': np.array(action, np.uint8),
        'reward': np.array(reward, np.float32),
        'done': np.array(done),
        'frames': np.array(frames),
    }

    def write(**changes):
        path = tmp_path / 'recording.npz'
        kept = {**arrays, **changes}
        np.savez(path, **{k: v for k, v in kept.items() if v is not None})
        return path

    return arrays, write


def run(path, *more):
    return pixelcopter_replay.main(['--replay', str(path), *more])


@needs_recordings
@pytest.mark.parametrize('path', RECORDINGS, ids=lambda path: path.name)
def test_plays_the_original_games_again(path, capsys):
    assert run(path) == 0, capsys.readouterr().out
    assert 'equal' in capsys.readouterr().out


@needs_recordings
def test_environment_gives_what_was_recorded():
    for episode in pixelcopter_recording.load(RECORDINGS[0])[:6]:
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
        int(24 + 6 * np.sin(frequency * x + random.uniform(0, 0.5)))
        for x in range(2, 194, 4)
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


@pytest.mark.parametrize(
    'wrong', [{'observation': 'x'}, {'resample': 'x'}, {'size': 0}]
)
def test_refuses_wrong_options(wrong):
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        PixelCopter(**wrong)


def test_no_pygame_is_loaded():
    code = (
        'import sys; from chainer_wm.envs.pixelcopter import PixelCopter; '
        'PixelCopter().reset(seed=1); assert "pygame" not in sys.modules'
    )
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)


def test_replay_is_a_command(recording):
    _, write = recording
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'chainer_wm.envs.pixelcopter'),
            *('--replay', str(write())),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert '3 episodes' in done.stdout


def test_replay_counts(recording, capsys):
    arrays, write = recording
    steps, frames = len(arrays['action']), len(arrays['frames'])
    assert run(write()) == 0
    out = capsys.readouterr().out
    assert f'3 episodes, {steps} steps' in out
    assert f'{frames} frames' in out
    assert run(write(frames=None)) == 0
    assert '0 frames' in capsys.readouterr().out


@pytest.mark.parametrize('name', ['state', 'reward', 'done', 'frames'])
def test_replay_names_the_first_difference(name, recording, capsys):
    arrays, write = recording
    changed = arrays[name].copy()
    first = int(arrays['ep'][1, 2])  # of episode 1
    if name == 'state':
        changed[arrays['ep'][1, 1] + 5, 3] += 1e-9
    elif name == 'frames':
        changed[4, 7, 9, 1] ^= 1
    else:
        changed[first + 4] = not changed[first + 4]
    assert run(write(**{name: changed})) == 1
    out = capsys.readouterr().out
    assert 'episode 1 (seed 1), step 5' in out
    said = {'state': STATE_NAMES[3], 'done': 'end', 'frames': 'row 7'}
    assert said.get(name, name) in out


def test_replay_sees_another_action(recording, capsys):
    arrays, write = recording
    action = arrays['action'].copy()
    action[2] = 1 - action[2]
    assert run(write(action=action)) == 1
    assert 'episode 0 (seed 0), step 3, player_y' in capsys.readouterr().out


def test_replay_skips_states_that_could_not_be_told(recording):
    arrays, write = recording
    state = arrays['state'].copy()
    state[3] = np.nan
    known = np.ones(len(state), bool)
    assert run(write(state=state, state_ok=known)) == 1
    known[3] = False
    assert run(write(state=state, state_ok=known)) == 0


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'state': None}, "no 'state'"),
        ({'ep': None}, "no 'ep'"),
        ({'ep_columns': None}, 'ep_columns'),
        ({'ep_columns': np.array(['seed'] * 5)}, 'lacks'),
        ({'ep': np.zeros((0, 5), int)}, 'one row'),
        ({'ep': np.zeros((3, 5))}, 'float64'),
        ({'action': np.zeros(5, int)}, 'as many'),
        ({'frames': np.zeros((2, 48, 48, 3))}, 'cut short'),
        ({'frames': np.zeros((2, 48, 48))}, 'shape|expected'),
        ({'state_ok': np.ones(2, bool)}, 'state_ok'),
        ({'reward': np.array(['x'])}, 'numbers'),
    ],
)
def test_replay_refuses_what_is_no_recording(
    changes, message, recording, capsys
):
    _, write = recording
    path = write(**changes)
    with pytest.raises(pixelcopter_recording.RecordingError, match=message):
        pixelcopter_recording.load(path)
    assert run(path) == 2
    assert str(path) in capsys.readouterr().err


def test_replay_refuses_shortened_and_wild_episodes(recording):
    arrays, write = recording
    for change in (-1, 1, 1000):
        ep = arrays['ep'].copy()
        ep[2, 3] += change
        with pytest.raises(ValueError, match='cut short'):
            pixelcopter_recording.load(write(ep=ep))
    action = arrays['action'].copy()
    action[0] = 3
    with pytest.raises(ValueError, match='other than 0 and 1'):
        pixelcopter_recording.load(write(action=action))


def test_replay_refuses_damaged_files(recording, tmp_path, capsys):
    _, write = recording
    path = write()
    data = path.read_bytes()
    for cut in (0, 10, len(data) // 2, len(data) - 5):
        path.write_bytes(data[:cut])
        assert run(path) == 2
    path.write_bytes(data[:300] + b'xyz' + data[303:])
    assert run(path) == 2
    assert run(tmp_path / 'none.npz') == 2
    assert run(tmp_path) == 2
    assert 'cut short or altered' in capsys.readouterr().err


@pytest.mark.skipif(
    importlib.util.find_spec('ple') is not None, reason='ple is installed'
)
def test_says_that_the_original_is_missing(recording, capsys):
    _, write = recording
    assert run(write(), '--original') == 2
    assert 'not installed' in capsys.readouterr().err
    with pytest.raises(ImportError, match='Learning Environment'):
        PixelCopter(original=True)


@pytest.mark.skipif(
    importlib.util.find_spec('ple') is None,
    reason='the original game (ple) is not installed',
)
def test_the_original_plays_our_recording(recording):
    arrays, write = recording
    assert run(write(), '--original') == 0
    env = PixelCopter(size=SIZE, original=True)
    env.reset(seed=1)
    frame = env.step(int(arrays['action'][arrays['ep'][1, 2]]))[0]
    np.testing.assert_array_equal(frame, arrays['frames'][0])
