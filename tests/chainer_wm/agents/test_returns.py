"""Returns and advantages against slow loops and by hand."""

import numpy as np
import pytest
from chainer.backends import cuda

from chainer_wm.agents.ppo.returns import (
    check_time_batch,
    forward_discounted,
    generalized_advantages,
)

GAMMA, DECAY = 0.9, 0.8


def column(*values):
    """One lane, (T, 1)."""
    return np.array(values, np.float64)[:, None]


def batch(seed, steps=12, lanes=5):
    rng = np.random.default_rng(seed)
    shape = steps, lanes
    over = rng.random(shape)
    return dict(
        rewards=rng.normal(size=shape),
        values=rng.normal(size=shape),
        last_values=rng.normal(size=lanes),
        terminated=over < 0.15,
        truncated=(over > 0.1) & (over < 0.3),  # both at times
        cut_values=rng.normal(size=shape),
    )


def definition(rewards, values, last, over, cut, cut_values):
    """A_t as its definition: the sum of (gamma lambda)^k delta_{t+k}.

    One lane, lists; over and cut may be None.
    """
    steps = len(rewards)
    deltas = []
    for t in range(steps):
        following = values[t + 1] if t + 1 < steps else last
        if over is not None and cut[t]:
            following = cut_values[t]
        if over is not None and over[t]:
            following = 0.0
        deltas.append(rewards[t] + GAMMA * following - values[t])
    advantages = []
    for t in range(steps):
        total, weight = 0.0, 1.0
        for k in range(t, steps):
            total += weight * deltas[k]
            weight *= GAMMA * DECAY
            if over is not None and (over[k] or cut[k]):
                break
        advantages.append(total)
    return advantages


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('episodic', [True, False])
def test_advantages_equal_their_definition(seed, episodic):
    data = batch(seed)
    ends = ('terminated', 'truncated', 'cut_values')
    if not episodic:
        data.update(dict.fromkeys(ends))
    found = generalized_advantages(**data, discount=GAMMA, decay=DECAY)
    for lane in range(5):
        expected = definition(
            data['rewards'][:, lane],
            data['values'][:, lane],
            data['last_values'][lane],
            *(data[n][:, lane] if episodic else None for n in ends),
        )
        np.testing.assert_allclose(found.advantages[:, lane], expected)
    np.testing.assert_allclose(found.returns, found.advantages + data['values'])


def test_advantages_by_hand():
    found = generalized_advantages(
        column(1, 2, 4),
        column(10, 20, 30),
        np.array([40.0]),
        discount=0.5,
        decay=0.5,
        terminated=column(0, 0, 0),
    )
    # deltas: 1 + 10 - 10, 2 + 15 - 20, 4 + 20 - 30
    np.testing.assert_allclose(found.advantages, column(1 - 0.75 - 0.375, -3 - 1.5, -6))
    np.testing.assert_allclose(found.returns, column(10 - 0.125, 20 - 4.5, 30 - 6))


def test_a_death_reward_reaches_its_step_and_nothing_crosses_it():
    data = dict(values=column(0, 0, 0, 0), last_values=np.array([0.0]), discount=0.5, decay=1.0)
    dies = column(0, 1, 0, 0)
    found = generalized_advantages(column(0, -5, 0, 8), terminated=dies, **data)
    np.testing.assert_allclose(found.advantages, column(-2.5, -5, 4, 8))
    found = generalized_advantages(column(0, -5, 0, 8), **data)  # goes on
    np.testing.assert_allclose(found.advantages, column(-1.5, -3, 4, 8))


def test_a_cut_is_worth_the_value_of_what_was_cut():
    def last(terminated, truncated):
        return generalized_advantages(
            column(1, 1),
            column(3, 100),  # 100: of the next episode, not to be seen
            np.array([7.0]),
            discount=0.5,
            decay=0.9,
            terminated=column(terminated, 0),
            truncated=column(truncated, 0),
            cut_values=column(20, np.nan),
        ).advantages[0, 0]

    assert last(0, 1) == pytest.approx(1 + 0.5 * 20 - 3)
    assert last(1, 0) == pytest.approx(1 - 3)
    assert last(1, 1) == pytest.approx(1 - 3)  # a death in the last step


def test_last_values_matter_only_to_streams_that_go_on():
    def first(last, **ends):
        return generalized_advantages(
            column(0, 0), column(0, 0), np.array([last]), 0.9, 0.9, **ends
        ).advantages[0, 0]

    over = {'terminated': column(0, 1)}
    assert first(5.0, **over) == first(50.0, **over)
    assert first(5.0) != first(50.0)


