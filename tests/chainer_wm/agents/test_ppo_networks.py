"""Distributions, networks, and that they say the same in both ways."""

import chainer
import gym
import numpy as np
import pytest
from chainer import gradient_check
from ppo_case import CORES, Count, network

from chainer_wm.agents.ppo.networks import (
    RND_CONVOLUTIONS,
    ActorCritic,
    Categorical,
    DiagonalGaussian,
)
from chainer_wm.agents.ppo.policy import NetworkPolicy

RNG = np.random.default_rng


def test_categorical_by_hand():
    policy = Categorical(np.log(np.array([[[1.0, 2.0, 5.0]]])))
    for action, chance in enumerate((1 / 8, 2 / 8, 5 / 8)):
        found = policy.log_prob(np.full((1, 1), action)).array
        np.testing.assert_allclose(found, np.log(chance))
    chances = np.array([1, 2, 5]) / 8
    np.testing.assert_allclose(policy.entropy().array, -(chances * np.log(chances)).sum())
    assert policy.mode().tolist() == [[2]]


def test_categorical_draws_by_its_chances():
    logits = np.broadcast_to(np.log([0.1, 0.6, 0.3]), (20000, 3))
    drawn = Categorical(logits).sample(RNG(0))
    np.testing.assert_allclose(np.bincount(drawn) / 20000, [0.1, 0.6, 0.3], atol=0.01)
    again = Categorical(logits).sample(RNG(0))
    np.testing.assert_array_equal(drawn, again)


def test_categorical_keeps_to_its_actions_whatever_the_logits():
    logits = np.array([[1e4, -1e4], [-1e4, 1e4], [0, -np.inf]], np.float32)
    for seed in range(20):
        assert Categorical(logits).sample(RNG(seed)).tolist() == [0, 1, 0]


def test_gaussian_by_hand():
    mu = np.array([[[0.5, -1.0]]])
    sigma = np.array([[[2.0, 0.5]]])
    x = np.array([[[1.5, -1.0]]])
    policy = DiagonalGaussian(mu, np.log(sigma))
    density = np.exp(-(((x - mu) / sigma) ** 2) / 2)
    density = density / np.sqrt(2 * np.pi) / sigma
    np.testing.assert_allclose(policy.log_prob(x).array, np.log(density).sum(axis=-1))
    np.testing.assert_allclose(
        policy.entropy().array, np.log(sigma * np.sqrt(2 * np.pi * np.e)).sum(axis=-1)
    )
    drawn = DiagonalGaussian(
        np.broadcast_to(mu, (20000, 1, 2)), np.broadcast_to(np.log(sigma), (20000, 1, 2))
    ).sample(RNG(0))
    np.testing.assert_allclose(drawn.mean(axis=0), mu[0], atol=0.05)
    np.testing.assert_allclose(drawn.std(axis=0), sigma[0], rtol=0.03)


@pytest.mark.parametrize('kind', ['categorical', 'gaussian'])
def test_gradients_of_the_chances(kind):
    rng = RNG(0)
    mean = rng.normal(size=(2, 3, 4))
    other = rng.normal(size=(2, 3, 4))

    def say(*fields):
        if kind == 'categorical':
            policy = Categorical(fields[0])
            actions = np.arange(6).reshape(2, 3) % 4
        else:
            policy, actions = DiagonalGaussian(*fields), other
        return policy.log_prob(actions) + 2 * policy.entropy()

    fields = (mean,) if kind == 'categorical' else (mean, 0.3 * other)
    gradient_check.check_backward(say, fields, rng.normal(size=(2, 3)), dtype=np.float64)


def test_actions_of_another_shape_are_refused():
    policy = Categorical(np.zeros((4, 1, 3)))
    with pytest.raises(ValueError, match='nothing is broadcast'):
        policy.log_prob(np.zeros(4, int))
    policy = DiagonalGaussian(np.zeros((4, 1, 3)), np.zeros((4, 1, 3)))
    with pytest.raises(ValueError, match='nothing is broadcast'):
        policy.log_prob(np.zeros((4, 1, 1)))


