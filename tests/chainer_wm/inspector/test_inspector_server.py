"""The local web page: what it serves, and to whom."""

import io
import json
import threading
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
from inspector_case import alter, ask, run, store, tree
from PIL import Image

from chainer_wm.inspector import server

__all__ = ['run', 'store']  # fixtures


@pytest.fixture
def fetch(run):
    """GET from a server over the folder of the run's experiment."""
    with server.make_server(run.parent, 0) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        address = f'http://127.0.0.1:{served.server_port}'

        def get(path, headers=None, **query):
            url = f'{address}{path}?{urllib.parse.urlencode(query)}'
            request = urllib.request.Request(url, headers=headers or {})
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read()

        yield get
        served.shutdown()
        thread.join()


WHERE = {'store': 'smoke-dnc/rollouts', 'episode': 2}


def test_the_page_needs_nothing_from_the_network(fetch):
    status, body = fetch('/')
    assert status == 200
    page = body.decode()
    assert page.startswith('<!doctype html>')
    assert 'http://' not in page and 'https://' not in page


def test_stores_are_listed_with_their_episodes(fetch):
    found = json.loads(fetch('/api/stores')[1])
    assert [each['name'] for each in found] == ['smoke-dnc/rollouts']
    assert found[0]['game'] == 'TakeCover'
    assert found[0]['problems'] == []
    assert [row['length'] for row in found[0]['episodes']] == [3, 5, 10]


def test_runs_are_listed_as_text(fetch):
    found = json.loads(fetch('/api/runs')[1])
    assert [each['name'] for each in found] == ['smoke-dnc']
    assert '+100 against random' in found[0]['text']


def test_an_episode_arrives_frame_by_frame(fetch, run):
    rollout = server._rollout(run.parent, {**WHERE, 'episode': '2'})
    episode = json.loads(fetch('/api/episode', **WHERE)[1])
    assert episode['length'] == 10
    assert episode['rewards'] == [1] * 10
    np.testing.assert_allclose(episode['actions'], rollout.actions)
    with Image.open(io.BytesIO(fetch('/api/frames', **WHERE)[1])) as sheet:
        pixels = np.asarray(sheet)
    for step, frame in enumerate(rollout.observations):
        left = step % server.SPRITES * 64
        np.testing.assert_array_equal(pixels[:64, left : left + 64], frame)


@pytest.mark.parametrize(
    ('path', 'query'),
    [
        ('/api/episode', {'store': '../../..', 'episode': 0}),
        ('/api/episode', {'store': '/etc', 'episode': 0}),
        ('/api/episode', {**WHERE, 'episode': '../1'}),
        ('/api/frames', {**WHERE, 'episode': 99}),
        ('/api/frames', {}),
        ('/../server.py', {}),
        ('/smoke-dnc/config.json', {}),
    ],
)
def test_nothing_else_is_served(fetch, path, query):
    status, body = fetch(path, **query)
    assert status == 404
    assert json.loads(body)['error']


def test_pages_of_other_sites_get_nothing(fetch):
    for host in ('example.com', 'example.com:80', '127.0.0.1.example.com:1'):
        assert fetch('/api/stores', headers={'Host': host})[0] == 403
    assert fetch('/api/stores', headers={'Host': 'localhost:1'})[0] == 200


def test_damage_is_told_and_nothing_is_changed(fetch, run):
    alter(None, run / 'rollouts' / 'episodes' / '000002.npz')
    (run / 'rollouts' / 'episodes' / '000001.npz').unlink()
    before = tree(run)
    assert 'altered' in json.loads(fetch('/api/episode', **WHERE)[1])['error']
    found = json.loads(fetch('/api/stores')[1])
    assert len(found[0]['problems']) == 1
    (run / 'rollouts' / 'manifest.json').write_text('{')
    found = json.loads(fetch('/api/stores')[1])
    assert 'not valid JSON' in found[0]['problems'][0]
    (run / 'rollouts' / 'manifest.json').write_bytes(before[run / 'rollouts' / 'manifest.json'])
    assert tree(run) == before


def test_a_port_that_cannot_be_used(store, capsys):
    with server.make_server(store.path, 0) as served:
        status, _, error = ask(capsys, store.path, '--serve', served.server_port)
    assert status == 2
    assert 'cannot be used' in error
    assert ask(capsys, store.path, '--serve', 99999)[0] == 2


def test_serving_ends_with_an_interrupt(store, capsys, monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(server.http.server.ThreadingHTTPServer, 'serve_forever', interrupt)
    status, out, _ = ask(capsys, store.path, '--serve', 0)
    assert status == 0
    assert 'at http://127.0.0.1:' in out