@pytest.mark.parametrize('seed', range(3))
def test_decay_one_and_no_values_give_returns(seed):
    data = batch(seed)
    zeros = np.zeros_like(data['rewards'])
    ends = data['terminated'] | data['truncated']
    found = generalized_advantages(data['rewards'], zeros, zeros[0], GAMMA, 1.0, terminated=ends)
    returns, following = zeros.copy(), 0.0
    for t in range(len(ends) - 1, -1, -1):
        returns[t] = following = data['rewards'][t] + GAMMA * np.where(ends[t], 0, following)
    np.testing.assert_allclose(found.advantages, returns)


def test_lanes_do_not_meet():
    data = batch(0)
    alone = {
        name: value[2:3] if name == 'last_values' else value[:, 2:3]
        for name, value in data.items()
    }
    together = generalized_advantages(**data, discount=GAMMA, decay=DECAY)
    single = generalized_advantages(**alone, discount=GAMMA, decay=DECAY)
    np.testing.assert_array_equal(together.advantages[:, 2:3], single.advantages)


def test_filter_looks_back():
    filtered, state = forward_discounted(column(1, 2, 4), 0.5)
    np.testing.assert_allclose(filtered, column(1, 2.5, 5.25))
    filtered, state = forward_discounted(column(1), 0.5, state)
    np.testing.assert_allclose(filtered, column(3.625))
    np.testing.assert_allclose(state, [3.625])


def test_filter_in_parts_is_the_filter_of_the_whole():
    rewards = np.random.default_rng(0).normal(size=(20, 3))
    whole, end = forward_discounted(rewards, GAMMA)
    first, state = forward_discounted(rewards[:7], GAMMA)
    second, state = forward_discounted(rewards[7:], GAMMA, state)
    np.testing.assert_allclose(np.concatenate([first, second]), whole)
    np.testing.assert_allclose(state, end)
    slow = [sum(GAMMA ** (t - k) * rewards[k, 1] for k in range(t + 1)) for t in range(20)]
    np.testing.assert_allclose(whole[:, 1], slow)


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_keeps_the_floating_point_type(dtype):
    data = batch(1)
    floats = {
        name: value if value.dtype == bool else value.astype(dtype) for name, value in data.items()
    }
    found = generalized_advantages(**floats, discount=GAMMA, decay=DECAY)
    assert found.advantages.dtype == found.returns.dtype == dtype
    filtered, state = forward_discounted(floats['rewards'], GAMMA)
    assert filtered.dtype == state.dtype == dtype


@pytest.mark.gpu
def test_cupy_arrays_give_the_same():
    data = batch(3)
    sent = {name: cuda.cupy.asarray(value) for name, value in data.items()}
    for a, b in zip(
        generalized_advantages(**data, discount=GAMMA, decay=DECAY),
        generalized_advantages(**sent, discount=GAMMA, decay=DECAY),
    ):
        np.testing.assert_allclose(a, b.get())
    for a, b in zip(
        forward_discounted(data['rewards'], GAMMA), forward_discounted(sent['rewards'], GAMMA)
    ):
        np.testing.assert_allclose(a, b.get())


def test_whole_numbers_are_not_cut_off():
    ones = np.ones((3, 1), int)
    nothing = np.zeros((3, 1), int)
    found = generalized_advantages(ones, nothing, nothing[0], 0.5, 1.0)
    np.testing.assert_allclose(found.advantages, column(1.75, 1.5, 1))
    np.testing.assert_allclose(forward_discounted(ones, 0.5)[0], column(1, 1.5, 1.75))


def test_the_shapes_of_the_old_mistake_are_refused():
    line, upright = np.zeros(4), np.zeros((4, 1))
    assert (line * upright).shape == (4, 4)
    with pytest.raises(ValueError, match=r'rewards \(4,\).*values \(4, 1\)'):
        generalized_advantages(line, upright, np.zeros(1), 0.9, 0.9)
    with pytest.raises(ValueError, match='broadcast'):
        check_time_batch(a=line)
    with pytest.raises(ValueError, match=r'\(4, 1\).*\(1, 4\)'):
        check_time_batch(a=upright, b=upright.T)
    check_time_batch(a=upright, b=None)


def test_refuses_what_does_not_fit():
    data = batch(0)
    settings = {'discount': GAMMA, 'decay': DECAY}
    for name, value, match in (
        ('last_values', np.zeros(4), '5 lanes'),
        ('terminated', None, 'without terminated'),
        ('cut_values', None, 'cut_values is None'),
        ('truncated', np.zeros((12, 4)), 'broadcast'),
    ):
        with pytest.raises(ValueError, match=match):
            generalized_advantages(**{**data, name: value}, **settings)
    with pytest.raises(ValueError, match='lanes'):
        forward_discounted(np.zeros((3, 2)), 0.9, np.zeros(3))
