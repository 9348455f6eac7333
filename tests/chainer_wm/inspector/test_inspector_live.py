"""Dreams over a WebSocket: who plays, how fast, and who may."""

import json
import os
import time

import numpy as np
import pytest
from inspector_case import episode
from saved_agent_case import make_saved

pytest.importorskip('starlette', reason='the page needs the extra "inspector"')
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from chainer_wm import files
from chainer_wm.inspector import live, server
from chainer_wm.inspector.dreamer import Dreamer
from chainer_wm.inspector.trained import Models
from chainer_wm.rollouts import RolloutStore

HERE = 'http://127.0.0.1:8000'
SOCKET = 'ws://127.0.0.1:8000/api/live'
OWN = {'Origin': HERE}


@pytest.fixture(scope='module', params=['lstm', 'dnc'])
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    files.write_json(folder / 'config.json', {'model': request.param, 'temperature': [1.2]})
    RolloutStore(folder / 'rollouts').describe('TakeCover', {}, 0, {})
    RolloutStore(folder / 'rollouts').add(0, episode(20))
    found = make_saved(folder, request.param)
    found.new_controller(found.model()).save(found.controller_path)
    return found


@pytest.fixture
def app(saved):
    return server.make_app(saved.folder)


@pytest.fixture
def client(app):
    with TestClient(app, base_url=HERE) as found:
        yield found


def connect(client, app, **query):
    given = '&'.join(f'{name}={value}' for name, value in {'run': '.', **query}.items())
    return client.websocket_connect(f'{SOCKET}?{given}&token={app.token}', headers=OWN)


def frame(socket):
    """What `live.HEAD` holds of the next frame, which is then seen; a film is passed over."""
    data = socket.receive_bytes()
    while data.startswith(b'\0' * live.HEAD.size):
        data = socket.receive_bytes()
    assert len(data) == live.HEAD.size + 64 * 64 * 3
    head = live.HEAD.unpack(data[: live.HEAD.size])
    socket.send_json({'seen': head[0]})
    return head


def until(socket, fits):
    for _ in range(200):
        head = frame(socket)
        if fits(head):
            return head
    pytest.fail(f'200 frames, the last one {head}')


def test_the_controller_plays_until_a_key_takes_over_and_gives_back(client, app):
    with connect(client, app) as socket:
        said = socket.receive_json()
        assert (said['place'], said['temperature'], said['actions']) == ('dream', 1.2, 1)
        socket.send_json({'fps': 60})
        assert frame(socket)[1] == 0
        assert until(socket, lambda head: head[1] > 5)[4] == 0
        socket.send_json({'keys': [-1], 'take': True})
        until(socket, lambda head: head[5] == 2 and head[2] == -1)
        socket.send_json({'keys': None})
        until(socket, lambda head: head[5] == 2 and head[2] == 0)
        socket.send_json({'take': False})
        until(socket, lambda head: head[5] == 0)
        socket.send_json({'restart': 3})
        until(socket, lambda head: head[1] == 0)


def test_a_browser_that_is_slow_misses_frames(client, app):
    with connect(client, app) as socket:
        socket.receive_json()
        socket.send_json({'fps': 60})
        sent = [live.HEAD.unpack(socket.receive_bytes()[: live.HEAD.size]) for _ in range(3)]
        assert [head[0] for head in sent] == [1, 2, 3]
        time.sleep(0.2)  # the dream goes on, and nothing is sent
        socket.send_json({'restart': 1})  # the next that is sent is the start
        head = live.HEAD.unpack(socket.receive_bytes()[: live.HEAD.size])
        assert head[:2] == (4, 0)


def test_a_dream_branches_off_a_recorded_frame(client, app):
    with connect(client, app, store='rollouts', episode=0, t=7) as socket:
        assert socket.receive_json()['actions'] == 1
        until(socket, lambda head: head[1] == 3)


def test_the_same_seed_dreams_the_same_and_heat_changes_it(saved):
    learnt = Models().of(saved.folder)
    films = []
    for temperature in (1.0, 1.0, 2.0):
        dreamer = Dreamer(learnt)
        dreamer.temperature = temperature
        dreamer.begin(4)
        dreamer.step(np.ones(1))
        films.append(dreamer._z)
    np.testing.assert_array_equal(films[0], films[1])
    assert np.abs(films[0] - films[2]).max() > 0


