"""Grid Navigation end to end, tiny: killed and resumed, both models."""

import json
import shutil

import pytest
from compare_case import side_by_side
from PIL import Image
from ppo_script_case import check_picture

from chainer_wm import files
from chainer_wm.envs.grid_navigation import LEVELS, GridNavigation
from chainer_wm.runs import run_folder
from chainer_wm.runs.command_line import config_of, main, open_run, parse
from chainer_wm.seeds import stream
from chainer_wm.training import levels, lifelong, ppo
from experiments import compare, grid_navigation
from experiments.grid_navigation import Config, presets

TINY = {
    'preset': 'smoke',
    'episodes': 3,
    'max_steps': 12,
    'encoded': 8,
    'hidden_size': 8,
    'decoded': 8,
    'memory_length': 4,
    'memory_width': 4,
    'read_heads': 1,
    'model_updates': 6,
    'policy_updates': 2,
    'lanes': 4,
    'rollout_length': 8,
    'real_limit': 1000,
    'score_episodes': 2,
    'report_episodes': 3,
    'probe_episodes': 1,
}
NO_FIGURES = ('--stages', 'level-0,level-1,baselines,evaluate')
KEYS = ('--model', 'dnc', '--env', 'ordered_keys')


def run(data, name, *more):
    settings = [
        word
        for flag, value in TINY.items()
        for word in (f'--{flag.replace("_", "-")}', str(value))
    ]
    grid_navigation.script(['--data', str(data), '--run', name, *settings, *more])
    return results(data, name)


def results(data, name):
    path = data / 'grid_navigation' / name / 'results.json'
    found = json.loads(path.read_text())
    for changing in ('seconds', 'config', 'run'):
        found.pop(changing)
    return found


class Killed(Exception):
    """Stands for a process that is no more."""


def killed_at(call, count):
    """``call``, whose n-th use never returns."""
    uses = []

    def replaced(*args, **options):
        uses.append(None)
        if len(uses) == count:
            raise Killed
        return call(*args, **options)

    return replaced


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    run(folder, 'whole')
    return folder


def test_results(data):
    found = results(data, 'whole')
    assert len(found['levels']) == len(found['random']) == 2
    assert found['iterations'][-1]['real_steps'] == sum(
        level['real_steps'] for level in found['levels']
    )
    assert [len(row) for row in found['retention']] == [2, 2]
    assert found['model_retention'][0][1] is None
    for level, row in zip(found['levels'], found['same_budget']):
        assert 0 <= row['real_steps'] - level['real_steps'] < 512
    for name in ('evaluation', 'random_baseline'):
        assert found[name]['episodes'] == len(found[name]['returns']) == 4


def test_what_is_reported_decided_nothing(data, monkeypatch):
    played = {}

    def noted(seed, purpose, *numbers):
        played.setdefault(purpose, set()).add(numbers)
        return stream(seed, purpose, *numbers)

    monkeypatch.setattr(levels, 'stream', noted)
    config = parse(
        Config, presets, 'grid_navigation',
        ['--data', str(data), '--run', 'whole'],
    )  # fmt: skip
    run = open_run(config, 'grid_navigation', ())
    before = run.results()
    grid_navigation.evaluate(config, run)
    assert run.results() == before
    run.close()
    assert set(played) == {'report'}
    assert played['report'] == {(n, e) for n in range(2) for e in range(3)}
    for level, row in enumerate(before['levels']):
        assert row['looks'] == 1
        stopped = before['iterations'][level]['scores'][level]
        assert row['stopped_at'] == stopped
        assert row['learnt']['success'] * 3 == pytest.approx(round(row['learnt']['success'] * 3))
    assert before['passing_by_chance']['episodes'] == 2


@pytest.mark.parametrize(
    ('where', 'name', 'count'),
    [(lifelong, 'train_model', 1), (ppo, 'train', 2), (levels, 'scores', 2)],
)
def test_killed_anywhere_gives_the_numbers_of_an_unbroken_run(
    data, tmp_path, monkeypatch, where, name, count
):
    with monkeypatch.context() as patched:
        patched.setattr(where, name, killed_at(getattr(where, name), count))
        with pytest.raises(Killed):
            run(tmp_path, 'killed', *NO_FIGURES)
    assert run(tmp_path, 'killed', *NO_FIGURES) == results(data, 'whole')


def test_model_and_policy_learn_without_the_real_game(tmp_path, monkeypatch):
    def closed(*args, **options):
        raise AssertionError('the real game was played')

    def without_game(call):
        def learn(*args, **options):
            with monkeypatch.context() as patched:
                patched.setattr(GridNavigation, 'step', closed)
                patched.setattr(GridNavigation, 'reset', closed)
                calls.append(call.__name__)
                return call(*args, **options)

        return learn

    calls = []
    for where, name in ((lifelong, 'train_model'), (ppo, 'train')):
        monkeypatch.setattr(where, name, without_game(getattr(where, name)))
    run(tmp_path, 'watched', '--stages', 'level-0,level-1')
    assert calls == ['train_model', 'train'] * 2


