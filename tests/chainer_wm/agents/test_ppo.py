"""Losses by hand, targets by a slow loop, and that small games are learned."""

import chainer
import numpy as np
import pytest
from chainer import gradient_check
from ppo_case import CORES, Count, Cue, Reach, collector

from chainer_wm.agents.ppo.learner import (
    PPO,
    RND_STREAMS,
    Batch,
    Stream,
    clipped_objective,
    value_loss,
)
from chainer_wm.agents.ppo.returns import generalized_advantages

RNG = np.random.default_rng


def column(*values):
    return np.array(values, np.float64)[:, None]


def test_objective_by_hand():
    old = np.log(column(0.5, 0.5, 0.5, 0.5, 0.5))
    new = np.log(column(0.5, 0.9, 0.1, 0.9, 0.1))
    gains = column(2, 2, 2, -2, -2)
    found = clipped_objective(chainer.Variable(new), old, gains, 0.2)
    # gains are kept small, losses are not made small
    np.testing.assert_allclose(found.array, column(2, 2 * 1.2, 2 * 0.2, -2 * 1.8, -2 * 0.8))


def test_no_gradient_beyond_the_clip():
    new = chainer.Variable(np.log(column(0.9, 0.1, 0.9, 0.1)))
    old = np.log(column(0.5, 0.5, 0.5, 0.5))
    found = clipped_objective(new, old, column(1, 1, -1, -1), 0.2)
    chainer.functions.sum(found).backward()
    # d ratio / d ln p = ratio, where the smaller of the two is not clipped
    np.testing.assert_allclose(new.grad, column(0, 0.2, -1.8, 0))


def test_gradient_of_the_objective():
    rng = RNG(0)
    old, gains = rng.normal(size=(2, 4, 3))
    gradient_check.check_backward(
        lambda new: clipped_objective(new, old, gains, 0.2),
        old + 0.5 * rng.normal(size=(4, 3)),
        rng.normal(size=(4, 3)),
        dtype=np.float64,
    )


def test_value_loss_by_hand():
    values = np.zeros((2, 1, 2))
    returns = np.array([[[1.0, 2.0]], [[3.0, 0.0]]])
    assert float(value_loss(values, returns).array) == (1 + 4 + 9) / 2 / 2


def test_the_old_mistake_is_refused():
    line, upright = np.zeros(4), np.zeros((4, 1))
    for arrays in ((line, upright, upright), (upright, upright, line)):
        with pytest.raises(ValueError, match='broadcast'):
            clipped_objective(*arrays, 0.1)
    with pytest.raises(ValueError, match='broadcast'):
        value_loss(np.zeros((4, 1, 1)), np.zeros((4, 1)))
    with pytest.raises(ValueError, match='broadcast'):
        value_loss(upright, upright)


def test_credit_goes_to_the_action_that_earned_it():
    """With (T, 1) beside (T,) every action got the mean of all."""
    made = collector([Count(99)])
    found = made.collect(6)
    rewards = np.zeros((6, 1))
    rewards[3] = 1
    learner = PPO(made.network, [Stream(discount=0.5)], decay=0.0)
    advantages, _ = learner.targets(found, {'extrinsic': rewards})
    zero, _ = learner.targets(found, {'extrinsic': 0 * rewards})
    np.testing.assert_allclose(advantages - zero, rewards, atol=1e-12)


