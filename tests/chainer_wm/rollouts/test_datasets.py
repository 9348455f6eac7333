"""Frames and latent sequences: every number once, in a repeatable order."""

import itertools
import json
import tracemalloc

import numpy as np
import pytest

from chainer_wm.rollouts import DamagedEpisode, Rollout, RolloutStore
from chainer_wm.rollouts.frames import FrameDataset
from chainer_wm.rollouts.latents import Latents, LatentWriter
from chainer_wm.rollouts.sequences import LatentSequences
from chainer_wm.rollouts.splits import split_episodes

LENGTHS = (5, 9, 3, 12, 7, 1, 8, 4)
FRAME = 64 * 64 * 3


def numbered(first, length):
    """Frames that carry their number in their first two bytes."""
    frames = np.zeros((length, 64, 64, 3), np.uint8)
    numbers = np.arange(first, first + length)
    frames[:, 0, 0, 0], frames[:, 0, 0, 1] = divmod(numbers, 256)
    return frames


def numbers_of(batch):
    pair = batch[:, 0, 0, :2].astype(int)
    return pair[:, 0] * 256 + pair[:, 1]


def fill(path, lengths):
    store = RolloutStore(path)
    first = 0
    for episode, length in enumerate(lengths):
        store.add(
            episode,
            Rollout(
                numbered(first, length),
                np.zeros((length, 1), np.float32),
                np.ones(length, np.float32),
                np.arange(length) == length - 1,
                np.zeros(length, bool),
            ),
        )
        first += length
    return store


@pytest.fixture(scope='module')
def whole_store(tmp_path_factory):
    return fill(tmp_path_factory.mktemp('store'), LENGTHS)


@pytest.fixture
def store(tmp_path):
    return fill(tmp_path / 'store', LENGTHS)


def memory_for(groups_of):
    """MB with which a group holds so many frames, with one thread."""
    return 2 * (groups_of + max(LENGTHS)) * FRAME / 2**20


@pytest.fixture(params=[12, 20, 1000], ids='{} frames a group'.format)
def dataset(request, whole_store):
    dataset = FrameDataset(whole_store, 6, seed=1, memory_mb=memory_for(request.param), threads=1)
    yield dataset
    dataset.close()


def test_an_epoch_has_every_frame_once(dataset):
    assert dataset.frames == sum(LENGTHS) == 49
    assert dataset.batches_per_epoch == 9
    for epoch in range(3):
        start = epoch * 9
        batches = [dataset.batch(start + i) for i in range(9)]
        assert [len(b) for b in batches] == [6] * 8 + [1]
        assert batches[0].dtype == np.uint8
        seen = np.concatenate([numbers_of(b) for b in batches])
        assert sorted(seen) == list(range(49))
        assert (seen != np.arange(49)).mean() > 0.5


def test_a_batch_is_a_function_of_its_number(dataset, whole_store):
    straight = [dataset.batch(i) for i in range(27)]
    with_jumps = {i: dataset.batch(i) for i in (20, 3, 26, 0, 4, 13)}
    for i, batch in with_jumps.items():
        np.testing.assert_array_equal(batch, straight[i])
    epochs = [np.concatenate(straight[e : e + 9]) for e in (0, 9, 18)]
    assert (numbers_of(epochs[0]) != numbers_of(epochs[1])).any()
    other = FrameDataset(whole_store, 6, seed=2)
    assert (numbers_of(other.batch(0)) != numbers_of(straight[0])).any()
    other.close()


def test_a_group_is_shuffled_and_so_are_the_episodes(whole_store):
    dataset = FrameDataset(whole_store, 49, seed=0)
    order = numbers_of(dataset.batch(0))
    assert np.mean(np.diff(order) == 1) < 0.2
    dataset.close()


def test_only_chosen_episodes(whole_store):
    dataset = FrameDataset(whole_store, 100, seed=0, episodes=[0, 2])
    assert sorted(numbers_of(dataset.batch(0))) == [0, 1, 2, 3, 4, 14, 15, 16]
    dataset.close()


def test_memory_stays_within_the_limit(tmp_path):
    store = fill(tmp_path, [40] * 30)
    whole = 30 * 40 * FRAME
    dataset = FrameDataset(store, 10, seed=0, memory_mb=4, threads=1)
    assert dataset.peak_bytes <= 4 * 2**20 < whole / 3
    tracemalloc.start()
    try:
        for i in range(2 * dataset.batches_per_epoch):
            dataset.batch(i)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        dataset.close()
    assert peak < 4.5 * 2**20  # the batch itself comes on top


