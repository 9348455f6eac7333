"""What a memory of sprites holds, end to end, tiny: resumed, compared, refused."""

import importlib.util
import json

import numpy as np
import pytest
from compare_case import side_by_side
from ppo_script_case import check_picture

from chainer_wm.runs import run_folder
from chainer_wm.runs.command_line import parse
from chainer_wm.tasks import sprite_model
from experiments import dsprites_memory
from experiments.dsprites_memory import FLOOR, PUBLISHED, Config, presets

TINY = [
    *('--hidden-size', '8', '--memory-length', '4', '--memory-width', '3', '--read-heads', '2'),
    *('--shortest', '16', '--longest', '20', '--log-steps', '16', '--longest-lag', '6'),
    *('--permutations', '4', '--some-cells', '4'),
]
FIGURES = ('training', 'table', 'lags', 'information', 'predictions')


WITHOUT_FIGURES = ('--stages', 'train,log,probe,inform')


def start(data, run, *more):
    dsprites_memory.script(['--data', str(data), '--run', run, *TINY, *more])
    return results(data, run)


def results(data, run):
    return json.loads((data / 'dsprites_memory' / run / 'results.json').read_text())


def numbers(found):
    names = ('net', 'scores', 'baselines', 'curves', 'probes', 'information', 'matrices')
    return {name: found[name] for name in names}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """An LSTM and a DNC."""
    data = tmp_path_factory.mktemp('data')
    start(data, 'lstm')
    start(data, 'dnc', '--model', 'dnc')
    return data


def test_files_and_what_they_say(data):
    for run, figures in (('lstm', FIGURES), ('dnc', (*FIGURES, 'memory'))):
        found = results(data, run)
        folder = data / 'dsprites_memory' / run
        assert {path.stem for path in (folder / 'figures').iterdir()} == set(figures)
        for name in figures:
            check_picture(folder / f'figures/{name}.png')
        assert found['experiment'] == 'dsprites_memory'
        assert found['published']['table'] == {k: list(v) for k, v in PUBLISHED.items()}
        assert found['baselines']['last image']['wrong pixels of the next image']['mean'] > 100
        assert set(found['information']) == {'trained', 'untrained'}


def test_every_control_is_probed_on_both_kinds_of_rollouts(data):
    found = results(data, 'dnc')['probes']
    held = {'read vectors', 'full memory', 'hidden state'}
    controls = {'raw input', 'random input', 'mean predictor'}
    assert set(found) == held | {f'untrained: {name}' for name in held} | controls
    assert set(results(data, 'lstm')['probes']) == {
        *controls,
        'hidden state',
        'untrained: hidden state',
    }
    for name, each in found.items():
        assert set(each['ridge']) == {'train', 'held-out'}
        assert len(each['ridge']['held-out']) == 5 * 7
        if name != 'mean predictor':
            lags = {target.split('@')[1] for target in each['adam']['train']}
            assert lags == {'0', '5'}
            assert each['samples'] == 3 * 10 and each['features'] > 0
    told = found['mean predictor']['ridge']['train']['x@0']
    assert told['r2'] == pytest.approx(0) and 0.04 < told['mse'] < 0.14


def test_the_cells_of_the_memory_are_tested_beside_chance(data):
    for run, shape in (('lstm', (1, 8)), ('dnc', (4, 3))):
        found = results(data, run)
        for net in ('trained', 'untrained'):
            matrix = found['matrices'][f'x in {shape[0]} x {shape[1]} cells, {net}']
            assert np.shape(matrix['values']) == shape
            said = found['information'][net]
            assert said['binned']['cells'] == np.prod(shape)
            assert said['as integers']['largest'] < 1e-8  # numbers between -1 and 1
            # every number another one: all that there is to know, whatever the cell holds
            assert said['as floats']['largest'] == pytest.approx(said['entropy'])


def test_what_the_post_measured_is_the_floor_here():
    assert pytest.approx((0.6667, 0.02917, 3.4586, 0.08871, 0.08871), abs=1e-4) == FLOOR


