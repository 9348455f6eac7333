"""The true state of ordered keys, and what linear probes read of it off hand-made features."""

import numpy as np
import pytest

from chainer_wm.envs.grid_navigation import KEY_LEVELS, OrderedKeys
from chainer_wm.links.pixel_model import PixelModel
from chainer_wm.seeds import stream
from chainer_wm.tasks import key_states

BLUE, RED, YELLOW, BROWN = (30, 80, 220), (225, 50, 50), (240, 190, 20), (150, 110, 70)
ROWS, COLUMNS = len(KEY_LEVELS[1]), len(KEY_LEVELS[1][0])


def episodes(seed=0, count=150, level=1, resolution=ROWS):
    env = OrderedKeys(level, resolution=resolution, max_steps=30)
    return key_states.play_randomly(env, [stream(seed, 'test', n) for n in range(count)])


@pytest.fixture(scope='module')
def train():
    return episodes(0)


@pytest.fixture(scope='module')
def new():
    return episodes(1)


def read_off(features, train, new):
    """``key_states.read_off`` of features made from episodes and a generator."""
    learnt, shown = (
        features(each, np.random.default_rng(number)) for number, each in enumerate((train, new))
    )
    return key_states.read_off(learnt, train, shown, new, np.random.default_rng(0))


def accuracies(told):
    return {age: each['accuracy'] for age, each in told['order'].items()}


def picture(played, rng):
    return played.pictures.reshape(*played.actions.shape, -1) / np.float32(255)


def remembered(played, rng, forgets=np.inf):
    """The order in one of 20 mixed noisy numbers, as long as it is not forgotten."""
    kept = np.where(played.ago < forgets, played.order - 0.5, 0)
    mixed = rng.normal(size=(*kept.shape, 20))
    mixed[..., 0] = kept + 0.05 * mixed[..., 0]
    return mixed @ np.random.default_rng(9).normal(size=(20, 20))


def test_the_state_is_what_the_pictures_show(new):
    time, lanes = np.nonzero(new.played)
    at = new.cell[time, lanes]
    seen = new.pictures[time, lanes, at // COLUMNS, at % COLUMNS]
    assert (seen == BLUE).all()
    door = new.pictures[:, :, 0, COLUMNS - 1]
    first, second = np.array([RED, YELLOW]), np.array([YELLOW, RED])
    np.testing.assert_array_equal(door[0], first[new.order[0]])
    np.testing.assert_array_equal(door[1], second[new.order[1]])
    later = new.played & (new.ago > 0) & (new.taken < 2)
    assert (door[later] == BROWN).all()
    np.testing.assert_array_equal(new.ago[:, 0][new.played[:, 0]][:3], [-1, 0, 1])
    keys = ((new.pictures == RED) | (new.pictures == YELLOW)).all(axis=4).sum(axis=(2, 3))
    np.testing.assert_array_equal(2 - keys[later], new.taken[later])
    assert set(np.unique(new.taken)) == {0, 1, 2}


def test_episodes_are_those_of_their_generators(train, new):
    again = episodes(0)
    for one, two in zip(train, again):
        np.testing.assert_array_equal(one, two)
    assert (train.order[0] != new.order[0]).any()
    alone = episodes(0, 3)
    longest = len(alone.played)
    np.testing.assert_array_equal(alone.cell[alone.played], train.cell[:longest, :3][alone.played])


def test_features_that_hold_the_order_are_found_to_hold_it(train, new):
    told = read_off(remembered, train, new)
    assert min(accuracies(told).values()) > 0.97
    assert told['cell']['all']['accuracy'] < told['cell']['all']['chance'] + 0.1


def test_a_picture_tells_the_order_only_while_it_is_shown(train, new):
    told = read_off(picture, train, new)
    found = accuracies(told)
    assert found.pop('0') == 1
    for age, accuracy in found.items():
        deviation = 0.5 / told['order'][age]['samples'] ** 0.5
        if age != 'later':
            assert abs(accuracy - 0.5) < 4 * deviation, age
    assert told['cell']['all']['accuracy'] > 0.97
    assert told['taken']['all']['accuracy'] > 0.97


def test_when_the_order_is_forgotten_is_found(train, new):
    found = accuracies(read_off(lambda *of: remembered(*of, forgets=3), train, new))
    assert min(found['1'], found['2']) > 0.97
    assert max(found['5'], found['10']) < 0.75


def test_a_moment_counts_until_a_key_is_taken(train, new):
    told = read_off(remembered, train, new)['order']
    for age in ('1', '10'):
        asked = new.played & (new.taken == 0) & (new.ago == int(age))
        assert told[age]['samples'] == asked.sum()
    assert told['1']['samples'] > told['10']['samples'] > told['20']['samples'] > 0


def test_three_keys_have_six_orders():
    played = episodes(level=2, count=60, resolution=5)
    assert set(np.unique(played.order)) == set(range(6))
    assert played.ago[0].tolist() == [-2] * 60


def test_nothing_asked_is_an_error(new):
    with pytest.raises(ValueError, match='150 episodes are asked about order'):
        key_states.samples(picture(new, None), new, new.ago > 99, 'order')


def small(core, **options):
    return PixelModel(8, 8, 4, encoded=6, hidden_size=5, decoded=7, core=core, seed=3, **options)


def test_an_lstm_holds_two_states():
    played = episodes(count=3, resolution=8)
    model = small('lstm')
    model.palette.learn(played.pictures)
    held = key_states.held(model, played)
    assert set(held) == {'hidden state', 'cell state'}
    codes = model.palette.encode(played.pictures)
    xs = model.inputs(codes, played.actions)
    ys, last = model.core.sequence(xs, model.initial_state(3))
    np.testing.assert_allclose(held['hidden state'], ys.array, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(held['cell state'][-1], last.c.array, rtol=1e-5, atol=1e-6)


def test_a_dnc_holds_a_memory_too():
    played = episodes(count=3, resolution=8)
    model = small('dnc', memory_length=4, memory_width=3, read_heads=2)
    model.palette.learn(played.pictures)
    held = key_states.held(model, played)
    widths = {name: found.shape[2] for name, found in held.items()}
    assert widths == {
        'hidden state': 5, 'cell state': 5, 'read vectors': 6, 'full memory': 12,
    }  # fmt: skip
    xs = model.inputs(model.palette.encode(played.pictures), played.actions)
    _, last = model.core.sequence(xs, model.initial_state(3))
    np.testing.assert_allclose(
        held['full memory'][-1], last.memory.array.reshape(3, -1), rtol=1e-4, atol=1e-5
    )


def test_the_first_weights_stand_beside_the_trained_ones():
    played = episodes(count=3, resolution=8)
    model = small('lstm')
    before = key_states.every_features(model, played)
    model.core.W.array *= 2
    after = key_states.every_features(model, played)
    assert len(model.palette) == 0
    for name in ('hidden state', 'cell state'):
        first = before[key_states.UNTRAINED + name]
        np.testing.assert_array_equal(first, before[name])
        np.testing.assert_array_equal(first, after[key_states.UNTRAINED + name])
        assert np.abs(after[name] - first).max() > 0.01
    assert after[key_states.PICTURE].shape == (*played.actions.shape, 64 * 8)