def test_too_little_memory_names_both_values(whole_store):
    with pytest.raises(ValueError, match=r'memory_mb is 0\.1 .* 12 frames.*'):
        FrameDataset(whole_store, 6, seed=0, memory_mb=0.1)


def test_the_memory_is_stated(whole_store):
    dataset = FrameDataset(whole_store, 6, seed=0, memory_mb=1, threads=1)
    assert str(dataset) == ('49 frames of 8 episodes (1 MB), of which at most 1 MB in memory')
    dataset.close()


def test_an_empty_store_is_refused(tmp_path):
    with pytest.raises(ValueError, match='no episodes'):
        FrameDataset(RolloutStore(tmp_path), 6, seed=0)


def test_a_damaged_episode_is_named_and_does_not_stop_training(store):
    dataset = FrameDataset(store, 7, seed=0)
    path = store.path / 'episodes/000003.npz'
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(UserWarning, match='episode 3.*set aside'):
        batches = [dataset.batch(i) for i in range(7)]
    assert [len(b) for b in batches] == [7] * 7
    assert store.missing(8) == [3]
    seen = np.concatenate([numbers_of(b) for b in batches])
    damaged = set(range(17, 29))
    assert set(seen) == set(range(49)) - damaged
    again = np.concatenate([numbers_of(dataset.batch(7 + i)) for i in range(7)])
    assert set(again) == set(seen)
    dataset.close()


def test_a_damaged_first_episode_is_found_in_its_batch(store):
    (store.path / 'episodes/000000.npz').unlink()
    dataset = FrameDataset(store, 49, seed=0)
    with pytest.warns(UserWarning, match='episode 0'):
        assert len(dataset.batch(0)) == 49
    dataset.close()


def test_nothing_readable_is_an_error(store):
    dataset = FrameDataset(store, 7, seed=0, episodes=[4])
    (store.path / 'episodes/000004.npz').unlink()
    with (
        pytest.warns(UserWarning, match='episode 4'),
        pytest.raises(DamagedEpisode, match='missing'),
    ):
        dataset.batch(0)
    dataset.close()
    (store.path / 'episodes/000005.npz').unlink()
    with pytest.raises(DamagedEpisode, match='episode 5'):
        FrameDataset(store, 7, seed=0, episodes=[5])


def codes(length, first, z=3, a=2):
    """Rows that carry their number."""
    rows = np.arange(first, first + length, dtype=np.float64)
    mu = np.repeat(rows[:, None], z, 1)
    return mu, -mu, np.repeat(rows[:, None], a, 1) / 7


TERMINATED = (True, True, False, True, False, True, True, True)


def write(writer, episodes):
    for episode in episodes:
        first = sum(LENGTHS[:episode])
        writer.add(episode, *codes(LENGTHS[episode], first), TERMINATED[episode])


@pytest.fixture(scope='module')
def latents(tmp_path_factory):
    folder = tmp_path_factory.mktemp('codes')
    with LatentWriter(folder, 3, 2, {'vision': 'abc'}) as writer:
        write(writer, range(8))
        writer.finish()
    return Latents(folder)


def test_codes_are_read_as_written(latents):
    mu, ln_var, actions = codes(49, 0)
    np.testing.assert_array_equal(latents.mu, mu)
    np.testing.assert_array_equal(latents.ln_var, ln_var)
    np.testing.assert_allclose(latents.actions, actions, 1e-6)
    assert latents.mu.dtype == latents.actions.dtype == np.float32
    assert isinstance(latents.mu, np.memmap)
    np.testing.assert_array_equal(latents.lengths, LENGTHS)
    np.testing.assert_array_equal(latents.terminated, TERMINATED)
    assert latents.rows(2) == slice(14, 17)
    assert latents.source == {'vision': 'abc'}
    first_mu, first_ln_var = latents.first()
    np.testing.assert_array_equal(first_mu[:, 0], latents.starts)
    np.testing.assert_array_equal(first_ln_var, -first_mu)
    with pytest.raises(KeyError, match='77'):
        latents.rows(77)


