"""CarRacing's script, run tiny in gym's game: the paper's sizes, three controllers, resumed."""

import json
import shutil
import types

import numpy as np
import pytest
from PIL import Image
from ppo_script_case import check_picture, numbers, start

from chainer_wm.agents.controller import load_controller
from chainer_wm.agents.saved import PackedAgent, SavedAgent
from chainer_wm.agents.world_model import WorldModelAgent
from chainer_wm.envs.car_racing import CarRacing
from chainer_wm.rollouts import RolloutStore
from chainer_wm.runs.run_folder import RunError
from experiments import car_racing, play

TINY = (
    *('--preset', 'smoke', '--workers', 0, '--episodes', 3, '--max-steps', 10, '--window', 5),
    *('--vision-epochs', 0.5, '--test-episodes', 1, '--evaluate-episodes', 1),
)


class Short(CarRacing):
    """The game, over soon."""

    def __init__(self, **options):
        super().__init__(max_steps=10, **options)


def config(preset, **options):
    return car_racing.Config(preset=preset, **car_racing.PRESETS[preset] | options)


@pytest.fixture(scope='module')
def game():
    for name in ('Box2D', 'pygame'):
        pytest.importorskip(name, reason='gym plays CarRacing with it')


@pytest.fixture(scope='module')
def finished(game, tmp_path_factory):
    """Data folder and results of a finished run."""
    data = tmp_path_factory.mktemp('data')
    return data, start(car_racing, data, 'whole', *TINY)


def test_paper_preset_has_the_papers_sizes(tmp_path):
    paper = config('paper')
    assert (paper.population, paper.tracks, paper.generations) == (64, 16, 1800)
    assert (paper.episodes, paper.engine, paper.patience) == (10_000, 'gym', 0)
    model = car_racing.new_model(paper)
    assert model.count_params() == 422_368
    sizes = {}
    for name in ('z', 'hidden', 'zh'):
        where = types.SimpleNamespace(folder=tmp_path)
        saved = car_racing.saved_agent(config('paper', controller=name), where)
        sizes[name] = saved.new_controller(model).n_params
    assert sizes == {'z': 99, 'hidden': 1443, 'zh': 867}


def test_a_matched_lstm_has_as_many_parameters_as_the_dnc():
    matched = car_racing.new_model(config('paper', match=True)).count_params()
    dnc = car_racing.new_model(config('paper', model='dnc')).count_params()
    assert matched == pytest.approx(dnc, rel=0.005)
    with pytest.raises(RunError, match='--match is for --model lstm'):
        config('smoke', match=True, model='dnc').check()
    with pytest.raises(RunError, match='only --model lstm learns with masks'):
        config('smoke', model_dropout=0.1, model='dnc').check()


def test_random_drivers_press_within_ranges_and_each_has_weights_of_its_own():
    driver = car_racing.RandomDriver(8)
    rngs = [np.random.default_rng(n) for n in range(400)]
    state = driver.start(rngs)
    seen = np.zeros((400, 64, 64, 3), np.uint8)
    actions = np.stack([driver.act(seen, state)[0] for _ in range(20)])
    assert actions.shape == (20, 400, 3) and actions.dtype == np.float32
    low, high = actions.min(axis=(0, 1)), actions.max(axis=(0, 1))
    assert (low >= car_racing.LOW).all() and (high <= 1).all()
    # most go straight on with half the gas; Cauchy weights let some turn the wheel all the way
    assert np.median(abs(actions[..., 0])) < 0.1 < 0.9 < abs(actions[..., 0]).max()
    assert np.median(actions[..., 1]) == pytest.approx(0.5, abs=0.02)
    alone = driver.act(seen[:1], driver.start([np.random.default_rng(7)]))[0]
    again = driver.act(seen[:8], driver.start([np.random.default_rng(n) for n in range(8)]))[0]
    np.testing.assert_allclose(alone[0], again[7], rtol=1e-6)


