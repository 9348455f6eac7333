"""A net at work on a sequence of its task."""

import numpy as np
import pytest

pytest.importorskip('starlette', reason='the page needs the extra "inspector"')
from starlette.testclient import TestClient

from chainer_wm import files
from chainer_wm.files.archives import save_link
from chainer_wm.inspector import server
from chainer_wm.seeds import stream
from chainer_wm.tasks.network import SequenceNet
from chainer_wm.tasks.sequence_tasks import make_task
from chainer_wm.tasks.sprite_model import SpriteModel
from chainer_wm.tasks.sprite_sequences import SpriteRollouts, SpriteWindows
from chainer_wm.tasks.sprites import Sprites

HERE = 'http://127.0.0.1:8000'


def client_of(folder, core, **options):
    task = make_task('repeat', 4)
    net = SequenceNet(task.input_size, task.output_size, 5, core, **options)
    files.write_json(folder / 'config.json', {'task': 'repeat', 'width': 4, 'model': core})
    save_link(folder / 'model/best.npz', net)
    return net, TestClient(server.make_app(folder), base_url=HERE)


@pytest.mark.parametrize('core', ['lstm', 'dnc'])
def test_a_net_answers_and_a_memory_is_shown(tmp_path, core):
    options = dict(memory_length=6, memory_width=4, read_heads=2) if core == 'dnc' else {}
    net, client = client_of(tmp_path, core, **options)
    with client:
        assert client.get('/api/run', params={'run': '.'}).json()['parts']['task']
        where = {'run': '.', 'length': 8, 'seed': 3}
        found = client.get('/api/task', params=where).json()
        lines = client.get('/api/sequence', params=where).text.splitlines()
    assert len(lines) == 10 and lines[0].startswith('t,inputs 0,')
    batch = make_task('repeat', 4).batch(stream(3, 'sequence'), 1, 8, 8)
    np.testing.assert_allclose(found['inputs'], batch.inputs[:, 0], atol=1e-4)
    np.testing.assert_allclose(found['outputs'], net.answers(batch.inputs)[:, 0], atol=1e-4)
    assert found['asked'] == [False] * 5 + [True] * 4 and 0 < found['error'] < 1
    if core == 'lstm':
        assert 'usage' not in found and np.shape(found['h']) == (9, 5)
        return
    traced = net.core.trace(batch.inputs.astype('f'), names=('memory', 'read_weights'))
    for name, values in traced.items():
        np.testing.assert_allclose(found[name], values[:, 0], atol=1e-4)


def test_what_is_not_there_is_said(tmp_path):
    _, client = client_of(tmp_path, 'lstm')
    with client:
        for length in ('1', '1000', 'x'):
            answer = client.get('/api/task', params={'run': '.', 'length': length})
            assert answer.status_code == 404 and 'length' in answer.json()['error']
        (tmp_path / 'model/best.npz').write_bytes(b'PK')
        answer = client.get('/api/task', params={'run': '.'})
        assert answer.status_code == 404 and 'cannot be loaded' in answer.json()['error']
        files.write_json(tmp_path / 'config.json', {'task': 'chess'})
        answer = client.get('/api/task', params={'run': '.'})
        assert answer.status_code == 404 and 'no net' in answer.json()['error']


@pytest.mark.parametrize('core', ['lstm', 'dnc'])
def test_a_net_predicts_sprites_that_nobody_learnt_from(tmp_path, core):
    options = dict(memory_length=4, memory_width=3, read_heads=2) if core == 'dnc' else {}
    net = SpriteModel(5, core, **options)
    config = {'motion': 'walk', 'actions': 'last', 'moving': ['x'], 'dsprites': '/etc/passwd'}
    files.write_json(tmp_path / 'config.json', config)
    save_link(tmp_path / 'model/best.npz', net)
    where = {'run': '.', 'length': 7, 'seed': 2}
    pictures = {}
    with TestClient(server.make_app(tmp_path), base_url=HERE) as client:
        assert client.get('/api/run', params={'run': '.'}).json()['parts']['task']
        found = client.get('/api/task', params=where).json()
        for kind in ('shown', 'comes next', 'predicted'):
            answer = client.get('/api/sprites', params={**where, 'kind': kind, 'start': 0})
            assert answer.headers['x-shape'] == '7,64,64,3'
            pictures[kind] = np.frombuffer(answer.content, np.uint8).reshape(7, 64, 64, 3)[..., 0]
        for wrong in ({'kind': 'h'}, {'kind': 'shown', 'start': 7}, {'kind': 'shown', 'count': 0}):
            assert client.get('/api/sprites', params={**where, **wrong}).status_code == 404
    rollouts = SpriteRollouts(2, 'look', 8, 8, 'walk', ('x',))
    window = SpriteWindows(rollouts, 1, 1, 7, Sprites(), 'last').batch(0)
    expected, _ = net.predictions(window, net.initial_state(1))
    np.testing.assert_array_equal(pictures['shown'], window.images[:-1, 0] * 255)
    np.testing.assert_array_equal(pictures['comes next'], window.images[1:, 0] * 255)
    np.testing.assert_allclose(pictures['predicted'], expected[:, 0] * 255, atol=0.51)
    moved = np.abs(found['actions'])
    assert moved[:, 3].max() > 0 and moved[:, [0, 1, 2, 4]].max() == 0  # only x
    assert len(found['wrong']) == 7 and found['error'] == pytest.approx(np.mean(found['wrong']))
    assert np.shape(found['memory'] if core == 'dnc' else found['h']) == (
        (7, 4, 3) if core == 'dnc' else (7, 5)
    )
