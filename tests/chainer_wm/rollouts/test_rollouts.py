"""The rollout cache: whole, verified, never silently short."""

import dataclasses
import hashlib
import json
import warnings

import numpy as np
import pytest

from chainer_wm.files import jsonlines
from chainer_wm.rollouts import DamagedEpisode, Rollout, RolloutStore


def rollout(length=5, seed=0):
    rng = np.random.default_rng(seed)
    over = np.arange(length) == length - 1
    return Rollout(
        observations=rng.integers(0, 256, (length, 64, 64, 3), np.uint8),
        actions=rng.uniform(-1, 1, (length, 1)).astype(np.float32),
        rewards=rng.uniform(size=length).astype(np.float32),
        terminated=over,
        truncated=np.zeros(length, bool),
        info={'seed': seed, 'policy': 'test'},
    )


@pytest.fixture
def store(tmp_path):
    store = RolloutStore(tmp_path / 'rollouts')
    for episode in range(4):
        store.add(episode, rollout(3 + episode, seed=episode))
    return store


def assert_same(one, two):
    for field in dataclasses.fields(Rollout):
        a, b = getattr(one, field.name), getattr(two, field.name)
        if field.name == 'info':
            assert a == b
        else:
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


DESCRIPTION = {
    'game': 'TakeCover',
    'settings': {'skill': 4, 'policy': {'name': 'Uniform'}},
    'seed': 7,
    'versions': {'numpy': '1.26'},
}


def test_what_is_read_is_what_was_written(store):
    again = RolloutStore(store.path)
    assert again.episodes == [0, 1, 2, 3] and len(again) == 4
    for episode in range(4):
        assert_same(again.read(episode), rollout(3 + episode, seed=episode))
    for episode, read in enumerate(again):
        assert_same(read, rollout(3 + episode, seed=episode))


def test_the_list_tells_lengths_returns_and_digests(store):
    np.testing.assert_array_equal(store.lengths, [3, 4, 5, 6])
    expected = [float(r.rewards.sum(dtype='d')) for r in store]
    np.testing.assert_array_equal(store.returns, expected)
    entry = store.entry(2)
    data = (store.path / entry['file']).read_bytes()
    assert entry['sha256'] == hashlib.sha256(data).hexdigest()
    assert entry['bytes'] == len(data) and entry['seed'] == 2
    assert entry['terminated'] and not entry['truncated']
    assert store.size == sum(path.stat().st_size for path in store.path.glob('episodes/*'))
    assert 2 in store and 9 not in store
    with pytest.raises(KeyError, match='no episode 9'):
        store.entry(9)


def test_numpy_alone_reads_an_episode(store):
    path = store.path / 'episodes/000001.npz'
    with np.load(path, allow_pickle=False) as npz:
        assert npz['observations'].shape == (4, 64, 64, 3)
        assert json.loads(str(npz['info']))['seed'] == 1


def test_the_same_episode_gives_the_same_bytes(tmp_path):
    rollout().save(tmp_path / 'a.npz')
    rollout().save(tmp_path / 'b.npz')
    assert (tmp_path / 'a.npz').read_bytes() == (tmp_path / 'b.npz').read_bytes()


def test_an_episode_counts_only_when_it_is_listed(store):
    entry = store.write(9, rollout())
    assert 9 not in RolloutStore(store.path)
    store.append(entry)
    assert 9 in RolloutStore(store.path)


def test_opening_creates_nothing(tmp_path):
    store = RolloutStore(tmp_path / 'none')
    assert len(store) == 0 and store.manifest is None
    assert store.missing(2) == [0, 1]
    assert store.lengths.shape == store.returns.shape == (0,)
    assert not store.path.exists()


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def alter(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def remove(path):
    path.unlink()


@pytest.mark.parametrize(
    ('damage', 'reason'), [(truncate, 'bytes'), (alter, 'SHA-256'), (remove, 'is missing')]
)
def test_a_damaged_episode_is_named_set_aside_and_missing(store, damage, reason):
    damage(store.path / 'episodes/000002.npz')
    with pytest.raises(DamagedEpisode, match=rf'episode 2: .*{reason}'):
        store.read(2)
    with pytest.warns(UserWarning, match=r'episode 2: .*000002\.npz'):
        (found,) = store.verify()
    assert found.episode == 2 and reason in found.reason
    assert not (store.path / 'episodes/000002.npz').exists()
    for one in (store, RolloutStore(store.path)):
        assert one.missing(4) == [2] and len(one) == 3
    if damage is not remove:
        assert (store.path / 'damaged/000002.npz').exists()
    store.add(2, rollout(5, seed=2))
    assert RolloutStore(store.path).verify() == []


def test_a_damaged_episode_does_not_stop_a_reader(store):
    alter(store.path / 'episodes/000000.npz')
    with pytest.warns(UserWarning, match='episode 0'):
        assert [len(r) for r in store] == [4, 5, 6]
    assert store.missing(4) == [0]


def test_damage_done_twice_keeps_both_files(store):
    for _ in range(2):
        alter(store.path / 'episodes/000001.npz')
        with pytest.warns(UserWarning, match='set aside'):
            store.verify()
        store.add(1, rollout(4, seed=1))
    names = sorted(p.name for p in store.path.glob('damaged/*'))
    assert names == ['000001.1.npz', '000001.npz']


def test_verify_may_look_without_touching(store):
    alter(store.path / 'episodes/000001.npz')
    assert store.verify(full=False) == []
    (found,) = store.verify(set_aside=False)
    assert found.episode == 1 and 1 in store
    assert (store.path / 'episodes/000001.npz').exists()


def test_a_listed_file_that_is_no_episode_is_damaged(store):
    path = store.path / 'episodes/000007.npz'
    path.write_bytes(b'not a zip')
    digest = hashlib.sha256(b'not a zip').hexdigest()
    store.append(
        {**store.entry(0), 'episode': 7, 'bytes': 9, 'sha256': digest}
        | {'file': 'episodes/000007.npz'}
    )
    with pytest.raises(DamagedEpisode, match=r'episode 7: .*000007\.npz'):
        store.read(7)


def test_a_pickle_is_never_loaded(tmp_path):
    path = tmp_path / 'x.npz'
    np.savez(path, **vars(rollout()) | {'info': np.array({'a': 1}, object)})
    with pytest.raises(ValueError, match='dtype object'):
        Rollout.from_bytes(path.read_bytes())


@pytest.mark.parametrize('kept', range(1, 40, 7))
def test_a_torn_last_line_is_left_out_and_mended(store, kept):
    path = store.path / 'episodes.jsonl'
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b''.join(lines[:-1]) + lines[-1][:kept])
    torn = RolloutStore(store.path)
    assert torn.missing(4) == [3]
    torn.add(3, rollout(6, seed=3))
    assert path.read_bytes() == b''.join(lines)


