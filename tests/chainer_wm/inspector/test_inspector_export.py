"""What the inspector shows, as files."""

import csv
import io
import json

import numpy as np
import pytest
from inspector_case import episode
from PIL import Image
from saved_agent_case import make_saved

from chainer_wm import files
from chainer_wm.files.archives import save_link
from chainer_wm.inspector.__main__ import main
from chainer_wm.rollouts import RolloutStore
from chainer_wm.seeds import stream
from chainer_wm.tasks.network import SequenceNet
from chainer_wm.tasks.sequence_tasks import make_task

STEPS = 12


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data') / 'doom/Run 1'
    folder.mkdir(parents=True)
    files.write_json(folder / 'config.json', {'model': 'dnc', 'temperature': [1.2]})
    rows = [{'iteration': n, 'main/nll': 1 / n} for n in range(1, 4)]
    files.write_json(folder / 'model/log.json', rows)
    store = RolloutStore(folder / 'rollouts')
    settings = {'skill': 4, 'policy': {'name': 'HeldRandom'}}
    store.describe('TakeCover', settings, 7, {'numpy': np.__version__})
    store.add(0, episode(STEPS))
    store.add(3, episode(5, 1))
    return make_saved(folder, 'dnc')


def export(*arguments):
    return main(['export', *map(str, arguments)])


def test_an_episode_as_a_table(saved, tmp_path):
    assert export(saved.folder, '--context', 4, '--out', tmp_path / 'a.csv') == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / 'a.csv').read_text())))
    assert len(rows) == STEPS
    expected = episode(STEPS)
    np.testing.assert_allclose([float(r['action 0']) for r in rows], expected.actions[:, 0], 1e-5)
    assert float(rows[-1]['return']) == expected.rewards.sum()
    assert rows[0]['nats'] == '' and float(rows[1]['nats']) != 0
    assert float(rows[3]['dream error']) == 0 < float(rows[4]['dream error'])
    assert 'usage 15' in rows[0] and 'z 2' in rows[0]


def test_an_episode_of_a_cache_alone_has_no_models(saved, tmp_path):
    assert export(saved.folder / 'rollouts', '--episode', 3, '--out', tmp_path / 'a.csv') == 0
    head = (tmp_path / 'a.csv').read_text().splitlines()[0]
    assert head == 't,action 0,reward,return'


def test_curves_and_a_sequence_as_tables(saved, tmp_path, capsys):
    out = tmp_path / 'a.csv'
    assert export(saved.folder, '--to', 'curves', '--out', out) == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row['x'] for row in rows] == ['1', '2', '3']
    assert {(row['curve'], row['over']) for row in rows} == {('model: nll', 'iteration')}
    assert float(rows[2]['y']) == pytest.approx(1 / 3)
    assert export(saved.folder, '--to', 'sequence', '--out', out) == 2
    assert export(saved.folder / 'rollouts', '--to', 'curves', '--out', out) == 2
    assert 'no net' in capsys.readouterr().err
    task = make_task('repeat', 4)
    net = SequenceNet(task.input_size, task.output_size, 5, 'lstm')
    files.write_json(tmp_path / 'run/config.json', {'task': 'repeat', 'width': 4})
    save_link(tmp_path / 'run/model/best.npz', net)
    wanted = ('--length', 8, '--seed', 3)
    assert export(tmp_path / 'run', '--to', 'sequence', *wanted, '--out', out) == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    batch = task.batch(stream(3, 'sequence'), 1, 8, 8)
    assert [row['asked'] for row in rows] == ['0'] * 5 + ['1'] * 4
    answered = [float(row['outputs 1']) for row in rows]
    np.testing.assert_allclose(answered, net.answers(batch.inputs)[:, 0, 1], atol=1e-6)


def test_films_and_pictures_have_v_and_m_beside_the_game(saved, tmp_path):
    assert export(saved.folder, '--to', 'gif', '--out', tmp_path / 'a.gif') == 0
    with Image.open(tmp_path / 'a.gif') as film:
        assert film.n_frames == STEPS and film.width == 2 * (4 * 64 + 3)
    assert export(saved.folder, '--to', 'png', '--step', 9, '--out', tmp_path / 'a.png') == 0
    with Image.open(tmp_path / 'a.png') as picture:
        assert picture.width > 4 * 4 * 64


