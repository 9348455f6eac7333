"""Samples for probes: features and the factors of the same and of earlier moments."""

import numpy as np

from chainer_wm.tasks import sprite_samples
from chainer_wm.tasks.sprite_samples import LoggedRollouts, only_lags
from chainer_wm.tasks.sprite_sequences import SpriteRollouts, actions_of
from chainer_wm.tasks.sprites import Sprites, draw, index_of, values_of


def logged(actions='next'):
    return LoggedRollouts(SpriteRollouts(0, 'train', 9, 12, cut=9), 3, Sprites(), actions)


def test_features_stand_beside_the_factors_of_their_moment_and_before():
    these = logged()
    classes = these.classes()
    assert classes.shape == (3, 9, 5)
    clock = np.stack(np.broadcast_arrays(np.arange(3)[:, None], np.arange(9)), axis=2)
    found = these.samples(clock.astype('f'), longest_lag=2)
    assert len(found.features) == 3 * 7 and set(found.labels) == {f'shape@{k}' for k in range(3)}
    for (rollout, t), x, shape in zip(
        found.features.astype(int), found.values['x@2'], found.labels['shape@1']
    ):
        assert x == values_of(classes[rollout, t - 2])[3]
        assert shape == classes[rollout, t - 1, 0]


def test_wide_features_are_kept_at_fewer_steps(monkeypatch):
    monkeypatch.setattr(sprite_samples, 'BUDGET', 3 * 9 * 4)
    these = logged()
    assert [these.stride(width) for width in (1, 4, 5, 8, 9)] == [1, 1, 2, 2, 3]
    assert these.noise(8, np.random.default_rng(0)).shape == (3, 5, 8)
    clock = np.zeros((3, 5, 8)) + 2 * np.arange(5)[:, None]
    found = these.samples(clock, longest_lag=3)
    np.testing.assert_array_equal(found.features[:, 0], [4, 6, 8] * 3)
    expected = values_of(these.classes()[:, [4, 6, 8]])[..., 4].ravel()
    np.testing.assert_array_equal(found.values['y@0'], expected)


def test_the_raw_input_is_what_the_network_is_shown():
    for actions in ('next', 'last'):
        these = logged(actions)
        shown = these.raw_input()
        classes = these.classes()
        assert shown.shape == (3, 9, 4101) and shown.dtype == np.float32
        images = draw(index_of(classes)).reshape(3, 9, -1)
        np.testing.assert_array_equal(shown[..., :4096], images)
        np.testing.assert_allclose(shown[1, :, 4096:], actions_of(classes[1], actions), rtol=1e-6)


def test_windows_show_every_rollout():
    seen = logged().windows(9)
    assert (seen.lanes, seen.count, seen.rollouts.cut) == (3, 3, 9)
    np.testing.assert_array_equal(seen.batch(0).classes, logged().classes().swapaxes(0, 1))


def test_only_some_lags():
    found = only_lags(logged().samples(np.zeros((3, 9, 1)), 4), (0, 3))
    assert set(found.labels) == {'shape@0', 'shape@3'}
    assert {name.split('@')[1] for name in found.values} == {'0', '3'}
