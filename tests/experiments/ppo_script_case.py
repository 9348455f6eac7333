"""What the tests of the scripts with PPO share."""

import functools
import json

import pytest
from PIL import Image

from chainer_wm.training import ppo


def start(module, data, run, *flags):
    """Run a script; returns its results.json."""
    module.script(['--data', str(data), '--run', run, *map(str, flags)])
    folder = data / module.NAME / run
    return json.loads((folder / 'results.json').read_text())


def numbers(results):
    """Results without what the wall clock says and what a run is called."""
    return {
        name: value for name, value in results.items() if name not in ('seconds', 'run', 'config')
    }


def killed(module, data, run, monkeypatch, *flags, after=3):
    """Start a run and end it in the middle of its training."""
    done = []
    train = ppo.train

    class Killed(BaseException):
        pass

    def tick(self):
        done.append(None)
        if len(done) == after:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr('chainer_wm.runs.run_folder.Run.tick', tick)
        patch.setattr(ppo, 'train', functools.partial(train, snapshot_seconds=0.0))
        with pytest.raises(Killed):
            start(module, data, run, *flags)


def check_picture(path):
    with Image.open(path) as picture:
        assert min(picture.size) > 100
        assert len(picture.convert('RGB').getcolors(1 << 20)) > 2