def test_a_smaller_budget_extended_gives_the_numbers_of_the_whole(data):
    whole = numbers(results(data, 'dnc'))
    flags = ('parts', '--model', 'dnc', *WITHOUT_FIGURES, '--epochs')
    assert numbers(start(data, *flags, '0.5')) != whole
    assert numbers(start(data, *flags, '1')) == whole


def test_a_killed_run_resumed_gives_the_numbers_of_an_unbroken_one(data, monkeypatch):
    flags = ('killed', '--model', 'dnc', *WITHOUT_FIGURES)
    internals = sprite_model.SpriteModel.internals
    for last in (5, 10):  # while internals are kept, and in test 2
        left = iter(range(last))

        def killed(self, window, state, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return internals(self, window, state)

        monkeypatch.setattr(sprite_model.SpriteModel, 'internals', killed)
        with pytest.raises(KeyboardInterrupt):
            start(data, *flags)
    monkeypatch.undo()
    assert numbers(start(data, *flags)) == numbers(results(data, 'dnc'))


def test_a_complete_run_is_not_repeated(data, capsys):
    start(data, 'lstm')
    printed = capsys.readouterr().out
    for stage in dsprites_memory.STAGES:
        assert f'{stage}: complete, skipped' in printed


def test_both_models_side_by_side(data):
    table = side_by_side(data, 'dsprites_memory', 'lstm', 'dnc')
    assert list(table['groups']) == ['LSTM', 'DNC']
    for score in ('loss of the next image', 'wrong shapes, t-0', 'R2 of x, t-0', 'R2 of y, t-5'):
        for group in table['groups'].values():
            assert np.isfinite(group['scores'][score]['mean'])


@pytest.mark.parametrize(
    'flags',
    [
        ('--tell-weight', '1', '--tell-lag', '2', '--model', 'dnc'),
        ('--moving', 'x', '--watched', 'x', '--motion', 'walk'),
        ('--actions', 'last', '--code-size', '6', '--dtype', 'float64'),
    ],
)
def test_what_is_offered_beyond_the_post(data, flags):
    start(data, 'beyond' + flags[0], *flags, *WITHOUT_FIGURES)
    text = (data / 'dsprites_memory' / f'beyond{flags[0]}' / 'results.json').read_text()
    found = json.loads(text, parse_constant=pytest.fail)  # NaN is no JSON
    assert np.isfinite(found['scores']['loss of the next image']['mean'])
    assert (found['told'] is not None) == ('--tell-weight' in flags)


def test_sizes_are_those_of_the_published_models():
    for sizes, expected in (('A', (256, 64, 4)), ('B', (16, 16, 4))):
        config = Config(**presets({'sizes': sizes})['paper'])
        found = (config.memory_length, config.memory_width, config.read_heads)
        assert found == expected
        assert (config.rollouts, config.epochs) == (10_000, 5)
        assert (config.shortest, config.longest, config.log_steps) == (500, 1000, 500)
    config = parse(Config, presets, 'dsprites_memory', ['--sizes', 'A', '--read-heads', '2'])
    assert (config.memory_length, config.read_heads) == (256, 2)


@pytest.mark.parametrize(
    'flags, said',
    [
        (('--longest-lag', '39'), 'each must leave room'),
        (('--log-steps', '50'), 'each must leave room'),
        (('--tell-weight', '1', '--tell-lag', '10'), '--tell-lag 10 is not below --window 10'),
        (('--neighbours', '3'), 'needs scikit-learn, which is not installed'),
    ],
)
def test_what_is_refused_before_the_first_stage(monkeypatch, flags, said):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(run_folder.RunError, match=said):
        parse(Config, presets, 'dsprites_memory', flags)


def test_a_missing_file_of_the_data_set_is_named(data):
    with pytest.raises(FileNotFoundError, match='get dsprites_ndarray'):
        start(data, 'file', '--dsprites', str(data / 'none.npz'))
