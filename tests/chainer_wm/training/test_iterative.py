"""The pieces of the iterative procedure: reward head, curiosity, explorers."""

import functools

import chainer
import numpy as np
import pytest

from chainer_wm.agents.controller import LinearController
from chainer_wm.agents.policies import HeldRandom, describe
from chainer_wm.agents.world_model import Player, WorldModelAgent
from chainer_wm.dream.simulator import Dream, evaluate_population
from chainer_wm.dream.variants import CuriousDream
from chainer_wm.envs.pendulum import draw
from chainer_wm.functions.mixture import mixture_nll
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.rollouts import Rollout
from chainer_wm.rollouts.latents import Latents, LatentWriter
from chainer_wm.rollouts.sequences import LatentSequences
from chainer_wm.rollouts.splits import every_tenth
from chainer_wm.training import vae
from chainer_wm.training.novelty import novelty

Z, H = 3, 6
CORES = pytest.mark.parametrize('core', ['lstm', 'dnc'])
SIZES = {'memory_length': 4, 'memory_width': 3, 'read_heads': 2}


def make(core='lstm', dtype=np.float64, **options):
    if core == 'dnc':
        options = SIZES | options
    options = {'predict_reward': True, 'reward_scale': 2.0} | options
    with chainer.using_config('dtype', dtype):
        return MDNRNN(Z, 1, H, 2, core, True, **options)


def batch(seed=0, steps=5, lanes=3):
    rng = np.random.default_rng(seed)
    z, z_next = rng.normal(size=(2, steps, lanes, Z))
    return {
        'z': z,
        'a': rng.uniform(-1, 1, (steps, lanes, 1)),
        'z_next': z_next,
        'mask': np.ones((steps, lanes)),
        'done': np.zeros((steps, lanes), np.int32),
        'reset': (rng.random((steps, lanes)) < 0.3).astype(float),
        'reward': rng.normal(size=(steps, lanes)) * 3 - 5,
    }


def losses(model, given):
    reporter = chainer.Reporter()
    reporter.add_observer('m', model)
    with reporter.scope({}), reporter:
        seen = reporter.observation
        lanes = given['z'].shape[1]
        loss, _ = model.loss(state=model.initial_state(lanes), **given)
    return loss, {name[2:]: float(chainer.as_array(x)) for name, x in seen.items()}


@CORES
@pytest.mark.parametrize('engine', ['fused', 'reference'])
def test_the_reward_loss_by_hand_and_nothing_else_changes(core, engine):
    model, plain = make(core, engine=engine), make(core, predict_reward=False)
    given = batch()
    given['reward'][1, 2] = np.nan  # not known
    prediction, _ = model.sequence(given['z'], given['a'], model.initial_state(3), given['reset'])
    error = (prediction.reward.array - given['reward']) / 2
    loss, parts = losses(model, given)
    assert parts['reward_loss'] == pytest.approx(0.5 * np.nanmean(error**2), rel=1e-11)
    del given['reward']
    _, others = losses(plain, given)
    assert 'reward_loss' not in others
    for name in ('nll', 'done_loss'):
        assert parts[name] == pytest.approx(others[name], rel=1e-11)
    assert float(loss.array) == pytest.approx(sum(parts.values()) / 2)


def test_the_gradient_of_the_whole_loss_by_finite_differences():
    model, given = make(), batch(steps=3, lanes=2)
    model.cleargrads()
    losses(model, given)[0].backward()
    rng = np.random.default_rng(5)
    for parameter in model.params():
        direction = rng.normal(size=parameter.shape)
        values = []
        for sign in (1, -2):
            parameter.array += sign * 1e-6 * direction
            values.append(float(losses(model, given)[0].array))
        parameter.array += 1e-6 * direction
        assert (parameter.grad * direction).sum() == pytest.approx(
            (values[0] - values[1]) / 2e-6, rel=1e-6, abs=1e-8
        )


def test_bad_rewards_are_named():
    given = batch()
    given['reward'] = given['reward'].T
    with pytest.raises(ValueError, match=r'reward has shape \(3, 5\)'):
        losses(make(), given)
    with pytest.raises(ValueError, match='reward_scale is 0'):
        make(reward_scale=0.0)


def starts():
    rng = np.random.default_rng(3)
    return rng.normal(size=(4, Z)), rng.normal(size=(4, Z)) - 2


def alive(model):
    model.head.b.array[-1] = -50  # no ends
    return model


