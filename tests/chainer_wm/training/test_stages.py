"""The stages: what M foresees, deaths counted, evolution resumed."""

import numpy as np
import pytest

from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.controller import LinearController
from chainer_wm.agents.world_model import FEATURES
from chainer_wm.dream.foresight import foresee
from chainer_wm.dream.simulator import Dream
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.training import evolution
from chainer_wm.training.mdn_rnn import Deaths


def tiny_model(core='lstm'):
    return MDNRNN(3, 1, 5, core=core, predict_done=True, seed=1)


def test_foresight_sees_the_truth_until_the_dream_begins():
    model = tiny_model()
    rng = np.random.default_rng(0)
    z = rng.standard_normal((12, 3)).astype('f')
    actions = rng.uniform(-1, 1, (12, 1)).astype('f')
    seen = foresee(model, z, actions, 5, np.random.default_rng(1))
    np.testing.assert_array_equal(seen.dreamed[:5], z[:5])
    assert not np.isclose(seen.dreamed[5:], z[5:]).any()
    # up to there both saw the same, so they say the same of the end
    np.testing.assert_allclose(seen.p_done_one_step[:5], seen.p_done_dreamed[:5])
    assert ((seen.p_done_dreamed > 0) & (seen.p_done_dreamed < 1)).all()


def test_one_step_prediction_is_the_mean_of_the_mixture():
    model = tiny_model()
    z = np.random.default_rng(0).standard_normal((3, 3)).astype('f')
    actions = np.zeros((3, 1), 'f')
    seen = foresee(model, z, actions, 1, np.random.default_rng(1))
    prediction, _ = model.step(z[:1], actions[:1], model.initial_state(1), np.ones(1, 'f'))
    logits, mu = (x.array[0] for x in prediction.mixture[:2])
    weights = np.exp(logits) / np.exp(logits).sum(axis=0)
    np.testing.assert_allclose(seen.one_step[1], (weights * mu).sum(axis=0), rtol=1e-5)


def test_context_must_lie_inside_the_episode():
    with pytest.raises(ValueError, match='context is 4'):
        foresee(
            tiny_model(), np.zeros((4, 3), 'f'), np.zeros((4, 1), 'f'), 4, np.random.default_rng(0)
        )


def test_deaths_counted_by_hand(tmp_path):
    deaths = Deaths(np.array([0.9, 0.2, 0.6, 0.1]), np.array([1, 1, 0, 0]))
    deaths.save(tmp_path / 'deaths.npz')
    found = Deaths.load(tmp_path / 'deaths.npz').detection()
    assert found == {
        'steps': 4,
        'deaths': 2,
        'caught': 0.5,
        'false_alarms': 500.0,
        'expected': pytest.approx(1.8),
    }


def evolve(folder, generations, evaluate=None, choose='last'):
    model = tiny_model()
    starts = np.zeros((4, 3)), np.zeros((4, 3))
    dream = Dream(model, starts, max_steps=15)
    linear = LinearController(13, 1, bias=False)
    return evolution.evolve(
        folder,
        CMAES(np.zeros(13), 0.5, 6, seed=2),
        evolution.in_dream(dream, linear.act, episodes=2, seed=4, features=FEATURES),
        generations=generations,
        evaluate=evaluate,
        evaluate_every=2,
        choose=choose,
    )


def test_interrupted_evolution_goes_on_to_the_same_numbers(tmp_path):
    whole = evolve(tmp_path / 'whole', 5)
    evolve(tmp_path / 'parts', 2)
    parts = evolve(tmp_path / 'parts', 5)
    np.testing.assert_array_equal(whole.theta, parts.theta)
    assert whole.history == parts.history and len(whole.history) == 5


def test_interrupted_search_in_a_game_goes_on_to_the_same_numbers(tmp_path):
    def run(name, generations):
        return evolution.evolve(
            tmp_path / name,
            CMAES(np.ones(3), 0.5, 6, seed=2),
            lambda candidates, number, show: evolution.Scored(
                -((candidates - number) ** 2).sum(axis=1), number + 1
            ),
            generations=generations,
        )

    whole = run('whole', 6)
    run('parts', 2)
    parts = run('parts', 6)
    np.testing.assert_array_equal(whole.theta, parts.theta)
    assert whole.history == parts.history
    assert [row['generation'] for row in whole.history] == [1, 2, 3, 4, 5, 6]
    assert [row['steps'] for row in whole.history] == [1, 3, 6, 10, 15, 21]


def test_a_search_that_begins_anew_counts_on(tmp_path):
    first = evolve(tmp_path / 'first', 2)
    for name in ('whole', 'parts'):
        evolution.inherit(tmp_path / 'first', tmp_path / name, anew=True)
    whole = evolve(tmp_path / 'whole', 5)
    evolve(tmp_path / 'parts', 3)
    evolution.inherit(tmp_path / 'first', tmp_path / 'parts', anew=True)
    parts = evolve(tmp_path / 'parts', 5)
    np.testing.assert_array_equal(whole.theta, parts.theta)
    assert whole.history == parts.history
    assert whole.history[:2] == first.history and whole.generation == 5
    assert [row['generation'] for row in whole.history] == [1, 2, 3, 4, 5]
    # of three generations, with the dreams of the third to the fifth
    assert CMAES.load(tmp_path / 'whole/cma_es.npz').generation == 3
    gone_on = evolve(tmp_path / 'first', 5)
    assert not np.allclose(gone_on.theta, whole.theta)


def test_zeros_are_held_against_a_controller_in_the_same_dreams():
    model = tiny_model()
    dream = Dream(model, (np.zeros((4, 3)), np.zeros((4, 3))), max_steps=15)
    found = [
        evolution.against_zero(
            theta,
            dream,
            LinearController(13, 1, bias=False).act,
            3,
            np.random.default_rng(0),
            FEATURES,
        )
        for theta in (np.zeros(13), np.full(13, 9.0))
    ]
    assert found[0]['inherited'] == found[0]['zero'] == found[1]['zero']


def test_mean_with_the_best_score_in_the_game_is_kept(tmp_path):
    means = []

    def score(theta, generation):
        means.append(theta)
        value = {2: 5.0, 4: 9.0, 5: 1.0}[generation]
        return {'mean': value, 'std': 0.0, 'episodes': 1}

    found = evolve(tmp_path, 5, score, choose='game')
    assert found.generation == 4
    np.testing.assert_array_equal(found.theta, means[1])


def test_choosing_by_the_game_needs_evaluations(tmp_path):
    with pytest.raises(ValueError, match='choose'):
        evolve(tmp_path, 1, choose='game')
