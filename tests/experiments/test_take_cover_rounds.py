"""Take Cover on tiny settings: the rounds of the iterative procedure."""

import shutil

import numpy as np
import pytest
from take_cover_case import STAGES, folder, kill_in, results, run

from chainer_wm import files
from chainer_wm.agents.saved import SavedAgent
from chainer_wm.rollouts import RolloutStore
from chainer_wm.rollouts.splits import split_episodes
from chainer_wm.training import vae

pytest.importorskip('vizdoom')


def copied(data, run, name):
    """The run as it stands, under another name."""
    shutil.copytree(folder(data, run), folder(data, name))
    path = folder(data, name) / 'config.json'
    files.write_json(path, files.read_json(path) | {'run': name})


def test_a_further_round_goes_on_where_the_run_ended(whole):
    copied(whole, 'whole', 'longer')
    more = ('--rounds', '2', '--stages', 'round-01,round-02')
    output = run(whole, 'longer', *more)
    assert 'round-01: complete, skipped' in output
    found = results(whole, 'longer')
    assert found['round-02']['controller']['generation'] == 5
    assert found['round-02']['played'] != found['round-01']['played']


def test_a_rounds_learning_rate_may_fall(whole):
    """Then M moves less in the round than at the rate it began with."""
    stages = ','.join(STAGES[:-1])  # M is looked at, not its agent
    more = ('--round-last-learning-rate', '0', '--stages', stages)
    run(whole, 'settled', '--reuse', 'whole', *more)

    def moved(run):
        saved = SavedAgent(folder(whole, run), reuse='whole')
        ends = [saved.at(n).model().head.W.array for n in (0, 1)]
        return np.abs(ends[1] - ends[0]).mean()

    assert 0 < moved('settled') < 0.9 * moved('whole')


def test_a_round_of_vision_killed_or_not(whole):
    """V is trained on, and all that M and C then see is its codes."""
    copied(whole, 'whole', 'sharper')
    copied(whole, 'whole', 'broken')
    more = ('--rounds', '2', '--vision-rounds', '2', '--stages', 'round-02')
    run(whole, 'sharper', *more)
    rng = np.random.default_rng(1)
    for _ in range(2):
        kill_in('round-02', whole, 'broken', rng.uniform(0, 2), *more)
    run(whole, 'broken', *more)
    found = results(whole, 'sharper')
    assert results(whole, 'broken') == found
    path = folder(whole, 'sharper')
    saved = SavedAgent(path, vision_rounds=(2,), round=2)
    sources = [codes.source for codes in saved.latents().parts]
    assert sources == [{'vision': files.sha256(saved.vision_path)}] * 3
    assert saved.vision_path.is_relative_to(path / 'rounds/02')
    mu, old = saved.vision().mu.W.array, saved.at(1).vision().mu.W.array
    assert not np.allclose(mu, old, atol=1e-4)
    assert found['round-02']['vision']['reconstruction'] > 0


def test_inactive_latents_go_before_anything_is_encoded(whole):
    """Two of four stay, and M, C and a further training of V go by that."""
    seer = SavedAgent(folder(whole, 'whole')).vision()
    config = files.read_json(folder(whole, 'whole') / 'config.json')
    store = RolloutStore(folder(whole, 'whole') / 'rollouts')
    episodes = split_episodes(store.episodes, 0.25, config['seed'])[0]
    nats = np.sort(vae.latent_nats(seer, store, episodes)[0])[1:3].mean()
    more = ('--latent-nats', str(nats), '--vision-rounds', '1')
    run(whole, 'fewer', *more, '--stages', ','.join(STAGES[:-1]))
    home = folder(whole, 'fewer')
    found = SavedAgent.of_run(home, files.read_json(home / 'config.json'))
    sizes = [found.at(n).vision().latent_size for n in (0, 1)]
    assert sizes == [2, 2] and found.model().latent_size == 2
    assert found.theta().size == 2 + 8 + 8
    assert results(whole, 'fewer')['model']['latents'] == 2
    scores = results(whole, 'fewer')['round-01']['controller']['evaluations']
    assert scores and np.isfinite([score['mean'] for score in scores]).all()
