"""Take Cover's summary: from results.json alone, and by hand."""

import copy
import json
import pathlib

import pytest
from policy_runs_case import check_picture

from chainer_wm import files
from chainer_wm.runs import run_folder
from experiments import doom_take_cover, take_cover_table

DONE = (
    pathlib.Path(__file__)
    .resolve()
    .parents[2]
    .joinpath('experiments/results/doom_take_cover/less_training')
)
SCORE = {'episodes': 4, 'std': 8.0, 'standard_error': 4.0}


def score(mean):
    return {**SCORE, 'mean': float(mean), 'returns': [mean - 1.0, mean + 1.0]}


def write(data, name, core, seed, game, rounds=1, **settings):
    """A finished run with a score in the game of ``game``."""
    results = files.read_json(DONE / 'lstm.json')
    keep = [f'round-{n:02d}' for n in range(1, rounds + 1)]
    for key in [key for key in results if key.startswith('round-')]:
        if key not in keep:
            del results[key]
    results['config'].update(model=core, seed=seed, run=name, rounds=rounds, hidden_size=8)
    results['config'].update(settings)
    results.update(seed=seed, run=name, evaluation=score(game))
    files.write_json(data / 'doom_take_cover' / name / 'results.json', results)
    return results


@pytest.fixture
def data(tmp_path):
    base = files.read_json(DONE / 'base.json')['config']
    files.write_json(tmp_path / 'doom_take_cover/base/config.json', base)
    return tmp_path


def summarise(data, *names):
    flags = ['--data', str(data), '--results', str(data / 'out')]
    doom_take_cover.script([*flags, '--summary', *names])
    out = data / 'out/doom_take_cover'
    return json.loads((out / 'summary.json').read_text()), out


def test_seeds_of_a_core_are_pooled_with_an_interval(data, capsys):
    write(data, 'a', 'lstm', 0, 600)
    write(data, 'b', 'lstm', 1, 800)
    write(data, 'c', 'dnc', 0, 900)
    table, out = summarise(data, 'a', 'b', 'c')
    lstm, dnc = table['groups']['LSTM'], table['groups']['DNC']
    assert lstm['seeds'] == [0, 1] and lstm['game']['mean'] == 700
    # t of one degree of freedom times 141.4 / sqrt(2)
    low, high = lstm['game']['interval']
    assert (low, high) == pytest.approx((700 - 1270.6, 700 + 1270.6))
    assert dnc['game']['interval'] is None
    assert [row['generation'] for row in lstm['curve']] == [20, 35]
    assert dnc['parameters']['M'] > lstm['parameters']['M'] > 0
    assert lstm['parameters']['C'] == 64 + 8 + 8
    said = capsys.readouterr().out
    assert '--model dnc --run c --reuse base' in said
    for name in ('seeds.png', 'dream_and_game.png'):
        check_picture(out / name)


def test_other_settings_are_never_pooled(data):
    write(data, 'a', 'lstm', 0, 600)
    write(data, 'b', 'lstm', 1, 800, temperature=[1.3])
    write(data, 'c', 'lstm', 2, 800, rounds=0)
    write(data, 'd', 'lstm', 3, 800, reuse='gone')
    table, _ = summarise(data, 'a', 'b', 'c', 'd')
    assert len(table['groups']) == 4
    names = list(table['groups'])
    assert 'temperature 1.3' in names[1] and 'rounds 0' in names[2]
    assert 'vision_epochs unknown' in names[3]
    assert len(table['runs']['c']['rounds']) == 1


def test_cores_with_other_budgets_are_told_apart(data):
    write(data, 'a', 'lstm', 0, 600)
    write(data, 'b', 'dnc', 0, 800, generations=30)
    table, _ = summarise(data, 'a', 'b')
    assert list(table['groups']) == ['LSTM, generations 20', 'DNC, generations 30']


def test_a_row_of_a_round_by_hand():
    results = files.read_json(DONE / 'lstm.json')
    first, second = take_cover_table.stages_of(results)[:2]
    assert (first['round'], first['agents_episodes']) == (0, 0)
    assert (second['agents_episodes'], second['generation']) == (100, 35)
    assert second['game']['mean'] == pytest.approx(584.15)
    assert second['dream'] == pytest.approx(1336.75)
    assert second['caught'] == pytest.approx(23 / 36)
    assert not first['anew'] and not second['anew']
    results['round-01']['begin'] = {'inherited': 127.0, 'zero': 223.0}
    assert take_cover_table.stages_of(results)[1]['anew']


def test_one_seed_twice_is_refused(data):
    write(data, 'a', 'lstm', 0, 600)
    write(data, 'b', 'lstm', 0, 600)
    with pytest.raises(run_folder.RunError, match='one seed twice.* a, b'):
        summarise(data, 'a', 'b')


def test_an_unfinished_run_is_refused(data):
    write(data, 'a', 'lstm', 0, 600)
    path = data / 'doom_take_cover/a/results.json'
    results = json.loads(path.read_text())
    del results['evaluation']
    path.write_text(json.dumps(results))
    with pytest.raises(run_folder.RunError, match='a.*no evaluated run'):
        summarise(data, 'a')


def test_controls_are_listed_over_seeds(data, capsys):
    for seed, game in ((0, 300), (1, 500)):
        base = write(data, f'base-{seed}', 'dnc', seed, 600)['config']
        name = f'base-{seed}-controls'
        row = {
            'temperature': [1.15],
            'features': ['z', 'c', 'h'],
            'separable': False,
            'untrained': False,
            'controller_parameters': 80,
            'dream': {'agent': score(900), 'random': score(200)},
            'game': score(game),
        }
        cells = {'tau-1.15': row, 'untrained': copy.deepcopy(row)}
        own = dict(population=4, dreams=2, generations=3, sigma=0.1, round=-1)
        results = {
            'config': {**own, 'max_steps': 30, 'test_episodes': 2},
            'base': base,
            'seed': seed,
            'random_baseline': score(210),
            'seconds': {'tau-1.15': 60.0, 'untrained': 30.0},
            'cells': cells,
        }
        results['config']['model'] = 'dnc'
        files.write_json(data / 'doom_take_cover' / name / 'results.json', results)
    table, out = summarise(data, 'base-0-controls', 'base-1-controls')
    first, second = table['controls']
    assert (first['group'], first['cell']) == ('DNC', 'tau-1.15')
    assert first['game']['values'] == [300, 500]
    # episodes of both seeds: 299, 301, 499, 501
    assert first['game_episodes']['std'] == pytest.approx(115.475, abs=1e-3)
    assert second['minutes'] == [0.5, 0.5]
    assert 'untrained, 2 seeds' in capsys.readouterr().out
    check_picture(out / 'temperatures_dnc.png')