@pytest.mark.parametrize('normalize', [False, True])
def test_streams_have_their_own_discounts_and_ends(normalize):
    made = collector([Count(3), Count(2, dies=False)], values=2)
    found = made.collect(6)
    learner = PPO(made.network, RND_STREAMS, normalize=normalize)
    curiosity = RNG(0).random((6, 2))
    advantages, returns = learner.targets(
        found, {'extrinsic': found.rewards, 'intrinsic': curiosity}
    )
    outer = generalized_advantages(
        found.rewards,
        found.values[:-1, :, 0],
        found.values[-1, :, 0],
        0.999,
        0.95,
        found.terminated,
        found.truncated,
        found.cut_values[..., 0],
    )
    inner = generalized_advantages(
        curiosity, found.values[:-1, :, 1], found.values[-1, :, 1], 0.99, 0.95
    )
    expected = 2 * outer.advantages + inner.advantages
    if normalize:
        expected = (expected - expected.mean()) / expected.std()
    np.testing.assert_allclose(advantages, expected, rtol=1e-6)
    np.testing.assert_allclose(returns[..., 0], outer.returns)
    np.testing.assert_allclose(returns[..., 1], inner.returns)


@pytest.mark.parametrize('core', CORES)
def test_first_minibatch_is_the_policy_gradient(core):
    """At ratio 1 the gradient is that of A ln p, by the plain formula."""
    with chainer.using_config('dtype', np.dtype('float64')):
        made = collector([Count(n + 2) for n in range(3)], **CORES[core])
    found = made.collect(6)
    learner = PPO(made.network, epochs=1, minibatches=1, entropy=0.0, value=0)
    learner.optimizer.alpha = 0.0
    metrics = learner.update(found, {'extrinsic': found.rewards}, RNG(0))
    grads = {n: p.grad.copy() for n, p in made.network.namedparams()}
    assert metrics['kl'] == pytest.approx(0, abs=1e-12)
    assert metrics['ratio_clipped'] == 0
    gains, _ = learner.targets(found, {'extrinsic': found.rewards})
    output, _ = made.network.sequence(found.observations[:-1], found.state, found.reset)
    loss = -chainer.functions.mean(output.policy.log_prob(found.actions) * gains)
    made.network.cleargrads()
    loss.backward()
    for name, param in made.network.namedparams():
        plain = 0 if param.grad is None else param.grad
        np.testing.assert_allclose(grads[name], plain, atol=1e-9)


@pytest.mark.parametrize('core', ['none', 'lstm'])
def test_minibatches_see_every_step_once_an_epoch(core):
    made = collector([Count(4) for _ in range(6)], **CORES[core])
    found = made.collect(5)
    learner = PPO(made.network, epochs=2, minibatches=3)
    seen = []

    def note(batch, state):
        seen.append(batch.log_probs)
        return {'x': 0.0}

    learner._improve = note
    learner.update(found, {'extrinsic': found.rewards}, RNG(0))
    assert len(seen) == 6
    for half in (seen[:3], seen[3:]):
        both = np.sort(np.concatenate([part.ravel() for part in half]))
        np.testing.assert_array_equal(both, np.sort(found.log_probs.ravel()))
    assert seen[0].shape == ((5, 2) if core == 'lstm' else (1, 10))


def learn(envs, rounds, steps, learning_rate=3e-3, **options):
    """Mean reward of the last rounds' episodes."""
    made = collector(envs, **options)
    learner = PPO(
        made.network, learning_rate=learning_rate, clip=0.2, normalize=True, max_gradient=0.5
    )
    rng = RNG(0)
    totals = []
    for _ in range(rounds):
        found = made.collect(steps)
        learner.update(found, {'extrinsic': found.rewards}, rng)
        totals.append(np.mean([e.total for e in found.episodes]))
    return np.mean(totals[-5:])


def test_learns_to_repeat_what_it_sees():
    assert learn([Cue() for _ in range(16)], 15, 8, 1e-2) > 0.95


@pytest.mark.parametrize('core', ['lstm', 'dnc'])
def test_learns_to_remember(core):
    envs = [Cue(3) for _ in range(32)]
    assert learn(envs, 26, 12, 5e-3, **CORES[core]) > 0.9


def test_without_memory_it_cannot_remember():
    assert learn([Cue(3) for _ in range(16)], 12, 12, 1e-2) < 0.7


def test_learns_continuous_actions():
    assert learn([Reach() for _ in range(16)], 20, 8, 2e-2) > -0.4


