"""The addition curriculum end to end, tiny."""

import json

import pytest

from chainer_wm.runs import run_folder
from experiments import addition

TINY = [
    '--hidden-size',
    '8',
    '--memory-length',
    '6',
    '--memory-width',
    '4',
    '--batch',
    '4',
    '--measure-every',
    '5',
    '--held-out',
    '8',
    '--lengths',
    '2',
    '3',
    '4',
    '--switch',
    '40',
]


def start(data, run, *more):
    addition.script(['--data', str(data), '--run', run, *TINY, *more])
    return results(data, run)


def results(data, run):
    path = data / 'addition' / run / 'results.json'
    return json.loads(path.read_text())


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    data = tmp_path_factory.mktemp('data')
    start(data, 'lstm', '--sequences', '160')
    start(data, 'match', '--sequences', '160', '--match')
    start(data, 'dnc', '--sequences', '160', '--model', 'dnc')
    return data


def test_every_task_is_scored_at_every_switch(data):
    found = results(data, 'dnc')
    rows = found['retention']
    assert [(row['sequences'], row['met']) for row in rows] == [
        (40, 1),
        (80, 2),
        (120, 3),
        (160, 3),
    ]
    assert all(len(row['error']) == 3 for row in rows)
    # untrained, the error grows with the length of the sums
    assert rows[0]['error'] == sorted(rows[0]['error'])
    assert found['training']['sequences'] == list(range(20, 161, 20))
    figures = data / 'addition' / 'dnc' / 'figures'
    assert {path.name for path in figures.iterdir()} == {'curriculum.png', 'retention.png'}


def test_a_smaller_budget_extended_gives_the_numbers_of_the_whole(data):
    flags = ['--model', 'dnc', '--sequences']
    assert len(start(data, 'parts', *flags, '60')['retention']) == 1
    parts, whole = start(data, 'parts', *flags, '160'), results(data, 'dnc')
    for name in ('retention', 'training', 'net'):
        assert parts[name] == whole[name]


def test_only_new_lengths_give_other_numbers(data):
    found = start(data, 'new', '--only-new', '--sequences', '160')
    mixed = results(data, 'lstm')
    # the first task has one length alone
    assert found['retention'][0] == mixed['retention'][0]
    assert found['retention'][1] != mixed['retention'][1]
    with pytest.raises(run_folder.RunError, match='only_new is False in lstm'):
        addition.script(['--data', str(data), '--summary', 'lstm', 'new'])


def test_summary_states_the_ratio(data, tmp_path):
    addition.script(
        ['--data', str(data), '--out', str(tmp_path), '--summary', 'lstm', 'match', 'dnc']
    )
    table = json.loads((tmp_path / 'summary.json').read_text())
    assert set(table['models']) == {'DNC', 'LSTM', 'LSTM, as many parameters'}
    ratio = table['lstm_over_dnc']['LSTM, squared error, hardest task']
    lstm, dnc = (results(data, run)['retention'][-1]['loss'][-1] for run in ('lstm', 'dnc'))
    assert ratio['values'] == [lstm / dnc]
    for name in ('curriculum.png', 'retention.png'):
        assert (tmp_path / name).stat().st_size > 5000


def test_a_switch_between_two_measurements_is_refused(data):
    with pytest.raises(run_folder.RunError, match='--switch 50 is no multiple of'):
        start(data, 'odd', '--switch', '50', '--sequences', '160')


def test_presets_measure_at_every_switch_and_are_as_proposed():
    for preset in addition.PRESETS.values():
        addition.check(addition.Config(**preset))
    for name in ('laptop', 'paper'):
        config = addition.Config(**addition.PRESETS[name])
        assert config.lengths == (2, 4, 6, 8, 10, 12, 14)
        assert (config.switch, config.sequences) == (5000, 40_000)
