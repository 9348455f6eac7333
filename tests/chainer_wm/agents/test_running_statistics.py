"""Merged statistics against NumPy's of the concatenated data."""

import chainer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from chainer_wm.agents.running_statistics import RunningStatistics, merge

VALUES = st.floats(-1e6, 1e6, allow_subnormal=False)
PARTS = arrays.arrays(np.float64, st.integers(0, 12), elements=VALUES)
DDOF = pytest.mark.parametrize('ddof', [0, 1])


def statistics(x, ddof):
    """n, mean and std as NumPy gives them, without its warnings."""
    with np.errstate(all='ignore'):
        mean = x.mean() if x.size else np.nan
        std = x.std(ddof=ddof) if x.size > ddof else np.nan
    return x.size, mean, std


@DDOF
@given(first=PARTS, second=PARTS)
@settings(max_examples=200, deadline=None)
def test_equals_numpy_on_the_concatenated_data(ddof, first, second):
    n, mean, std = merge(*statistics(first, ddof), *statistics(second, ddof), ddof=ddof)
    wanted = statistics(np.concatenate([first, second]), ddof)
    scale = max(np.abs(first).max(initial=1), np.abs(second).max(initial=1))
    assert n == wanted[0]
    np.testing.assert_allclose(mean, wanted[1], rtol=1e-12, atol=1e-13 * scale)
    np.testing.assert_allclose(std, wanted[2], rtol=1e-9, atol=1e-9 * scale)


@DDOF
def test_features_and_a_large_offset(ddof):
    rng = np.random.default_rng(0)
    first = rng.standard_normal((7, 3, 2)) + 1e8
    second = rng.standard_normal((50, 3, 2)) * 1e-2 + 1e8
    n, mean, std = merge(
        7,
        first.mean(0),
        first.std(0, ddof=ddof),
        50,
        second.mean(0),
        second.std(0, ddof=ddof),
        ddof=ddof,
    )
    both = np.concatenate([first, second])
    assert n == 57 and mean.shape == (3, 2)
    np.testing.assert_allclose(mean, both.mean(0), rtol=1e-14)
    np.testing.assert_allclose(std, both.std(0, ddof=ddof), rtol=1e-6)


def test_by_hand():
    # 1, 3 and 5, 7, 9: mean 5, squared deviations 16 + 4 + 0 + 4 + 16 = 40
    n, mean, std = merge(2, 2.0, 1.0, 3, 7.0, np.sqrt(8 / 3))
    assert (n, mean) == (5, 5.0)
    assert std == pytest.approx(np.sqrt(8))
    n, mean, std = merge(2, 2.0, np.sqrt(2), 3, 7.0, 2.0, ddof=1)
    assert (n, mean) == (5, 5.0)
    assert std == pytest.approx(np.sqrt(10))


def test_one_value_and_one_value():
    n, mean, std = merge(1, 2.0, np.nan, 1, 4.0, np.nan, ddof=1)
    assert (n, mean) == (2, 3.0) and std == pytest.approx(np.sqrt(2))
    assert merge(1, 2.0, 0.0, 1, 4.0, 0.0) == (2, 3.0, 1.0)


def test_empty_parts():
    assert merge(0, np.nan, np.nan, 3, 1.0, 2.0) == (3, 1.0, 2.0)
    assert merge(3, 1.0, 2.0, 0, 99.0, 99.0, ddof=1) == (3, 1.0, 2.0)
    n, mean, std = merge(0, 5.0, 5.0, 0, 6.0, 6.0)
    assert n == 0 and np.isnan(mean) and np.isnan(std)
    n, mean, std = merge(1, 5.0, np.nan, 0, np.nan, np.nan, ddof=1)
    assert (n, mean) == (1, 5.0) and np.isnan(std)


@pytest.mark.parametrize(
    'arguments, message',
    [
        ((-1, 0.0, 0.0, 2, 0.0, 0.0), 'n1 is -1'),
        ((1, 0.0, 0.0, 2.5, 0.0, 0.0), r'n2 is 2\.5'),
        ((1, 0.0, 0.0, 2, np.zeros(3), np.zeros(3)), r'shapes \[\(\), \(3,\)\]'),
        ((1, 0.0, 0.0, 2, 0.0, 0.0, 2), 'ddof is 2'),
    ],
)
def test_merge_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        merge(*arguments)


