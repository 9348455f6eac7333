"""Random Network Distillation: sizes, scales, and that old things bore it."""

import chainer
import numpy as np
import pytest

from chainer_wm.agents.ppo.returns import forward_discounted
from chainer_wm.agents.rnd import RND

RNG = np.random.default_rng
SMALL = {'convolutions': ((4, 4, 2), (8, 3, 1)), 'features': 6, 'hidden': (5,)}
FLAT = {'convolutions': (), 'layers': (16,), 'features': 8, 'hidden': (16,), 'frames': None}


def pictures(*lead, seed=0, shape=(12, 10, 4)):
    return RNG(seed).integers(256, size=(*lead, *shape)).astype(np.uint8)


def small(**options):
    made = RND((12, 10, 4), **{**SMALL, **options})
    made.observe(pictures(30, seed=99))
    return made


def flat(**options):
    made = RND((3,), **{**FLAT, **options})
    made.observe(RNG(99).normal(size=(200, 3)))
    return made


def test_networks_of_the_paper():
    made = RND((84, 84, 4))
    convolutions = 32 * 64 + 32 + 64 * 512 + 64 + 64 * 576 + 64
    head = 7 * 7 * 64 * 512 + 512
    assert made.target.count_params() == convolutions + head
    inner = 2 * (512 * 512 + 512)
    assert made.predictor.count_params() == convolutions + head + inner
    assert made.shape == (84, 84, 1)
    defaults = (made.keep, made.clip, made.discount, made.optimizer.alpha)
    assert defaults == (0.25, 5, 0.99, 1e-4)


def test_bonus_by_a_slow_loop():
    made = small()
    seen = pictures(3, 2)
    found = made.bonus(seen)
    assert found.shape == (3, 2)
    mean, std = made.seen.mean, made.seen.std()
    for t in range(3):
        for b in range(2):
            white = np.clip((seen[t, b, ..., 3:] - mean) / std, -5, 5)
            x = white[None].astype('f')
            gap = made.target(x).array - made.predictor(x).array
            np.testing.assert_allclose(found[t, b], (gap**2).mean(), rtol=1e-3)


def test_looks_at_the_last_frame_alone():
    made = small()
    seen = pictures(2, 2)
    other = seen.copy()
    other[..., :3] = 0
    np.testing.assert_array_equal(made.bonus(seen), made.bonus(other))
    np.testing.assert_array_equal(made.bonus(seen), made.bonus(seen[..., made.channels]))
    other[..., 3] = 0
    assert (made.bonus(seen) != made.bonus(other)).all()


def test_whitening_is_clipped():
    made = flat()
    far, farther = np.full((2, 1, 1, 3), 1e3)
    farther = farther * 10
    np.testing.assert_allclose(made.bonus(far), made.bonus(farther))


def test_what_never_changed_adds_nothing():
    made = RND((2,), **FLAT)
    seen = RNG(0).normal(size=(50, 2))
    seen[:, 1] = 7
    made.observe(seen)
    assert np.isfinite(made.bonus(seen[None])).all()


def test_scale_is_the_deviation_of_the_filter_over_all_calls():
    made = flat()
    first, second = RNG(0).random((2, 6, 3))
    made.scaled(first)
    found = made.scaled(second)
    both = np.concatenate([first, second])
    filtered, _ = forward_discounted(both, 0.99)
    np.testing.assert_allclose(found, second / filtered.std(), rtol=1e-6)


def test_first_bonuses_that_are_equal_do_not_divide_by_zero():
    assert np.isfinite(flat(discount=0.0).scaled(np.ones((1, 2)))).all()


def test_rewards_are_the_scaled_bonus():
    seen = RNG(0).normal(size=(5, 2, 3))
    a, b = flat(), flat()
    np.testing.assert_array_equal(a.rewards(seen), b.scaled(b.bonus(seen)))


def test_learns_what_was_seen_and_stays_curious_of_the_rest():
    made = flat(keep=1.0, learning_rate=3e-3)
    corner = RNG(0).uniform(0.5, 1.0, size=(20, 8, 3))
    other = -corner
    before = made.bonus(corner).mean(), made.bonus(other).mean()
    target = [p.array.copy() for p in made.target.params()]
    rng = RNG(1)
    for _ in range(30):
        made.update(corner, rng)
    assert made.bonus(corner).mean() < 0.05 * before[0]
    assert made.bonus(other).mean() > 0.3 * before[1]
    for kept, param in zip(target, made.target.params()):
        np.testing.assert_array_equal(kept, param.array)


def test_keep_probability_is_the_share_that_trains():
    made = flat(keep=0.25, epochs=2, minibatches=4)
    rng = RNG(0)
    parts = list(made._parts(4000, rng))
    assert len(parts) == 8
    assert sum(map(len, parts)) == pytest.approx(2000, rel=0.1)
    for epoch in (parts[:4], parts[4:]):
        steps = np.concatenate(epoch)
        assert len(np.unique(steps)) == len(steps)
    whole = list(flat(keep=1.0, epochs=1)._parts(40, rng))
    assert sorted(np.concatenate(whole)) == list(range(40))


def test_a_round_that_keeps_nothing_changes_nothing():
    made = flat(keep=1e-9)
    before = [p.array.copy() for p in made.predictor.params()]
    assert made.update(np.zeros((2, 2, 3)), RNG(0)) == {'predictor_loss': 0}
    for kept, param in zip(before, made.predictor.params()):
        np.testing.assert_array_equal(kept, param.array)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_works_in_both_precisions(dtype):
    with chainer.using_config('dtype', np.dtype(dtype)):
        made = flat()
    seen = RNG(0).normal(size=(4, 2, 3))
    assert made.bonus(seen).dtype == dtype
    assert made.update(seen, RNG(0))['predictor_loss'] > 0


def test_resumed_is_unbroken(tmp_path):
    seen = RNG(0).normal(size=(3, 4, 2, 3))

    def round_of(made, number):
        found = made.rewards(seen[number])
        made.observe(seen[number])
        made.update(seen[number], RNG(number))
        return found

    made = flat()
    for number in (0, 1):
        round_of(made, number)
    chainer.serializers.save_npz(tmp_path / 'x.npz', made)
    expected = round_of(made, 2)
    resumed = flat(seed=5)
    chainer.serializers.load_npz(tmp_path / 'x.npz', resumed)
    np.testing.assert_array_equal(round_of(resumed, 2), expected)
    with np.load(tmp_path / 'x.npz', allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)


@pytest.mark.gpu
def test_learns_on_the_gpu_as_on_the_cpu():
    found = []
    for device in ('@numpy', '@cupy:0'):
        made = small(learning_rate=1e-3)
        made.to_device(device)
        seen = pictures(4, 3)
        for number in range(3):
            rewards = made.rewards(seen)
            made.update(seen, RNG(number))
        assert isinstance(rewards, np.ndarray)
        found.append(rewards)
    np.testing.assert_allclose(*found, rtol=1e-2)


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match='neither'):
        RND((3,), convolutions=())
    with pytest.raises(ValueError, match='too small'):
        RND((20, 20, 1))
    with pytest.raises(ValueError, match='keep is 0'):
        flat(keep=0)
    with pytest.raises(ValueError, match='observations have shape'):
        flat().bonus(np.zeros((2, 2, 4)))
    with pytest.raises(ValueError, match='broadcast'):
        flat().scaled(np.zeros(4))
    with pytest.raises(ValueError, match='nothing was seen'):
        RND((3,), **FLAT).bonus(np.zeros((1, 1, 3)))