def test_a_spoiled_line_in_the_middle_is_named(store):
    path = store.path / 'episodes.jsonl'
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"episode": 1,\n' + b''.join(lines[2:]))
    with pytest.warns(UserWarning, match='line 2'):
        assert RolloutStore(store.path).missing(4) == [1]


def test_half_written_files_are_removed_and_named(store):
    (store.path / 'episodes/.000009.npz.123.tmp').write_bytes(b'half')
    assert store.remove_unfinished() == ['.000009.npz.123.tmp']
    assert store.remove_unfinished() == [] and len(store) == 4


def full_disk(*arguments, **options):
    raise OSError(28, 'No space left on device')


def test_a_full_disk_leaves_the_store_valid(store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, 'write_array', full_disk)
        with pytest.raises(OSError, match='No space'):
            store.add(4, rollout())
    with monkeypatch.context() as patch:
        patch.setattr(jsonlines.os, 'fsync', full_disk)
        with pytest.raises(OSError, match='No space'):
            jsonlines.append_line(store.path / 'episodes.jsonl', {'a': 1})
    again = RolloutStore(store.path)
    assert again.episodes == [0, 1, 2, 3] and again.verify() == []
    assert not list(store.path.glob('episodes/.*'))
    again.add(4, rollout())
    assert RolloutStore(store.path).missing(5) == []


def test_the_manifest_is_written_once_and_then_compared(store):
    store.describe(**DESCRIPTION)
    assert store.manifest['game'] == 'TakeCover'
    assert store.manifest['format'] == 1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        RolloutStore(store.path).describe(**DESCRIPTION)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'game': 'CarRacing'}, "game = 'TakeCover', now it is 'CarRacing'"),
        ({'seed': 8}, 'seed = 7, now it is 8'),
        (
            {'settings': {'skill': 5, 'policy': {'name': 'Uniform'}}},
            r'settings\.skill = 4, now it is 5',
        ),
        (
            {'settings': {'skill': 4, 'policy': {'name': 'Held'}}},
            r"settings\.policy\.name = 'Uniform', now it is 'Held'",
        ),
        ({'settings': {'skill': 4}}, r'settings\.policy = .*now it is None'),
    ],
)
def test_other_settings_are_refused_with_both_values(store, change, message):
    store.describe(**DESCRIPTION)
    with pytest.raises(ValueError, match=message):
        RolloutStore(store.path).describe(**{**DESCRIPTION, **change})


def test_other_versions_are_a_warning(store):
    store.describe(**DESCRIPTION)
    with pytest.warns(UserWarning, match=r'1\.26.*2\.0'):
        store.describe(**{**DESCRIPTION, 'versions': {'numpy': '2.0'}})


def test_another_format_is_refused(store):
    store.describe(**DESCRIPTION)
    path = store.path / 'manifest.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | {'format': 9}))
    with pytest.raises(ValueError, match=r'format 9.*reads 1'):
        RolloutStore(store.path)


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ({'rewards': np.zeros(3, 'f')}, ValueError, "'rewards': 3"),
        ({'rewards': np.zeros(5)}, TypeError, 'float64.*float32'),
        ({'observations': np.zeros((5, 2), 'f')}, TypeError, 'uint8'),
        ({'actions': np.zeros(5, 'f')}, ValueError, 'action size'),
    ],
)
def test_a_bad_rollout_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        dataclasses.replace(rollout(), **change)


def test_an_empty_rollout_is_refused():
    with pytest.raises(ValueError, match='at least one step'):
        rollout(0)