@pytest.mark.parametrize('core', CORES)
def test_resumed_is_unbroken(core, tmp_path):
    def round_of(made, learner, number):
        made.start(RNG([7, number]))
        found = made.collect(6)
        learner.update(found, {'extrinsic': found.rewards}, RNG([8, number]))

    def new():
        made = collector([Cue(2) for _ in range(4)], **CORES[core])
        return made, PPO(made.network)

    unbroken = new()
    for number in range(3):
        round_of(*unbroken, number)
        if number == 1:
            chainer.serializers.save_npz(tmp_path / 'x.npz', unbroken[1])
    resumed = new()
    chainer.serializers.load_npz(tmp_path / 'x.npz', resumed[1])
    round_of(*resumed, 2)
    for a, b in zip(unbroken[1].network.params(), resumed[1].network.params()):
        np.testing.assert_array_equal(a.array, b.array)


@pytest.mark.gpu
@pytest.mark.parametrize('core', CORES)
def test_learns_on_the_gpu_as_on_the_cpu(core):
    found = []
    for device in ('@numpy', '@cupy:0'):
        with chainer.using_config('dtype', np.dtype('float64')):
            made = collector([Count(n + 2) for n in range(4)], **CORES[core])
        made.network.to_device(device)
        made.start(RNG(0))
        learner = PPO(made.network)
        for _ in range(2):
            seen = made.collect(5)
            learner.update(seen, {'extrinsic': seen.rewards}, RNG(1))
        made.network.to_device('@numpy')
        found.append([seen.values] + [p.array for p in made.network.params()])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, atol=1e-7)


@pytest.mark.gpu
def test_numbers_as_actions_on_the_gpu():
    made = collector([Reach() for _ in range(4)])
    made.network.to_device('@cupy:0')
    made.start(RNG(0))
    seen = made.collect(5)
    metrics = PPO(made.network).update(seen, {'extrinsic': seen.rewards}, RNG(1))
    assert np.isfinite(list(metrics.values())).all()


def test_refuses_what_does_not_fit():
    made = collector([Count()])
    found = made.collect(3)
    with pytest.raises(ValueError, match='2 reward streams'):
        PPO(made.network, RND_STREAMS)
    learner = PPO(made.network, minibatches=2)
    with pytest.raises(ValueError, match='intrinsic'):
        learner.update(found, {'intrinsic': found.rewards}, RNG(0))
    with pytest.raises(ValueError, match='finite'):
        learner.update(found, {'extrinsic': np.nan * found.rewards}, RNG(0))
    with pytest.raises(ValueError, match='broadcast'):
        learner.update(found, {'extrinsic': found.rewards[:, 0]}, RNG(0))
    made = collector([Count()], core='lstm')
    learner = PPO(made.network, minibatches=2)
    with pytest.raises(ValueError, match='2 minibatches of 1 lanes'):
        learner.update(found, {'extrinsic': found.rewards}, RNG(0))


@pytest.mark.parametrize('core', ['lstm', 'dnc'])
def test_a_memory_goes_on_from_where_collecting_began(core):
    """Only then is the ratio of a policy that did not change 1."""
    with chainer.using_config('dtype', np.dtype('float64')):
        made = collector([Count(99) for _ in range(4)], **CORES[core])
    made.collect(3)
    found = made.collect(5)
    assert not found.reset.any() and abs(found.state.h).max() > 0.01
    learner = PPO(made.network, epochs=2, minibatches=2)
    learner.optimizer.alpha = 0.0
    metrics = learner.update(found, {'extrinsic': found.rewards}, RNG(0))
    assert metrics['kl'] == pytest.approx(0, abs=1e-12)
    for part, state in learner._parts(Batch(*(np.arange(4.0)[None],) * 6), found.state, RNG(0)):
        lanes = part.advantages[0].astype(int)  # a lane's own memory
        np.testing.assert_array_equal(state.h, found.state.h[lanes])
