"""The corridor, run tiny: files, visits counted, resumed."""

import dataclasses

import numpy as np
import pytest
from compare_case import side_by_side
from PIL import Image
from ppo_script_case import check_picture, killed, numbers, start

from chainer_wm.agents.rnd import RND
from chainer_wm.play.collector import Collector
from experiments import key_corridor

TINY = (
    *('--updates', 4, '--rollout-length', 16, '--lanes', 4, '--length', 5),
    *('--restart-every', 2, '--test-episodes', 3, '--whitening-steps', 8),
    *('--epochs', 1),
)


def test_files_and_visits(tmp_path):
    found = start(key_corridor, tmp_path, 'a', *TINY)
    visits = np.array(found['visits'])
    assert visits.shape == (2, 3, 5)
    assert visits.sum() == found['steps'] == 4 * 16 * 4
    assert (visits > 0).sum() == found['states']
    # at the key the agent has it at once, and the door is behind the key
    assert visits[0, 1, 0] == 0
    assert (visits[1, 1, 4] > 0) == (found['first_reward_after_steps'] is not None)
    for name in ('evaluation', 'random_baseline'):
        assert found[name]['mean'] <= found[name]['with_key'] <= 1
    figures = tmp_path / 'key_corridor/a/figures'
    for name in ('visits.png', 'policy_bonus.png'):
        check_picture(figures / name)
    with Image.open(figures / 'film.gif') as film:
        assert film.n_frames > 5


def test_visits_are_what_steps_led_to():
    made = key_corridor.Config(length=5)
    collector = Collector(
        key_corridor.network(made), [key_corridor.make_env(made) for _ in range(2)]
    )
    collector.start(np.random.default_rng(0))
    visits = key_corridor.Visits(2 * 3 * 5)
    experience = collector.collect(6)
    assert visits.see(experience) == {'states': len(np.unique(experience.following().argmax(-1)))}
    assert visits.counts.sum() == 2 * 6
    start = made.length // 2
    assert set(np.flatnonzero(visits.counts)) >= {np.argmax(experience.following()[0, 0])}
    assert abs(np.argmax(experience.following()[0, 0]) % 5 - start) <= 1


def test_killed_and_resumed_is_unbroken(tmp_path, monkeypatch):
    whole = start(key_corridor, tmp_path, 'whole', *TINY)
    killed(key_corridor, tmp_path, 'parts', monkeypatch, *TINY)
    parts = start(key_corridor, tmp_path, 'parts', *TINY)
    assert numbers(whole) == numbers(parts)


@pytest.mark.slow
def test_a_short_corridor_is_learned_and_compared(tmp_path):
    flags = (
        *('--length', 7, '--updates', 16, '--lanes', 16),
        *('--rollout-length', 56, '--restart-every', 4, '--preset', 'laptop'),
        *('--test-episodes', 30, '--whitening-steps', 28),
    )
    both = start(key_corridor, tmp_path, 'both', *flags)
    assert both['evaluation']['mean'] > 0.9
    assert both['random_baseline']['mean'] < 0.5
    tiny = (*TINY, '--length', 7, '--rewards', 'extrinsic')
    start(key_corridor, tmp_path, 'ppo', *tiny)
    table = side_by_side(tmp_path, 'key_corridor', 'both', 'ppo')
    first, second = table['groups'].values()
    assert first['settings']['rewards'] == 'both'
    assert second['settings']['rewards'] == 'extrinsic'
    assert first['scores']['evaluation']['mean'] > 0.9
    for name in ('visits_without_the_key', 'visits_with_the_key'):
        check_picture(tmp_path / f'out/matrix_{name}.png')
    check_picture(tmp_path / 'key_corridor/both/figures/visits.png')


def test_curiosity_begins_with_weights_of_no_other_seed():
    def target(rnd):
        return rnd.target.head[0].W.array

    config = key_corridor.Config(length=5, rnd_features=4, rnd_layers=(4,))
    made = [
        target(key_corridor.curiosity(dataclasses.replace(config, seed=seed))) for seed in range(4)
    ]
    env = key_corridor.make_env(config)
    plain = [
        target(
            RND(
                env.observation_space.shape,
                **dict(convolutions=(), frames=None, layers=(4,), features=4),
                seed=seed,
            )
        )
        for seed in range(6)
    ]
    everyone = np.stack([*made, *plain]).reshape(10, -1)
    assert len(np.unique(everyone, axis=0)) == 10
