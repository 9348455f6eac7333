"""The addition curriculum end to end, tiny."""

import json

import pytest
from compare_case import side_by_side
from ppo_script_case import check_picture

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
    for run, more in (('lstm', set()), ('dnc', {'memory.png'})):
        figures = data / 'addition' / run / 'figures'
        names = {path.name for path in figures.iterdir()}
        assert names == {'curriculum.png', 'retention.png', *more}


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
        side_by_side(data, 'addition', 'lstm', 'new', by=['model'])


def test_models_are_compared_in_their_errors_at_the_end(data):
    table = side_by_side(data, 'addition', 'lstm', 'match', 'dnc', figures=('curves', 'scores'))
    assert list(table['groups']) == ['LSTM', 'LSTM, match', 'DNC']
    lstm, dnc = (results(data, run)['retention'][-1]['loss'][-1] for run in ('lstm', 'dnc'))
    (row,) = (
        row
        for row in table['pairs']
        if (row['of'], row['over']) == ('DNC', 'LSTM')
        and row['score'] == 'squared error, hardest task'
    )
    assert row['ratio'] == pytest.approx(dnc / lstm)
    assert row['improvement']['probability'] == float(dnc < lstm)
    check_picture(data / 'out/matrix_absolute_error_of_the_sum.png')


def test_errors_at_the_end_and_of_the_tasks_so_far_by_hand():
    config = addition.Config(lengths=(2, 4), switch=40)
    rows = [
        {'sequences': 40 * (i + 1), 'met': min(i + 1, 2), 'loss': [2.0, 6.0], 'error': [1.0, 2.0]}
        for i in range(3)
    ]
    training = {'sequences': [40, 80, 100, 120], 'loss': [9.0, 9.0, 1.0, 3.0]}
    found = addition.scores(config, rows, training)
    assert {name: score['mean'] for name, score in found.items()} == {
        'training loss since the last switch': 2.0,
        'squared error, hardest task': 6.0,
        'squared error, all tasks': 4.0,
        'absolute error, all tasks': 1.5,
    }
    _, so_far = addition.curves(config, rows, training).values()
    assert so_far['y'] == [1, 1.5, 1.5]  # the first task alone, then the mean of both
    assert addition.matrix(config, rows)['values'] == [[1, None], [1, 2], [1, 2]]


def log():
    """Two lessons, switched every 40 sequences, in batches of 10."""
    names = [(name, lesson) for name in ('loss', 'error', 'exact') for lesson in (1, 2)]
    return [
        {'iteration': i, **{f'held_out/{name} {n}': 100 * n + i for name, n in names}}
        for i in range(2, 13, 2)
    ]


def test_retention_is_every_lesson_at_every_switch():
    rows = addition.retained(log(), batch=10, switch=40, lessons=2)
    assert [(row['sequences'], row['met']) for row in rows] == [(40, 1), (80, 2), (120, 2)]
    assert [row['loss'] for row in rows] == [[104, 204], [108, 208], [112, 212]]


def test_lesson_scores_number_the_lessons():
    rows = [{'loss': i, 'error': 10 * i, 'exact': 0.5} for i in (1, 2)]
    assert addition.lesson_scores(rows) == {
        **{'loss 1': 1, 'error 1': 10, 'exact 1': 0.5},
        **{'loss 2': 2, 'error 2': 20, 'exact 2': 0.5},
    }


def test_a_switch_between_two_measurements_is_refused(data):
    with pytest.raises(run_folder.RunError, match='--switch 50 is no multiple of'):
        start(data, 'odd', '--switch', '50', '--sequences', '160')


def test_presets_measure_at_every_switch_and_are_as_proposed():
    for preset in addition.PRESETS.values():
        addition.Config(**preset).check()
    for name in ('laptop', 'paper'):
        config = addition.Config(**addition.PRESETS[name])
        assert config.lengths == (2, 4, 6, 8, 10, 12, 14)
        assert (config.switch, config.sequences) == (5000, 40_000)