def whole_folder(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize('stopped_after', [0, 1, 5, 8])
def test_a_writer_goes_on_where_it_was_stopped(tmp_path, latents, stopped_after):
    with LatentWriter(tmp_path, 3, 2, {'vision': 'abc'}) as writer:
        write(writer, range(stopped_after))
    with pytest.raises(FileNotFoundError, match='encode stage'):
        Latents(tmp_path)
    with (tmp_path / 'mu.npy').open('ab') as file:
        file.write(b'rows that were not committed')
    with LatentWriter(tmp_path, 3, 2, {'vision': 'abc'}) as writer:
        assert writer.written == set(range(stopped_after))
        write(writer, range(stopped_after, 8))
        writer.finish()
        assert writer.complete
    again = Latents(tmp_path)
    for name in ('mu', 'ln_var', 'actions', 'episodes', 'terminated'):
        np.testing.assert_array_equal(getattr(again, name), getattr(latents, name))


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_a_killed_writer_keeps_what_was_committed(tmp_path):
    writer = LatentWriter(tmp_path, 3, 2)
    for episode in range(20):
        writer.add(episode, *codes(4, 4 * episode), True)
    del writer  # never closed: no more than a kill leaves
    with LatentWriter(tmp_path, 3, 2) as writer:
        assert writer.written == set(range(16))
        for episode in range(16, 20):
            writer.add(episode, *codes(4, 4 * episode), True)
        writer.finish()
    np.testing.assert_array_equal(Latents(tmp_path).mu[:, 0], np.arange(80))


def test_a_finished_folder_is_left_alone(tmp_path):
    with LatentWriter(tmp_path, 3, 2) as writer:
        write(writer, range(3))
        writer.finish()
    before = whole_folder(tmp_path)
    (tmp_path / 'progress.jsonl').unlink()
    with LatentWriter(tmp_path, 3, 2) as writer:
        assert writer.complete and writer.written == {0, 1, 2}
        writer.finish()
        with pytest.raises(ValueError, match='finished'):
            write(writer, [5])
    del before['progress.jsonl']
    assert whole_folder(tmp_path) == before


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((4, 2, {'vision': 'abc'}), 'latent_size = 3, now it is 4'),
        ((3, 1, {'vision': 'abc'}), 'action_size = 2, now it is 1'),
        ((3, 2, {'vision': 'x'}), r"'abc'.*'x'.*trained again"),
    ],
)
def test_codes_of_another_vae_are_refused(tmp_path, arguments, message):
    with LatentWriter(tmp_path, 3, 2, {'vision': 'abc'}) as writer:
        write(writer, [0])
    with pytest.raises(ValueError, match=message):
        LatentWriter(tmp_path, *arguments)


def test_bad_codes_are_refused(tmp_path):
    mu, ln_var, actions = codes(4, 0)
    with LatentWriter(tmp_path, 3, 2) as writer:
        with pytest.raises(ValueError, match=r'ln_var.*\(3, 3\).*\(4, 3\)'):
            writer.add(0, mu, ln_var[:3], actions, True)
        with pytest.raises(ValueError, match='not finite'):
            writer.add(0, mu * np.nan, ln_var, actions, True)
        with pytest.raises(ValueError, match='no episode'):
            writer.finish()
        writer.add(0, mu, ln_var, actions, True)
        with pytest.raises(ValueError, match='in already'):
            writer.add(0, mu, ln_var, actions, True)


def test_a_file_that_does_not_fit_is_named(tmp_path):
    with LatentWriter(tmp_path, 3, 2) as writer:
        write(writer, [0])
    path = tmp_path / 'mu.npy'
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=rf'{size - 4} bytes but {size}'):
        LatentWriter(tmp_path, 3, 2)
    path.write_bytes(path.read_bytes() + bytes(4))
    with LatentWriter(tmp_path, 3, 2) as writer:
        writer.finish()
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r'mu\.npy.*cut off'):
        Latents(tmp_path)
    np.save(path, np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=r'\(2, 3\).*\(5, 3\)'):
        Latents(tmp_path)
    index = tmp_path / 'index.json'
    index.write_text(json.dumps(json.loads(index.read_text()) | {'format': 9}))
    with pytest.raises(ValueError, match='format 9'):
        Latents(tmp_path)


def lanes_of(sequences, windows):
    """All windows joined: rows (steps + 1, B) and the masks (steps, B)."""
    batches = [sequences.batch(i) for i in range(windows)]
    rows = np.concatenate([b.mu[:-1, :, 0] for b in batches] + [batches[-1].mu[-1:, :, 0]]).astype(
        int
    )
    for before, after in itertools.pairwise(batches):
        np.testing.assert_array_equal(before.mu[-1], after.mu[0])
    return rows, *(
        np.concatenate([getattr(b, name) for b in batches]) for name in ('reset', 'mask', 'done')
    )


