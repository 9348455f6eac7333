"""ViZDoom Take Cover: the game, its frames, its process."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import gym
import numpy as np
import pytest
from gym.utils import env_checker

from chainer_wm.agents.policies import HeldRandom
from chainer_wm.envs import take_cover
from chainer_wm.envs.take_cover import TakeCover
from chainer_wm.play.collection import collect
from chainer_wm.rollouts import RolloutStore

pytest.importorskip('vizdoom')


@pytest.fixture(scope='module')
def env():
    with TakeCover(render_mode='rgb_array') as env:
        yield env


def play(env, seed, actions):
    """Frames and rewards of at most so many actions."""
    frames, rewards = [env.reset(seed=seed)[0]], []
    for action in actions:
        frame, reward, terminated, truncated, _ = env.step(np.array([action], np.float32))
        frames.append(frame)
        rewards.append(reward)
        if terminated or truncated:
            break
    return np.stack(frames), rewards


def test_the_same_seed_and_actions_give_the_same_frames(env):
    actions = np.random.default_rng(0).uniform(-1, 1, 120)
    first, _ = play(env, 5, actions)
    other, _ = play(env, 6, actions)
    again, _ = play(env, 5, actions)
    np.testing.assert_array_equal(first, again)
    n = min(len(first), len(other))
    assert (first[:n] != other[:n]).any()
    with TakeCover() as fresh:
        np.testing.assert_array_equal(play(fresh, 5, actions)[0], first)


def test_a_reset_without_seed_continues_from_the_seeded_one(env):
    def frames():
        env.reset(seed=9)
        env.reset()
        return np.stack([env.step([1.0])[0] for _ in range(60)])

    np.testing.assert_array_equal(frames(), frames())


def test_death_terminates_and_repeats_the_last_frame(env):
    frame, _ = env.reset(seed=1)
    total, over = 0.0, False
    while not over:
        before = frame
        frame, reward, over, truncated, _ = env.step([0.0])
        assert reward == 1 and not truncated
        total += reward
    np.testing.assert_array_equal(frame, before)
    assert 50 < total < 700
    with pytest.raises(RuntimeError, match='reset'):
        env.step([0.0])


def test_an_immortal_player_scores_exactly_2100(env):
    env.reset(seed=2)
    env._game.send_game_command('god')
    total, over = 0.0, False
    while not over:
        _, reward, terminated, over, _ = env.step([0.0])
        assert not terminated
        total += reward
    assert total == 2100


def test_a_death_on_the_last_tic_is_a_death(env, monkeypatch):
    env.reset(seed=2)
    monkeypatch.setattr(env, '_game', DeadAtTheEnd())
    assert env.step([0.0])[1:4] == (1.0, True, False)


class DeadAtTheEnd:
    """A game whose time limit and player's life end on the same tic."""

    def make_action(self, buttons, skip):
        return 1.0

    def is_episode_finished(self):
        return True

    def is_episode_timeout_reached(self):
        return True

    def is_player_dead(self):
        return True


def test_frame_skip_counts_every_tic():
    with TakeCover(frame_skip=4) as env:
        env.reset(seed=1)
        assert env.step([0.0])[1] == 4


@pytest.mark.parametrize(
    ('value', 'buttons'),
    [
        (-1, [True, False]),
        (-0.34, [True, False]),
        (-0.33, [False, False]),
        (0, [False, False]),
        (0.33, [False, False]),
        (0.34, [False, True]),
        (1, [False, True]),
    ],
)
def test_thirds(value, buttons):
    assert take_cover.buttons_of(np.array([value])) == buttons


@pytest.mark.parametrize('bad', [[np.nan], [np.inf], [0, 1], []])
def test_an_action_that_is_no_number_is_refused(bad):
    with pytest.raises(ValueError, match='one finite number'):
        take_cover.buttons_of(np.array(bad))


def test_moving_right_moves_the_picture_left(env):
    """The left wall comes nearer where one moves left, and goes where not."""

    def last(action):
        return play(env, 3, [action] * 40)[0][-1].astype(int)

    left, none, right = (last(a) for a in (-1, 0, 1))
    assert np.abs(left - none).mean() > 2 and np.abs(right - none).mean() > 2
    assert np.abs(left - right[:, ::-1]).mean() < np.abs(left - right).mean()


def test_the_small_picture_is_the_paper_s():
    """320x240 against 640x480 with status bar, cropped: the same camera."""
    actions = np.random.default_rng(1).uniform(-1, 1, 100)
    with TakeCover('paper-640x480') as reference, TakeCover() as small:
        expected = play(reference, 4, actions)[0].astype(int)
        frames = play(small, 4, actions)[0].astype(int)
    assert frames.shape == expected.shape
    difference = np.abs(frames - expected).mean()
    assert difference < 1.8  # of 255
    for step in (-1, 1):
        for axis in (1, 2):  # another camera is farther off
            moved = np.roll(frames, step, axis)
            assert np.abs(moved - expected).mean() > 1.4 * difference


