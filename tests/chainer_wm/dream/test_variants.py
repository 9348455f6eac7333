"""A dream whose features are those of a second M."""

import numpy as np
import pytest

from chainer_wm.agents.controller import LinearController
from chainer_wm.dream.simulator import Dream, evaluate_population
from chainer_wm.dream.variants import SecondModelDream
from chainer_wm.links.mdn_rnn import MDNRNN


def make_model(core='lstm', seed=1):
    return MDNRNN(3, 1, 5, core=core, predict_done=True, seed=seed)


STARTS = np.zeros((4, 3)), np.zeros((4, 3))


def play(dream, steps=6, keep=None):
    dream.reset(3, np.random.default_rng(0), repeats=2)
    seen = []
    for step in range(steps):
        if step == 2 and keep is not None:
            dream.keep(keep)
        seen.append(dream.observe())
        dream.step(np.full((dream.lanes, 1), 0.1 * step))
    return seen


@pytest.mark.parametrize('core', ['lstm', 'dnc'])
def test_the_dream_with_a_second_m_is_the_same_dream(core):
    alone = play(Dream(make_model(core), STARTS, max_steps=99))
    other = play(SecondModelDream(make_model(core), STARTS, make_model(core, 7), max_steps=99))
    for one, same in zip(alone, other):
        np.testing.assert_array_equal(one[:, :3], same[:, :3])
    assert not np.allclose(alone[-1][:, 3:], other[-1][:, 3:])


@pytest.mark.parametrize('core', ['lstm', 'dnc'])
def test_an_m_that_is_its_own_second_sees_what_it_dreams(core):
    """The second reads z, the action and the restart flag of every step."""
    model = make_model(core)
    for keep in (None, [0, 4]):
        alone = play(Dream(model, STARTS, max_steps=99), keep=keep)
        other = play(SecondModelDream(model, STARTS, model, max_steps=99), keep=keep)
        for one, same in zip(alone, other):
            np.testing.assert_allclose(one, same, atol=1e-6)


def test_a_lane_that_restarts_forgets_what_the_second_saw():
    dream = SecondModelDream(make_model(), STARTS, make_model(seed=7), max_steps=99)
    dream.reset(2, [np.random.default_rng(n) for n in range(2)])
    dream.step(np.zeros((2, 1)))
    dream.restart([1])
    c = dream.features()['c']
    assert c[0].any() and not c[1].any()


def test_a_population_dreams_with_a_second_m():
    dream = SecondModelDream(make_model(), STARTS, make_model(), max_steps=9)
    linear = LinearController(13, 1, bias=False)
    thetas = np.random.default_rng(0).standard_normal((3, 13))
    expected, found = (
        evaluate_population(one, linear.act, thetas, 2, rng=np.random.default_rng(1))
        for one in (Dream(make_model(), STARTS, max_steps=9), dream)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('core', ['lstm', 'dnc'])
@pytest.mark.parametrize('second', [False, True])
@pytest.mark.parametrize('keep', [[4, 0], [5, 4, 2], np.array([1, 0, 0, 0, 1, 0], bool)])
def test_the_lanes_that_are_kept_are_those_asked_for(core, second, keep):
    """No two lanes are alike: every one acts otherwise."""
    dream = (
        SecondModelDream(make_model(core), STARTS, make_model(core, 7), max_steps=99)
        if second
        else Dream(make_model(core), STARTS, max_steps=99)
    )
    actions = np.linspace(-1, 1, 6)[:, None]

    def begin():
        dream.reset(3, np.random.default_rng(0), repeats=2)
        for _ in range(2):
            dream.step(actions)
        return dream.observe().copy()

    before = begin()
    gaps = abs(before[:, None] - before).max(axis=2)
    assert gaps[~np.eye(6, dtype=bool)].min() > 1e-4
    dream.step(actions)
    after = dream.observe().copy()
    begin()
    dream.keep(keep)
    np.testing.assert_array_equal(dream.observe(), before[keep])
    dream.step(actions[keep])
    np.testing.assert_allclose(dream.observe(), after[keep], atol=1e-6)