def test_whole_run(finished):
    data, results = finished
    folder = data / car_racing.NAME / 'whole'
    for name in ('evolution', 'returns', 'tracks', 'reconstructions', 'foresight'):
        check_picture(folder / 'figures' / f'{name}.png')
    assert results['evaluation']['episodes'] == 1
    assert set(results['game']) == {'agent', 'random driver', 'random', 'no action'}
    assert results['engines'] == {'gym': results['evaluation']}
    assert results['scores'] == {}  # no other engine than gym's
    store = RolloutStore(folder / 'rollouts')
    assert len(store) == 3
    assert store.read(0).actions.shape == (10, 3)
    assert results['controller']['steps'] == 2 * 4 * 10  # generations, candidates, steps
    theta = load_controller(folder / 'controller/controller.npz').get_theta()
    assert theta.shape == ((8 + 16 + 1) * 3,) and theta.any()
    log = map(json.loads, (folder / 'log.jsonl').read_text().splitlines())
    memory = [row['mb'] for row in log if row['event'] == 'memory']
    assert memory and min(memory) > 10


def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(finished, tmp_path, monkeypatch):
    data, whole = finished
    shutil.copytree(data, tmp_path / 'data')
    folder = tmp_path / 'data' / car_racing.NAME / 'whole'
    shutil.rmtree(folder / 'controller')
    shutil.rmtree(folder / 'figures')
    table = json.loads((folder / 'stages.json').read_text())
    del table['controller'], table['evaluate']
    (folder / 'stages.json').write_text(json.dumps(table))

    class Killed(BaseException):
        pass

    def tick(self):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr('chainer_wm.runs.run_folder.Run.tick', tick)
        with pytest.raises(Killed):
            start(car_racing, tmp_path / 'data', 'whole', *TINY)
    assert not (folder / 'controller/controller.npz').exists()
    again = start(car_racing, tmp_path / 'data', 'whole', *TINY)
    assert numbers(again) == numbers(whole)


def test_evolved_in_the_dream(finished, tmp_path):
    data, _ = finished
    folder = tmp_path / 'data' / car_racing.NAME / 'dreamt'
    shutil.copytree(data / car_racing.NAME / 'whole/rollouts', folder / 'rollouts')
    flags = ('--learn-in', 'dream', '--controller', 'hidden')
    flags += '--model-dropout', '0.2', '--dream-dropout', '0.3'
    results = start(car_racing, tmp_path / 'data', 'dreamt', *TINY, *flags)
    model = SavedAgent(folder).model()
    assert model.config['predict_reward'] and model.config['predict_done']
    assert results['controller']['steps'] == 0  # none in the game
    settings = config('smoke', learn_in='dream', dream_dropout=0.3)
    assert car_racing.dream_of(settings, SavedAgent(folder)).dropout == 0.3
    assert load_controller(folder / 'controller/controller.npz').sizes == (8, 40, 3)


def test_a_run_on_anothers_v_plays_no_random_episode_and_needs_its_codes(
    finished, tmp_path, monkeypatch
):
    data, whole = finished
    shutil.copytree(data / car_racing.NAME / 'whole', tmp_path / car_racing.NAME / 'whole')
    flags = (*TINY, '--reuse', 'whole', '--untrained-model', '--controller', 'z')
    played = []
    score = car_racing.report.score_in_game

    def watched(who, *others, purpose='evaluate'):
        if purpose == 'evaluate':
            played.append(list(who))
        return score(who, *others, purpose=purpose)

    monkeypatch.setattr(car_racing.report, 'score_in_game', watched)
    results = start(car_racing, tmp_path, 'alone', *flags)
    # the drivers' scores on these tracks are taken over, not those on others
    assert played == [['agent']]
    for name in ('random', 'random driver', 'no action'):
        assert results['game'][name] == whole['game'][name]
    other = start(car_racing, tmp_path, 'alone', *flags, '--test-episodes', 2)
    assert played[1:] == [['agent', 'random driver', 'random', 'no action']]
    assert len(other['game']['random']['returns']) == 2
    folder = tmp_path / car_racing.NAME / 'alone'
    assert not (folder / 'rollouts').exists() and not (folder / 'vision').exists()
    assert load_controller(folder / 'controller/controller.npz').sizes == (8, 3)
    with pytest.raises(RunError, match='must hold out the same'):
        start(car_racing, tmp_path, 'split', *flags, '--held-out', '0.4')
    with pytest.raises(FileNotFoundError, match='has no codes yet'):
        start(car_racing, tmp_path, 'none', *TINY, '--reuse', 'missing')