@CORES
@pytest.mark.parametrize('curiosity', [0.0, 1.5])
def test_the_dream_pays_what_m_says_of_that_step(core, curiosity):
    """Against M stepped beside the dream, and its NLL of what was drawn."""
    model = alive(make(core))
    dream = (
        CuriousDream(model, starts(), curiosity, max_steps=9, temperature=1)
        if curiosity
        else Dream(model, starts(), max_steps=9)
    )
    dream.reset(5, np.random.default_rng(0))
    state, restart = model.initial_state(5), np.ones(5)
    for action in np.random.default_rng(1).uniform(-1, 1, (3, 5, 1)):
        z = dream.features()['z']
        said, state = model.step(z, action, state, restart)
        state = type(state)(*map(chainer.as_array, state))
        result, restart = dream.step(action), np.zeros(5)
        surprise = mixture_nll(result.z, said.mixture).array.mean(axis=1)
        np.testing.assert_allclose(
            result.reward, said.reward.array + curiosity * surprise, rtol=1e-8
        )
        assert result.reward.dtype == np.float64


def test_the_step_that_ends_a_dream_pays_what_the_rules_say():
    for end_reward in (None, -7.0):
        model = make(end_reward=end_reward)
        model.head.W.array[-1] = 0
        model.head.W.array[-1, 0] = 1e3  # some end, some do not
        dream = Dream(model, starts(), max_steps=9)
        dream.reset(32, np.random.default_rng(0))
        said = dream.step(np.zeros((32, 1)))
        paid = [found == -7 for found in said.reward]
        assert 0 < said.terminated.sum() < 32
        np.testing.assert_array_equal(paid, said.terminated & (end_reward is not None))


def test_a_population_is_ranked_by_the_predicted_reward():
    """M's reward is made to be the action: who pushes harder earns more."""
    model = alive(make())
    dream = Dream(model, starts(), max_steps=4)
    outputs = []

    class Spy:
        scale = 1.0

        def __call__(self, ys):
            return chainer.as_variable(outputs[-1])

    model.reward_head = Spy()

    def act(features, theta):
        outputs.append(theta[:, 0])
        return theta

    returns = evaluate_population(dream, act, [[0.5], [-1.0]], 3, rng=np.random.default_rng(0))
    np.testing.assert_allclose(returns, [[2.0] * 3, [-4.0] * 3])


def test_rewards_come_with_their_rows(tmp_path):
    with LatentWriter(tmp_path, 2, 1) as writer:
        for episode, length in enumerate((4, 7, 5)):
            rows = np.full((length, 2), episode, np.float32)
            writer.add(episode, rows, rows, rows[:, :1], False)
        writer.finish()
    latents = Latents(tmp_path)
    rewards = np.arange(16.0) * 10
    sequences = LatentSequences(latents, 2, 6, 0, rewards=rewards)
    for number in range(3):
        found = sequences.reward(number)
        assert found.shape == (6, 2) and found.dtype == np.float32
        row = (found / 10).astype(int)
        episode = np.searchsorted([4, 11], row, 'right')
        window = sequences.batch(number)
        np.testing.assert_array_equal(window.actions[..., 0], episode)
        starts = np.isin(row, (0, 4, 11))
        np.testing.assert_array_equal(starts, window.reset > 0)
    assert LatentSequences(latents, 2, 6, 0).reward(0) is None
    with pytest.raises(ValueError, match='rewards have shape'):
        LatentSequences(latents, 2, 6, 0, rewards=rewards[:5])


def crew():
    model = make(dtype=np.float32)
    return ConvVAE(Z), model, LinearController(Z + 2 * H, 1, bias=False)


def test_each_lane_explores_with_its_own_candidate():
    vision, model, linear = crew()
    candidates = np.random.default_rng(0).normal(size=(40, linear.n_params))
    frames = np.stack([draw(angle) for angle in (0.1, 0.1, 2.0)])

    def draw_one(rng):
        return candidates[rng.integers(len(candidates))]

    def acts(lanes, noise):
        explorer = WorldModelAgent(vision, model, linear, draw=draw_one, noise=noise)
        state = explorer.start([np.random.default_rng(n) for n in lanes])
        found = []
        for _ in range(3):
            actions, state = explorer.act(frames[lanes], state)
            found.append(actions)
        return np.stack(found)

    together = acts([0, 1, 2], 0.3)
    assert together.shape == (3, 3, 1) and np.abs(together).max() <= 1
    assert (together[:, 0] != together[:, 1]).all()
    np.testing.assert_allclose(together[:, 1:2], acts([1], 0.3), rtol=1e-4)
    assert (together != acts([0, 1, 2], 0.0)).any()
    with pytest.raises(ValueError, match=r'noise is -0\.1'):
        WorldModelAgent(vision, model, linear, noise=-0.1)


