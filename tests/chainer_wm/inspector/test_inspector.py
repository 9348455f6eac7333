"""The inspector: what it says of stores and runs."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from inspector_case import SETTINGS, ask, episode, make_store, one_line, run, store, widest

from chainer_wm import files
from chainer_wm.inspector import summaries
from chainer_wm.inspector.numbers import ActionCounter, spread
from chainer_wm.inspector.words import duration, size
from chainer_wm.rollouts import Rollout

__all__ = ['run', 'store']  # fixtures

# -- stores ----------------------------------------------------------------


def test_summary_of_a_store(store, capsys):
    status, out, _ = ask(capsys, store.path, '--json')
    summary = json.loads(out)
    assert status == 0
    assert summary['game'] == 'TakeCover'
    assert summary['settings'] == SETTINGS
    assert summary['seed'] == 7
    assert (summary['episodes'], summary['steps']) == (3, 18)
    assert (summary['first'], summary['last']) == (0, 2)
    assert (summary['terminated'], summary['truncated']) == (3, 0)
    assert summary['returns']['mean'] == 6
    assert summary['returns']['std'] == pytest.approx(np.std([3, 5, 10], ddof=1))
    assert sum(summary['returns']['histogram']['counts']) == 3
    assert summary['actions']['steps'] == 18
    assert summary['actions']['episodes_read'] == 3
    assert summary['disk']['episode_bytes'] == store.size
    assert summary['disk']['bytes'] > store.size
    assert summary['problems'] == summary['missing'] == []


def test_the_text_says_it_all_in_80_columns(store, capsys):
    _, out, _ = ask(capsys, store.path)
    for said in (
        'TakeCover',
        'skill 4, frame_skip 1, policy HeldRandom, limit -',
        'python 3.11',
        '3 (numbers 0 to 2), 18 steps',
        'return of an episode: 6 ± 3.606 (3 to 10)',
        'all 3 episodes',
        'in thirds: left',
        'as long as listed',
    ):
        assert said in one_line(out)
    assert widest(out) <= 79
    assert '\x1b' not in out


def test_only_a_sample_is_read_for_the_actions(tmp_path, capsys, monkeypatch):
    store = make_store(tmp_path, lengths=[2] * 7)
    monkeypatch.setattr(summaries, 'SAMPLE', 4)
    monkeypatch.setattr(Rollout, 'from_bytes', None)  # frames stay packed
    _, out, _ = ask(capsys, store.path)
    assert 'a sample of 4 episodes; --all' in out
    _, out, _ = ask(capsys, store.path, '--all')
    assert '14 steps, all 7 episodes' in out


def test_a_store_that_has_just_begun(tmp_path, capsys):
    store = make_store(tmp_path, lengths=())
    status, out, _ = ask(capsys, store.path)
    assert status == 0
    assert 'none yet' in out
    _, out, _ = ask(capsys, store.path, '--json')
    assert json.loads(out)['returns']['mean'] is None


def test_what_is_not_listed_is_told(tmp_path, capsys):
    store = make_store(tmp_path, lengths=())
    for number in (0, 3):
        store.add(number, episode(2, number))
    store.write(4, episode(2, 4))
    (store.path / 'episodes' / '.000005.npz.9.tmp').write_bytes(b'half')
    _, out, _ = ask(capsys, store.path)
    assert '2 missing before the last (1, 2)' in one_line(out)
    assert '1 episode files not yet listed' in one_line(out)
    assert '1 episode files half written' in one_line(out)


def test_a_shortened_file_shows_without_verify(store, capsys):
    path = store.path / 'episodes' / '000001.npz'
    path.write_bytes(path.read_bytes()[:-10])
    status, out, _ = ask(capsys, store.path)
    assert status == 0
    assert 'DAMAGED: episode 1' in one_line(out)
    assert json.loads(ask(capsys, store.path, '--json')[1])['problems']


def test_output_goes_through_an_ascii_pipe(store):
    done = subprocess.run(
        [sys.executable, '-m', 'chainer_wm.inspector', str(store.path)],
        capture_output=True,
        timeout=60,
        env={**os.environ, 'PYTHONIOENCODING': 'ascii'},
    )
    assert done.returncode == 0, done.stderr
    assert b'return of an episode: 6 ? 3.606' in done.stdout


# -- runs ------------------------------------------------------------------


def test_summary_of_a_run(run, capsys):
    _, out, _ = ask(capsys, run, '--json')
    summary = json.loads(out)
    assert summary['experiment'] == 'doom_take_cover'
    assert summary['config']['model'] == 'dnc'
    assert summary['stages']['collect'] == {'done': True, 'seconds': 71.5}
    assert summary['scores']['controls.untrained']['mean'] == 180
    assert [row['iteration'] for row in summary['log']] == [25, 26, 27, 28, 29]
    assert summary['figures'] == ['figures/evolution.png']
    assert [each['episodes'] for each in summary['stores']] == [3]
    assert summary['disk']['model'] > 0


def test_the_text_of_a_run(run, capsys):
    _, out, _ = ask(capsys, run)
    for said in (
        'run smoke-dnc of doom_take_cover',
        'model dnc',
        '1:12 min',
        'unfinished',
        '309 ± 100',
        '+100 against random (+7.1 standard errors)',
        'iteration=29 nll=0.333333',
        'figures/evolution.png',
        'return 6 ± 3.606',
    ):
        assert said in one_line(out)
    assert widest(out) <= 79


def test_a_run_with_damage_is_still_shown(run, capsys):
    (run / 'results.json').write_text('{')
    (run / 'rollouts' / 'manifest.json').write_text('{')
    status, out, _ = ask(capsys, run)
    assert status == 0
    assert 'results.json is not valid JSON' in one_line(out)
    assert 'rollouts cannot be read' in one_line(out)
    assert 'unfinished' in out


def test_a_run_that_has_just_begun(tmp_path, capsys):
    files.write_json(tmp_path / 'doom' / 'a' / 'config.json', {'seed': 1})
    _, out, _ = ask(capsys, tmp_path / 'doom' / 'a')
    assert 'stages: none begun' in out
    assert 'results: none yet' in out


@pytest.mark.parametrize('above', ['doom', ''])
def test_an_experiment_lists_its_runs(run, capsys, above):
    other = run.parent / ('a-second-run-with-a-rather-long-name' * 2)
    files.write_json(other / 'config.json', {'model': 'lstm'})
    make_store(run.parent / 'shared', [2])
    make_store(run.parent / 'collected' / 'rollouts', [2])
    status, out, _ = ask(capsys, run.parent.parent / above)
    assert status == 0
    assert '4 runs in' in out
    assert '309 ± 100  209 ± 100' in out
    assert '1/2' in out
    assert 'lstm' in out
    assert 'rollout store' in out
    assert widest(out) <= 79


# -- numbers ---------------------------------------------------------------


def test_spread_of_one_value_and_of_none():
    one = spread(np.array([5.0]))
    assert (one['mean'], one['std'], sum(one['histogram']['counts'])) == (5, 0, 1)
    assert spread(np.array([np.nan]))['mean'] is None


def test_actions_are_counted_as_by_one_big_array():
    rng = np.random.default_rng(0)
    parts = [rng.uniform(-1, 1, (n, 2)) for n in (3, 50, 7)]
    counter = ActionCounter(2)
    for part in parts:
        counter.add(part)
    whole = np.concatenate(parts)
    for axis, row in enumerate(counter.summary()):
        assert row['mean'] == pytest.approx(whole[:, axis].mean())
        assert row['std'] == pytest.approx(whole[:, axis].std())
        assert row['min'] == whole[:, axis].min()
        assert row['histogram']['counts'] == np.histogram(whole[:, axis], 12, (-1, 1))[0].tolist()
        assert 'thirds' not in row


def test_thirds_and_whole_numbers():
    counter = ActionCounter(1)
    counter.add(np.array([[-0.9], [-1 / 3], [0.0], [0.5]]))
    row = counter.summary()[0]
    assert row['thirds'] == [0.25, 0.5, 0.25]
    discrete = ActionCounter(1)
    discrete.add(np.array([[0], [1], [1], [5]]))
    assert discrete.summary()[0]['shares'] == {'0': 0.25, '1': 0.5, '5': 0.25}
    many = ActionCounter(1)
    many.add(np.arange(40.0)[:, None])
    assert 'histogram' in many.summary()[0]
    with pytest.raises(ValueError, match='2 dimensions, but 1'):
        counter.add(np.zeros((2, 2)))


def test_sizes_and_durations_in_words():
    assert [size(n) for n in (0, 999, 1500, 2.5e6, 3e12)] == [
        '0 bytes',
        '999 bytes',
        '1.5 kB',
        '2.5 MB',
        '3e+03 GB',
    ]
    assert [duration(s) for s in (5, 59.7, 125, 7260)] == ['5 s', '1:00 min', '2:05 min', '2:01 h']


def test_the_last_lines_of_a_long_log(tmp_path):
    path = pathlib.Path(tmp_path / 'log.jsonl')
    long = json.dumps({'text': 'x' * 10_000})
    path.write_text('\n'.join([long] * 20 + ['{"last": 1}', '{"torn": ']))
    found = summaries.last_lines(path, 3)
    assert len(found) == 3
    assert found[-1] == {'last': 1}
    assert summaries.last_lines(tmp_path / 'absent') == []
