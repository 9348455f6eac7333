"""PixelCopter's recordings: played again, and refused where damaged."""

import importlib.util
import pathlib
import subprocess
import sys

import numpy as np
import original_case
import pytest

from chainer_wm.envs import pixelcopter_replay, wrappers
from chainer_wm.envs.copter import SIZE, STATE_NAMES, Copter
from chainer_wm.envs.pixelcopter import PixelCopter

ROOT = pathlib.Path(__file__).parents[3]
RECORDINGS = sorted((ROOT.parent / 'shared/recordings').glob('pixelcopter_*'))


@pytest.fixture
def recording(tmp_path):
    """A file like the original's, made by our game: 3 episodes, 1 filmed."""
    ep, state, action, reward, done, frames = [], [], [], [], [], []
    for seed in range(3):
        game = Copter()
        game.reset(np.random.RandomState(seed))
        start, first, length = len(action), len(state), 0
        state.append(game.state())
        while not game.over:
            action.append(game.y > 24)
            reward.append(game.step(action[-1]))
            done.append(game.over)
            state.append(game.state())
            length += 1
            if seed == 1:
                frames.append(game.frame())
        ep.append([seed, first, start, length, seed == 1])
    arrays = {
        'ep': np.array(ep),
        'ep_columns': np.array(['seed', 'frame_start', 'step_start', 'length', 'has_frames(x)']),
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


@pytest.mark.skipif(not RECORDINGS, reason='no shared/recordings/pixelcopter_* beside the project')
@pytest.mark.parametrize('path', RECORDINGS, ids=lambda path: path.name)
def test_plays_the_original_games_again(path, capsys):
    assert run(path) == 0, capsys.readouterr().out
    assert 'equal' in capsys.readouterr().out


def test_replay_is_a_command(recording):
    _, write = recording
    done = subprocess.run(
        [*(sys.executable, '-m', 'chainer_wm.envs.pixelcopter'), *('--replay', str(write()))],
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
def test_replay_refuses_what_is_no_recording(changes, message, recording, capsys):
    _, write = recording
    path = write(**changes)
    with pytest.raises(pixelcopter_replay.RecordingError, match=message):
        pixelcopter_replay.load(path)
    assert run(path) == 2
    assert str(path) in capsys.readouterr().err


def test_replay_refuses_shortened_and_wild_episodes(recording):
    arrays, write = recording
    for change in (-1, 1, 1000):
        ep = arrays['ep'].copy()
        ep[2, 3] += change
        with pytest.raises(ValueError, match='cut short'):
            pixelcopter_replay.load(write(ep=ep))
    action = arrays['action'].copy()
    action[0] = 3
    with pytest.raises(ValueError, match='other than 0 and 1'):
        pixelcopter_replay.load(write(action=action))


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
    assert 'cut off or altered' in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec('ple') is not None, reason='ple is installed')
def test_says_that_the_original_is_missing(recording, capsys):
    _, write = recording
    assert run(write(), '--original') == 2
    assert 'not installed' in capsys.readouterr().err
    with pytest.raises(ImportError, match='Learning Environment'):
        PixelCopter(original=True)


@pytest.mark.parametrize('size', [24, SIZE])
@pytest.mark.parametrize('observation', ['state', 'pixels'])
def test_the_original_by_a_flag(observation, size, monkeypatch):
    original_case.install(monkeypatch)
    original, ours = (
        wrappers.FlightLog(PixelCopter(observation, size, original=flag)) for flag in (True, False)
    )
    assert original.unwrapped.versions == {'pygame': 'stand-in'}
    np.testing.assert_array_equal(*(env.reset(seed=5)[0] for env in (original, ours)))
    over, steps = False, 0
    while not over and steps < 60:
        steps += 1
        action = int(ours.unwrapped.game.y > 24)
        (a, *answer), (b, *expected) = (env.step(action) for env in (original, ours))
        np.testing.assert_array_equal(a, b)
        assert answer == expected
        over = answer[1]
    assert steps > 10 and over


@pytest.mark.skipif(
    importlib.util.find_spec('ple') is None, reason='the original game (ple) is not installed'
)
def test_the_original_plays_our_recording(recording):
    arrays, write = recording
    assert run(write(), '--original') == 0
    env = PixelCopter(size=SIZE, original=True)
    env.reset(seed=1)
    frame = env.step(int(arrays['action'][arrays['ep'][1, 2]]))[0]
    np.testing.assert_array_equal(frame, arrays['frames'][0])