def test_a_dream_ends_where_the_dreams_that_c_learnt_in_did(saved, tmp_path):
    learnt = Models().of(saved.folder)
    assert learnt.done_threshold == 0.5
    shown = []
    for threshold in (0.0, 1.0):
        dreamer = Dreamer(learnt._replace(done_threshold=threshold))
        dreamer.begin(4)
        shown.append(dreamer.step(np.ones(1)))
    assert 0 < shown[0].p_done == shown[1].p_done < 1
    assert [one.over for one in shown] == [True, False]
    saved.pack(tmp_path, saved.model().config['core'], (1.0,), {}, done_threshold=0.2)
    packed = Models().of(tmp_path / saved.model().config['core'])
    assert packed.done_threshold == 0.2


@pytest.mark.parametrize(
    ('query', 'words'),
    [
        ({'run': 'other'}, 'no run'),
        ({'seed': 'x'}, 'whole number'),
        ({'episode': 9, 'store': 'rollouts'}, 'episode 9'),
        ({'episode': 0, 'store': 'rollouts', 't': 20}, 'step 20'),
    ],
)
def test_what_is_not_there_is_said(client, app, query, words):
    with connect(client, app, **query) as socket:
        assert words in socket.receive_json()['error']


@pytest.mark.parametrize('headers', [{}, {'Origin': 'http://a.b'}, {'Origin': 'null'}])
def test_other_pages_may_not_play(client, app, headers):
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect(f'{SOCKET}?run=.&token={app.token}', headers=headers),
    ):
        pass
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect(f'{SOCKET}?run=.', headers=OWN),
    ):
        pass


def words(rng):
    """A message that nobody should send."""
    keys = ['keys', 'take', 'temperature', 'fps', 'paused', 'restart', 'seen', 'x']
    keys += ['place', 'record']
    values = [None, -1, 1e308, 'x', [], [1e999], [[1]], {}, True, 2**80, [1, 2], '1', -(2**70)]
    said = {str(rng.choice(keys)): values[rng.integers(len(values))] for _ in range(3)}
    text = json.dumps(said)
    return [text, text[:-3], '[' * 500, '"' + 'x' * 5000, '{}', 'null'][rng.integers(6)]


MANY = pytest.mark.parametrize('count', [300, pytest.param(10_000, marks=pytest.mark.slow)])


def megabytes():
    """Memory of this process."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 1e6


@MANY
def test_no_message_breaks_a_dream(client, app, count):
    rng = np.random.default_rng(0)
    with connect(client, app) as socket:
        socket.receive_json()
        before = 0.0
        for number in range(count):
            if number == count // 5:
                before = megabytes()
            if rng.random() < 0.2:
                socket.send_bytes(rng.bytes(20))
            else:
                socket.send_text(words(rng))
        socket.send_json({'paused': False, 'fps': 60, 'seen': 10**6, 'restart': 0})
        socket.send_json({'record': False})
        until(socket, lambda head: head[1] == 2)
    assert megabytes() < before + 100


@MANY
def test_no_request_breaks_the_server(client, count):
    rng = np.random.default_rng(1)
    paths = ['runs', 'run', 'curves', 'figure', 'episodes', 'episode', 'frames', 'trace', 'map']
    paths += [
        'latents',
        'code',
        'decoded',
        'table',
        'film',
        'task',
        'sequence',
        'sprites',
        'points',
        'moment',
        'dream',
        'pictures',
        'models',
        'stop',
        '../runs',
        '%00',
        'x' * 300,
    ]
    values = ['.', 'rollouts', '0', '19', '-1', '1e9', '../..', '/etc/passwd', '\0', 'ü', '%2e%2e']
    values += ['nan', 'z', 'dream', '', '9' * 400]
    names = ['run', 'store', 'episode', 'start', 'count', 'what', 't', 'context', 'name', 'kind']
    names += ['source', 'z', 'length', 'fps', 'seed']
    before = 0.0
    for number in range(count):
        if number == count // 5:
            before = megabytes()
        query = {name: str(rng.choice(values)) for name in rng.choice(names, 5)}
        query |= {'run': '.', 'store': 'rollouts'} if rng.random() < 0.7 else {}
        answer = client.get(f'/api/{rng.choice(paths)}', params=query)
        assert answer.status_code < 500, answer.url
        assert b'root:' not in answer.content
    assert megabytes() < before + 100
