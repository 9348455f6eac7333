"""The web server: what it serves, and to whom."""

import json
import sys
import time

import numpy as np
import pytest
from inspector_case import alter, ask, episode, make_store, run, store, tree

pytest.importorskip('starlette', reason='the page needs the extra "inspector"')
from starlette.testclient import TestClient

from chainer_wm import files
from chainer_wm.inspector import catalog, server
from chainer_wm.inspector.folders import InspectorError

__all__ = ['run', 'store']  # fixtures

HERE = 'http://127.0.0.1:8000'
WHERE = {'run': 'doom/smoke-dnc', 'store': 'rollouts', 'episode': 2}


@pytest.fixture
def app(run):
    return server.make_app(run.parent.parent)


@pytest.fixture
def client(app):
    with TestClient(app, base_url=HERE) as found:
        yield found


def said(answer, status=200):
    assert answer.status_code == status, answer.text
    return answer.json()


def test_the_page_needs_nothing_from_the_network(client, app):
    page = client.get('/').text
    assert page.startswith('<!doctype html>') and app.token in page
    for file in server.STATIC.iterdir():
        text = client.get(f'/static/{file.name}').text
        assert 'http://' not in text and 'https://' not in text, file.name
        assert ' style="' not in text, f'{file.name}: the policy of the page forbids it'
    assert client.get('/').headers['content-security-policy'].startswith("default-src 'self'")


def test_runs_are_listed_with_core_score_and_integrity(client):
    (row,) = said(client.get('/api/runs'))['runs']
    assert row['run'] == 'doom/smoke-dnc' and row['experiment'] == 'doom'
    assert (row['model'], row['seed'], row['game']) == ('dnc', 3, 'TakeCover')
    assert row['done'] == ['collect'] and row['stages'] == ['collect', 'model']
    assert row['evaluation']['mean'] == 309 and row['random_baseline']['mean'] == 209
    assert row['problems'] == [] and row['running'] is False and row['bytes'] > 1000


def test_a_row_is_read_anew_when_the_run_goes_on(client, run):
    said(client.get('/api/runs'))
    files.write_json(run / 'stages.json', {'collect': {'done': True}, 'model': {'done': True}})
    assert said(client.get('/api/runs'))['runs'][0]['done'] == ['collect', 'model']


def test_a_run_is_told_whole(client):
    found = said(client.get('/api/run', params={'run': 'doom/smoke-dnc'}))
    assert found['scores']['controls.untrained']['mean'] == 180
    assert found['figures'] == ['figures/evolution.png']
    assert found['stores']['rollouts']['episodes'] == 3
    assert found['log'][-1]['iteration'] == 29


def test_curves_come_from_results_and_from_the_logs_of_trainings(client, run):
    rows = [
        {'iteration': n, 'main/nll': 1 / n, 'held_out/nll': 2.0, 'elapsed_time': n}
        for n in range(1, 4)
    ]
    rows[1]['main/nll'] = float('nan')
    (run / 'model/log.json').write_text(json.dumps(rows))
    (run / 'controller').mkdir()
    history = {'generations': [{'generation': 1, 'max': 5.0}], 'evaluations': []}
    files.write_json(run / 'controller/history.json', history)
    found = said(client.get('/api/curves', params={'run': 'doom/smoke-dnc'}))
    assert set(found) == {'model: nll', 'model: held_out/nll', 'controller: max'}
    assert found['model: nll']['x'] == [1, 2, 3]
    assert found['model: nll']['y'] == [1.0, None, 1 / 3]
    assert found['controller: max']['xlabel'] == 'generation'
    points = client.get('/api/points', params={'run': 'doom/smoke-dnc'}).text.splitlines()
    assert points[0] == 'curve,over,x,y' and 'controller: max,generation,1,5' in points
    assert 'model: nll,iteration,2,' in points


def test_long_logs_are_thinned(run):
    rows = [{'iteration': n, 'loss': 0.0} for n in range(catalog.POINTS * 3 + 1)]
    files.write_json(run / 'model/log.json', rows)
    assert len(catalog.curves(run)['model: loss']['x']) <= catalog.POINTS


