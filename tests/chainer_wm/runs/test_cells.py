"""Controls: the dream beside, features of an untrained M, cells resumed."""

import dataclasses
import functools

import numpy as np
import pytest
from cells_case import make_model, make_parts
from test_lockstep import Game

from chainer_wm.agents.controller import LinearController
from chainer_wm.agents.policies import Uniform
from chainer_wm.dream.beside import BesideDream
from chainer_wm.dream.population import evaluate_population
from chainer_wm.dream.simulator import Dream
from chainer_wm.runs import cells
from chainer_wm.runs.cells import Budget, Cell

BUDGET = Budget(3, 4, 2, 0.5, 12)


@pytest.fixture
def parts(tmp_path, request):
    return make_parts(tmp_path, getattr(request, 'param', 'lstm'))


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
def test_the_dream_beside_is_the_same_dream(core):
    alone = play(Dream(make_model(core), STARTS))
    beside = play(BesideDream(make_model(core), STARTS, make_model(core, 7)))
    for one, other in zip(alone, beside):
        np.testing.assert_array_equal(one[:, :3], other[:, :3])
    assert not np.allclose(alone[-1][:, 3:], beside[-1][:, 3:])


@pytest.mark.parametrize('core', ['lstm', 'dnc'])
def test_an_m_beside_itself_sees_what_it_dreams(core):
    """The watcher reads z, the action and the restart flag of every step."""
    model = make_model(core)
    for keep in (None, [0, 4]):
        alone = play(Dream(model, STARTS), keep=keep)
        beside = play(BesideDream(model, STARTS, model), keep=keep)
        for one, other in zip(alone, beside):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_lane_that_restarts_forgets_what_was_watched():
    dream = BesideDream(make_model(), STARTS, make_model(seed=7))
    dream.reset(2, [np.random.default_rng(n) for n in range(2)])
    dream.step(np.zeros((2, 1)))
    dream.restart([1])
    c = dream.features()['c']
    assert c[0].any() and not c[1].any()


def test_a_population_dreams_beside():
    dream = BesideDream(make_model(), STARTS, make_model(), max_steps=9)
    linear = LinearController(13, 1, bias=False)
    thetas = np.random.default_rng(0).standard_normal((3, 13))
    expected, found = (
        evaluate_population(one, linear.act, thetas, 2, rng=np.random.default_rng(1))
        for one in (Dream(make_model(), STARTS, max_steps=9), dream)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('parts', ['lstm', 'dnc'], indirect=True)
def test_first_weights_are_those_before_training(parts):
    fresh = cells.first_weights(parts.model())
    core = parts.model().config['core']
    for name, parameter in fresh.namedparams():
        expected = dict(make_model(core).namedparams())[name]
        np.testing.assert_array_equal(parameter.array, expected.array)


@pytest.mark.parametrize(
    'cell',
    [
        Cell('tau', (0.5, 1.5), ('z', 'c', 'h')),
        Cell('z', (1.15,), ('z',)),
        Cell('untrained', (1.15,), ('z', 'c', 'h'), untrained=True),
        Cell('separable', (1.15,), ('z', 'c', 'h'), separable=True),
    ],
    ids=lambda cell: cell.name,
)
def test_a_cell_is_evolved_resumed_and_scored(cell, parts, tmp_path):
    def evolve(folder, generations):
        dream = cells.dream_of(cell, parts, BUDGET.max_steps)
        budget = dataclasses.replace(BUDGET, generations=generations)
        found = cells.evolve(tmp_path / folder, cell, parts, dream, budget, 4)
        return found.theta, dream

    theta, dream = evolve('whole', 3)
    evolve('parts', 1)
    np.testing.assert_array_equal(evolve('parts', 3)[0], theta)
    found = cells.score(cell, parts, dream, theta, Game, {'random': Uniform}, 2, 4, workers=0)
    assert found['dream']['agent']['mean'] == BUDGET.max_steps
    assert set(found['dream']) == {'agent', 'random'}
    assert found['game']['episodes'] == 2
    width = 3 if cell.name == 'z' else 13
    assert cells.describe(cell, parts)['controller_parameters'] == width


def test_the_agent_of_the_untrained_cell_sees_first_weights(parts):
    theta = np.ones(13)
    cell = functools.partial(Cell, 'x', (1.15,), ('z', 'c', 'h'))
    trained, control = (
        cells.agent_maker(cell(untrained=untrained), parts, theta)() for untrained in (False, True)
    )
    np.testing.assert_array_equal(control.model.core.W.array, make_model().core.W.array)
    assert not np.allclose(trained.model.core.W.array, control.model.core.W.array)


@pytest.mark.parametrize('core', ['lstm', 'dnc'])
@pytest.mark.parametrize('watched', [False, True])
@pytest.mark.parametrize('keep', [[4, 0], [5, 4, 2], np.array([1, 0, 0, 0, 1, 0], bool)])
def test_the_lanes_that_are_kept_are_those_asked_for(core, watched, keep):
    """No two lanes are alike: every one acts otherwise."""
    dream = (
        BesideDream(make_model(core), STARTS, make_model(core, 7))
        if watched
        else Dream(make_model(core), STARTS)
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