def test_two_workers_record_what_one_process_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    contents = []
    for workers in (0, 2):
        store = RolloutStore(tmp_path / str(workers))
        collect(store, TakeCover, HeldRandom, 2, 3, workers, max_steps=40, progress=False)
        assert store.manifest['settings']['skill'] == 4
        paths = sorted(store.path.glob('episodes/*'))
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1] and len(contents[0]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ['0', '2']


def test_render_shows_the_cropped_screen(env):
    env.reset(seed=1)
    before = env.render()
    kept = before.copy()
    env.step([1.0])
    assert before.shape == (202, 320, 3) and before.dtype == np.uint8
    np.testing.assert_array_equal(before, kept)
    assert TakeCover().render() is None


def test_the_blog_settings_have_no_time_limit_and_no_crop():
    with TakeCover('blog', render_mode='rgb_array') as env:
        env.reset(seed=1)
        assert env.render().shape == (120, 160, 3)
        assert env.settings['timeout'] == 0


@pytest.mark.filterwarnings('ignore:.*bool8:DeprecationWarning')
def test_gym_s_checker_passes():
    with TakeCover(render_mode='rgb_array') as env:
        env_checker.check_env(env, skip_render_check=True)
        assert isinstance(env, gym.Env)


def test_manifests_get_settings_and_versions(env):
    assert env.settings['start_tic'] == 14 and env.settings['skill'] == 4
    assert env.versions == {'vizdoom': '1.3.2'}


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"'hard'.*blog"):
        TakeCover('hard')
    with pytest.raises(ValueError, match='0'):
        TakeCover(frame_skip=0)


def test_a_missing_vizdoom_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'vizdoom', None)
    with pytest.raises(ImportError, match='pip install vizdoom'):
        TakeCover()


def engine_processes(parent):
    """Process numbers of the games of one process."""
    found = pathlib.Path(f'/proc/{parent}/task').glob('*/children')
    pids = [int(pid) for path in found for pid in path.read_text().split()]
    lines = {p: pathlib.Path(f'/proc/{p}/cmdline').read_text() for p in pids}
    return [pid for pid, line in lines.items() if '+viz_instance_id' in line.split('\0')]


def alive(pid):
    status = pathlib.Path(f'/proc/{pid}/stat')
    return status.exists() and status.read_text().split()[2] != 'Z'


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.05)


@pytest.mark.skipif(not pathlib.Path('/proc/self/task').exists(), reason='needs /proc')
@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGTERM, None])
def test_nothing_is_left_of_a_game(tmp_path, how):
    """No engine, no shared memory, no files, however the owner ended."""
    program = textwrap.dedent("""
        import sys
        from chainer_wm.envs.take_cover import TakeCover
        env = TakeCover('blog')
        env.reset(seed=0)
        print('up', flush=True)
        sys.stdin.readline()
    """)
    with subprocess.Popen(
        [sys.executable, '-c', program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env={**os.environ, 'TMPDIR': str(tmp_path)},
    ) as owner:
        assert owner.stdout.readline() == 'up\n'
        (game,) = engine_processes(owner.pid)
        line = pathlib.Path(f'/proc/{game}/cmdline').read_text().split('\0')
        name = line[line.index('+viz_instance_id') + 1]
        memory = list(pathlib.Path('/dev/shm').glob(f'ViZDoom*{name}'))
        assert memory and alive(game)
        if how is None:
            owner.stdin.write('\n')
            owner.stdin.flush()
        else:
            owner.send_signal(how)
        wait_until(lambda: not alive(game))
        wait_until(lambda: not any(path.exists() for path in memory))
        wait_until(lambda: not any(tmp_path.iterdir()))


@pytest.mark.skipif(not pathlib.Path('/proc/self/task').exists(), reason='needs /proc')
@pytest.mark.parametrize('delay', [0.02, 0.1])
def test_nothing_is_left_of_a_game_that_was_starting(tmp_path, delay):
    program = textwrap.dedent(f"""
        import os, signal, threading
        from chainer_wm.envs.take_cover import TakeCover
        env = TakeCover('blog')
        threading.Timer({delay}, os.kill, (os.getpid(), signal.SIGKILL)).start()
        env.reset(seed=0)
        threading.Event().wait()
    """)
    owner = subprocess.run(
        [sys.executable, '-c', program],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, 'TMPDIR': str(tmp_path)},
    )
    assert owner.returncode == -signal.SIGKILL

    def left():
        for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
            with contextlib.suppress(OSError):
                if f'{tmp_path}/vizdoom-' in path.read_text(errors='replace'):
                    return True
        return any(tmp_path.iterdir())

    wait_until(lambda: not left())