class TestRunningStatistics:
    @given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
    @settings(max_examples=60, deadline=None)
    def test_batches_of_any_size_equal_one(self, sizes, seed):
        rng = np.random.default_rng(seed)
        batches = [rng.normal(1e3, 2.0, (size, 2, 3)) for size in sizes]
        seen = RunningStatistics((2, 3))
        for batch in batches:
            seen.update(batch)
        whole = np.concatenate(batches)
        assert seen.count == len(whole)
        if not len(whole):
            assert np.isnan(seen.mean).all() and np.isnan(seen.std()).all()
            return
        np.testing.assert_allclose(seen.mean, whole.mean(0), rtol=1e-13)
        np.testing.assert_allclose(seen.variance, whole.var(0), rtol=1e-9, atol=1e-15)
        if len(whole) > 1:
            np.testing.assert_allclose(seen.std(ddof=1), whole.std(0, ddof=1), rtol=1e-9)

    def test_a_million_values_with_an_offset(self):
        rng = np.random.default_rng(0)
        seen = RunningStatistics()
        x = rng.standard_normal(1_000_000) + 1e9
        for part in np.array_split(x, 1000):
            seen.update(part)
        np.testing.assert_allclose(seen.variance, x.var(), rtol=1e-9)

    def test_integers_and_float32_lose_nothing(self):
        frames = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
        seen, other = RunningStatistics((8, 8)), RunningStatistics((8, 8))
        seen.update(frames)
        other.update(frames.astype(np.float32))
        np.testing.assert_array_equal(seen.mean, frames.mean(0))
        np.testing.assert_array_equal(seen.variance, other.variance)

    def test_merge_equals_seeing_both(self):
        rng = np.random.default_rng(1)
        first, second, both = (RunningStatistics((4,)) for _ in 'abc')
        x, y = rng.random((5, 4)), rng.random((9, 4)) * 3
        first.update(x)
        second.update(y)
        both.update(np.concatenate([x, y]))
        first.merge(RunningStatistics((4,)))
        first.merge(second)
        assert first.count == 14 and second.count == 9
        np.testing.assert_allclose(first.mean, both.mean)
        np.testing.assert_allclose(first.variance, both.variance)

    def test_merging_into_nothing_shares_no_memory(self):
        first, second = RunningStatistics((2,)), RunningStatistics((2,))
        second.update(np.ones((3, 2)))
        first.merge(second)
        first.update(np.zeros((3, 2)))
        np.testing.assert_array_equal(second.mean, [1, 1])

    @pytest.mark.parametrize('dtype', [np.float32, np.float64])
    def test_normalize(self, dtype):
        x = np.random.default_rng(2).normal(5.0, 3.0, (500, 3)).astype(dtype)
        seen = RunningStatistics((3,))
        seen.update(x)
        scaled = seen.normalize(x)
        assert scaled.dtype == dtype
        np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(scaled.std(0), 1, atol=1e-5)
        assert np.abs(seen.normalize(x * 100, clip=5.0)).max() == 5

    def test_a_constant_feature_is_no_division_by_zero(self):
        seen = RunningStatistics((2,))
        seen.update(np.ones((4, 2)))
        np.testing.assert_array_equal(seen.normalize(np.ones((1, 2))), 0)

    @pytest.mark.parametrize('count', [0, 7])
    def test_state_through_a_chainer_file(self, tmp_path, count):
        seen = RunningStatistics((3,))
        seen.update(np.random.default_rng(3).random((count, 3)))
        chainer.serializers.save_npz(tmp_path / 'state.npz', seen)
        again = RunningStatistics((3,))
        chainer.serializers.load_npz(tmp_path / 'state.npz', again)
        more = np.random.default_rng(4).random((5, 3))
        for one in (seen, again):
            one.update(more)
        assert again.count == count + 5
        np.testing.assert_array_equal(again.mean, seen.mean)
        np.testing.assert_array_equal(again.std(), seen.std())

    @pytest.mark.parametrize(
        'call, message',
        [
            (lambda s: s.update(np.zeros((2, 4))), r'\(2, 4\), but .* \(3,\)'),
            (
                lambda s: s.update(np.array([[0, 0, 0], [0, np.nan, 0]])),
                'in 1 of its 2 rows, the first is row 1',
            ),
            (lambda s: s.update(np.full((1, 3), np.inf)), 'first is row 0'),
            (lambda s: s.merge(RunningStatistics()), r'shape \(\) into'),
        ],
    )
    def test_refusals_leave_it_as_it_was(self, call, message):
        seen = RunningStatistics((3,))
        seen.update(np.eye(3))
        with pytest.raises(ValueError, match=message):
            call(seen)
        assert seen.count == 3
        np.testing.assert_allclose(seen.mean, 1 / 3)

    def test_normalize_needs_data(self):
        with pytest.raises(ValueError, match='nothing was seen'):
            RunningStatistics().normalize(np.zeros(3))
