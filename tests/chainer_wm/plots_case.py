"""Synthetic films and the figures as objects, for the tests of plots."""

import numpy as np
import pytest
from PIL import Image

from chainer_wm.plots import style

RED, GREEN, BLUE, WHITE = (250, 0, 0), (0, 250, 0), (0, 0, 250), (255,) * 3


def film(count, colour, size=16):
    """``count`` frames of one colour."""
    return np.full((count, size, size, 3), colour, np.uint8)


def noise(count, size=16, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, size, size, 3), np.uint8)


def pixels(path, colour):
    """How many pixels of exactly this colour a picture has."""
    picture = np.asarray(Image.open(path).convert('RGB'))
    return int((picture == colour).all(axis=-1).sum())


@pytest.fixture
def charts(monkeypatch):
    """The figures that are saved, as objects."""
    caught = []
    save = style.save

    def catch(path, chart, *args, **options):
        caught.append(chart)
        save(path, chart, *args, **options)

    monkeypatch.setattr(style, 'save', catch)
    return caught


def lines(chart, label):
    """The one line with this label, as (x, y)."""
    found = [
        line
        for axes in chart.axes
        for line in axes.lines
        if str(line.get_label()).startswith(label)
    ]
    assert len(found) == 1
    return found[0].get_xdata(), found[0].get_ydata()


HISTORY = [
    {'generation': g, 'mean': 100.0 + g, 'std': 10, 'min': 50, 'max': 200} for g in range(5)
]
SCORE = {'mean': 200.0, 'std': 100.0, 'episodes': 100}
TRACE = {
    'usage': np.eye(6, 4),
    'write_weights': np.eye(6, 4),
    'read_weights': np.zeros((6, 2, 4)),
    'allocation_gate': np.zeros(6),
    'write_gate': np.ones((6, 1)),
    'free_gates': np.ones((6, 2)),
    'read_modes': np.full((6, 2, 3), 1 / 3),
    'memory': np.zeros((6, 4, 3)),
}
