"""The real game in the player: whose it is, who plays, and what is recorded."""

import numpy as np
import pytest
from inspector_case import episode
from saved_agent_case import make_saved

pytest.importorskip('starlette', reason='the page needs the extra "inspector"')
import io

from PIL import Image
from starlette.testclient import TestClient

from chainer_wm import files
from chainer_wm.inspector import live, real_game, server
from chainer_wm.inspector.folders import InspectorError
from chainer_wm.inspector.trained import Models
from chainer_wm.play.films import film
from chainer_wm.rollouts import RolloutStore

HERE = 'http://127.0.0.1:8000'


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """A run of Pendulum with V, M and C."""
    folder = tmp_path_factory.mktemp('data') / 'pendulum_swing_up/short'
    folder.mkdir(parents=True)
    files.write_json(folder / 'config.json', {'model': 'lstm', 'frame_skip': 20})
    RolloutStore(folder / 'rollouts').describe('Pendulum', {}, 0, {})
    RolloutStore(folder / 'rollouts').add(0, episode(20))
    found = make_saved(folder, 'lstm')
    found.new_controller(found.model()).save(found.controller_path)
    return found


def grid_run(tmp_path, experiment='key_corridor', **config):
    folder = tmp_path / 'data' / experiment / 'run'
    folder.mkdir(parents=True)
    files.write_json(folder / 'config.json', config)
    return folder


def test_the_controller_plays_the_game_as_a_film_of_it_does(saved):
    learnt = Models().of(saved.folder)
    game = real_game.RealGame(saved.folder, learnt)
    game.begin(3)
    shown = []
    while not game.over:
        shown.append(game.step(None))
    agent = real_game.WorldModelAgent(
        learnt.vision, learnt.model, learnt.controller, learnt.features
    )
    agent.lanes = 1
    expected = film(lambda: game.env, agent, np.random.default_rng(3))
    assert len(shown) == 10 == len(expected.actions)
    np.testing.assert_allclose([one.action for one in shown], expected.actions, atol=1e-6)
    np.testing.assert_array_equal([one.frame for one in shown], expected.frames[1:])
    assert shown[-1].total == pytest.approx(expected.total)


def test_m_remembers_what_was_played_and_not_what_c_wished(saved):
    game = real_game.RealGame(saved.folder, Models().of(saved.folder))
    memories = []
    for mine in ([0.5], [-0.5]):
        game.begin(3)
        assert game.step(np.array(mine)).action == mine
        memories.append(game._state.memory.h)
    assert np.abs(memories[0] - memories[1]).max() > 0


def test_a_grid_waits_for_a_key_and_moves_by_it(tmp_path, monkeypatch):
    folder = grid_run(tmp_path, length=8)
    monkeypatch.setattr(real_game, '_loaded', lambda script: Untrained)
    game = real_game.RealGame(folder, None)
    assert not game.player and game.actions == 2
    game.begin(0)
    here = game.env.position
    assert game.step(np.zeros(2)) is None and game.steps == 0
    assert game.step(np.array([1.0, 0])).steps == 1
    assert game.env.position == (here[0], here[1] + 1)


class Untrained:
    """A script whose run has no policy yet."""

    from experiments.key_corridor import Config

    @staticmethod
    def watch(config, run):
        from experiments.key_corridor import make_env

        return make_env(config, 'rgb_array'), None


def test_what_cannot_be_played_is_said(tmp_path):
    assert real_game.script_of(grid_run(tmp_path, '../escape')) is None
    with pytest.raises(InspectorError, match='no script'):
        real_game.RealGame(grid_run(tmp_path, 'mdn_toy'), None)
    with pytest.raises(InspectorError, match='cannot be made: .*policy'):
        real_game.RealGame(grid_run(tmp_path), None)


def head(data):
    return live.HEAD.unpack(data[: live.HEAD.size])


def test_one_switches_between_dream_and_game_and_records_both(saved):
    app = server.make_app(saved.folder.parent.parent)
    run = 'pendulum_swing_up/short'
    with TestClient(app, base_url=HERE) as client:
        assert client.get('/api/run', params={'run': run}).json()['parts']['game']
        path = f'ws://127.0.0.1:8000/api/live?run={run}&seed=2&token={app.token}'
        with client.websocket_connect(path, headers={'Origin': HERE}) as socket:
            said = socket.receive_json()
            assert (said['place'], said['places']) == ('dream', ['dream', 'game'])
            assert head(socket.receive_bytes())[5:] == (0, 64, 64)
            socket.send_json({'place': 'nowhere', 'fps': 60, 'seen': 1})
            socket.send_json({'place': 'game', 'record': True})
            message = socket.receive()
            while 'text' not in message:
                message = socket.receive()
            assert '"game"' in message['text']
            ended = None
            for _ in range(200):
                data = socket.receive_bytes()
                if not head(data)[0]:
                    break
                socket.send_json({'seen': head(data)[0]})
                if head(data)[5] & 1 and ended is None:
                    ended = head(data)
                    socket.send_json({'record': False})
            assert ended[1] == 10 and ended[4] < 0  # steps, and what they cost
            assert 10 <= Image.open(io.BytesIO(data[live.HEAD.size :])).n_frames <= 12