def test_another_runs_candidates_drive_half_of_what_is_learnt_from(
    finished, tmp_path, monkeypatch
):
    data, _ = finished
    shutil.copytree(data / car_racing.NAME / 'whole', tmp_path / car_racing.NAME / 'whole')
    parameters = []
    act = WorldModelAgent.act

    def watched(self, observations, state):
        parameters.append(state.theta)
        return act(self, observations, state)

    monkeypatch.setattr(WorldModelAgent, 'act', watched)
    flags = (*TINY, '--episodes', 12, '--driver', 'whole')
    with pytest.raises(RunError, match='nothing is driven'):
        start(car_racing, tmp_path, 'no', *flags, '--reuse', 'whole')
    with pytest.raises(RunError, match='has no evolved C'):
        start(car_racing, tmp_path, 'no', *TINY, '--driver', 'missing')
    car_racing.script([*map(str, flags), '--data', str(tmp_path), '--stages', 'collect'])
    folder = tmp_path / car_racing.NAME / 'smoke-lstm-driven-zh-game-0'
    assert RolloutStore(folder / 'rollouts').lengths.tolist() == [10] * 12
    driven = np.unique(np.concatenate(parameters), axis=0)  # every episode's candidate is its own
    assert 2 < len(driven) < 10 and len(parameters) == 10 * len(driven)


def test_learnt_in_envpool_and_scored_in_both_games(finished, tmp_path):
    pytest.importorskip('envpool', reason='the extra "car" brings it')
    flags = (*TINY, '--engine', 'envpool')
    results = start(car_racing, tmp_path, 'pool', *flags)
    assert results['evaluation'] == results['engines']['gym'] == results['game']['agent']
    assert set(results['engines']) == {'gym', 'envpool'}
    assert results['scores']['in envpool']['mean'] == results['engines']['envpool']['mean']


def test_a_packed_agent_drives_as_its_run_does(finished, tmp_path, capsys, monkeypatch):
    data, _ = finished
    run = data / car_racing.NAME / 'whole'
    game = play.GAMES['car_racing']._replace(make=Short, max_steps=5)
    monkeypatch.setitem(play.GAMES, 'car_racing', game)
    monkeypatch.chdir(tmp_path)
    flags = ('--agents', str(tmp_path), '--workers', '0')
    play.script([*flags, '--pack', str(run), '--score', '1'])
    said = capsys.readouterr().out
    assert 'game: 10 steps' in said and '(return) over 1 episodes' in said
    with Image.open(tmp_path / 'play.gif') as picture:
        assert picture.is_animated and picture.width == 2 * 64 * 4 + 4
    play.script([*flags, '--game', 'car_racing', '--scale', '1', '--mb', '0.01'])
    assert (tmp_path / 'play.gif').stat().st_size < 10486
    packed = PackedAgent.load(tmp_path, 'lstm')
    assert packed.settings['features'] == ['z', 'h'] and packed.controller.actions == 'driving'
    seen = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    saved = car_racing.saved_agent(config('smoke'), types.SimpleNamespace(folder=run))
    actions = []
    for agent in (packed.agent(), saved.agent_maker()()):
        actions.append(agent.act(seen, agent.start([np.random.default_rng(1)]))[0])
    np.testing.assert_allclose(*actions, atol=0.01)  # weights in float16


def test_the_inspectors_player_drives_with_the_arrow_keys(finished):
    pytest.importorskip('starlette', reason='the page needs the extra "inspector"')
    from chainer_wm.inspector import dreamer, real_game, trained

    data, _ = finished
    run = data / car_racing.NAME / 'whole'
    learnt = trained.Models().of(run)
    assert learnt.features == ('z', 'h')
    game, dream = real_game.RealGame(run, learnt), dreamer.Dreamer(learnt)
    for place in (game, dream):
        assert place.player and place.actions == 2
        place.begin(0)
        for arrows, pedals in (([-1, 1], [-1, 1, 0]), ([0, -1], [0, 0, 1]), ([0, 0], [0, 0, 0])):
            assert place.step(np.array(arrows, float)).action.tolist() == pedals
        own = place.step(None).action
        assert own.shape == (3,) and (own[1:] >= 0).all()
    assert game.fps == 50
    game.close()
