"""Places: M along recorded episodes, and dreams that begin there."""

import chainer
import numpy as np
import pytest

from chainer_wm.dream.places import places_along
from chainer_wm.dream.simulator import Dream
from chainer_wm.dream.variants import SecondModelDream
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.rollouts.latents import Latents, LatentWriter

Z, A, H = 3, 1, 5
LENGTHS = (5, 9, 3)
CORES = pytest.mark.parametrize('core', ['lstm', 'dnc'])
DTYPES = pytest.mark.parametrize('dtype', [np.float32, np.float64])


def make_model(core='lstm', dtype=np.float32, seed=1):
    options = {}
    if core == 'dnc':
        options = {'memory_length': 4, 'memory_width': 3, 'read_heads': 2}
    with chainer.using_config('dtype', dtype):
        model = MDNRNN(Z, A, H, core=core, predict_done=True, seed=seed, **options)
    model.head.b.array[-1] = -20  # nobody dies
    return model


def record(folder, ln_var=-60.0, lengths=LENGTHS):
    """Episodes whose z is as good as known."""
    rng = np.random.default_rng(0)
    with LatentWriter(folder, Z, A, {'vision': 'v'}) as writer:
        for episode, length in enumerate(lengths):
            mu = rng.standard_normal((length, Z))
            spread = np.full((length, Z), ln_var)
            writer.add(episode, mu, spread, rng.uniform(-1, 1, (length, A)), True)
        writer.finish()
    return Latents(folder)


def followed(model, latents, episode):
    """M's state before every step of one episode, by hand."""
    rows = latents.rows(episode)
    state, states = model.initial_state(1), []
    with chainer.no_backprop_mode():
        for t in range(rows.stop - rows.start):
            states.append(state)
            z, a = (
                np.asarray(part[rows][t : t + 1], model.dtype)
                for part in (latents.mu, latents.actions)
            )
            state = model.follow(z, a, state, np.full(1, t == 0, model.dtype))
    return states


@CORES
@DTYPES
def test_places_remember_what_m_does_at_that_step(core, dtype, tmp_path):
    model, latents = make_model(core, dtype), record(tmp_path)
    places = places_along(model, latents, [1, 2, 0], every=2, seed=0)
    steps = {1: range(0, 9, 2), 2: range(0, 3, 2), 0: range(0, 5, 2)}
    wanted = [(episode, t) for episode, at in steps.items() for t in at]
    assert len(places.first) == len(wanted) == 10
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for n, (episode, t) in enumerate(wanted):
        assert places.first[n] == (t == 0)
        np.testing.assert_array_equal(places.mu[n], latents.mu[latents.rows(episode)][t])
        for kept, field in zip(places.state, followed(model, latents, episode)[t]):
            assert kept.dtype == dtype
            np.testing.assert_allclose(kept[n], field[0], tolerance, tolerance)
    assert all(field.any() for field in places.state)


def test_what_is_kept_of_an_episode_does_not_depend_on_the_others(tmp_path):
    """z is drawn anew in each, from a stream of its own."""
    model, latents = make_model(), record(tmp_path, ln_var=0.0)
    together = places_along(model, latents, [0, 1], every=4, seed=3)
    alone = places_along(model, latents, [1], every=4, seed=3)
    for both, one in zip(together.state, alone.state):
        np.testing.assert_allclose(both[2:], one, 1e-5, 1e-6)
    other = places_along(model, latents, [1], every=4, seed=4)
    assert not np.allclose(other.state.c[1:], alone.state.c[1:], atol=1e-3)


def test_of_too_many_places_some_are_kept(tmp_path):
    model, latents = make_model('dnc'), record(tmp_path)
    every = places_along(model, latents, [0, 1, 2], every=1, seed=0)
    some = places_along(model, latents, [0, 1, 2], every=1, most=7, seed=0)
    assert len(every.first) == 17 and [len(field) for field in some.state] == [7] * 9
    at = [np.flatnonzero((every.mu == mu).all(axis=1)).item() for mu in some.mu]
    assert at == sorted(set(at))
    np.testing.assert_allclose(some.state.memory, every.state.memory[at], 1e-5, 1e-7)
    with pytest.raises(ValueError, match='0 episodes'):
        places_along(model, latents, [], seed=0)


@CORES
def test_units_are_the_deviations_of_what_is_seen_there(core, tmp_path):
    model, latents = make_model(core, np.float64), record(tmp_path, ln_var=0.0, lengths=(400,))
    places = places_along(model, latents, [0], every=1, seed=0)
    unit = places.deviations(model, ('h', 'z', 'c'))
    rng = np.random.default_rng(1)
    z = places.mu + np.exp(0.5 * places.ln_var) * rng.standard_normal((2000, 1, 1))
    wanted = [places.state.h.std(axis=0), z.std(axis=(0, 1)), places.state.c.std(axis=0)]
    np.testing.assert_allclose(unit, np.concatenate(wanted), rtol=0.05)
    still = places._replace(state=type(places.state)(*(0 * field for field in places.state)))
    np.testing.assert_array_equal(still.deviations(model, ('c',)), np.ones(H))


