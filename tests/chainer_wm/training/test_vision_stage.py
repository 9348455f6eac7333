"""Training of V: its learning rate, its free nats, its inactive latents."""

import numpy as np
import pytest

from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.rollouts import RolloutStore
from chainer_wm.training import vae
from tests.chainer_wm.inspector_case import make_store


def train(folder, updates=1, **settings):
    if not (folder / 'rollouts').exists():
        make_store(folder / 'rollouts', lengths=(8,))
    seer = ConvVAE(4, seed=1)
    vae.train(
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
    one, two = (train(tmp_path / str(n), n, last_learning_rate=0.0) for n in (1, 2))
    whole = np.abs(one.fc.W.array - start).max()
    half = np.abs(two.fc.W.array - one.fc.W.array).max()
    assert whole == pytest.approx(1e-3, rel=0.01)
    assert half == pytest.approx(5e-4, rel=0.1)


def test_free_nats_are_half_a_nat_per_latent_unless_told(tmp_path):
    """Any other number of them gives another loss."""
    default, same, none = (
        train(tmp_path / str(n), 3, **told).mu.W.array
        for n, told in enumerate(({}, {'kl_tolerance': 0.5}, {'kl_tolerance': 0.0}))
    )
    np.testing.assert_array_equal(default, same)
    assert np.abs(none - default).max() > 1e-4


def test_a_latent_that_says_nothing_is_dropped(tmp_path, capsys):
    seer = train(tmp_path, 3)
    inactive = 2
    for layer in (seer.mu, seer.ln_var):
        layer.W.array[inactive] = 0
        layer.b.array[inactive] = 0
    seer.mu.b.array[:inactive] += 1  # half a nat at least
    seer.mu.b.array[inactive + 1 :] -= 1
    store = RolloutStore(tmp_path / 'rollouts')
    rest = vae.drop_inactive(seer, store, [0], 0.1)
    np.testing.assert_array_equal(rest.mu.W.array, np.delete(seer.mu.W.array, inactive, axis=0))
    np.testing.assert_array_equal(rest.fc.b.array, seer.fc.b.array)
    assert '1 of 4 latents carry fewer than 0.1 nats' in capsys.readouterr()[0]


def test_a_collapsed_vision_is_named(tmp_path):
    seer = train(tmp_path)
    store = RolloutStore(tmp_path / 'rollouts')
    with pytest.raises(ValueError, match='collapsed'):
        vae.drop_inactive(seer, store, [0], 1e9)
