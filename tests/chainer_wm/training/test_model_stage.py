"""Held-out episodes: every step seen once, measures as one by one."""

import chainer
import numpy as np
import pytest

from chainer_wm.functions.mixture import mixture_nll
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.rollouts.latents import Latents, LatentWriter
from chainer_wm.rollouts.sequences import LatentSequences
from chainer_wm.seeds import stream
from chainer_wm.training import mdn_rnn as stage

LENGTHS = (3, 41, 1, 12, 2, 30, 7, 7, 1, 5)
HELD_OUT = (9, 1, 0, 4, 2, 6, 3)  # lengths 5, 41, 3, 2, 1, 7, 12
ENDS = (True, False, True, True, True, True, False, True, True, True)
SIZES = pytest.mark.parametrize(
    ('lanes', 'window'), [(1, 1), (1, 100), (2, 5), (3, 7), (7, 4), (20, 3)]
)


@pytest.fixture(scope='module')
def latents(tmp_path_factory):
    """Codes whose first column is the number of their row."""
    folder = tmp_path_factory.mktemp('codes')
    rng = np.random.default_rng(0)
    first = 0
    with LatentWriter(folder, 3, 2) as writer:
        for episode, length in enumerate(LENGTHS):
            mu = rng.normal(size=(length, 3))
            mu[:, 0] = np.arange(first, first + length)
            ln_var = np.full((length, 3), np.log(0.25))
            ln_var[:, 0] = -60
            action = mu[:, :1] * [1, 10]
            writer.add(episode, mu, ln_var, action, ENDS[episode])
            first += length
        writer.finish()
    return Latents(folder)


def rewards():
    return np.arange(sum(LENGTHS)) / 7.0


def held_out(latents, lanes, window):
    return LatentSequences(*(latents, lanes, window, 0, HELD_OUT, np.float64, rewards()))


def wanted_rows(latents):
    return np.concatenate([np.arange(rows.start, rows.stop) for rows in slices(latents)])


def slices(latents):
    return [latents.rows(episode) for episode in HELD_OUT]


class Spy:
    """An M that says of each step which row it was, and keeps it all."""

    predict_done = True
    dtype = np.dtype(np.float64)
    device = chainer.get_device('@numpy')

    def __init__(self):
        self.seen = []

    def initial_state(self, batch):
        return MDNRNN(3, 2, 4).initial_state(batch)


def passed(latents, lanes, window):
    """Every real step of a pass: row, row of z_next or -1, and the rest."""
    rows = []
    last = {}

    def step(found, batch, state):
        z, real = batch['z'][..., 0], found.real
        assert state.c.shape[0] == z.shape[1] == real.shape[1]
        for t, b in np.argwhere(real):
            mask = batch['mask'][t, b]
            row = {
                'row': round(z[t, b]),
                'next': round(batch['z_next'][t, b, 0]) if mask else -1,
                'begins': batch['reset'][t, b],
                'done': int(batch['done'][t, b]),
                'action': batch['a'][t, b],
                'reward': batch['reward'][t, b],
            }
            # a lane goes on where it was, or an episode begins
            assert row['begins'] or last[b] == row['row'] - 1
            last[b] = row['row']
            rows.append(row)
        filling = ~real
        assert not batch['mask'][filling].any()
        assert (batch['done'][filling] == -1).all()
        assert np.isnan(batch['reward'][filling]).all()
        return state

    stage._pass(Spy(), held_out(latents, lanes, window), 0, step)
    return rows


@SIZES
def test_a_pass_sees_every_step_of_every_episode_once(latents, lanes, window):
    rows = passed(latents, lanes, window)
    assert sorted(row['row'] for row in rows) == sorted(wanted_rows(latents))
    by_row = {row['row']: row for row in rows}
    for episode, here in zip(HELD_OUT, slices(latents)):
        for n in range(here.start, here.stop):
            last = n == here.stop - 1
            assert by_row[n]['next'] == (-1 if last else n + 1)
            assert by_row[n]['begins'] == (n == here.start)
            assert by_row[n]['done'] == (last and ENDS[episode])
            np.testing.assert_array_equal(by_row[n]['action'], [n, 10 * n])
            assert by_row[n]['reward'] == n / 7


@SIZES
def test_every_death_is_seen_once(latents, lanes, window):
    found = [row['row'] for row in passed(latents, lanes, window)
             if row['done']]  # fmt: skip
    deaths = [here.stop - 1 for episode, here in zip(HELD_OUT, slices(latents)) if ENDS[episode]]
    assert sorted(found) == sorted(deaths) and len(deaths) == 5


