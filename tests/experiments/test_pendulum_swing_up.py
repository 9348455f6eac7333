"""Pendulum's iterative procedure end to end on tiny settings: cut, resumed."""

import json

import numpy as np
import pytest
from compare_case import side_by_side
from PIL import Image

from chainer_wm.plots import film_rows
from chainer_wm.runs import run_folder
from experiments import pendulum_swing_up as swing_up
from experiments.pendulum_swing_up import NAME

TINY = {
    'workers': 0,
    'iterations': 2,
    'first_episodes': 10,
    'episodes': 10,
    'frame_skip': 20,
    'vision_epochs': 0.1,
    'refine_epochs': 0.05,
    'latent_size': 3,
    'hidden_size': 6,
    'hidden_units': 2,
    'memory_length': 4,
    'memory_width': 4,
    'read_heads': 1,
    'model_batch': 4,
    'window': 10,
    'model_epochs': 2.0,
    'population': 4,
    'dreams': 2,
    'generations': 2,
    'test_episodes': 2,
}


def start(data, run, **more):
    flags = [f'--data={data}', f'--run={run}']
    flags += [f'--{name.replace("_", "-")}={value}' for name, value in (TINY | more).items()]
    swing_up.script(flags)


def results(data, run):
    path = data / NAME / run / 'results.json'
    found = json.loads(path.read_text())
    for changing in ('seconds', 'config', 'run'):
        found.pop(changing)
    return found


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    start(folder, 'whole')
    return folder


class Cut(Exception):
    pass


def test_a_run_cut_in_many_places_has_the_numbers_of_a_whole_one(data, monkeypatch):
    """Cut at every fifth tick of the clock, until it is through."""
    tick, ticks = run_folder.Run.tick, iter(range(1, 10**6))

    def cut(self):
        tick(self)
        if next(ticks) % 5 == 0:
            raise Cut

    monkeypatch.setattr(run_folder.Run, 'tick', cut)
    cuts = 0
    for _ in range(50):
        try:
            start(data, 'cut')
            break
        except Cut:
            cuts += 1
    assert cuts > 3
    assert results(data, 'cut') == results(data, 'whole')


def test_every_iteration_adds_episodes_and_is_scored(data):
    found = results(data, 'whole')
    assert [row['iteration'] for row in found['iterations']] == [1, 2]
    assert 'novelty' not in found['iterations'][0]
    for row in found['iterations']:
        assert row['game']['episodes'] == 2
        assert {'nll', 'done_loss', 'reward_loss'} <= set(row['held_out'])
    assert found['iterations'][1]['novelty']['nll'] > 0
    assert found['levels']['planner']['mean'] > found['levels']['random']['mean']
    folder = data / NAME / 'whole'
    lines = (folder / 'rollouts/episodes.jsonl').read_text().splitlines()
    assert len(lines) == 20
    names = {path.name for path in (folder / 'figures').iterdir()}
    assert names == {
        'returns.png',
        'generated.png',
        'game_and_dream_01.gif',
        'game_and_dream_02.gif',
        'model_training.png',
        'reconstructions.png',
        'vision_training.png',
    }


def test_more_iterations_go_on_where_the_run_ended(data, capsys):
    start(data, 'grown', iterations=1)
    start(data, 'grown', iterations=2)
    assert 'controller-1: complete, skipped' in capsys.readouterr().out
    assert results(data, 'grown') == results(data, 'whole')


def test_curious_explorers_with_a_dnc(data):
    start(data, 'curious', model='dnc', curiosity=2.0)
    folder = data / NAME / 'curious'
    assert (folder / 'explorer/cma_es.npz').exists()
    assert (folder / 'figures/memory.png').exists()
    assert not (folder.parent / 'whole/explorer').exists()
    first, second = results(data, 'curious')['iterations']
    assert np.isfinite([first['game']['mean'], second['dream']['mean']]).all()


def test_a_run_says_what_it_is_compared_in(data):
    table = side_by_side(data, NAME, 'whole')
    rows = results(data, 'whole')['iterations']
    said = table['runs'][0]
    game = said['curves']['agent in the game']
    assert game['x'] == [1, 2] and game['y'] == [row['game']['mean'] for row in rows]
    assert set(said['baselines']) == {'no torque', 'planner'}
    dream = table['groups']['LSTM']['scores']['return in the dream']
    assert dream['values'] == [rows[-1]['dream']['mean']]


def test_strips_show_films_at_the_same_moments(tmp_path):
    films = {
        'long': np.full((10, 8, 8, 3), 200, np.uint8),
        'short': np.zeros((3, 8, 8, 3), np.uint8),
    }
    film_rows(tmp_path / 'rows.png', films, count=5)
    picture = np.asarray(Image.open(tmp_path / 'rows.png').convert('L'))
    dark = (picture == 0).sum(), (picture == 200).sum()
    assert 0.3 < dark[0] / dark[1] < 0.5  # frames 0 and 2 of five
    films['short'] = np.zeros((3, 8, 9, 3), np.uint8)
    with pytest.raises(ValueError, match=r'\(8, 9, 3\)'):
        film_rows(tmp_path / 'rows.png', films)
