"""PixelCopter's script, run tiny: its games, its learners, resumed."""

import dataclasses
import functools
import importlib.util
import json

import numpy as np
import pytest
from compare_case import side_by_side
from ppo_script_case import check_picture, killed, numbers, start

from chainer_wm.agents.ppo.learner import RND_STREAMS
from chainer_wm.play.collector import Collector
from chainer_wm.play.evaluation import play_together
from chainer_wm.runs.run_folder import RunError
from chainer_wm.seeds import stream
from experiments import pixelcopter_rnd

TINY = (
    *('--updates', 4, '--rollout-length', 16, '--lanes', 4, '--epochs', 1),
    *('--restart-every', 2, '--test-episodes', 3, '--whitening-steps', 8),
    *('--max-steps', 40, '--hidden', 8, '--minibatches', 2),
)


def config(preset, **options):
    given = pixelcopter_rnd.PRESETS[preset] | options
    return pixelcopter_rnd.Config(preset=preset, **given)


def test_paper_preset_is_the_papers():
    paper = config('paper')
    expected = {
        'rollout_length': 128,
        'lanes': 128,
        'updates': 30_000,
        'minibatches': 4,
        'epochs': 4,
        'learning_rate': 1e-4,
        'rnd_learning_rate': 1e-4,
        'clip': 0.1,
        'entropy': 0.001,
        'discount': 0.999,
        'rnd_discount': 0.99,
        'decay': 0.95,
        'coefficient': 2.0,
        'rnd_keep': 0.25,
        'stack': 4,
        'sticky': 0.25,
        'frame_skip': 4,
        'max_steps': 18_000 // 4,
        'value_scale': 0.01,
        'size': 84,
        'reward_clip': 1.0,
        'whitening_steps': 128 * 50,
        'normalize': False,
    }
    found = dataclasses.asdict(paper)
    assert {name: found[name] for name in expected} == expected
    env = pixelcopter_rnd.make_env(paper)
    assert env.observation_space.shape == (84, 84, 4)
    rnd = pixelcopter_rnd.curiosity(paper)
    assert rnd.shape == (84, 84, 1), 'RND sees the last frame alone'
    network = pixelcopter_rnd.network(paper)
    assert network.values == 2
    assert rnd.epochs == rnd.minibatches == 4 and rnd.clip == 5
    assert (rnd.keep, rnd.discount) == (0.25, 0.99)
    features = [link.W.shape[0] for link in rnd.predictor.head]
    assert features == [512, 512, 512]
    assert [link.W.shape[0] for link in rnd.target.head] == [512]
    assert pixelcopter_rnd.ppo_settings.streams(paper) == RND_STREAMS
    sizes = [link.W.shape[:1] + link.W.shape[2:] for link in network.body.convolutions]
    assert sizes == [(32, 8, 8), (64, 4, 4), (64, 4, 4)]
    assert [link.W.shape[0] for link in network.body.layers] == [256, 448]


def test_rnd_sees_the_newest_numbers_of_a_stack():
    made = config('laptop', stack=3)
    rnd = pixelcopter_rnd.curiosity(made)
    env = pixelcopter_rnd.make_env(made)
    assert env.observation_space.shape == (21,) and rnd.shape == (7,)
    seen, _ = env.reset(seed=0)
    seen = env.step(1)[0]
    single = pixelcopter_rnd.make_env(config('laptop'))
    single.reset(seed=0)
    np.testing.assert_array_equal(seen[rnd.channels], single.step(1)[0])


def test_actions_are_held_and_stick_in_single_frames():
    made = config('paper', observation='state', stack=1)
    env = pixelcopter_rnd.make_env(made)
    climbs = []
    for seed in range(20):  # the first of four frames may begin late
        env.reset(seed=seed)
        climbs.append(env.step(1)[-1]['climbs'])
    assert max(climbs) == 4 and {1, 2, 3} & set(climbs)
    held = pixelcopter_rnd.make_env(config('laptop', frame_skip=4))
    single = pixelcopter_rnd.make_env(config('laptop'))
    for one in (held, single):
        one.reset(seed=0)
    many = [single.step(1) for _ in range(4)]
    np.testing.assert_array_equal(held.step(1)[0], many[-1][0])


@pytest.mark.skipif(importlib.util.find_spec('ple') is not None, reason='ple is installed')
def test_the_original_is_asked_for_by_a_flag(tmp_path):
    with pytest.raises(RunError, match='--original.*not installed'):
        start(pixelcopter_rnd, tmp_path, 'x', *TINY, '--original')


def test_time_limits_are_no_deaths():
    made = config('laptop', max_steps=3, lanes=2)
    network = pixelcopter_rnd.network(made)
    collector = Collector(network, [pixelcopter_rnd.make_env(made) for _ in range(2)])
    collector.start(np.random.default_rng(0))
    seen = collector.collect(6)
    assert not seen.terminated.any()
    np.testing.assert_array_equal(seen.truncated[:, 0], [0, 0, 1] * 2)


def test_rewards_are_clipped():
    clipped = pixelcopter_rnd.clipped
    rewards = np.array([-5.0, 0.0, 1.0, 2.0])
    np.testing.assert_array_equal(clipped(1, rewards), [-1, 0, 1, 1])
    np.testing.assert_array_equal(clipped(0, rewards), rewards)


