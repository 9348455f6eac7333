"""Collection: the same episodes however they are collected."""

import functools
import os
import signal

import gym
import numpy as np
import pytest
from worker_case import first_time

from chainer_wm.agents.policies import HeldRandom, NoAction, Uniform
from chainer_wm.play.collection import collect, play_rollouts
from chainer_wm.play.workers import WorkerError
from chainer_wm.rollouts import RolloutStore
from chainer_wm.seeds import stream


class Game(gym.Env):
    """Ends by chance; its picture shows its whole state."""

    def __init__(self, crash_file=None, chance=0.2, limit=None):
        self.settings = {'chance': chance}
        self.versions = {'game': '1'}
        self.observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self._crash_file, self._chance = crash_file, chance
        self._limit = limit

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps, self._moved = 0, 0.0
        return self._look(), {}

    def step(self, action):
        if self._crash_file and self._steps == 2 and first_time(self._crash_file):
            os.kill(os.getpid(), signal.SIGKILL)
        self._steps += 1
        self._moved += float(action[0])
        terminated = bool(self.np_random.random() < self._chance)
        truncated = self._steps == self._limit and not terminated
        return self._look(), 1.0, terminated, truncated, {}

    def _look(self):
        frame = self.np_random.integers(0, 256, (64, 64, 3), np.uint8)
        frame[0, 0, 0] = self._steps
        frame[0, 0, 1] = int(self._moved * 16) % 256
        return frame


def play_rollout(env, policy, rng, limit=None):
    ((_, rollout),) = play_rollouts([env], policy, [rng], limit)
    return rollout


def bytes_of(store):
    return {path.name: path.read_bytes() for path in store.path.glob('episodes/*')}


def gather(path, game=Game, policy=HeldRandom, episodes=6, **options):
    store = RolloutStore(path)
    played = collect(store, game, policy, episodes, seed=3, progress=False, **options)
    return store, played


@pytest.fixture(scope='module')
def expected(tmp_path_factory):
    store, _ = gather(tmp_path_factory.mktemp('whole'), workers=0)
    return bytes_of(store)


def test_the_same_bytes_with_two_workers_one_of_which_is_killed(tmp_path, expected):
    crash_file = tmp_path / 'crashed'
    game = functools.partial(Game, str(crash_file))
    store, _ = gather(tmp_path / 'store', game, workers=2)
    assert crash_file.exists() and store.episodes == list(range(6))
    assert bytes_of(store) == expected


def test_only_what_is_missing_is_played(tmp_path, expected):
    _, played = gather(tmp_path, episodes=2, workers=0)
    assert played == [0, 1]
    _, played = gather(tmp_path, workers=0)
    assert played == [2, 3, 4, 5]
    path = tmp_path / 'episodes/000001.npz'
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match='episode 1'):
        store, played = gather(tmp_path, workers=0)
    assert played == [1]
    assert bytes_of(store) == expected
    assert gather(tmp_path, workers=0)[1] == []


def test_killed_between_writing_and_listing(tmp_path, expected):
    store, _ = gather(tmp_path, workers=0)
    lines = (tmp_path / 'episodes.jsonl').read_bytes().splitlines(True)
    (tmp_path / 'episodes.jsonl').write_bytes(b''.join(lines[:3]))
    (tmp_path / 'episodes/.000004.npz.1.tmp').write_bytes(b'half')
    store, played = gather(tmp_path, workers=0)
    assert played == [3, 4, 5]
    assert bytes_of(store) == expected


def test_short_episodes_are_drawn_again(tmp_path):
    store, _ = gather(tmp_path, min_length=5, episodes=12, workers=0)
    assert store.lengths.min() >= 5
    attempts = [store.read(e).info['attempt'] for e in store.episodes]
    assert max(attempts) > 0
    for episode, attempt in enumerate(attempts):
        for number in range(attempt + 1):
            rng = stream(3, 'collect', episode, number)
            length = len(play_rollout(Game(), HeldRandom(), rng))
            assert (length >= 5) == (number == attempt)


def test_episodes_that_are_always_too_short_are_an_error(tmp_path):
    game = functools.partial(Game, chance=1.0)
    with pytest.raises(WorkerError, match=r'episode 0: none of 1000.* last 1'):
        gather(tmp_path, game, min_length=2, workers=0)


def test_death_terminates_and_limits_truncate():
    rng = np.random.default_rng
    immortal = Game(chance=0.0, limit=9)
    for env, limit, length in [(immortal, None, 9), (immortal, 4, 4)]:
        rollout = play_rollout(env, NoAction(), rng(0), limit)
        assert len(rollout) == length
        assert rollout.truncated.sum() == rollout.truncated[-1] == 1
        assert not rollout.terminated.any()
    rollout = play_rollout(Game(chance=1.0), NoAction(), rng(0), 1)
    assert rollout.terminated[-1] and not rollout.truncated.any()


def test_frames_are_those_before_each_action():
    rollout = play_rollout(Game(), Uniform(), np.random.default_rng(5))
    moved = np.cumsum(rollout.actions[:, 0]) - rollout.actions[:, 0]
    np.testing.assert_array_equal(rollout.observations[:, 0, 0, 0], np.arange(len(rollout)))
    np.testing.assert_array_equal(rollout.observations[:, 0, 0, 1], (moved * 16).astype(int) % 256)


def test_the_manifest_says_what_was_played(tmp_path):
    store, _ = gather(tmp_path, episodes=1, min_length=3, workers=0)
    manifest = RolloutStore(store.path).manifest
    assert manifest['game'] == 'Game' and manifest['seed'] == 3
    assert manifest['settings'] == {
        'chance': 0.2,
        'policy': {'name': 'HeldRandom', 'longest': [10], 'action_size': 1},
        'min_length': 3,
        'max_steps': None,
    }
    assert manifest['versions']['game'] == '1'
    assert set(manifest['versions']) >= {'python', 'numpy', 'chainer', 'gym'}
    with pytest.raises(ValueError, match='min_length = 3, now it is 1'):
        gather(tmp_path, episodes=2, workers=0)


def test_progress_shows_the_rate(tmp_path, capsys):
    collect(RolloutStore(tmp_path), Game, NoAction, 2, seed=0, workers=0)
    shown = capsys.readouterr().err
    assert 'collect' in shown and 'frames/s' in shown
