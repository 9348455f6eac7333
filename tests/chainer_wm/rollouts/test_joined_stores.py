"""Several stores read as one."""

import numpy as np
import pytest

from chainer_wm.rollouts import DamagedEpisode, JoinedStores, Rollout, RolloutStore
from chainer_wm.rollouts.frames import FrameDataset

LENGTHS = (3, 5), (4, 2, 6)


def rollout(length, first):
    """Frames that carry their number, counted from ``first``."""
    frames = np.arange(first, first + length, dtype=np.uint8)
    last = np.arange(length) == length - 1
    return Rollout(
        observations=np.broadcast_to(frames[:, None, None, None], (length, 2, 2, 3)).copy(),
        actions=np.zeros((length, 1), np.float32),
        rewards=np.ones(length, np.float32),
        terminated=last,
        truncated=np.zeros(length, bool),
        info={'seed': first},
    )


@pytest.fixture
def joined(tmp_path):
    stores, first = [], 0
    for number, lengths in enumerate(LENGTHS):
        store = RolloutStore(tmp_path / str(number))
        store.describe('Game', {}, 1, {})
        for episode, length in enumerate(lengths):
            store.add(episode, rollout(length, first))
            first += length
        stores.append(store)
    return JoinedStores(stores)


def test_episodes_of_all_parts_in_order(joined):
    assert joined.episodes == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    assert len(joined) == 5
    assert joined.entry((1, 2))['length'] == 6
    assert joined.read((1, 1)).observations[0, 0, 0, 0] == 12
    with pytest.raises(KeyError, match='no episode 3'):
        joined.read((1, 3))


def test_an_epoch_of_frames_visits_every_part(joined):
    frames = FrameDataset(joined, 7, seed=2)
    seen = [frames.batch(n)[:, 0, 0, 0] for n in range(3)]
    frames.close()
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), range(20))


def test_a_damaged_episode_is_set_aside_in_its_own_store(joined):
    path = joined.parts[1].path / 'episodes/000000.npz'
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DamagedEpisode) as caught:
        joined.read((1, 0))
    assert caught.value.episode == (1, 0)
    frames = FrameDataset(joined, 20, seed=2)
    with pytest.warns(UserWarning, match='cut short'):
        batch = frames.batch(0)[:, 0, 0, 0]
    frames.close()
    assert set(batch) <= set(range(20)) - {8, 9, 10, 11}
    assert (1, 0) not in joined and (0, 0) in joined
    assert joined.parts[0].episodes == [0, 1]
    assert joined.parts[1].missing(3) == [0]