def test_blocks_are_those_of_the_episodes_that_ended():
    made = config('laptop', max_steps=3)
    collector = Collector(
        pixelcopter_rnd.network(made), [pixelcopter_rnd.make_env(made) for _ in range(2)]
    )
    collector.start(np.random.default_rng(0))
    watch = pixelcopter_rnd.Blocks()
    assert watch.see(collector.collect(1)) == {'episode_blocks': None}
    ended = collector.collect(2)
    assert [episode.info['blocks'] for episode in ended.episodes] == [0, 0]
    assert watch.see(ended) == {'episode_blocks': 0.0}
    for blocks, episode in enumerate(ended.episodes):
        episode.info['blocks'] = 3 + blocks
    assert watch.see(ended) == {'episode_blocks': 3.5}


def test_linear_policy_by_hand():
    policy = pixelcopter_rnd.LinearPolicy(np.array([1.0, -2.0, 0.5]))
    seen = np.float32([[0, 0], [0, 1], [2, 1], [1.4, 1]])
    actions, _ = policy.act(seen, policy.start([None] * 4))
    assert actions.tolist() == [1, 0, 1, 0]


def judge(candidates, generation=4, workers=0):
    made = config('laptop', search_episodes=3, seed=1, workers=workers)
    with pixelcopter_rnd.judged(made, candidates.shape[1]) as fitness:
        return fitness(candidates, generation, lambda text: None)


def test_candidates_meet_the_same_games():
    candidates = np.random.default_rng(0).normal(size=(6, 8))
    candidates[3] = candidates[0]
    found, steps = judge(candidates)
    assert found.shape == (6,) and found[3] == found[0] and len(set(found)) > 1
    each = [judge(one[None]) for one in candidates]
    assert [one.fitness[0] for one in each] == found.tolist()
    assert sum(one.steps for one in each) == steps >= 6 * 3
    played = play_together(
        functools.partial(pixelcopter_rnd.make_env, config('laptop')),
        pixelcopter_rnd.LinearPolicy(candidates[1]),
        [stream(1, 'search', 4, episode) for episode in range(3)],
    )
    assert np.mean([one.total for one in played]) == found[1]


def test_one_process_finds_what_two_find(tmp_path):
    flags = (*TINY, '--learner', 'cma_es', '--generations', 2, '--population', 6)
    one, two = (
        start(pixelcopter_rnd, tmp_path, f'by-{n}', *flags, '--workers', n) for n in (0, 2)
    )
    assert numbers(one) == numbers(two)
    tables = [
        json.loads((tmp_path / f'pixelcopter_rnd/by-{n}/search/history.json').read_text())
        for n in (0, 2)
    ]
    assert tables[0] == tables[1] and len(tables[0]['generations']) == 2


def test_killed_and_resumed_is_unbroken(tmp_path, monkeypatch):
    flags = (*TINY, '--sticky', 0.25, '--stack', 2)
    whole = start(pixelcopter_rnd, tmp_path, 'whole', *flags)
    killed(pixelcopter_rnd, tmp_path, 'parts', monkeypatch, *flags)
    parts = start(pixelcopter_rnd, tmp_path, 'parts', *flags)
    assert numbers(whole) == numbers(parts)
    assert whole['steps'] == 4 * 16 * 4
    assert max(whole['evaluation']['lengths']) <= 40


@pytest.mark.parametrize('rewards', ['extrinsic', 'intrinsic'])
def test_pixels_with_and_without_a_memory(rewards, tmp_path):
    flags = (
        *('--observation', 'pixels', '--size', 48, '--stack', 2),
        *('--rewards', rewards, '--updates', 1, '--rollout-length', 8),
        *('--rnd-layers', 8, '--test-episodes', 2),
    )
    if rewards == 'extrinsic':
        flags += ('--recurrent', '--model', 'dnc', '--core-size', 8)
    found = start(pixelcopter_rnd, tmp_path, rewards, *TINY, *flags)
    assert found['evaluation']['episodes'] == 2
    log = tmp_path / 'pixelcopter_rnd' / rewards / 'policy/log.json'
    row = json.loads(log.read_text())[0]
    assert ('bonus' in row) == (rewards == 'intrinsic')
    assert (f'explained_{rewards}') in row
    memory = tmp_path / 'pixelcopter_rnd' / rewards / 'figures/memory.png'
    assert memory.exists() == (rewards == 'extrinsic')


def test_cma_es_and_the_comparison(tmp_path):
    flags = ('--learner', 'cma_es', '--generations', 3, '--population', 6, '--workers', 0)
    found = start(pixelcopter_rnd, tmp_path, 'cma', *TINY, *flags)
    assert found['evaluation']['mean'] > found['random_baseline']['mean']
    start(pixelcopter_rnd, tmp_path, 'ppo', *TINY)
    table = side_by_side(tmp_path, 'pixelcopter_rnd', 'cma', 'ppo')
    cma, learnt = table['groups'].values()
    assert (cma['settings']['learner'], learnt['settings']['learner']) == ('cma_es', 'ppo')
    row = cma['scores']
    assert row['evaluation']['values'] == [found['evaluation']['mean']]
    assert 3 * 6 * 8 < found['steps'] <= 3 * 6 * 8 * 40
    falling = table['runs'][0]['baselines']['never climbs']
    assert falling['climbs']['mean'] == 0 and falling['just fell']['mean'] == 1
    random = table['runs'][0]['random_baseline']
    assert random['mean'] == found['random_baseline']['mean'] and 'returns' not in random
    for name in ('flight.png', 'flight.gif'):
        check_picture(tmp_path / 'pixelcopter_rnd/cma/figures' / name)
    with pytest.raises(RunError, match='seven numbers'):
        start(pixelcopter_rnd, tmp_path, 'x', *TINY, *flags, *('--observation', 'pixels'))
