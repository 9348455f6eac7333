"""Small stores and runs, for the tests of the inspector."""

import numpy as np
import pytest
from PIL import Image

from chainer_wm import files
from chainer_wm.files import jsonlines
from chainer_wm.inspector.__main__ import main
from chainer_wm.rollouts import Rollout, RolloutStore

SETTINGS = {'skill': 4, 'frame_skip': 1, 'policy': 'HeldRandom', 'limit': None}


def episode(length, number=0, actions=None, **changes):
    rng = np.random.default_rng(number)
    if actions is None:
        actions = rng.uniform(-1, 1, (length, 1))
    ends = np.arange(length) == length - 1
    return Rollout(
        **{
            'observations': rng.integers(0, 99, (length, 64, 64, 3), np.uint8),
            'actions': np.asarray(actions, np.float32),
            'rewards': np.ones(length, np.float32),
            'terminated': ends,
            'truncated': np.zeros(length, bool),
            'info': {'seed': 100 + number},
            **changes,
        }
    )


def make_store(path, lengths=(3, 5, 10)):
    store = RolloutStore(path)
    store.describe('TakeCover', SETTINGS, 7, {'python': '3.11', 'gym': '0.26'})
    for number, length in enumerate(lengths):
        store.add(number, episode(length, number))
    return store


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / 'rollouts')


@pytest.fixture
def run(tmp_path):
    """A run that was interrupted while M trained."""
    folder = tmp_path / 'data' / 'doom' / 'smoke-dnc'
    make_store(folder / 'rollouts')
    files.write_json(folder / 'config.json', {'model': 'dnc', 'seed': 3, 'preset': 'smoke'})
    files.write_json(
        folder / 'stages.json',
        {'collect': {'done': True, 'seconds': 71.5}, 'model': {'done': False, 'seconds': 4000}},
    )
    score = {'episodes': 100, 'std': 100.0, 'returns': [1.0]}
    files.write_json(
        folder / 'results.json',
        {
            'experiment': 'doom_take_cover',
            'random_baseline': {**score, 'mean': 209.0},
            'evaluation': {**score, 'mean': 309.0},
            'controls': {'untrained': {**score, 'mean': 180.0}},
            'versions': {'python': '3.11'},
        },
    )
    for iteration in range(30):
        jsonlines.append_line(
            folder / 'log.jsonl', {'time': 1.7e9, 'iteration': iteration, 'nll': 1 / 3}
        )
    (folder / 'figures').mkdir()
    Image.new('RGB', (4, 4)).save(folder / 'figures' / 'evolution.png')
    (folder / 'model').mkdir()
    np.savez(folder / 'model' / 'snapshot.npz', w=np.ones(3))
    return folder


def ask(capsys, *arguments):
    """Exit status, what was printed, and the errors."""
    status = main([str(each) for each in arguments])
    return (status, *capsys.readouterr())


def widest(text):
    """Characters of the widest line that holds no path."""
    return max(len(line) for line in text.splitlines() if line.count('/') < 2)


def one_line(text):
    return ' '.join(text.split())


def tree(path):
    """Every file below a path with its bytes."""
    return {each: each.read_bytes() for each in sorted(path.rglob('*')) if each.is_file()}


def alter(store, path):
    """Flip one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
