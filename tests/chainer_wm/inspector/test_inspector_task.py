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
        found = client.get('/api/task', params={'run': '.', 'length': 8, 'seed': 3}).json()
    batch = make_task('repeat', 4).batch(stream(3, 'sequence'), 1, 8, 8)
    np.testing.assert_allclose(found['inputs'], batch.inputs[:, 0], atol=1e-4)
    np.testing.assert_allclose(found['outputs'], net.answers(batch.inputs)[:, 0], atol=1e-4)
    assert found['asked'] == [False] * 5 + [True] * 4 and 0 < found['error'] < 1
    if core == 'lstm':
        assert 'usage' not in found
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
