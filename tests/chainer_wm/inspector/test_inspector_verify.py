"""Verification: what is damaged is named; nothing is changed."""

import json

import numpy as np
import pytest
from inspector_case import alter, ask, episode, run, store, tree

__all__ = ['run', 'store']  # fixtures

# -- verify ----------------------------------------------------------------


def test_verify_reads_all_and_changes_nothing(run, capsys):
    before = tree(run)
    status, out, _ = ask(capsys, run, '--verify')
    assert status == 0
    # 3 episodes, 3 JSON files, log, figure, snapshot
    assert 'every byte of 9 files, 3 of them episodes' in out
    assert tree(run) == before


def shorten(store, path):
    path.write_bytes(path.read_bytes()[:-1])


def remove(store, path):
    path.unlink()


def not_finite(store, path):
    rewards = np.array([1, np.nan, 1, 1, 1], np.float32)
    store.add(1, episode(5, rewards=rewards))


def ends_early(store, path):
    store.add(1, episode(5, terminated=np.arange(5) == 2))


def another_game(store, path):
    store.add(1, episode(5, actions=np.zeros((5, 3))))


def wrong_line(store, path):
    store.append({**store.entry(1), 'length': 6})


@pytest.mark.parametrize(
    ('damage', 'said'),
    [
        (shorten, 'cut short'),
        (alter, 'bytes were altered'),
        (remove, 'is missing'),
        (not_finite, '1 values of rewards are not finite'),
        (ends_early, 'terminated at step 2'),
        (another_game, 'two games mixed'),
        (wrong_line, 'has 5 steps, listed with 6'),
    ],
)
def test_verify_names_the_file_and_what_is_wrong(store, capsys, damage, said):
    path = store.path / 'episodes' / '000001.npz'
    damage(store, path)
    before = tree(store.path)
    status, out, _ = ask(capsys, store.path, '--verify')
    assert status == 1
    line = out.splitlines()[0]
    assert str(path) in line
    assert said in line
    assert '1 faults in 3 files' in out
    assert tree(store.path) == before
    _, out, _ = ask(capsys, store.path, '--verify', '--json')
    assert [each['file'] for each in json.loads(out)['damage']] == [str(path)]


@pytest.mark.parametrize(
    ('name', 'data', 'said'),
    [
        ('config.json', b'{"model": ', 'not valid JSON'),
        ('log.jsonl', b'{}\nnot json\n{}\n', 'line 2 is not JSON'),
        ('figures/evolution.png', b'\x89PNG\r\n', 'cannot be read'),
        ('model/snapshot.npz', b'PK\x03\x04', 'cannot be read'),
        ('rollouts/manifest.json', b'{', 'not valid JSON'),
        ('rollouts/manifest.json', b'{"format": 99}', 'format 99'),
    ],
)
def test_verify_reads_every_kind_of_file(run, capsys, name, data, said):
    (run / name).write_bytes(data)
    status, out, _ = ask(capsys, run, '--verify')
    assert status == 1
    assert len(out.splitlines()) == 2
    assert str(run / name) in out
    assert said in out


def test_verify_finds_numbers_that_are_not_finite(run, capsys):
    np.savez(run / 'model' / 'snapshot.npz', w=[1, np.inf], b=[0, 0])
    status, out, _ = ask(capsys, run, '--verify')
    assert status == 1
    assert '1 of 2 values of w are not finite' in out


def test_verify_reads_what_chainer_stores_as_none(run, capsys):
    np.savez(run / 'model' / 'snapshot.npz', w=[1.0], n=np.array(None, dtype=object))
    assert ask(capsys, run, '--verify')[0] == 0


def test_verify_forgives_a_torn_last_line(store, run, capsys):
    for path in (run / 'log.jsonl', run / 'rollouts' / 'episodes.jsonl'):
        with open(path, 'ab') as file:
            file.write(b'{"time": 1')
    assert ask(capsys, run, '--verify')[0] == 0


def test_verify_names_an_edited_list(store, capsys):
    path = store.path / 'episodes.jsonl'
    lines = path.read_text().splitlines()
    path.write_text('\n'.join([lines[0], lines[1][:-5], lines[2], '']))
    status, out, _ = ask(capsys, store.path, '--verify')
    assert status == 1
    assert f'{path}, line 2' in out


def test_a_list_that_lacks_a_value_is_damage_that_is_named(store, capsys):
    path = store.path / 'episodes.jsonl'
    lines = path.read_text().replace('"length"', '"size"').splitlines()
    path.write_text('\n'.join([*(line.rstrip() for line in lines), '']))  # without checksums
    status, out, _ = ask(capsys, store.path)
    said = ' '.join(out.split())
    assert status == 0
    assert 'integrity DAMAGED' in said
    assert "the line of episode 0: length is 'None', which is no int" in said
    assert ask(capsys, store.path, '--verify')[0] == 1
