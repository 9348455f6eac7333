"""The toy tasks end to end, tiny: resumed, skipped, compared, refused."""

import json

import pytest
from compare_case import side_by_side

from chainer_wm.runs import run_folder
from experiments import dnc_tasks

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
    '4',
    '12',
    '20',
    '--test-lanes',
    '4',
]


def start(data, run, *more):
    dnc_tasks.script(['--data', str(data), '--run', run, *TINY, *more])
    return results(data, run)


def results(data, run):
    path = data / 'dnc_tasks' / run / 'results.json'
    return json.loads(path.read_text())


def numbers(found):
    return {name: found[name] for name in ('net', 'curves', 'lengths', 'seed')}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """LSTM, DNC and sparse DNC on repeat."""
    data = tmp_path_factory.mktemp('data')
    task = ['--task', 'repeat', '--updates', '20']
    start(data, 'lstm', *task)
    start(data, 'dnc', *task, '--model', 'dnc')
    start(data, 'sparse', *task, '--model', 'dnc', '--link-sparsity', '2')
    return data


def test_files_and_what_they_say(data):
    for run, names in (
        ('lstm', {'training.png', 'lengths.png'}),
        ('dnc', {'training.png', 'lengths.png', 'memory.png'}),
    ):
        found = results(data, run)
        assert found['experiment'] == 'dnc_tasks'
        assert found['curves']['error']['x'] == [5, 10, 15, 20]
        assert [row['length'] for row in found['lengths']] == [4, 12, 20]
        figures = data / 'dnc_tasks' / run / 'figures'
        assert {path.name for path in figures.iterdir()} == names
    assert results(data, 'sparse')['net']['link_sparsity'] == 2
    assert results(data, 'lstm')['net']['core'] == 'lstm'


def test_a_smaller_budget_extended_gives_the_numbers_of_the_whole(data):
    whole = numbers(results(data, 'dnc'))
    flags = ['--task', 'repeat', '--model', 'dnc', '--updates']
    assert numbers(start(data, 'parts', *flags, '8')) != whole
    assert numbers(start(data, 'parts', *flags, '20')) == whole


def test_a_complete_run_is_not_repeated(data, capsys):
    start(data, 'lstm')
    printed = capsys.readouterr().out
    for stage in ('train', 'lengths', 'picture'):
        assert f'{stage}: complete, skipped' in printed


def test_more_slots_for_the_long_sequences_alone(data):
    before = results(data, 'sparse')
    after = start(data, 'sparse', '--test-memory-length', '12')
    assert after['curves']['error'] == before['curves']['error']
    assert after['tested_with']['memory_length'] == 12
    assert after['net']['memory_length'] == 6
    assert after['lengths'] != before['lengths']
    start(data, 'sparse', '--test-memory-length', '0')


def test_several_models_and_seeds_side_by_side(data):
    start(data, 'lstm1', '--task', 'repeat', '--updates', '20', '--seed', '1')
    table = side_by_side(data, 'dnc_tasks', 'lstm', 'lstm1', 'dnc', 'sparse')
    assert list(table['groups']) == ['LSTM', 'DNC', 'DNC, link sparsity 2']
    assert set(table['compared']) == {'model', 'link_sparsity'}
    lstm = table['groups']['LSTM']
    assert lstm['seeds'] == [0, 1]
    row = lstm['scores']['error at length 20']
    values = [results(data, run)['lengths'][2]['error'] for run in ('lstm', 'lstm1')]
    assert row['values'] == values
    assert row['mean'] == pytest.approx(sum(values) / 2)
    longer = table['runs'][0]['curves']['error over length']
    assert longer['x'] == [4, 12, 20] and longer['y'][2] == values[0]
    guess = [row['guess'] for row in results(data, 'lstm')['lengths']]
    assert longer['references'] == {'guess from the length': guess}


def test_other_budgets_and_tasks_are_not_pooled(data):
    start(data, 'longer', '--task', 'repeat', '--updates', '25')
    with pytest.raises(run_folder.RunError, match='updates is 20 in lstm but 25'):
        side_by_side(data, 'dnc_tasks', 'lstm', 'longer', by=['model'])
    start(data, 'sums', '--task', 'addition', '--updates', '5')
    with pytest.raises(run_folder.RunError, match="task is 'repeat' in lstm but 'addition'"):
        side_by_side(data, 'dnc_tasks', 'lstm', 'sums')


def test_the_matched_lstm_has_the_parameters_of_the_dnc(data):
    found = start(data, 'match', '--match', '--updates', '5')
    dnc = start(data, 'dnc5', '--model', 'dnc', '--updates', '5')
    assert found['net']['parameters'] == pytest.approx(dnc['net']['parameters'], rel=0.1)


def test_double_precision(data):
    found = start(data, 'double', '--dtype', 'float64', '--updates=5')
    assert found['config']['dtype'] == 'float64'


def test_the_paper_preset_is_what_was_published():
    config = dnc_tasks.Config(**dnc_tasks.PRESETS['paper'])
    assert (
        *(config.memory_length, config.memory_width, config.read_heads),
        *(config.hidden_size, config.link_sparsity, config.learning_rate),
        *(config.batch, config.updates, config.longest, config.clip),
    ) == (256, 64, 4, 256, 8, 1e-4, 1, 50_000, 12, 0)
