"""The dream: noise, ends, lanes, populations and the gym faces."""

import warnings

import chainer
import gym
import numpy as np
import pytest
from gym.utils.env_checker import check_env

from chainer_wm.dream.gym_envs import DreamEnv, DreamVectorEnv
from chainer_wm.dream.simulator import Dream, evaluate_population, rollout
from chainer_wm.links.mdn_rnn import MDNRNN

Z, A, H = 3, 2, 5
WIDTH = Z + 2 * H


def make_model(core='lstm', dtype=np.float32, done_bias=0.0, **options):
    if core == 'dnc':
        options = {'memory_length': 4, 'memory_width': 3, 'read_heads': 2}
    with chainer.using_config('dtype', dtype):
        model = MDNRNN(Z, A, H, mixtures=2, core=core, predict_done=True, **options)
    model.head.b.array[-1] = done_bias
    return model


def starts(count=10):
    rng = np.random.default_rng(3)
    return rng.normal(size=(count, Z)), rng.normal(size=(count, Z)) - 2


def make_dream(model=None, **options):
    model = make_model() if model is None else model
    return Dream(model, starts(), **{'max_steps': 12, **options})


def act(features, theta):
    """A linear controller with one theta per lane."""
    xp = chainer.backend.get_array_module(features)
    theta = theta.reshape(len(features), A, WIDTH)
    return xp.tanh(xp.einsum('bf,baf->ba', features, theta))


def candidates(count=5):
    return np.random.default_rng(4).normal(size=(count, A * WIDTH))


def run(dream, steps, actions):
    return np.stack([dream.step(actions).z for _ in range(steps)])


CORES = pytest.mark.parametrize('core', ['lstm', 'dnc'])


@CORES
def test_a_step_feeds_the_old_state_and_the_restart_flag(core):
    model = make_model(core)
    dream, flags, sample = make_dream(model), [], model.sampler()

    def spy(z, a, state, restart, **rest):
        flags.append(restart)
        return sample(z, a, state, restart, **rest)

    model.sampler = lambda: spy
    dream.reset(4, np.random.default_rng(0))
    before = dream.features()
    assert not before['h'].any() and not before['c'].any()
    dream.step(np.zeros((4, A)))
    assert dream.features()['h'].any()
    dream.step(np.zeros((4, A)))
    np.testing.assert_array_equal(flags, [np.ones(4), np.zeros(4)])


def test_the_first_z_is_a_sample_of_a_stored_start():
    mu = np.array([[0.0] * Z, [100.0] * Z])
    dream = Dream(make_model(), (mu, np.full((2, Z), -2.0)), max_steps=99)
    dream.reset(4000, np.random.default_rng(0))
    z = dream.features()['z']
    high = z[:, 0] > 50
    assert 0.45 < high.mean() < 0.55
    assert np.std(z[~high]) == pytest.approx(np.exp(-1), rel=0.05)


@pytest.mark.parametrize(
    ('bias', 'threshold', 'ends'),
    [(-20.0, 0.5, False), (20.0, 0.5, True), (20.0, 1 - 1e-12, False)],
)
def test_the_end_is_thresholded(bias, threshold, ends):
    dream = make_dream(make_model(done_bias=bias), done_threshold=threshold)
    dream.reset(3, np.random.default_rng(0))
    result = dream.step(np.zeros((3, A)))
    assert result.terminated.tolist() == [ends] * 3
    assert result.reward.tolist() == [1] * 3
    assert not result.truncated.any()


def test_the_cap_truncates():
    dream = make_dream(make_model(done_bias=-50), max_steps=3)
    dream.reset(2, np.random.default_rng(0))
    ends = [dream.step(np.zeros((2, A))).truncated.any() for _ in range(3)]
    assert ends == [False, False, True]


@CORES
def test_dropping_lanes_leaves_the_others_alone(core):
    dream = make_dream(make_model(core, np.float64))
    actions = np.linspace(-1, 1, 8 * A).reshape(8, A)
    dream.reset(4, np.random.default_rng(5), repeats=2)
    whole = run(dream, 5, actions)
    dream.reset(4, np.random.default_rng(5), repeats=2)
    first = run(dream, 2, actions)
    kept = np.array([6, 1, 3])
    dream.keep(kept)
    rest = run(dream, 3, actions[kept])
    np.testing.assert_allclose(first, whole[:2], rtol=1e-10)
    np.testing.assert_allclose(rest, whole[2:, kept], rtol=1e-10)


def test_dropping_lanes_changes_no_bit_of_an_lstms_dream():
    dream = make_dream(make_model(dtype=np.float32))
    actions = np.linspace(-1, 1, 600 * A).reshape(600, A)
    kept = np.random.default_rng(0).permutation(600)[:77]
    dream.reset(20, np.random.default_rng(5), repeats=30)
    whole = run(dream, 6, actions)
    dream.reset(20, np.random.default_rng(5), repeats=30)
    run(dream, 2, actions)
    dream.keep(kept)
    np.testing.assert_array_equal(run(dream, 4, actions[kept]), whole[2:, kept])