def test_a_level_is_left_when_it_and_all_before_are_solved(tmp_path, monkeypatch):
    run = run_folder.Run(tmp_path / 'run', {}, stages=('level-0', 'level-1'))
    success = iter(([0.5, 0], [0.9, 0], [0.8, 1.0], [1.0, 0.9], [0, 0]))
    seen = []

    def iterate(config, run, level, iteration):
        before = grid_navigation.before(run, level, iteration)
        seen.append((level, iteration, before and before.parts[-2:]))
        score = {'steps': 9, 'shortest': 8}
        row = {
            'level': level,
            'iteration': iteration,
            'real_steps': 100,
            'scores': [score | {'success': one} for one in next(success)],
        }
        folder = grid_navigation.folder_of(run, level, iteration)
        files.write_json(folder / 'scores.json', row)

    monkeypatch.setattr(grid_navigation, 'iterate', iterate)
    config = grid_navigation.Config(levels=2, iterations=3)
    for level in (0, 1):
        grid_navigation.learn_level(level, config, run)
    assert seen == [
        (0, 0, None),
        (0, 1, ('level-0', 'iteration-0')),
        (1, 0, ('level-0', 'iteration-1')),
        (1, 1, ('level-1', 'iteration-0')),
    ]
    assert grid_navigation.last_of(run, 1).name == 'iteration-1'
    run.close()


def test_complete_run_is_not_repeated(data, capsys):
    run(data, 'whole')
    shown = capsys.readouterr().out
    for stage in ('level-0', 'level-1', 'baselines', 'evaluate', 'figures'):
        assert f'{stage}: complete, skipped' in shown


def test_figures(data):
    folder = data / 'grid_navigation/whole/figures'
    for name in ('predictions.png', 'dreams.png', 'retention.png'):
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 200
    with Image.open(folder / 'agent.gif') as film:
        assert film.n_frames > 4


def test_the_level_that_was_learnt_last_may_be_watched(data, tmp_path):
    saved = run_folder.SavedRun(shutil.copytree(data / 'grid_navigation/whole', tmp_path / 'run'))
    config = config_of(Config, files.read_json(saved.path('config.json')))
    for level in (1, 0):
        env, player = grid_navigation.watch(config, saved)
        assert env.settings['layout'] == LEVELS[level]
        seen, _ = env.reset(seed=0)
        actions, _ = player.act(seen[None], player.start([stream(0, 'watch')]))
        assert actions[0] in range(4)
        shutil.rmtree(saved.path(f'level-{level}'))
    with pytest.raises(run_folder.RunError, match='no level yet'):
        grid_navigation.watch(config, saved)


def test_dnc_and_the_game_that_needs_memory(data):
    found = run(data, 'keys', *KEYS)
    assert len(found['levels']) == 2
    store = data / 'grid_navigation/keys/rollouts/manifest.json'
    assert json.loads(store.read_text())['game'] == 'ordered_keys'
    check_picture(data / 'grid_navigation/keys/figures/memory.png')
    assert not (data / 'grid_navigation/whole/figures/memory.png').exists()  # an LSTM


def test_probes_of_the_state_are_asked_for_later(data, capsys):
    assert 'state_probes' not in run(data, 'keys', *KEYS)
    capsys.readouterr()
    found = run(data, 'keys', *KEYS, '--state-episodes', '12')['state_probes']
    shown = capsys.readouterr().out
    assert 'figures: complete, skipped' in shown
    assert 'full memory: order by steps ago 0: ' in shown
    assert {'hidden state', 'read vectors', 'untrained: full memory'} < set(found)
    assert found['picture alone']['order']['0']['accuracy'] == 1
    assert 0 < found['full memory']['order']['2']['samples'] <= 12
    check_picture(data / 'grid_navigation/keys/figures/order.png')


@pytest.mark.parametrize('words', [(), (*KEYS, '--levels', '1')])
def test_a_game_without_an_order_is_not_asked_for_it(data, words):
    with pytest.raises(SystemExit, match='has none: take --env ordered_keys'):
        main(lambda: run(data, 'orderless', '--state-episodes', '5', *words))


def test_runs_side_by_side(data, tmp_path):
    run(data, 'other', '--seed', '1', *NO_FIGURES)
    found = side_by_side(data, 'grid_navigation', 'whole', 'other')
    assert found['groups']['LSTM']['seeds'] == [0, 1]
    kept = found['runs'][0]['curves']['success at the end']
    assert kept['x'] == [0, 1]
    assert set(kept['references']) == {'PPO, same real steps', 'PPO, until solved', 'random'}
    check_picture(data / 'out/matrix_agent_success.png')


def test_another_game_is_refused_in_one_line(data, capsys):
    run(data, 'keys', *KEYS)
    paths = [str(data / 'grid_navigation' / name) for name in ('whole', 'keys')]
    with pytest.raises(SystemExit, match='task is'):
        main(lambda: compare.script(paths))


def test_scores_that_ended_a_level_are_not_pooled_with_fresh_ones(data, tmp_path):
    found = files.read_json(data / 'grid_navigation/whole/results.json')
    old = tmp_path / 'results.json'
    files.write_json(old, {**found, 'run': 'old', 'task': 'navigation'})
    with pytest.raises(SystemExit, match='task is .*fresh episodes'):
        main(lambda: compare.script([str(data / 'grid_navigation/whole'), str(old)]))