def test_an_episode_arrives_frame_by_frame(client, run):
    expected = episode(10, 2)
    found = said(client.get('/api/episode', params=WHERE))
    assert found['length'] == 10 and found['rewards'] == [1] * 10
    np.testing.assert_allclose(found['actions'], expected.actions)
    answer = client.get('/api/frames', params={**WHERE, 'start': 4, 'count': 99})
    assert answer.headers['x-shape'] == '6,64,64,3'
    frames = np.frombuffer(answer.content, np.uint8).reshape(6, 64, 64, 3)
    np.testing.assert_array_equal(frames, expected.observations[4:])


def test_episodes_are_listed_in_columns(client):
    found = said(client.get('/api/episodes', params=WHERE))
    assert found['episode'] == [0, 1, 2] and found['length'] == [3, 5, 10]
    assert found['end'] == ['game'] * 3 and found['game_seed'] == [100, 101, 102]
    assert found['game'] == 'TakeCover' and found['problems'] == []


def test_ten_thousand_episodes_open_in_two_seconds_of_computing(tmp_path):
    store = make_store(tmp_path / 'data/many', (3,))
    entry = store.entry(0)
    name = entry['file']
    with open(store.path / 'episodes.jsonl', 'a') as lines:
        for number in range(1, 10_000):
            file = f'episodes/{number:06d}.npz'
            (store.path / file).hardlink_to(store.path / name)
            lines.write(json.dumps({**entry, 'episode': number, 'file': file}) + '\n')
    with TestClient(server.make_app(tmp_path / 'data'), base_url=HERE) as client:
        start = time.process_time()
        said(client.get('/api/run', params={'run': 'many'}))
        found = said(client.get('/api/episodes', params={'run': 'many', 'store': '.'}))
        assert time.process_time() - start < 2
    assert len(found['episode']) == 10_000


@pytest.mark.parametrize(
    ('path', 'query'),
    [
        ('/api/run', {'run': '../../etc'}),
        ('/api/run', {'run': '/etc'}),
        ('/api/run', {}),
        ('/api/episode', {**WHERE, 'store': '../../..'}),
        ('/api/episode', {**WHERE, 'episode': '../1'}),
        ('/api/episode', {**WHERE, 'episode': '٣'}),
        ('/api/frames', {**WHERE, 'episode': 99}),
        ('/api/frames', {**WHERE, 'start': 10}),
        ('/api/frames', {**WHERE, 'count': 0}),
        ('/api/figure', {**WHERE, 'name': 'config.json'}),
        ('/api/figure', {**WHERE, 'name': 'figures/../config.json'}),
        ('/static/../server.py', {}),
        ('/static/%2e%2e%2fserver.py', {}),
        ('/smoke-dnc/config.json', {}),
    ],
)
def test_nothing_else_is_served(client, path, query):
    assert client.get(path, params=query).status_code == 404


def test_links_that_lead_outside_are_not_followed(client, run, tmp_path):
    (tmp_path / 'secret').mkdir()
    files.write_json(tmp_path / 'secret/config.json', {'model': 'secret'})
    (run.parent / 'link').symlink_to(tmp_path / 'secret')
    (run / 'figures/link.png').symlink_to(tmp_path / 'secret/config.json')
    assert len(said(client.get('/api/runs'))['runs']) == 1
    assert client.get('/api/run', params={'run': 'doom/link'}).status_code == 404
    asked = {**WHERE, 'name': 'figures/link.png'}
    assert client.get('/api/figure', params=asked).status_code == 404


@pytest.mark.parametrize(
    'headers',
    [
        {'Host': 'example.com'},
        {'Host': 'example.com:80'},
        {'Host': '127.0.0.1.example.com:1'},
        {'Sec-Fetch-Site': 'cross-site'},
        {'Sec-Fetch-Site': 'same-site'},
    ],
)
def test_pages_of_other_sites_get_nothing(client, headers):
    assert client.get('/api/runs', headers=headers).status_code == 403


@pytest.mark.parametrize('host', ['localhost:1', '127.0.0.1', '[::1]:8000'])
def test_this_machine_has_three_names(client, host):
    assert client.get('/api/runs', headers={'Host': host}).status_code == 200


