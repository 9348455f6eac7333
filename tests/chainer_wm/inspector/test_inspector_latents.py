"""The latent space: what carries most, where to begin, what V draws."""

import numpy as np
import pytest
from inspector_case import episode
from saved_agent_case import make_saved

pytest.importorskip('starlette', reason='the page needs the extra "inspector"')
from starlette.testclient import TestClient

from chainer_wm import files
from chainer_wm.inspector import server, trained
from chainer_wm.inspector.episode_trace import quantised
from chainer_wm.links.conv_vae import decoded
from chainer_wm.rollouts import RolloutStore
from chainer_wm.rollouts.latents import Latents

HERE = 'http://127.0.0.1:8000'


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    files.write_json(folder / 'config.json', {'model': 'lstm'})
    store = RolloutStore(folder / 'rollouts')
    store.describe('TakeCover', {}, 0, {})
    store.add(0, episode(6))
    return make_saved(folder)


@pytest.fixture(scope='module')
def client(saved):
    with TestClient(server.make_app(saved.folder), base_url=HERE) as found:
        yield found


def asked(client, path, status=200, **query):
    answer = client.get(f'/api/{path}', params={'run': '.', **query})
    assert answer.status_code == status, answer.text
    return answer


def test_the_latents_that_carry_most_come_first(client, saved):
    found = asked(client, 'latents').json()
    codes = Latents(saved.codes_of(0))
    # Kingma and Welling 2014, appendix B, by the other way round
    kl = -(1 + codes.ln_var - codes.mu**2 - np.exp(codes.ln_var)).mean(axis=0) / 2
    np.testing.assert_allclose(found['kl'], kl, rtol=1e-5)
    assert found['order'] == list(np.argsort(kl)[::-1])
    np.testing.assert_allclose(found['mean'], codes.mu.mean(axis=0), rtol=1e-4)
    assert found['frames'] == len(codes.mu)


def test_one_begins_at_a_frame_a_random_one_or_a_random_z(client, saved):
    z = asked(client, 'code', source='frame', store='rollouts', episode=0, t=4).json()['z']
    expected = trained.encoded(saved.vision(), episode(6).observations[4:5])[0]
    np.testing.assert_allclose(z, expected, atol=1e-5)
    mu = Latents(saved.codes_of(0)).mu
    z = asked(client, 'code', source='random frame', seed=3).json()['z']
    assert np.abs(mu - np.array(z)).sum(axis=1).min() < 1e-5
    draws = [asked(client, 'code', source='random z', seed=n).json()['z'] for n in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_a_picture_is_what_v_draws_of_z(client, saved):
    answer = asked(client, 'decoded', z='0.5,-1,2')
    frame = np.frombuffer(answer.content, np.uint8).reshape(64, 64, 3)
    expected = decoded(saved.vision(), np.array([[0.5, -1, 2]]))[0]
    np.testing.assert_allclose(frame.astype(int), expected, atol=1)


@pytest.mark.parametrize(
    ('path', 'query', 'words'),
    [
        ('decoded', {'z': '1,2'}, 'z has 2 numbers, expected 3'),
        ('decoded', {'z': '1,2,nan'}, 'between'),
        ('decoded', {'z': '1,2,1e9'}, 'between'),
        ('code', {'source': 'x'}, 'random frame'),
        ('code', {'source': 'frame', 'store': 'rollouts', 'episode': 0, 't': 6}, 'has 6'),
        ('code', {'source': 'random z', 'seed': '-1'}, 'whole number'),
    ],
)
def test_what_does_not_fit_is_said(client, path, query, words):
    assert words in asked(client, path, 404, **query).json()['error']


def test_a_nearly_uniform_weighting_does_not_look_full():
    weights = np.full((5, 16), 1 / 16) + np.linspace(0, 1e-3, 16)
    pixels, low, high = quantised(weights, shares=True)
    assert (low, high) == (0, 1) and pixels.max() <= 17
    pixels, low, high = quantised(np.array([[-1.0, 0, 4]]), shares=False)
    assert (low, high) == (-4, 4) and pixels[1, 0] in (127, 128)
