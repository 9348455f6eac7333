"""The saved agent: its rounds on disk, C drawn from a search, packed and read again."""

import pickle

import numpy as np
import pytest

from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.controller import HiddenController, LinearController
from chainer_wm.agents.saved import PackedAgent, SavedAgent
from chainer_wm.links.mdn_rnn import MDNRNN
from tests.chainer_wm.saved_agent_case import make_saved

WIDTH = 13  # z 3, c 5, h 5


@pytest.fixture
def saved(tmp_path):
    saved = make_saved(tmp_path / 'run')
    controller = saved.new_controller(saved.model())
    controller.set_theta(np.linspace(-1, 1, WIDTH))
    controller.save(saved.controller_path)
    search = CMAES(np.arange(WIDTH) / 9, 0.5, 6, seed=3)
    search.save(saved.home / 'controller/cma_es.npz')
    return saved


def test_rounds_keep_their_models_apart_and_share_the_first_vision(tmp_path):
    saved = SavedAgent(tmp_path / 'run', reuse='base', vision_rounds=(2,))
    paths = [saved.at(n).vision_path.relative_to(tmp_path) for n in range(4)]
    assert [str(path.parent.parent) for path in paths] == [
        *('base', 'base', 'run/rounds/02', 'run/rounds/02')
    ]
    assert len({saved.at(n).model_path for n in range(4)}) == 4
    codes = [str(saved.at(3).codes_of(n).relative_to(tmp_path)) for n in range(4)]
    assert codes == [
        'run/rounds/02/vision/codes/00',
        'run/rounds/02/vision/codes/01',
        'run/rounds/02/codes',
        'run/rounds/03/codes',
    ]
    assert str(saved.at(1).codes_of(0).relative_to(tmp_path)) == 'base/vision/codes'


def test_with_one_store_every_round_sees_all_episodes_with_its_own_vision(tmp_path):
    saved = SavedAgent(tmp_path, one_store=True, round=2)
    assert list(saved.parts) == [2] and saved.vision_round == 2
    assert saved.store().path == saved.at(0).store().path == tmp_path / 'rollouts'
    assert saved.codes_of(2) == tmp_path / 'rounds/02/vision/codes'
    assert saved.vision_path == tmp_path / 'rounds/02/vision/vision.npz'


def test_c_has_as_many_actions_as_m(tmp_path):
    car = MDNRNN(3, 3, 5)
    linear = SavedAgent(tmp_path, ('z', 'h')).new_controller(car)
    assert isinstance(linear, LinearController) and linear.n_params == (8 + 1) * 3
    hidden = SavedAgent(tmp_path, ('z',), hidden_units=4, bias=False, actions='driving')
    controller = hidden.new_controller(car)
    assert isinstance(controller, HiddenController) and controller.sizes == (3, 4, 3)
    assert controller.actions == 'driving' and controller.n_params == 3 * 4 + 4 * 3


def test_the_agent_is_made_anew_in_a_worker_with_the_parameters_of_c(saved):
    maker = pickle.loads(pickle.dumps(saved.agent_maker()))
    np.testing.assert_allclose(maker().controller.get_theta(), np.linspace(-1, 1, WIDTH), 1e-6)
    other = saved.agent_maker(np.ones(WIDTH))()
    np.testing.assert_array_equal(other.controller.get_theta(), 1)


def test_candidates_come_from_the_search(saved):
    """Drawn from N(m, sigma^2), or one of those that it asks for next."""
    rngs = [np.random.default_rng(n) for n in range(400)]
    drawn = saved.candidate_maker()().start(rngs).theta
    np.testing.assert_allclose(drawn.mean(axis=0), np.arange(WIDTH) / 9, atol=0.1)
    np.testing.assert_allclose(drawn.std(axis=0), 0.5, atol=0.07)
    asked = saved.search().ask()
    state = saved.candidate_maker(population=True, noise=0.2)().start(rngs)
    assert {tuple(row) for row in state.theta} == {tuple(row) for row in asked}
    assert len(state.noise_rngs) == 400


def test_a_packed_agent_is_the_saved_one_in_half_precision(saved, tmp_path):
    saved.pack(tmp_path / 'few', 'lstm', (1.0, 1.3), {'run': 'x'}, starts=1)
    packed = PackedAgent.load(tmp_path / 'few', 'lstm')
    assert packed.settings['origin'] == {'run': 'x'}
    np.testing.assert_array_equal(packed.controller.get_theta(), saved.theta())
    for one, same in zip(packed.model.params(), saved.model().params()):
        np.testing.assert_allclose(one.array, same.array, atol=1e-3)
    assert packed.starts[0].shape == (1, 3)
    dream = packed.dream(20)
    dream.reset(50, np.random.default_rng(0))
    assert dream.max_steps == 20
    frames = np.zeros((1, 64, 64, 3), np.uint8)
    ours, theirs = (
        agent.act(frames, agent.start([np.random.default_rng(0)]))[0]
        for agent in (packed.agent(), saved.agent_maker()())
    )
    np.testing.assert_allclose(ours, theirs, atol=0.02)


def test_what_is_reused_must_be_there(saved):
    SavedAgent(saved.folder.parent / 'new', reuse='run').check_source()
    with pytest.raises(FileNotFoundError, match='--reuse nothing: .*nothing has no codes yet'):
        SavedAgent(saved.folder, reuse='nothing').check_source()
