"""Real deaths dreamt anew: what counts, from where, and what is measured."""

from typing import NamedTuple

import chainer
import numpy as np
import pytest
from PIL import Image

from chainer_wm.dream.foresight import Stretches, ends_of, foreseen, stretches
from chainer_wm.functions.mixture import Mixture
from chainer_wm.links.mdn_rnn import Prediction
from chainer_wm.rollouts import Rollout, RolloutStore
from chainer_wm.rollouts.latents import Latents, LatentWriter
from chainer_wm.runs import figures
from experiments import doom_take_cover_controls as controls
from tests.chainer_wm.saved_agent_case import make_saved


class Steps(NamedTuple):
    c: np.ndarray


class Fireball:
    """An M whose z is a distance: action 1 brings it nearer by 1, else not.

    It ends where the distance is 0 after the step. What it remembers is how
    many steps it was shown, so that a test can tell.
    """

    dtype = np.dtype(np.float32)
    device = chainer.get_device('@numpy')

    def __init__(self):
        self.shown = []

    def initial_state(self, batch):
        return Steps(np.zeros((batch, 1), 'f'))

    def step(self, z, actions, state, restart):
        distance = z - actions
        self.shown.append(len(z))
        sure = np.full((len(z), 1, 1), -20, 'f')
        mixture = Mixture(sure * 0, distance[:, None], sure)
        logit = np.where(distance[:, 0] < 0.5, 9, -9).astype('f')
        return Prediction(mixture, logit, None), Steps(state.c + 1)


def approach(length, lanes=3, wrong=0):
    """Lane 0 is hit at the last step, lane 1 one step after it, 2 never."""
    z = np.zeros((length, lanes, 1), 'f')
    actions = np.ones((length, lanes, 1), 'f')
    for b, late in enumerate((0, 1, 99)):
        z[:, b, 0] = np.arange(length, 0, -1) + late
    return Stretches(z, actions)


def test_what_ends_in_time_counts():
    seen = approach(8)
    shares = foreseen(Fireball(), seen, (0, 2, 6), np.random.default_rng(0), 4, after=1)
    np.testing.assert_array_equal(shares, [[1, 1, 0]] * 3)
    shares = foreseen(Fireball(), seen, (5,), np.random.default_rng(0), 2, after=0)
    np.testing.assert_array_equal(shares, [[1, 0, 0]])


def test_the_dream_goes_on_from_its_own_z_with_the_recorded_actions():
    seen = approach(8)
    seen.z[5:] = 50  # not seen any more
    shares = foreseen(Fireball(), seen, (3,), np.random.default_rng(0), 2)
    np.testing.assert_array_equal(shares, [[1, 1, 0]])
    seen.actions[6:] = 0  # it was dodged
    shares = foreseen(Fireball(), seen, (3,), np.random.default_rng(0), 2)
    np.testing.assert_array_equal(shares, [[0, 0, 0]])


def test_lanes_are_the_stretches_times_the_dreams():
    model = Fireball()
    foreseen(model, approach(5), (1,), np.random.default_rng(0), 7, after=2)
    assert model.shown == [3] * 3 + [21] * 4 + [3] * 2


@pytest.mark.parametrize('horizons', [(), (0, 7), (8,)])
def test_m_must_see_something_first(horizons):
    with pytest.raises(ValueError, match='at least 1 of the 8 steps'):
        foreseen(Fireball(), approach(8), horizons, np.random.default_rng(0))


def write(folder, lengths, terminated=None):
    """Codes whose means count the rows from 0."""
    row = 0
    with LatentWriter(folder, 3, 1, {'vision': 'v'}) as writer:
        for episode, length in enumerate(lengths):
            mu = np.arange(row, row + length)[:, None] + np.zeros(3)
            row += length
            died = True if terminated is None else terminated[episode]
            writer.add(episode, mu, mu, mu[:, :1], died)
        writer.finish()
    return Latents(folder)


def test_stretches_end_where_they_are_asked_to(tmp_path):
    codes = write(tmp_path, (5, 9))
    found = stretches(codes, [(0, 5), (0, 2), (1, 4)], 3)
    np.testing.assert_array_equal(
        found.z[:, :, 0], [[2, 6], [3, 7], [4, 8]]
    )  # the one of two steps is too short
    np.testing.assert_array_equal(found.actions, found.z[:, :, :1])
    with pytest.raises(ValueError, match='no episode has 6 steps'):
        stretches(codes, [(0, 5)], 6)


def test_deaths_and_peace_are_told_apart(tmp_path):
    length, peace = controls.LENGTH, controls.PEACE
    codes = write(
        tmp_path, (length - 1, length, length + peace, 900, 900), [True, True, True, True, False]
    )
    found = ends_of(codes, range(5), np.random.default_rng(0), length, peace)
    assert found['death'] == [(1, length), (2, length + peace), (3, 900)]
    assert found['none'][0] == (2, length)
    assert length <= found['none'][1][1] <= 900 - peace


def measure(saved):
    kinds = controls.unseen(saved, 0.5, 0)
    return controls.forewarning(saved, kinds, 1.0, 0)


def deaths(saved):
    """The episodes of the agents, where there are some, and who died in them."""
    store, codes, episodes = list(controls.unseen(saved, 0.5, 0).values())[-1]
    rng = np.random.default_rng(0)
    ends = ends_of(codes, episodes, rng, controls.LENGTH, controls.PEACE)
    return store, codes, ends['death']


def test_measured_on_episodes_that_m_never_saw(tmp_path):
    saved = make_saved(tmp_path)
    assert not measure(saved)['kinds']  # too short
    write(saved.at(1).home / 'codes', [170, 130])
    found = measure(saved)
    agents = found['kinds'].pop('agents')
    assert not found['kinds'] and found['round'] == 0
    assert agents['death'] == {
        'stretches': 2,
        'shares': [0.0] * len(controls.HORIZONS),  # in it nobody dies
    }
    assert agents['none']['stretches'] == 1
    controls.draw_forewarning(tmp_path / 'x.png', found, 'nothing')
    assert not (tmp_path / 'x.png').exists()
    found['kinds']['agents'] = agents
    controls.draw_forewarning(tmp_path / 'x.png', found, 'something')
    assert (tmp_path / 'x.png').stat().st_size > 1000


def test_the_frames_before_deaths_are_drawn(tmp_path):
    saved = make_saved(tmp_path)
    sheet = tmp_path / 'deaths.png'
    assert not deaths(saved)[2]  # the episodes are too short
    home, length = saved.at(1).home, 120
    write(home / 'codes', [length])
    last = np.arange(length) == length - 1
    RolloutStore(home / 'rollouts').add(
        0,
        Rollout(
            np.zeros((length, 64, 64, 3), np.uint8),
            np.zeros((length, 1), np.float32),
            np.ones(length, np.float32),
            last,
            np.zeros(length, bool),
        ),
    )
    figures.draw_deaths(sheet, saved, *deaths(saved), 1.0, 0, steps=4)
    with Image.open(sheet) as picture:
        width, height = picture.size
    assert width // 64 == 5 and height // 64 >= 4
