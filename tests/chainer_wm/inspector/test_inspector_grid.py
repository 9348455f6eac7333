"""Dreams of a grid's pixel model in the player: where they begin, who plays, how hot they are."""

import dataclasses

import numpy as np
import pytest
from pixel_case import played, small_model, taught

pytest.importorskip('starlette', reason='the page needs the extra "inspector"')
from starlette.testclient import TestClient

from chainer_wm import files
from chainer_wm.envs.grid_navigation import OrderedKeys
from chainer_wm.files.archives import save_link
from chainer_wm.inspector import live, real_game, server
from chainer_wm.inspector.folders import InspectorError
from chainer_wm.inspector.pixel_dreamer import PixelDreamer
from chainer_wm.rollouts import RolloutStore

HERE = 'http://127.0.0.1:8000'
RIGHT, NOTHING = np.array([1.0, 0]), np.zeros(2)


class Wanderer:
    """Goes right, and counts what it has seen."""

    def start(self, rngs):
        return 0

    def act(self, frames, seen):
        return np.array([3]), seen + 1


class Script:
    """A script whose run has learnt one level."""

    from experiments.grid_navigation import Config

    @staticmethod
    def watch(config, run):
        return OrderedKeys(1, resolution=10), Wanderer()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A run with a model in which no picture changes and nothing ends, of two rewards."""
    monkeypatch.setattr(real_game, '_loaded', lambda script: Script)
    run = tmp_path / 'data/grid_navigation/run'
    store = RolloutStore(run / 'rollouts')
    store.describe('ordered_keys', {}, 0, {})
    rollouts = [played(1, seed, OrderedKeys) for seed in range(2)]
    for number, rollout in enumerate(rollouts):
        store.add(number, rollout)
    model = small_model('dnc')
    taught(model, rollouts)
    for link in (model.colours, model.outcome):
        link.W.array[...] = 0
        link.b.array[...] = 0
    model.outcomes.known.append([2.0, 0.0])
    model.outcome.b.array[...] = -20
    model.outcome.b.array[[0, len(model.outcomes.known) - 1]] = 0, 1  # a step, or that
    for level, iteration in ((0, 0), (0, 10), (0, 9)):
        where = run / f'level-{level}/iteration-{iteration}'
        files.write_json(where / 'scores.json', {'level': level, 'iteration': iteration})
    save_link(run / 'level-0/iteration-10/model/model.npz', model)  # the last one
    files.write_json(run / 'config.json', {})
    return run


def test_a_dream_begins_as_the_game_of_the_same_seed_and_waits_for_a_key(folder):
    dreamer, game = PixelDreamer(folder), real_game.RealGame(folder, None)
    assert dreamer.player and dreamer.actions == 2 and dreamer.counted == 'return'
    frames = [dreamer.begin(4).frame, game.begin(4).frame, dreamer.begin(5).frame]
    np.testing.assert_array_equal(frames[0], frames[1])
    assert dreamer.step(NOTHING) is None and dreamer.steps == 0
    shown = dreamer.step(RIGHT)
    assert (shown.steps, shown.action) == (1, [3])
    np.testing.assert_array_equal(shown.frame, frames[2])  # nothing changes in this model
    while not dreamer.over:
        shown = dreamer.step(None)
    assert shown.steps == dreamer.env.max_steps  # it knows no end


def test_what_is_less_likely_happens_in_hot_dreams_alone(folder):
    dreamer = PixelDreamer(folder)
    totals = {}
    for temperature in (0.1, 2.0):
        dreamer.begin(0)
        dreamer.temperature = temperature
        for _ in range(20):
            totals[temperature] = dreamer.step(None).total
    assert totals[0.1] == 20 * 2.0 and -2 < totals[2.0] < 40


def test_a_dream_branches_off_a_recorded_picture(folder):
    dreamer, rollout = PixelDreamer(folder), played(1, 0, OrderedKeys)
    shown = dreamer.begin(0, rollout=rollout, t=3)
    np.testing.assert_array_equal(shown.frame, rollout.observations[3])
    assert dreamer._memory == 3  # the player has seen the way there
    strange = dataclasses.replace(rollout, observations=rollout.observations + np.uint8(1))
    with pytest.raises(InspectorError, match='cannot begin'):
        dreamer.begin(0, rollout=strange, t=3)


def test_a_model_that_is_not_there_is_said(folder):
    (folder / 'level-0/iteration-10/model/model.npz').write_bytes(b'PK')
    with pytest.raises(InspectorError, match='cannot be loaded'):
        PixelDreamer(folder)
    for path in folder.glob('level-0/*/scores.json'):
        path.unlink()
    with pytest.raises(InspectorError, match='no iteration'):
        PixelDreamer(folder)


def test_the_page_plays_both(folder):
    run = 'grid_navigation/run'
    app = server.make_app(folder.parent.parent)
    with TestClient(app, base_url=HERE) as client:
        parts = client.get('/api/run', params={'run': run}).json()['parts']
        assert parts['pixels'] and not parts['model']
        path = f'ws://127.0.0.1:8000/api/live?run={run}&token={app.token}'
        for more in ('', '&store=rollouts&episode=1&t=2'):
            with client.websocket_connect(path + more, headers={'Origin': HERE}) as socket:
                said = socket.receive_json()
                assert said['places'] == ['dream', 'game'] and said['temperature'] == 1
                head = live.HEAD.unpack(socket.receive_bytes()[: live.HEAD.size])
                assert head[1] == 0 and head[6:] == (10, 10)
                socket.send_json({'place': 'game'})
                message = socket.receive()
                while 'text' not in message:
                    message = socket.receive()
                assert '"temperature":null' in message['text'].replace(' ', '')
        with client.websocket_connect(
            f'{path}&store=rollouts&episode=1&t=999', headers={'Origin': HERE}
        ) as socket:
            assert 'step 999' in socket.receive_json()['error']
