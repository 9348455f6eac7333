"""Take Cover on tiny settings: dreams that begin anywhere, and policies of PPO in them."""

import numpy as np
import pytest
from take_cover_case import STAGES, folder, kill_in, refused, results, run

from chainer_wm import files
from chainer_wm.agents.saved import PackedAgent, SavedAgent
from experiments import doom_take_cover

pytest.importorskip('vizdoom')

# fmt: off
DREAMS = dict(paced_episodes=2, paced_legs=[5, 20], place_every=4, dream_cut=12)
PPO = dict(learner='ppo', updates=4, restart_every=2, evaluate_updates=2, lanes=4,
           rollout_length=8, minibatches=2, value_hidden=[8])
# fmt: on


def flags(**settings):
    found = []
    for name, value in settings.items():
        values = value if isinstance(value, list) else [value]
        found += ['--' + name.replace('_', '-'), *map(str, values)]
    return found


def saved_of(data, run):
    home = folder(data, run)
    return SavedAgent.of_run(home, files.read_json(home / 'config.json'), bias=False)


def test_the_laptop_learns_by_ppo_unless_told_otherwise():
    usual, told = (doom_take_cover.presets(chosen) for chosen in ({}, {'learner': 'cma_es'}))
    learners = {name: settings['learner'] for name, settings in usual.items()}
    assert learners == {'smoke': 'cma_es', 'laptop': 'ppo', 'paper': 'cma_es'}
    laptop = doom_take_cover.Config(**usual['laptop'])
    assert (laptop.dream_starts, laptop.done_threshold, laptop.rounds) == ('anywhere', 0.2, 1)
    assert laptop.round_epochs == 0  # M stays
    laptop = doom_take_cover.Config(**told['laptop'])
    assert (laptop.dream_starts, laptop.done_threshold, laptop.rounds) == ('first', 0.5, 0)


def test_a_policy_killed_or_not(whole):
    more = flags(reuse='whole', rounds=0, **DREAMS, **PPO)
    learnt = (*more, '--stages', ','.join(STAGES[:5]))
    run(whole, 'policy', *learnt)
    rng = np.random.default_rng(0)
    for stage in ('collect', 'encode', 'controller'):
        kill_in(stage, whole, 'policy-killed', rng.uniform(0, 0.3), *more)
    run(whole, 'policy-killed', *learnt)
    assert results(whole, 'policy-killed') == results(whole, 'policy')
    run(whole, 'policy', *more, pictures=True)
    found = results(whole, 'policy')
    assert [row['generation'] for row in found['controller']['evaluations']] == [2, 4]
    assert found['evaluation']['episodes'] == 2 and found['parameters']['C'] == 3 * (4 + 8 + 8 + 1)
    home = folder(whole, 'policy')
    store = saved_of(whole, 'policy').store_of('paced')
    policy = store.manifest['settings']['policy']
    assert policy == {'name': 'RandomPacing', 'legs': [5, 20], 'action_size': 1}
    ways = [np.unique(store.read(episode).actions).tolist() for episode in store.episodes]
    assert ways == [[-1, 1]] * 2
    names = {path.name for path in (home / 'figures').iterdir()}
    assert {'evolution.png', 'calibration.png', 'ages.png', 'game_and_dream.gif'} <= names


def test_a_policy_with_a_hidden_layer_in_a_dncs_dream_in_double_precision(whole):
    more = flags(reuse='whole', rounds=0, model='dnc', hidden_units=4, dtype='float64', **PPO)
    stages = ','.join(STAGES[:5])
    more += flags(**DREAMS, reward='survival', stages=stages)
    run(whole, 'policy-dnc', *more)
    saved = saved_of(whole, 'policy-dnc')
    controller = saved.agent_maker()().controller
    assert controller.sizes == (4 + 8 + 8, 4, 3) and controller.actions == 'likeliest'
    assert saved.theta().size == controller.n_params
    found = results(whole, 'policy-dnc')['controller']
    assert np.isfinite([found['dream'], *(row['mean'] for row in found['evaluations'])]).all()


def test_a_policy_on_v_and_m_of_another_run_and_its_agents_places(whole, tmp_path):
    """They stay as they are, in a round without passes of M too; packed, the policy plays."""
    other = SavedAgent.of_run(
        folder(whole, 'whole'), files.read_json(folder(whole, 'whole') / 'config.json'), bias=False
    )
    more = flags(agent=folder(whole, 'whole'), played_episodes=2, rounds=1, round_epochs=0)
    more += flags(**DREAMS, **PPO, stages=','.join(STAGES[:-1]))
    run(whole, 'policy-other', *more)
    saved = saved_of(whole, 'policy-other')
    for one, same in ((saved.vision(), other.vision()), (saved.model(), other.model())):
        for ours, theirs in zip(one.params(), same.params()):
            np.testing.assert_array_equal(ours.array, theirs.array)
    assert saved.all_parts == [0, 'paced', 'played', 1] and saved.parts == [0, 1]
    assert len(saved.store_of('played')) == len(saved.store_of(1)) == 2
    row = results(whole, 'policy-other')['round-01']['controller']
    assert [score['generation'] for score in row['evaluations']] == [6, 8]
    saved.pack(tmp_path, 'lstm', (1.0,), {}, done_threshold=0.2)
    packed = PackedAgent.load(tmp_path, 'lstm')
    assert packed.controller.actions == 'likeliest' and packed.dream(9).max_steps == 9
    frames = np.zeros((1, 64, 64, 3), np.uint8)
    action, _ = packed.agent().act(frames, packed.agent().start([np.random.default_rng(0)]))
    assert action.item() in (-1, 0, 1)


def test_cma_es_in_dreams_that_begin_anywhere(whole):
    more = flags(reuse='whole', rounds=0, dream_starts='anywhere', done_threshold=0.3)
    stages = flags(stages=','.join(STAGES[:5]))
    output = run(whole, 'anywhere', *more, *flags(**DREAMS), *stages)
    assert 'places in recorded episodes' in output
    found = results(whole, 'anywhere')['controller']
    assert 0 < found['dream'] <= 12 and found['generation'] == 3


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'played_episodes': 3}, '--played-episodes 3: of whom?'),
        ({'agent': 'nowhere'}, 'neither the config.json of a run nor the packed lstm/model.npz'),
        ({'learn_recordings': None}, '--learn-recordings, but none are made'),
        ({'learner': 'ppo', 'evaluate_updates': 3, 'restart_every': 2}, 'a multiple of'),
    ],
)
def test_settings_that_do_not_fit_are_one_line(settings, words, tmp_path):
    given = [text for text in flags(**settings) if text != 'None']
    assert words in refused(tmp_path, 'wrong', *given)
