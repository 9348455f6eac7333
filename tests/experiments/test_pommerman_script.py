"""Pommerman's M end to end, tiny: files, resumed, compared, refused."""

import json

import numpy as np
import pytest
from compare_case import side_by_side
from ppo_script_case import check_picture

from chainer_wm.envs.pommerman_games import PommermanGames
from chainer_wm.envs.pommerman_rules import SIZE
from chainer_wm.files.archives import load_link
from chainer_wm.inspector import pictures
from chainer_wm.links.state_model import StateModel
from chainer_wm.rollouts import RolloutStore
from chainer_wm.runs.run_folder import RunError
from chainer_wm.training import recurrent, state_model
from experiments import pommerman

TINY = [
    *('--episodes', '6', '--max-steps', '30', '--hidden-size', '6', '--memory-length', '4'),
    *('--memory-width', '3', '--read-heads', '1', '--batch', '3', '--window', '8'),
    *('--measure-every', '4', '--horizon', '4', '--held-out', '0.3'),
    *('--last-learning-rate', '1'),  # a rate that falls differs where a training is made longer
]
GROUPS = list(pommerman.GROUPS)


def start(data, run, *more):
    pommerman.script(['--data', str(data), '--run', run, *TINY, *more])
    return results(data, run)


def results(data, run):
    return json.loads((data / 'pommerman' / run / 'results.json').read_text())


def numbers(found):
    names = ('net', 'curves', 'exact', 'dreamt', 'scores', 'baselines', 'bars', 'static', 'games')
    return {name: found[name] for name in names}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    data = tmp_path_factory.mktemp('data')
    flags = ['--epochs', '3', '--head', 'categorical', '--change', '--planes']
    start(data, 'lstm', *flags)
    start(data, 'lstm1', *flags, '--seed', '1')
    start(data, 'dnc', *flags, '--model', 'dnc')
    start(data, 'match', *flags, '--match')
    return data


def test_files_and_what_they_say(data):
    found = results(data, 'dnc')
    assert found['experiment'] == 'pommerman' and found['task'] == 'ffa'
    assert found['games']['games'] == 6 and found['games']['length']['mean'] <= 30
    assert set(found['exact']['M']) == {'every component', *GROUPS}
    assert found['static'][-2:] == ['teammate', 'enemies']
    copied = found['exact'][pommerman.COPY]
    assert copied['every component']['changed'] == 0 and copied['enemies']['changed'] is None
    assert 0.9 < copied['every component']['all'] < 1
    assert all(name in found['scores'] for name in ('all components', 'board, changed'))
    assert 'enemies, changed' not in found['scores']
    assert len(found['dreamt']['M']['all']['board']) == 4
    assert found['dreamt'][pommerman.COPY]['changed']['every component'] == [0, 0, 0, 0]
    figures = data / 'pommerman/dnc/figures'
    names = {'training', 'exact_all', 'exact_changed', 'dreamt', 'boards', 'memory'}
    assert {path.name for path in figures.iterdir()} == {f'{n}.png' for n in names} | {'dream.gif'}
    for name in names:
        check_picture(figures / f'{name}.png')


def test_the_inspector_sees_boards_beside_what_was_predicted(data):
    """Cell by cell: framed where the prediction is another thing."""
    run = data / 'pommerman/dnc'
    kept = RolloutStore(run / 'predictions')
    assert 0 < len(kept) <= pommerman.KEPT
    episode = kept.episodes[0]
    frames = pictures.read_episode(run / 'predictions', episode).observations
    game = pictures.read_episode(run / 'rollouts', episode)
    height, width = game.observations.shape[1:3]
    np.testing.assert_array_equal(frames[:, :, :width], game.observations)
    right = frames[:, :, width + pommerman.GAP :]
    np.testing.assert_array_equal(right[0], game.observations[0])  # nothing was predicted yet
    model = load_link(run / 'model' / recurrent.BEST, StateModel)
    truth = RolloutStore(run / 'rollouts').read(episode)
    move = truth.actions[:1, pommerman.PLAYER, None] == np.arange(pommerman.ACTIONS)
    ahead = state_model.dream(
        model, truth.observations[:1], move[None].astype('f'), model.initial_state(1)
    )[0]
    wrong = (ahead != truth.observations[1])[0, : pommerman.CELLS].sum()
    corner = height // SIZE
    framed = (right[1, ::corner, ::corner] == (230, 0, 60)).all(axis=-1).sum()
    assert framed == wrong > 0


