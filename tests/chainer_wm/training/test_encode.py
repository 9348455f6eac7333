"""Encoding: rows in order, and how each episode ended."""

import numpy as np
import pytest

from chainer_wm.files.archives import save_link
from chainer_wm.links.conv_vae import ConvVAE, to_input
from chainer_wm.rollouts import Rollout, RolloutStore
from chainer_wm.rollouts.latents import Latents
from chainer_wm.training import vae

LENGTHS = (3, 2, 4, 1)
TERMINATED = (True, False, False, True)


@pytest.fixture
def store(tmp_path):
    store = RolloutStore(tmp_path / 'rollouts')
    rng = np.random.default_rng(0)
    for episode, (length, died) in enumerate(zip(LENGTHS, TERMINATED)):
        ends = np.zeros((2, length), bool)
        ends[int(not died), -1] = True
        store.add(
            episode,
            Rollout(
                rng.integers(0, 255, (length, 64, 64, 3), np.uint8),
                np.full((length, 1), episode, np.float32),
                np.zeros(length, np.float32),
                *ends,
            ),
        )
    return store


def test_codes_say_what_ended_an_episode_and_what_was_seen(store, tmp_path):
    vision, path = ConvVAE(2), tmp_path / 'vision.npz'
    save_link(path, vision)
    vae.encode(tmp_path / 'codes', store, vision, path, play_again=lambda: None)
    found = Latents(tmp_path / 'codes')
    np.testing.assert_array_equal(found.terminated, TERMINATED)
    np.testing.assert_array_equal(found.lengths, LENGTHS)
    np.testing.assert_array_equal(found.actions[:, 0], np.repeat(range(4), LENGTHS))
    for episode in store.episodes:
        frames = to_input(store.read(episode).observations)
        for name, wanted in vision.encode(frames)._asdict().items():
            got = getattr(found, name)[found.rows(episode)]
            np.testing.assert_allclose(got, wanted.array, atol=1e-5)