def starts():
    return np.full((4, Z), 50.0), np.full((4, Z), -60.0)  # far from every place


def make_dream(model, places, **options):
    return Dream(model, starts(), max_steps=99, places=places, **options)


def at_first_frames(dream):
    return dream.features()['z'][:, 0] > 25


@CORES
@DTYPES
def test_dreams_begin_with_what_m_remembers_there(core, dtype, tmp_path):
    model, latents = make_model(core, dtype), record(tmp_path)
    places = places_along(model, latents, [0, 1, 2], every=1, seed=0)
    dream, flags, sample = make_dream(model, places, first_share=0.25), [], model.sampler()

    def spy(z, a, state, restart, **rest):
        flags.append(restart)
        return sample(z, a, state, restart, **rest)

    model.sampler = lambda: spy
    dream.reset(2000, np.random.default_rng(0))
    first = at_first_frames(dream)
    assert 0.22 < first.mean() < 0.28
    found = dream.features()
    assert not found['h'][first].any()
    distance = np.abs(found['z'][~first][:, None] - places.mu).sum(axis=2)
    nearest = distance.argmin(axis=1)
    assert set(nearest) == set(range(17))
    np.testing.assert_allclose(distance.min(axis=1), 0, atol=1e-5)
    np.testing.assert_array_equal(found['h'][~first], places.state.h[nearest])
    np.testing.assert_array_equal(found['c'][~first], places.state.c[nearest])
    dream.step(np.zeros((2000, A)))
    np.testing.assert_array_equal(flags[0][first], 1)
    np.testing.assert_array_equal(flags[0][~first], places.first[nearest])
    dream.step(np.zeros((2000, A)))
    assert not flags[1].any()


@CORES
def test_a_restart_touches_its_lanes_alone(core, tmp_path):
    model, latents = make_model(core), record(tmp_path)
    places = places_along(model, latents, [0, 1, 2], every=1, seed=0)
    dream = make_dream(model, places, first_share=0.0)
    dream.reset(5, [np.random.default_rng(n) for n in range(5)])
    for _ in range(3):
        dream.step(np.zeros((5, A)))
    before = {name: value.copy() for name, value in dream.features().items()}
    dream.restart([1, 3])
    after = dream.features()
    for name, value in after.items():
        np.testing.assert_array_equal(value[[0, 2, 4]], before[name][[0, 2, 4]])
    kept = [np.abs(places.mu - z).sum(axis=1).argmin() for z in after['z'][[1, 3]]]
    np.testing.assert_array_equal(after['c'][[1, 3]], places.state.c[kept])
    assert dream.ages.tolist() == [3, 0, 3, 0, 3]


@CORES
def test_the_copies_of_a_population_begin_at_one_place(core, tmp_path):
    model, latents = make_model(core), record(tmp_path)
    places = places_along(model, latents, [0, 1, 2], every=1, seed=0)
    dream = make_dream(model, places)
    dream.reset(20, np.random.default_rng(0), repeats=3)
    seen = dream.observe().reshape(3, 20, -1)
    np.testing.assert_array_equal(seen[0], seen[1])
    dream.keep(np.arange(20, 60))
    np.testing.assert_array_equal(dream.observe().reshape(2, 20, -1), seen[1:])
    dream.step(np.zeros((40, A)))
    later = dream.observe().reshape(2, 20, -1)
    np.testing.assert_allclose(later[0], later[1], 1e-5, 1e-6)


@CORES
def test_an_m_that_is_its_own_second_remembers_the_same(core, tmp_path):
    model, latents = make_model(core), record(tmp_path)
    places = places_along(model, latents, [0, 1, 2], every=1, seed=0)
    alone = make_dream(model, places)
    second = SecondModelDream(model, starts(), model, places.state, max_steps=99, places=places)
    seen = []
    for dream in (alone, second):
        dream.reset(6, [np.random.default_rng(n) for n in range(6)])
        for step in range(4):
            dream.step(np.full((6, A), 0.1 * step))
            if step == 1:
                dream.restart([2])
        seen.append(dream.observe())
    np.testing.assert_allclose(*seen, atol=1e-6)
    with pytest.raises(ValueError, match='they go together'):
        SecondModelDream(model, starts(), model, max_steps=9, places=places)


def test_bad_settings_are_refused(tmp_path):
    places = places_along(make_model(), record(tmp_path), [0], seed=0)
    with pytest.raises(ValueError, match='first_share is 2'):
        make_dream(make_model(), places, first_share=2)
    with pytest.raises(ValueError, match='places have 2 dims but M predicts 3'):
        make_dream(make_model(), places._replace(mu=places.mu[:, :2]))