def test_repeats_share_the_noise_and_streams_do_not():
    dream = make_dream()
    dream.reset(3, np.random.default_rng(5), repeats=2)
    z = run(dream, 4, np.zeros((6, A)))
    np.testing.assert_allclose(z[:, :3], z[:, 3:], rtol=1e-5)
    assert (np.abs(z[-1, 0] - z[-1, 1]) > 1e-3).any()


def test_a_lane_of_its_own_generator_does_not_depend_on_the_others():
    dream = make_dream()
    paths = []
    for lanes in (1, 3):
        dream.reset(lanes, [np.random.default_rng(n) for n in range(lanes)])
        paths.append(run(dream, 4, np.zeros((lanes, A)))[:, 0])
    np.testing.assert_allclose(*paths, rtol=1e-5)


def test_mixed_temperatures_are_drawn_per_episode():
    dream = make_dream(temperature=(0.5, 1.5))
    dream.reset(500, np.random.default_rng(0), repeats=2)
    tau = dream._tau
    assert 0.5 <= tau.min() < 0.55 and 1.45 < tau.max() <= 1.5
    np.testing.assert_array_equal(tau[:500], tau[500:])


def test_a_higher_temperature_spreads_more():
    spread = []
    for temperature in (0.1, 1.5):
        dream = make_dream(temperature=temperature)
        dream.reset(500, np.random.default_rng(0))
        start = dream.features()['z'].copy()
        spread.append((dream.step(np.zeros((500, A))).z - start).std())
    assert spread[1] > 1.3 * spread[0]


def masks_of(dream, steps, restart=()):
    """The masks that M gets in every step, (steps, lanes, Z + H), by lanes."""
    found, sample = [], dream.model.sampler()

    def spy(*arguments, stream, masks, **rest):
        found.append(np.concatenate([masks.z[stream], masks.h[stream]], axis=1))
        return sample(*arguments, stream=stream, masks=masks, **rest)

    dream._sample = spy
    for step in range(steps):
        if step in restart:
            dream.restart([1])
        dream.step(np.zeros((dream.lanes, A)))
    return np.stack(found)


@CORES
def test_a_dream_keeps_its_masks_and_a_new_one_draws_others(core):
    dream = make_dream(make_model(core), dropout=0.3)
    dream.reset(4, np.random.default_rng(0))
    masks = masks_of(dream, 6, restart=(3,))
    assert (masks == masks[0]).all(axis=(0, 2)).tolist() == [True, False, True, True]
    assert (masks[:3, 1] == masks[0, 1]).all() and (masks[3:, 1] == masks[5, 1]).all()
    assert len(np.unique(masks[0], axis=0)) == 4
    dream.reset(4, np.random.default_rng(1))
    assert (masks_of(dream, 1)[0] != masks[0]).any()


def test_copies_of_a_dream_share_its_masks_and_dropped_lanes_take_none_away():
    dream = make_dream(dropout=0.3)
    dream.reset(3, np.random.default_rng(0), repeats=2)
    masks = masks_of(dream, 1)[0]
    np.testing.assert_array_equal(masks[:3], masks[3:])
    dream.keep(np.array([4, 2]))
    np.testing.assert_array_equal(masks_of(dream, 1)[0], masks[[4, 2]])


def test_masks_are_drawn_last_and_rate_0_draws_none():
    model, found = make_model(dtype=np.float64), []
    for rate in (0.0, 1e-12, 0.3):
        dream = make_dream(model, temperature=(0.5, 1.5), dropout=rate)
        dream.reset(3, [np.random.default_rng(n) for n in range(3)])
        found.append((dream.features()['z'], dream._tau, dream.step(np.zeros((3, A))).z))
    for start, tau, _ in found[1:]:
        np.testing.assert_array_equal(start, found[0][0])
        np.testing.assert_array_equal(tau, found[0][1])
    assert (found[0][2] != found[2][2]).all()
    assert dream.features()['h'].all()  # C sees all of h


def slow_evaluate(model, thetas, episodes, seed):
    """One candidate at a time, no lane ever dropped."""
    out = np.zeros((len(thetas), episodes))
    for p, theta in enumerate(thetas):
        dream = make_dream(model)
        dream.reset(episodes, np.random.default_rng(seed))
        alive = np.ones(episodes, bool)
        rows = np.tile(theta, (episodes, 1))
        while alive.any():
            result = dream.step(act(dream.observe(), rows))
            out[p] += alive
            alive &= ~result.done
    return out


def test_a_population_equals_its_candidates_one_by_one():
    model = make_model(dtype=np.float64, done_bias=-0.5)
    model.head.W.array[-1] *= 3
    thetas = candidates()
    together = evaluate_population(make_dream(model), act, thetas, 8, rng=np.random.default_rng(7))
    np.testing.assert_array_equal(together, slow_evaluate(model, thetas, 8, 7))
    assert len(np.unique(together)) > 3  # the lanes did end at many times