def test_the_games_in_the_cache_are_the_game(data):
    store = RolloutStore(data / 'pommerman/lstm/rollouts')
    games = PommermanGames(1, 'ffa', 30)
    for number in store.episodes:
        rollout = store.read(number)
        games.reset([rollout.info['seed']])
        for seen, actions, reward in zip(rollout.observations, rollout.actions, rollout.rewards):
            assert not games.over[0]
            assert (games.features(0)[0] == seen).all()
            rewards, over = games.step(actions[None].astype(int))
            assert rewards[0, 0] == reward
        assert over[0] and rollout.terminated[-1] != rollout.truncated[-1]
    other = RolloutStore(data / 'pommerman/dnc/rollouts')
    assert [store.entry(e)['sha256'] for e in range(6)] == [
        other.entry(e)['sha256'] for e in range(6)
    ]


@pytest.mark.parametrize('model', ['lstm', 'dnc'])
def test_killed_and_resumed_is_unbroken(model, data, monkeypatch):
    flags = ['--epochs', '3', '--head', 'categorical', '--change', '--planes', '--model', model]
    with monkeypatch.context() as killed:
        count = iter(range(100))

        def play(*args, played=pommerman.play):
            if next(count) == 3:
                raise KeyboardInterrupt
            return played(*args)

        killed.setattr(pommerman, 'play', play)
        with pytest.raises(KeyboardInterrupt):
            start(data, f'broken-{model}', *flags)
    start(data, f'broken-{model}', *flags, '--epochs', '1')
    found = start(data, f'broken-{model}', *flags)
    assert numbers(found) == numbers(results(data, model))


def test_a_complete_run_is_not_repeated(data, capsys):
    start(data, 'lstm')
    printed = capsys.readouterr().out
    for stage in pommerman.STAGES:
        assert f'{stage}: complete, skipped' in printed


def test_the_matched_lstm_has_the_parameters_of_the_dnc(data):
    lstm, dnc, match = (results(data, run)['net'] for run in ('lstm', 'dnc', 'match'))
    assert match['core'] == 'lstm' and lstm['hidden_size'] < match['hidden_size']
    assert match['parameters'] == pytest.approx(dnc['parameters'], rel=0.1)


def test_models_and_seeds_side_by_side(data):
    table = side_by_side(data, 'pommerman', 'lstm', 'lstm1', 'dnc', 'match')
    assert list(table['groups']) == ['LSTM', 'DNC', 'LSTM, match']
    row = table['groups']['LSTM']['scores']['changed components']
    assert row['values'] == [
        results(data, run)['exact']['M']['every component']['changed'] for run in ('lstm', 'lstm1')
    ]
    assert set(table['baselines']['all components']) == {pommerman.COPY, pommerman.UNTRAINED}
    for part in ('all', 'changed'):
        check_picture(data / f'out/bars_{part}_components_predicted_exactly.png')


@pytest.mark.parametrize(
    'flags',
    [
        ('--mode', 'radio', '--agents', 'mixed', '--actions', 'all'),
        ('--mode', 'team', '--head', 'mixture', '--change', '--dtype', 'float64'),
        ('--agents', 'random', '--planes'),
    ],
    ids=lambda flags: flags[1],
)
def test_other_games_and_heads(flags, data):
    name = f'other-{flags[1]}'
    found = start(data, name, '--epochs', '1', *flags)
    assert np.isfinite(found['scores']['nats per component']['mean'])
    assert found['net']['action_size'] == (24 if 'all' in flags else 6)
    if 'radio' in flags:
        store = RolloutStore(data / 'pommerman' / name / 'rollouts')
        kinds = {tuple(store.read(e).info['kinds']) for e in store.episodes}
        assert len(kinds) > 1


def test_settings_that_make_no_sense_are_refused(data):
    with pytest.raises(RunError, match='--match is for --model lstm'):
        start(data, 'no', '--match', '--model', 'dnc')
    with pytest.raises(RunError, match='leaves none to train on'):
        start(data, 'no', '--episodes', '2', '--held-out', '0.9')
