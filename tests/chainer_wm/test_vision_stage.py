"""Training of V: where the learning rate ends."""

import numpy as np
import pytest

from chainer_wm.rollouts import RolloutStore
from chainer_wm.stages import vision
from chainer_wm.vision import ConvVAE
from tests.chainer_wm.inspector_case import make_store


def train(folder, updates=1, **settings):
    if not (folder / 'rollouts').exists():
        make_store(folder / 'rollouts', lengths=(8,))
    seer = ConvVAE(4, seed=1)
    vision.train(
        folder / 'vision',
        RolloutStore(folder / 'rollouts'),
        seer,
        episodes=[0],
        epochs=updates,
        batch_size=8,
        learning_rate=1e-3,
        seed=3,
        **settings,
    )
    return seer


def test_learning_rate_falls_over_all_updates(tmp_path):
    """At a last rate of 0 the second of two updates goes half as far."""
    start = ConvVAE(4, seed=1).fc.W.array
    one, two = (
        train(tmp_path / str(n), n, last_learning_rate=0.0) for n in (1, 2)
    )
    whole = np.abs(one.fc.W.array - start).max()
    half = np.abs(two.fc.W.array - one.fc.W.array).max()
    assert whole == pytest.approx(1e-3, rel=0.01)
    assert half == pytest.approx(5e-4, rel=0.1)