@pytest.mark.parametrize('core', CORES)
@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_sequence_says_what_steps_say(core, dtype):
    rng = RNG(1)
    with chainer.using_config('dtype', np.dtype(dtype)):
        net = network(Count(), values=2, **CORES[core])
    seen = rng.normal(size=(5, 3, 2)).astype(dtype)
    reset = rng.random((5, 3)) < 0.3
    start = net.initial_state(3)
    whole, end = net.sequence(seen, start, reset)
    assert whole.values.shape == (5, 3, 2)
    assert whole.policy.logits.shape == (5, 3, 2)
    assert whole.values.dtype == dtype
    state = start
    for t in range(5):
        keep = ~reset[t]
        state = type(state)(*(f * keep.reshape(-1, *[1] * (f.ndim - 1)) for f in state))
        output, state = net.step(seen[t], state)
        state = type(state)(*(chainer.as_array(f) for f in state))
        for a, b in (
            (output.values, whole.values[t]),
            (output.policy.logits, whole.policy.logits[t]),
        ):
            np.testing.assert_allclose(
                a.array, b.array, atol=1e-5 if dtype == 'float32' else 1e-12
            )
    for a, b in zip(state, end):
        np.testing.assert_allclose(a, chainer.as_array(b), atol=1e-5)


def test_pictures_are_bytes_or_shares_of_one():
    net = ActorCritic(
        (12, 10, 3),
        gym.spaces.Discrete(4),
        convolutions=((4, 4, 2), (8, 3, 1)),
        hidden=(7,),
        residual=True,
    )
    pictures = RNG(0).integers(256, size=(2, 12, 10, 3)).astype(np.uint8)
    a, _ = net.step(pictures, net.initial_state(2))
    b, _ = net.step(pictures.astype('f') / 255, net.initial_state(2))
    np.testing.assert_allclose(a.values.array, b.values.array, atol=1e-6)
    assert net.body.layers[0].W.shape == (7, 8 * 3 * 2)


def test_network_of_the_paper():
    net = ActorCritic(
        (84, 84, 4),
        gym.spaces.Discrete(18),
        values=2,
        convolutions=RND_CONVOLUTIONS,
        hidden=(256, 448),
        activation='relu',
        residual=True,
        value_scale=0.01,
    )
    # three convolutions, 6x6x64 numbers, two layers, two residual layers
    expected = 32 * 256 + 32 + 64 * 512 + 64 + 64 * 1024 + 64
    expected += 2304 * 256 + 256 + 256 * 448 + 448
    expected += 2 * (448 * 448 + 448) + 448 * 20 + 20
    assert net.count_params() == expected


def test_bodies_are_shared_or_separate():
    def value_moves_policy(**options):
        net = network(Count(), **options)
        output, _ = net.step(np.ones((1, 2), 'f'), net.initial_state(1))
        net.cleargrads()
        chainer.functions.sum(output.values).backward()
        return net.body.layers[0].W.grad is not None

    assert value_moves_policy()
    assert not value_moves_policy(separate=True)
    with pytest.raises(ValueError, match='separate'):
        network(Count(), separate=True, core='lstm')


def test_same_seed_same_weights():
    def weights(seed):
        return [p.array for p in network(Count(), seed=seed).params()]

    for a, b in zip(weights(3), weights(3)):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(weights(3), weights(4)))


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        ({'convolutions': ((4, 3, 1),)}, 'pictures'),
        ({'activation': 'swish'}, 'swish'),
        ({'core': 'gru'}, 'gru'),
    ],
)
def test_refuses_wrong_options(options, match):
    with pytest.raises(ValueError, match=match):
        network(Count(), **options)


def test_refuses_wrong_spaces_and_observations():
    with pytest.raises(ValueError, match='too small'):
        ActorCritic((6, 6, 1), gym.spaces.Discrete(2), convolutions=RND_CONVOLUTIONS)
    with pytest.raises(ValueError, match='action space'):
        ActorCritic((2,), gym.spaces.MultiBinary(2))
    net = network(Count())
    with pytest.raises(ValueError, match=r'\(B, \*\(2,\)\)'):
        net.step(np.zeros((3, 4), 'f'), net.initial_state(3))
    with pytest.raises(ValueError, match=r'\(T, B, \*\(2,\)\)'):
        net.sequence(np.zeros((3, 2), 'f'), net.initial_state(3))


@pytest.mark.parametrize('core', CORES)
def test_policy_plays_lanes_by_their_own_generators(core):
    net = network(Count(), **CORES[core])
    seen = RNG(0).normal(size=(4, 3, 2)).astype('f')

    def play(lanes):
        policy = NetworkPolicy(net, Count().action_space)
        state = policy.start([RNG(lane) for lane in lanes])
        found = []
        for t in range(4):
            actions, state = policy.act(seen[t, lanes], state)
            found.append(actions)
        return np.stack(found)

    np.testing.assert_array_equal(play([0, 1, 2])[:, 2:], play([2]))
    greedy = NetworkPolicy(net, Count().action_space, greedy=True)
    actions, _ = greedy.act(seen[0], greedy.start([RNG(0)] * 3))
    output, _ = net.step(seen[0], net.initial_state(3))
    np.testing.assert_array_equal(actions, output.policy.logits.array.argmax(axis=1))