def test_what_is_not_there_is_one_line(saved, tmp_path, capsys):
    assert export(saved.folder, '--to', 'png', '--step', STEPS) == 2
    assert f'the episode has {STEPS}' in capsys.readouterr().err
    assert export(saved.folder, '--episode', 1) == 2
    assert 'episode 1 is not in' in capsys.readouterr().err
    assert export(tmp_path, '--to', 'minari', '--out', tmp_path / 'm') == 2
    assert not (tmp_path / 'm').exists()


def test_a_cache_as_a_minari_dataset_has_every_byte(saved, tmp_path, capsys):
    h5py = pytest.importorskip('h5py', reason='h5py writes the datasets of Minari')
    assert export(saved.folder, '--to', 'minari', '--out', tmp_path) == 0
    assert 'chainer-wm/takecover/run-1-v0' in capsys.readouterr().out
    data = tmp_path / 'chainer-wm/takecover/run-1-v0/data'
    said = json.loads((data / 'metadata.json').read_text())
    assert (said['total_episodes'], said['total_steps']) == (2, STEPS + 5)
    assert (said['game'], said['root_seed'], said['algorithm_name']) == (
        *('TakeCover', 7),
        'HeldRandom',
    )
    assert said['game_settings']['skill'] == 4 and said['versions'] == {'numpy': np.__version__}
    store = RolloutStore(saved.folder / 'rollouts')
    with h5py.File(data / 'main_data.hdf5') as file:
        for number, recorded in enumerate(store.episodes):
            group, expected = file[f'episode_{number}'], store.read(recorded)
            np.testing.assert_array_equal(group['observations'][:-1], expected.observations)
            np.testing.assert_array_equal(group['actions'], expected.actions)
            assert group.attrs['sha256'] == store.entry(recorded)['sha256']
            assert group.attrs['seed'] == expected.info['seed']
    assert export(saved.folder, '--to', 'minari', '--out', tmp_path) == 2  # it is there
    assert 'already' in capsys.readouterr().err


@pytest.mark.filterwarnings('ignore')  # its own, of gymnasium
def test_minari_reads_it_back(saved, tmp_path, monkeypatch):
    pytest.importorskip('h5py', reason='h5py writes the datasets of Minari')
    minari = pytest.importorskip('minari', reason='Minari reads its datasets')
    assert export(saved.folder, '--to', 'minari', '--out', tmp_path) == 0
    monkeypatch.setenv('MINARI_DATASETS_PATH', str(tmp_path))
    found = minari.load_dataset('chainer-wm/takecover/run-1-v0')
    assert found.total_episodes == 2 and found.total_steps == STEPS + 5
    for one, number in zip(found.iterate_episodes(), (0, 1)):
        expected = episode((STEPS, 5)[number], number)
        np.testing.assert_array_equal(one.observations[:-1], expected.observations)
        np.testing.assert_array_equal(one.actions, expected.actions)
        np.testing.assert_array_equal(one.rewards, expected.rewards)
        np.testing.assert_array_equal(one.terminations, expected.terminated)
    assert found.action_space.contains(one.actions[0])
    assert found.observation_space.contains(one.observations[0])


@pytest.mark.filterwarnings('ignore')
def test_tensorboard_reads_the_scalars(saved, tmp_path):
    pytest.importorskip('tensorboard', reason='TensorBoard reads its own files')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert export(saved.folder, '--tensorboard', '--out', tmp_path) == 0
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    scalars = found.Scalars('model/nll')
    assert [(each.step, round(each.value, 4)) for each in scalars] == [
        *((1, 1.0), (2, 0.5)),
        (3, 0.3333),
    ]


def test_the_page_saves_the_same_table(saved):
    pytest.importorskip('starlette', reason='the page needs the extra "inspector"')
    from starlette.testclient import TestClient

    from chainer_wm.inspector import server

    query = {'run': '.', 'store': 'rollouts', 'episode': 0}
    with TestClient(server.make_app(saved.folder), base_url='http://127.0.0.1') as client:
        text = client.get('/api/table', params=query).text
        assert len(text.splitlines()) == STEPS + 1 and 'dream' not in text
        dream = {'context': 4, 'temperature': 1.2, 'seed': 0}
        assert 'dream error' in client.get('/api/table', params=query | dream).text
        answer = client.get('/api/film', params=query | dream)
        assert answer.headers['content-type'] == 'image/gif'
        assert Image.open(io.BytesIO(answer.content)).n_frames == STEPS
