"""What the page is told of V, M and a DNC's memory along a recorded episode."""

import numpy as np
import pytest
from inspector_case import episode
from saved_agent_case import make_saved

pytest.importorskip('starlette', reason='the page needs the extra "inspector"')
from starlette.testclient import TestClient

from chainer_wm import files
from chainer_wm.dream.foresight import foresee
from chainer_wm.inspector import episode_trace, server, trained
from chainer_wm.links.conv_vae import decoded
from chainer_wm.rollouts import RolloutStore

HERE = 'http://127.0.0.1:8000'
STEPS, CONTEXT = 70, 30  # more than one piece
WHERE = {'run': '.', 'store': 'rollouts', 'episode': 0}


@pytest.fixture(scope='module', params=['lstm', 'dnc'])
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    files.write_json(folder / 'config.json', {'model': request.param, 'temperature': [1.2]})
    store = RolloutStore(folder / 'rollouts')
    store.describe('TakeCover', {}, 0, {})
    store.add(0, episode(STEPS))
    return make_saved(folder, request.param)


@pytest.fixture
def client(saved):
    app = server.make_app(saved.folder)
    with TestClient(app, base_url=HERE, headers={'X-Token': app.token, 'Origin': HERE}) as found:
        yield found


def said(answer, status=200):
    assert answer.status_code == status, answer.text
    return answer.json()


def bytes_of(answer):
    assert answer.status_code == 200, answer.text
    shape = [int(each) for each in answer.headers['x-shape'].split(',')]
    return np.frombuffer(answer.content, np.uint8).reshape(shape)


@pytest.fixture(scope='module')
def expected(saved):
    """Latents, and what M foresees of them by another way."""
    frames = episode(STEPS).observations
    z = trained.encoded(saved.vision(), frames)
    rng = np.random.default_rng(5)
    return z, foresee(saved.model(), z, episode(STEPS).actions, CONTEXT, rng, 0.8)


def test_a_trace_is_what_m_foresees_one_step_ahead(saved, expected):
    models = trained.Models()
    found = episode_trace.trace(models, models.of(saved.folder), episode(STEPS))
    z, foreseen = expected
    np.testing.assert_allclose(found.z, z, atol=1e-5)
    np.testing.assert_allclose(found.one_step, foreseen.one_step, atol=1e-4)
    np.testing.assert_allclose(found.p_done, foreseen.p_done_one_step, atol=1e-5)
    assert np.isnan(found.nats[0]) and np.isfinite(found.nats[1:]).all()
    assert found.h.shape == (STEPS, 5)


def test_a_dream_is_the_one_that_m_dreams(saved, expected):
    models = trained.Models()
    model = models.of(saved.folder)
    found = episode_trace.trace(models, model, episode(STEPS))
    actions = episode(STEPS).actions
    dreamt = episode_trace.dream_on(models, model.model, found, CONTEXT, 0.8, 5, actions)
    np.testing.assert_allclose(dreamt.z, expected[1].dreamed, atol=1e-3)
    since = slice(CONTEXT - 1, STEPS - 1)
    np.testing.assert_allclose(dreamt.p_done[since], expected[1].p_done_dreamed[since], atol=1e-4)


def test_the_page_gets_series_maps_and_pictures(client, saved, expected):
    found = said(client.get('/api/trace', params=WHERE))
    assert (found['latents'], found['hidden'], found['temperature']) == (3, 5, 1.2)
    assert len(found['nats']) == STEPS and found['nats'][0] is None
    answer = client.get('/api/map', params={**WHERE, 'what': 'z'})
    z, foreseen = expected
    low, high = float(answer.headers['x-low']), float(answer.headers['x-high'])
    values = bytes_of(answer).T / 255 * (high - low) + low
    np.testing.assert_allclose(values, z, atol=(high - low) / 400)
    asked = {**WHERE, 'kind': 'one-step', 'start': 5, 'count': 3}
    pictures = bytes_of(client.get('/api/pictures', params=asked))
    drawn = decoded(saved.vision(), foreseen.one_step[5:8])
    np.testing.assert_allclose(pictures.astype(int), drawn, atol=1)
    dream = {'context': CONTEXT, 'temperature': 0.8, 'seed': 5}
    error = said(client.get('/api/dream', params={**WHERE, **dream}))['error']
    assert error[CONTEXT - 1] == 0 < error[CONTEXT]