def test_what_changes_something_needs_the_token_and_the_own_page(client, app):
    own = {'Origin': HERE, 'X-Token': app.token}
    assert (
        client.post('/api/runs', headers=own).status_code == 405
    )  # let through, to no such thing
    for wrong in ({}, {'Origin': HERE}, {'X-Token': app.token}, {**own, 'X-Token': 'guess'}):
        assert client.post('/api/runs', headers=wrong).status_code == 403
    assert client.post('/api/runs', headers={**own, 'Origin': 'http://a.b'}).status_code == 403


def test_other_machines_need_the_token(run):
    app = server.make_app(run, token='sesame', public=True)
    with TestClient(app, base_url='http://lab:8000') as client:
        assert client.get('/').status_code == client.get('/api/runs').status_code == 403
        assert client.get('/', params={'token': 'guess'}).status_code == 403
        answer = client.get('/', params={'token': 'sesame'})
        assert 'HttpOnly' in answer.headers['set-cookie']
        assert said(client.get('/api/runs'))['runs'][0]['run'] == '.'  # by the cookie
        assert client.post('/api/runs', headers={'Origin': 'http://lab:8000'}).status_code == 403


def test_damage_is_told_and_nothing_is_changed(client, run):
    alter(None, run / 'rollouts/episodes/000002.npz')
    (run / 'rollouts/episodes/000001.npz').unlink()
    before = tree(run)
    assert 'altered' in said(client.get('/api/episode', params=WHERE), 404)['error']
    assert len(said(client.get('/api/episodes', params=WHERE))['problems']) == 1
    assert len(said(client.get('/api/runs'))['runs'][0]['problems']) == 1
    assert tree(run) == before


@pytest.mark.parametrize('text', ['{', '[]', '{"a": 1}', '{"model": {"done": 3}}', '"x"', ''])
@pytest.mark.parametrize('name', ['config', 'stages', 'results', 'rollouts/manifest'])
def test_a_broken_run_says_so_and_the_others_work(client, run, name, text):
    make_store(run.parent / 'other/rollouts')
    (run / f'{name}.json').write_text(text)
    rows = said(client.get('/api/runs'))['runs']
    assert [row['run'] for row in rows] == ['doom/other', 'doom/smoke-dnc']
    for path in ('run', 'curves', 'episodes', 'episode'):
        answer = client.get(f'/api/{path}', params=WHERE)
        assert answer.status_code in (200, 404, 422), answer.text
    assert said(client.get('/api/episode', params={**WHERE, 'run': 'doom/other'}))


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(InspectorError, match='neither'):
        server.make_app(tmp_path)


def test_who_works_on_a_run_is_seen(run):
    assert not catalog.at_work(run)
    from chainer_wm.runs.run_folder import Run

    held = Run(run, files.read_json(run / 'config.json'))
    assert catalog.at_work(run)
    held.close()
    assert not catalog.at_work(run)


def test_a_port_that_cannot_be_used(store, capsys):
    with server._listen('127.0.0.1', 0) as taken:
        taken.listen()
        status, _, error = ask(capsys, store.path, '--serve', taken.getsockname()[1])
    assert status == 2
    assert 'cannot be used' in error
    assert ask(capsys, store.path, '--serve', 99999)[0] == 2


def test_serving_ends_with_an_interrupt(store, capsys, monkeypatch):
    def interrupt(self, sockets):
        raise KeyboardInterrupt

    monkeypatch.setattr(server.uvicorn.Server, 'run', interrupt)
    status, out, _ = ask(capsys, store.path, '--serve', 0)
    assert status == 0
    assert 'at http://127.0.0.1:' in out
    status, out, _ = ask(capsys, store.path, '--serve', 0, '--host', '0.0.0.0')
    assert '?token=' in out and 'Other machines' in out


def test_without_the_extra_the_terminal_says_what_to_install(store, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'starlette.applications', None)
    monkeypatch.delitem(sys.modules, 'chainer_wm.inspector.server')
    status, _, error = ask(capsys, store.path, '--serve', 0)
    assert status == 2
    assert 'inspector' in error and 'pip install' in error
    assert ask(capsys, store.path)[0] == 0