def test_a_player_has_one_name_whoever_plays():
    player = Player(functools.partial(HeldRandom, (3,)))
    assert describe(player) == {'name': 'Player'}
    rngs = [np.random.default_rng(4)]
    frames = np.zeros((1, 64, 64, 3), np.uint8)
    mine, _ = player.act(frames, player.start(rngs))
    plain = HeldRandom((3,))
    theirs, _ = plain.act(frames, plain.start([np.random.default_rng(4)]))
    np.testing.assert_array_equal(mine, theirs)


def rollout(steps, seed):
    rng = np.random.default_rng(seed)
    return Rollout(
        np.stack([draw(angle) for angle in rng.uniform(-3, 3, steps)]),
        rng.uniform(-1, 1, (steps, 1)).astype('f'),
        rng.normal(size=steps).astype('f'),
        np.zeros(steps, bool),
        np.zeros(steps, bool),
    )


def test_novelty_is_the_loss_of_the_episodes():
    vision, model, _ = crew()
    rollouts = [rollout(6, seed) for seed in range(4)]
    found = novelty(vision, model, rollouts, 0)
    assert set(found) == {'loss', 'nll', 'done_loss', 'reward_loss'}
    model.reward_head.b.array += 5  # worse at rewards, at nothing else
    worse = novelty(vision, model, rollouts, 0)
    assert worse['nll'] == found['nll']
    assert worse['reward_loss'] > found['reward_loss']
    with pytest.raises(ValueError, match=r'\[5, 6\] steps'):
        novelty(vision, model, [*rollouts, rollout(5, 0)], 0)


def test_held_out_episodes_stay_held_out():
    few, more = every_tenth(range(20)), every_tenth(range(35))
    assert few[1] == [9, 19] and more[1] == [9, 19, 29]
    assert sorted(few[0] + few[1]) == list(range(20))
    with pytest.raises(ValueError, match='9 episodes'):
        every_tenth(range(9))


def test_v_begins_at_the_mean_colour():
    vision = ConvVAE(Z)
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    frames[0, ..., 1] = 102  # 0.2 on average
    vision.deconv4.W.array[...] = 0
    vae.start_at_mean(vision, frames)
    picture = vision.decode(np.zeros((1, Z), np.float32)).array[0]
    means = picture.mean(axis=(1, 2))
    np.testing.assert_allclose(means, [0.01, 0.2, 0.01], rtol=1e-5)


class Told(chainer.Chain):
    """An M that keeps what its loss is told."""

    device = chainer.get_device('@numpy')
    dtype = np.dtype(np.float64)

    def initial_state(self, batch):
        return batch

    def loss(self, *told, reward):
        self.told = (*told, reward)
        chainer.report({'loss': 1.5}, self)


class Shown:
    """A V whose z is the first pixel of the frame, without a doubt."""

    xp, dtype = np, np.dtype(np.float64)

    def encode(self, x):
        mu = chainer.Variable(np.array(x[:, 0, 0, :1]) * 255)
        return mu, chainer.Variable(np.full(mu.shape, -80.0))


def test_novelty_is_about_the_next_z():
    rollouts = []
    for lane in range(2):
        frames = np.zeros((5, 64, 64, 3), np.uint8)
        frames[:, 0, 0, 0] = 100 * lane + np.arange(5)
        count = (10 * lane + np.arange(5)).astype('f')
        rollouts.append(
            Rollout(*(frames, count[:, None], 2 * count), *(np.zeros(5, bool), np.zeros(5, bool)))
        )
    told = Told()
    assert novelty(Shown(), told, rollouts, 0) == {'loss': 1.5}
    z, a, z_next, mask, done, state, reset, reward = told.told
    first = np.arange(4)[:, None] + np.array([0, 100])
    counts = np.arange(4)[:, None] + np.array([0, 10])
    np.testing.assert_allclose(z[..., 0], first, atol=1e-9)
    np.testing.assert_allclose(z_next[..., 0], first + 1)
    np.testing.assert_allclose(a[..., 0], counts)
    np.testing.assert_allclose(reward, 2 * counts)
    np.testing.assert_array_equal(reset, [[1, 1]] + 3 * [[0, 0]])
    assert mask.all() and not done.any() and state == 2
