"""Policies: trained, resumed to the same numbers, curious where asked."""

import json

import numpy as np
import pytest
from ppo_case import CORES, Count, Cue, collector

from chainer_wm.agents.ppo.learner import PPO, RND_STREAMS, Stream
from chainer_wm.agents.rnd import RND
from chainer_wm.functions.non_finite import NonFiniteError
from chainer_wm.training import ppo

PLAIN = (Stream(),)
CURIOUS = (Stream('intrinsic', 0.99, 1.0, False),)


class Seen:
    """Counts steps, so that a resumed count can be told from a new one."""

    def __init__(self):
        self.steps = 0

    def see(self, experience):
        self.steps += experience.steps
        return {'seen': float(self.steps)}

    def serialize(self, serializer):
        self.steps = int(serializer('steps', np.asarray(self.steps)))


def new(streams=PLAIN, core='none', envs=None):
    envs = envs or [Cue(2) for _ in range(4)]
    made = collector(envs, values=len(streams), **CORES[core])
    learner = PPO(made.network, streams, learning_rate=1e-2, epochs=1, minibatches=2)
    return learner, made


def curiosity():
    return RND(
        (2,), convolutions=(), layers=(8,), hidden=(8,), features=4, epochs=1, minibatches=2
    )


def train(folder, updates, streams=RND_STREAMS, core='none', **options):
    learner, made = new(streams, core)
    options = {'rnd': curiosity(), 'whitening_steps': 10, 'watch': Seen()} | options
    log = ppo.train(
        folder,
        learner,
        made,
        updates=updates,
        rollout_length=6,
        seed=3,
        restart_every=2,
        snapshot_seconds=0.0,
        **options,
    )
    return learner, options['rnd'], log


def numbers(learner, rnd):
    found = [p.array for p in learner.network.params()]
    return found + [p.array for p in rnd.predictor.params()]


@pytest.mark.parametrize(
    ('core', 'stop'),  # 4 is where episodes start anew, 3 is not
    [('none', 3), ('none', 4), ('lstm', 3), ('dnc', 3)],
)
def test_continued_is_unbroken(core, stop, tmp_path):
    *whole, log = train(tmp_path / 'whole', 7, core=core)
    train(tmp_path / 'parts', stop, core=core)
    *parts, resumed = train(tmp_path / 'parts', 7, core=core)
    for a, b in zip(numbers(*whole), numbers(*parts)):
        np.testing.assert_array_equal(a, b)
    assert log == resumed and len(log) == 7
    assert log[-1]['seen'] == log[-1]['steps'] == 7 * 6 * 4


def test_killed_run_goes_on_to_the_same_numbers(tmp_path):
    *whole, log = train(tmp_path / 'whole', 8)
    ticks = []

    def die():
        ticks.append(None)
        if len(ticks) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'parts', 8, tick=die)
    assert not (tmp_path / 'parts/policy.npz').exists()
    *parts, resumed = train(tmp_path / 'parts', 8, tick=lambda: die())
    assert len(ticks) == 5 + 4, 'goes on from the snapshot after 4 updates'
    for a, b in zip(numbers(*whole), numbers(*parts)):
        np.testing.assert_array_equal(a, b)
    assert log == resumed


def test_a_finished_run_is_not_trained_again(tmp_path):
    train(tmp_path, 3)
    ticks = []
    *_, log = train(tmp_path, 3, tick=lambda: ticks.append(None))
    assert len(log) == 3 and not ticks


def test_the_saved_network_is_the_trained_one(tmp_path):
    learner, _, log = train(tmp_path, 3)
    other, _ = new(RND_STREAMS)
    assert ppo.load(tmp_path, other.network) == log
    for a, b in zip(learner.network.params(), other.network.params()):
        np.testing.assert_array_equal(a.array, b.array)
    assert json.loads((tmp_path / 'log.json').read_text()) == log