def test_a_memory_at_a_moment_is_that_of_the_whole_sequence(client, saved, expected):
    model = saved.model()
    answer = client.get('/api/moment', params={**WHERE, 't': 66})
    if saved.model().config['core'] == 'lstm':
        assert 'LSTM' in said(answer, 404)['error']
        return
    restart = np.zeros((STEPS, 1), np.float32)
    restart[0] = 1
    xs = model.inputs(expected[0][:, None], episode(STEPS).actions[:, None], restart)
    names = ('memory', 'link', 'usage', 'read_modes')
    true = model.core.trace(xs.array, engine='fused', names=names, steps=[66])
    here = said(answer)
    for name in names:
        np.testing.assert_allclose(here[name], true[name][0, 0], atol=1e-4, err_msg=name)
    assert bytes_of(client.get('/api/map', params={**WHERE, 'what': 'read-3'})).shape == (16, 70)


@pytest.mark.parametrize(
    ('path', 'query'),
    [
        ('map', {'what': 'secrets'}),
        ('moment', {'t': 70}),
        ('dream', {'context': 0}),
        ('dream', {'context': 70}),
        ('dream', {'context': 3, 'temperature': 'nan'}),
        ('dream', {'context': 3, 'temperature': 0}),
        ('pictures', {'kind': 'real'}),
        ('pictures', {'kind': 'dream', 'start': 70}),
        ('pictures', {'kind': 'reconstruction', 'count': 10**6}),
    ],
)
def test_what_does_not_fit_is_said(client, path, query):
    said(client.get(f'/api/{path}', params={**WHERE, **query}), 404)


def test_models_load_once_and_can_be_let_go(client, monkeypatch):
    loads = []
    load = trained._load
    monkeypatch.setattr(trained, '_load', lambda folder: loads.append(folder) or load(folder))
    for _ in range(2):
        said(client.get('/api/trace', params=WHERE))
    assert len(loads) == 1 and said(client.get('/api/models'))['models'] == ['.']
    assert said(client.post('/api/stop'))['models'] == []
    assert said(client.get('/api/models'))['models'] == []


def test_what_is_at_work_ends_when_the_models_are_let_go(saved, monkeypatch):
    models = trained.Models()
    learnt = models.of(saved.folder)
    monkeypatch.setattr(models, 'run', lambda *work: models.let_go())
    with pytest.raises(trained.Stopped):
        episode_trace.latents_of(models, learnt, episode(STEPS))


def test_damaged_and_foreign_models_are_named(saved, tmp_path):
    files.write_json(tmp_path / 'config.json', {})
    RolloutStore(tmp_path / 'rollouts').describe('TakeCover', {}, 0, {})
    RolloutStore(tmp_path / 'rollouts').add(0, episode(3, actions=np.zeros((3, 2))))
    (tmp_path / 'model').mkdir()
    (tmp_path / 'vision').mkdir()
    (tmp_path / 'vision/vision.npz').write_bytes(saved.vision_path.read_bytes())
    with TestClient(server.make_app(tmp_path), base_url=HERE) as client:
        assert 'not trained' in said(client.get('/api/trace', params=WHERE), 404)['error']
    (tmp_path / 'model/model.npz').write_bytes(saved.model_path.read_bytes())
    with TestClient(server.make_app(tmp_path), base_url=HERE) as client:
        assert 'another game' in said(client.get('/api/trace', params=WHERE), 404)['error']
    (tmp_path / 'model/model.npz').write_bytes(b'PK')
    with TestClient(server.make_app(tmp_path), base_url=HERE) as client:
        assert 'cannot be loaded' in said(client.get('/api/trace', params=WHERE), 404)['error']