def test_a_pass_has_little_filling(latents):
    """Longest first: two lanes share 71 steps as 41 and 30."""
    windows = list(held_out(latents, 2, 5).once().windows())
    assert len(windows) == 9
    assert [w.rows.shape for w in windows[:6]] == [(5, 2)] * 6
    assert [w.rows.shape for w in windows[6:]] == [(5, 1), (5, 1), (1, 1)]


def make(core='lstm', done=True):
    with chainer.using_config('dtype', np.float64):
        options = {'memory_length': 4, 'memory_width': 3, 'read_heads': 1} if core == 'dnc' else {}
        return MDNRNN(
            *(3, 2, 5),
            mixtures=2,
            core=core,
            predict_done=done,
            seed=1,
            predict_reward=done,
            reward_scale=3.0,
            **options,
        )


def one_by_one(network, latents, seed):
    """The mean losses of all steps, and P(done), by a slow walk."""
    nll, entropy, error, p_done = [], [], [], []
    for episode, here in zip(HELD_OUT, slices(latents)):
        mu = latents.mu[here].astype(np.float64)
        ln_var = latents.ln_var[here].astype(np.float64)
        rng = stream(seed, 'held-out z', episode)
        z = mu + np.sqrt(np.exp(ln_var)) * rng.standard_normal(mu.shape)
        actions = latents.actions[here].astype(np.float64)
        state = network.initial_state(1)
        for t in range(len(z)):
            flag = np.array([float(t == 0)])
            said, state = network.step(z[t : t + 1], actions[t : t + 1], state, flag)
            if t + 1 < len(z):
                one = mixture_nll(z[t + 1 : t + 2], said.mixture)
                nll.append(one.array.mean())
            if network.predict_done:
                logit = said.done_logit.array[0]
                p_done.append(1 / (1 + np.exp(-logit)))
                dead = t + 1 == len(z) and ENDS[episode]
                # -10 ln P(done), or -ln(1 - P(done))
                entropy.append(10 * np.log1p(np.exp(-logit)) if dead else np.log1p(np.exp(logit)))
                off = said.reward.array[0] - rewards()[here.start + t]
                error.append(0.5 * (off / 3.0) ** 2)
    found = {'nll': np.mean(nll)}
    if network.predict_done:
        found['done_loss'] = np.mean(entropy)
        found['reward_loss'] = np.mean(error)
    return {'loss': sum(found.values()), **found}, np.array(p_done)


@pytest.fixture(scope='module')
def slowly(latents):
    return one_by_one(make(), latents, 6)


@SIZES
def test_measures_are_those_of_the_episodes_one_by_one(latents, slowly, lanes, window):
    wanted, _ = slowly
    found = stage.measure(make(), held_out(latents, lanes, window), 6, done_weight=10.0)
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-10), name


@pytest.mark.parametrize('options', [{'core': 'dnc'}, {'done': False}])
def test_other_models_are_measured_so_too(latents, options):
    network = make(**options)
    wanted, _ = one_by_one(network, latents, 6)
    found = stage.measure(network, held_out(latents, 3, 7), 6, done_weight=10.0)
    assert found == pytest.approx(wanted, rel=1e-9)


@SIZES
def test_deaths_are_those_of_the_episodes_one_by_one(latents, slowly, lanes, window):
    found = stage.deaths(make(), held_out(latents, lanes, window), 6)
    np.testing.assert_allclose(found.p_done, slowly[1], rtol=1e-9)
    wanted = np.zeros(71)
    ends = np.cumsum([LENGTHS[episode] for episode in HELD_OUT]) - 1
    wanted[ends] = [ENDS[episode] for episode in HELD_OUT]
    np.testing.assert_array_equal(found.done, wanted)
    assert found.detection()['deaths'] == 5


def test_z_of_a_batch_has_the_deviation_of_the_posterior(latents):
    """ln_var = ln 0.25 is a deviation of 0.5."""
    sequences = LatentSequences(latents, 8, 200, 0, dtype=np.float64)
    batch = stage._batch(Spy(), sequences, 0, np.random.default_rng(0))
    for name in ('z', 'z_next'):
        rows = batch[name][..., 0].round().astype(int)
        off = batch[name][..., 1:] - latents.mu[rows][..., 1:]
        assert off.std() == pytest.approx(0.5, rel=0.05)
        assert off.mean() == pytest.approx(0, abs=0.03)


def test_m_learns_under_masks_that_the_seed_fixes(latents, tmp_path):
    found = []
    for n, rate in enumerate((0.0, 0.5, 0.5)):
        model = MDNRNN(3, 2, 4)
        windows = LatentSequences(latents, 2, 5, 0, HELD_OUT)
        stage.train(tmp_path / str(n), model, windows, windows, epochs=1.0, seed=3, dropout=rate)
        found.append(model.core.W.array)
    assert (found[0] != found[1]).any()
    np.testing.assert_array_equal(found[1], found[2])
