"""Rollouts of sprites: seeded, on the fly, in lanes whose memory does not grow."""

import itertools
import tracemalloc

import numpy as np
import pytest

from chainer_wm.tasks.sprite_sequences import SpriteRollouts, SpriteWindows, actions_of
from chainer_wm.tasks.sprites import COUNTS, FACTORS, Sprites, draw, index_of, values_of


def some(**options):
    return SpriteRollouts(7, 'train', **{'shortest': 5, 'longest': 9, **options})


def windows(count=4, lanes=3, window=6, actions='next', **options):
    return SpriteWindows(some(**options), count, lanes, window, Sprites(), actions)


def test_a_rollout_is_a_function_of_its_seed_purpose_and_number():
    first = some().classes(3)
    np.testing.assert_array_equal(first, some().classes(3))
    for other in (some().classes(4), SpriteRollouts(7, 'test', 5, 9).classes(3)):
        assert first.shape != other.shape or (first != other).any()


def test_lengths_and_classes_fill_their_ranges():
    rollouts = [some().classes(number) for number in range(300)]
    assert {len(classes) for classes in rollouts} == {5, 6, 7, 8, 9}
    every = np.concatenate(rollouts)
    np.testing.assert_array_equal(every.min(axis=0), 0)
    np.testing.assert_array_equal(every.max(axis=0), np.array(COUNTS) - 1)


@pytest.mark.parametrize('motion', ['random', 'walk'])
def test_one_factor_moves(motion):
    found = some(shortest=50, longest=50, motion=motion, moving=('x',)).classes(0)
    x = FACTORS.index('x')
    assert len(np.unique(found[:, x])) > 4
    assert (np.delete(found, x, axis=1) == np.delete(found[0], x)).all()


def test_a_walk_goes_by_one_class_and_the_orientation_round():
    found = some(shortest=5000, longest=5000, motion='walk').classes(0)
    steps = np.abs(np.diff(found, axis=0))
    assert set(steps[:, 2]) == {0, 1, 38} and found[:, 2].max() == 38
    assert (np.delete(steps, 2, axis=1) <= 1).all()
    for column in (0, 1, 3, 4):
        assert set(found[:, column]) == set(range(COUNTS[column]))


def test_the_action_points_to_the_next_sprite_or_comes_from_the_last():
    classes = some().classes(0)
    values = values_of(classes)
    ahead, behind = actions_of(classes), actions_of(classes, 'last')
    np.testing.assert_allclose(values[:-1] + ahead[:-1], values[1:])
    np.testing.assert_allclose(values[:-1] + behind[1:], values[1:])
    assert not ahead[-1].any() and not behind[0].any()


def test_cut_rollouts_are_the_first_steps_of_the_whole():
    np.testing.assert_array_equal(some(cut=3).classes(2), some().classes(2)[:3])
    assert some().mean_length == 7 and some(cut=7).mean_length == (5 + 6 + 7 * 3) / 5
    assert windows(cut=7).steps == 4 * 6.4


@pytest.mark.parametrize('actions', ['next', 'last'])
def test_windows_hold_whole_rollouts_lane_by_lane(actions):
    made = windows(actions=actions)
    batches = [made.batch(number) for number in range(8)]
    joined = [np.concatenate(field) for field in zip(*(b[1:] for b in batches))]
    acted, latents, classes, reset, mask, rollouts, steps = joined
    images = np.concatenate([batch.images[:-1] for batch in batches])
    for lane in range(3):
        expected = [some().classes((lane + 3 * turn) % 4) for turn in range(10)]
        numbers = np.repeat(
            [(lane + 3 * turn) % 4 for turn in range(10)], list(map(len, expected))
        )
        np.testing.assert_array_equal(classes[:, lane], np.concatenate(expected)[:48])
        np.testing.assert_array_equal(rollouts[:, lane], numbers[:48])
        every = np.concatenate([actions_of(each, actions) for each in expected])
        np.testing.assert_array_equal(acted[:, lane], every[:48])
        begins = np.concatenate([np.arange(len(each)) for each in expected])
        np.testing.assert_array_equal(steps[:, lane], begins[:48])
        np.testing.assert_array_equal(reset[:, lane], begins[:48] == 0)
        np.testing.assert_array_equal(mask[:, lane], begins[1:49] != 0)
    np.testing.assert_array_equal(images, draw(index_of(classes)))
    np.testing.assert_array_equal(latents, values_of(classes))
    for one, two in itertools.pairwise(batches):
        np.testing.assert_array_equal(one.images[-1], two.images[0])


def test_a_window_does_not_depend_on_those_before_it():
    made, other = windows(), windows()
    late = made.batch(9)
    for number in (0, 9, 4, 9):
        other.batch(number)
    for one, two in zip(late, other.batch(9)):
        np.testing.assert_array_equal(one, two)


def test_memory_does_not_grow_with_the_rollouts():
    def peak(count, batches):
        made = windows(count, lanes=2, window=40, shortest=20, longest=40)
        made.batch(0)
        tracemalloc.start()
        for number in range(batches):
            made.batch(number)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1, 2)
    assert peak(100_000, 300) < 1.2 * peak(2, 3)


@pytest.mark.parametrize(
    'options, said',
    [
        ({'shortest': 1}, 'rollouts of 1 to 9 sprites'),
        ({'longest': 4}, 'rollouts of 5 to 4 sprites'),
        ({'motion': 'jump'}, "motion is 'jump'"),
        ({'moving': ('z',)}, r"of \('z',\)"),
        ({'moving': ()}, r'of \(\)'),
        ({'actions': 'none'}, "actions are 'none'"),
        ({'count': 0}, '0 rollouts in 3 lanes'),
    ],
)
def test_what_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        windows(**options)