@pytest.mark.gpu
@pytest.mark.parametrize('core', ['lstm', 'dnc'])
def test_a_population_on_the_gpu_equals_the_one_on_the_cpu(core):
    model = make_model(core, np.float64, done_bias=-0.5)
    model.head.W.array[-1] *= 3
    found = []
    for device in ('@numpy', '@cupy:0'):
        model.to_device(device)
        dream = make_dream(model, temperature=(0.8, 1.2))
        found.append(
            evaluate_population(dream, act, candidates(), 8, rng=np.random.default_rng(7))
        )
    np.testing.assert_array_equal(*found)


def test_a_population_shows_its_progress():
    seen = []
    evaluate_population(
        make_dream(make_model(done_bias=-50)),
        act,
        candidates(2),
        3,
        rng=np.random.default_rng(0),
        progress=lambda steps, alive: seen.append((steps, alive)),
    )
    assert seen == [(n, 6) for n in range(1, 12)] + [(12, 0)]


class Still:
    def start(self, rngs):
        return [rng.random() for rng in rngs]

    def act(self, observations, state):
        assert observations.shape == (len(state), WIDTH)
        return np.zeros((len(state), A), np.float32), state


def test_a_policy_is_rolled_out():
    dream = make_dream(make_model(done_bias=-1.0))
    lengths = [
        rollout(dream, Still(), [np.random.default_rng(n) for n in range(k)]) for k in (6, 3)
    ]
    np.testing.assert_array_equal(lengths[0][:3], lengths[1])
    assert lengths[0].min() >= 1 and lengths[0].max() <= 12


def test_a_number_that_is_not_finite_is_no_score():
    model = make_model()
    model.head.b.array[0] = np.nan
    with pytest.raises(FloatingPointError, match='training diverge'):
        evaluate_population(make_dream(model), act, candidates(2), 2, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'temperature': 0.0}, 'temperature'),
        ({'temperature': (1.5, 0.5)}, 'temperature'),
        ({'done_threshold': 1.0}, 'done_threshold'),
        ({'dropout': 1.0}, 'dropout rate'),
    ],
)
def test_bad_settings_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        make_dream(**options)


def test_starts_of_another_vae_are_refused():
    with pytest.raises(ValueError, match='another VAE'):
        Dream(make_model(), (np.zeros((2, 4)), np.zeros((2, 4))), max_steps=9)
    with pytest.raises(ValueError, match='two arrays'):
        Dream(make_model(), (np.zeros((2, Z)), np.zeros((3, Z))), max_steps=9)


def test_a_generator_for_each_lane():
    with pytest.raises(ValueError, match='2 generators for 3 lanes'):
        make_dream().reset(3, [np.random.default_rng(n) for n in range(2)])


@CORES
def test_gyms_checker_has_no_complaint(core):
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', r'`np\.bool8`', DeprecationWarning)
        check_env(DreamEnv(make_dream(make_model(core)), ('z', 'h')))


def test_a_seed_fixes_the_episode_of_the_environment():
    env = DreamEnv(make_dream())
    paths = []
    for _ in range(2):
        seen, _ = env.reset(seed=11)
        paths.append([seen] + [env.step(np.zeros(A))[0] for _ in range(3)])
    np.testing.assert_array_equal(*paths)
    assert (env.reset()[0] != paths[0][0]).any()
    assert env.observation_space.shape == (WIDTH,)


def test_unknown_features_are_named():
    with pytest.raises(ValueError, match="'r'"):
        DreamEnv(make_dream(), ('z', 'r'))


def test_the_vector_environment_restarts_its_lanes():
    model = make_model(done_bias=-1.0)
    vector = DreamVectorEnv(make_dream(model), 4)
    assert isinstance(vector, gym.vector.VectorEnv)
    seen, infos = vector.reset(seed=20)
    singles = [DreamEnv(make_dream(model)) for _ in range(4)]
    alone = [env.reset(seed=20 + n)[0] for n, env in enumerate(singles)]
    np.testing.assert_array_equal(seen, alone)
    restarts = 0
    actions = np.zeros((4, A))
    for _ in range(30):
        seen, rewards, terminated, truncated, infos = vector.step(actions)
        assert rewards.tolist() == [1] * 4
        for n, env in enumerate(singles):
            last, _, end, cap, _ = env.step(actions[n])
            assert (end, cap) == (terminated[n], truncated[n])
            if end or cap:
                assert infos['_final_observation'][n]
                np.testing.assert_allclose(
                    infos['final_observation'][n], last, rtol=1e-4, atol=1e-5
                )
                last, _ = env.reset()
                restarts += 1
            np.testing.assert_allclose(seen[n], last, rtol=1e-4, atol=1e-5)
    assert restarts > 4


def test_a_seed_for_each_lane_of_the_vector_environment():
    vector = DreamVectorEnv(make_dream(), 2)
    a, _ = vector.reset(seed=[5, 6])
    b, _ = vector.reset(seed=5)
    np.testing.assert_array_equal(a, b)
    c, _ = vector.reset()
    assert (a != c).any()
    with pytest.raises(ValueError, match='3 seeds for 2 lanes'):
        vector.reset(seed=[1, 2, 3])