@pytest.mark.parametrize(('lanes', 'window'), [(1, 4), (3, 5), (20, 2)])
def test_lanes_are_whole_episodes_one_after_the_other(latents, lanes, window):
    """Against a slow walk over every lane, step by step."""
    sequences = LatentSequences(latents, lanes, window, seed=4)
    rows, reset, mask, done = lanes_of(sequences, 60 // (lanes * window) + 3)
    starts = dict(zip(latents.starts, range(8)))
    for lane in range(lanes):
        offset = episode = None
        for t in range(len(reset)):
            row = rows[t, lane]
            if reset[t, lane]:
                assert offset is None or offset == LENGTHS[episode]
                episode, offset = starts[row], 0
            assert row == latents.starts[episode] + offset
            offset += 1
            last = offset == LENGTHS[episode]
            assert mask[t, lane] == (not last)
            assert done[t, lane] == (last and TERMINATED[episode])
            if not last:
                assert rows[t + 1, lane] == row + 1
        assert reset[0, lane] == 1


def test_an_epoch_uses_every_episode_once(latents):
    sequences = LatentSequences(latents, 1, 7, seed=0)
    assert sequences.windows_per_epoch == 7
    rows, *_ = lanes_of(sequences, 21)
    epochs = rows[:-1, 0].reshape(3, 49)
    for epoch in epochs:
        assert sorted(epoch) == list(range(49))
    assert (epochs[0] != epochs[1]).any()


def test_lanes_have_nearly_equal_shares(latents):
    """No step is padding, none is used twice before all were used once."""
    sequences = LatentSequences(latents, 3, 4, seed=0)
    rows, *_ = lanes_of(sequences, 40)
    counts = np.bincount(rows[:-1].ravel(), minlength=49)
    assert counts.sum() == 3 * 160
    assert counts.max() - counts.min() <= 3


def test_a_window_is_a_function_of_its_number(latents):
    straight = LatentSequences(latents, 3, 5, seed=2)
    expected = [straight.batch(i) for i in range(12)]
    jumping = LatentSequences(latents, 3, 5, seed=2)
    for i in (11, 2, 7, 0):
        for a, b in zip(jumping.batch(i), expected[i]):
            np.testing.assert_array_equal(a, b)
    other = LatentSequences(latents, 3, 5, seed=3).batch(0)
    assert (other.mu != expected[0].mu).any()


def test_shapes_and_dtypes(latents):
    for dtype in (np.float32, np.float64):
        window = LatentSequences(latents, 3, 5, 0, dtype=dtype).batch(0)
        shapes = [field.shape for field in window]
        assert shapes == [(6, 3, 3), (6, 3, 3), (5, 3, 2)] + [(5, 3)] * 3
        assert {field.dtype for field in window} == {np.dtype(dtype)}


def test_actions_belong_to_their_frames(latents):
    window = LatentSequences(latents, 2, 9, seed=0).batch(3)
    np.testing.assert_allclose(window.actions[..., 0], window.mu[:-1, :, 0] / 7, 1e-6)
    np.testing.assert_array_equal(window.ln_var, -window.mu)


def test_only_chosen_episodes_are_in_sequences(latents):
    sequences = LatentSequences(latents, 2, 4, seed=0, episodes=[1, 4])
    assert sequences.steps == 16
    rows, *_ = lanes_of(sequences, 8)
    assert set(rows.ravel()) == {*range(5, 14), *range(29, 36)}


def test_bad_sequences(latents):
    with pytest.raises(ValueError, match='window 0'):
        LatentSequences(latents, 2, 0, seed=0)
    with pytest.raises(ValueError, match='no episodes'):
        LatentSequences(latents, 2, 3, seed=0, episodes=[])
    with pytest.raises(KeyError, match='episode 50'):
        LatentSequences(latents, 2, 3, seed=0, episodes=[50])


def test_a_split_is_seeded_and_complete():
    episodes = list(range(10, 50))
    train, held_out = split_episodes(episodes, 0.1, seed=0)
    assert len(held_out) == 4 and len(train) == 36
    assert sorted(train + held_out) == episodes
    assert split_episodes(episodes, 0.1, seed=0) == (train, held_out)
    assert split_episodes(episodes, 0.1, seed=1) != (train, held_out)
    assert len(split_episodes([1, 2], 0.01, seed=0)[1]) == 1
    for bad in (0.0, 1.0, 0.99):
        with pytest.raises(ValueError, match='held out'):
            split_episodes([1, 2], bad, seed=0)