def test_rows_by_hand(tmp_path):
    """Episodes of 3 steps with rewards 1, 2, 3, in rollouts of 4 steps."""
    learner, made = new(envs=[Count(3) for _ in range(4)])
    log = ppo.train(
        tmp_path,
        learner,
        made,
        updates=3,
        rollout_length=4,
        seed=0,
        restart_every=2,
        shape_rewards=lambda rewards: np.clip(rewards, 0, 1),
    )
    assert [row['update'] for row in log] == [1, 2, 3]
    assert [row['steps'] for row in log] == [16, 32, 48]
    # the third update starts anew: its episodes end in its third step
    assert [row['episodes'] for row in log] == [4, 4, 4]
    assert [row['return'] for row in log] == [6, 6, 6]
    assert [row['length'] for row in log] == [3, 3, 3]
    assert [row['reward'] for row in log] == [7 / 4, 8 / 4, 7 / 4]


def test_rewards_are_shaped_before_ppo_sees_them(tmp_path):
    seen = []
    learner, made = new(envs=[Count(3) for _ in range(4)])
    improve = learner.update

    def note(experience, rewards, rng):
        seen.append(rewards['extrinsic'])
        return improve(experience, rewards, rng)

    learner.update = note
    ppo.train(
        tmp_path,
        learner,
        made,
        updates=1,
        rollout_length=3,
        seed=0,
        shape_rewards=lambda rewards: rewards - 2,
    )
    np.testing.assert_array_equal(seen[0], [[-1] * 4, [0] * 4, [1] * 4])


def test_curiosity_alone_does_not_depend_on_the_rewards(tmp_path):
    found = []
    for reward in (0.0, 100.0):
        learner, rnd, log = train(
            tmp_path / str(reward),
            3,
            CURIOUS,
            shape_rewards=lambda rewards, reward=reward: rewards + reward,
        )
        assert {'intrinsic', 'bonus', 'predictor_loss'} <= set(log[0])
        found.append(numbers(learner, rnd))
    for a, b in zip(*found):
        np.testing.assert_array_equal(a, b)


def test_the_bonus_is_that_of_what_each_step_led_to(tmp_path):
    learner, made = new(CURIOUS, envs=[Count(3) for _ in range(4)])
    rnd = curiosity()
    seen = []
    bonus = rnd.bonus
    rnd.bonus = lambda following: seen.append(following) or bonus(following)
    ppo.train(tmp_path, learner, made, updates=1, rollout_length=4, seed=0, rnd=rnd)
    # the clock of Count: after its death in step 3 it shows 3, not 0
    np.testing.assert_array_equal(seen[0][:, 0, -1], [1, 2, 3, 1])


def test_whitening_sees_as_many_steps_as_asked(tmp_path):
    _, rnd, _ = train(tmp_path, 1, whitening_steps=150)
    assert rnd.seen.count == 150 * 4 + 6 * 4


def test_numbers_that_are_not_finite_stop_it_and_say_where(tmp_path):
    train(tmp_path, 2)
    with pytest.raises(NonFiniteError, match='update') as stopped:
        train(tmp_path, 4, watch=Broken())
    assert stopped.value.stage == 'policy'
    assert stopped.value.snapshot.name == 'update-00000002.npz'


class Broken(Seen):
    def see(self, experience):
        return {'seen': float('nan')}


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'rnd': None}, 'missing'),
        ({'streams': PLAIN, 'rnd': curiosity()}, 'given'),
        ({'streams': (Stream('fame'),), 'rnd': None}, 'fame'),
        ({'updates': 0}, 'updates 0'),
    ],
)
def test_refuses_what_does_not_fit(options, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        train(tmp_path, **({'updates': 1} | options))


def test_refuses_another_network(tmp_path):
    learner, _ = new()
    _, made = new()
    with pytest.raises(ValueError, match='another network'):
        ppo.train(tmp_path, learner, made, updates=1, rollout_length=2, seed=0)


def test_the_bonus_is_whitened_by_what_was_seen_before(tmp_path):
    """24 steps an update, after 40 to begin with."""
    rnd, counts = curiosity(), []
    bonus = rnd.bonus

    def counted(following):
        counts.append(rnd.seen.count)
        return bonus(following)

    rnd.bonus = counted
    train(tmp_path, 3, rnd=rnd)
    assert counts == [40, 64, 88]
