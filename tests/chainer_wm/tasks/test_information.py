"""Mutual information that is known, and what chance gives."""

import math
import sys

import numpy as np
import pytest

from chainer_wm.tasks.information import (
    binned,
    binned_information,
    estimates,
    label_information,
    neighbour_information,
    null_labels,
    permutation_test,
    summary,
)


def gaussians(rng, rho, steps, cells=1):
    """Cells (T, C) of correlation rho with a sequence (T,)."""
    y = rng.standard_normal(steps)
    noise = rng.standard_normal((steps, cells))
    return rho * y[:, None] + math.sqrt(1 - rho**2) * noise, y


def known(rho):
    """I of two Gaussians."""
    return -0.5 * math.log(1 - rho**2)


@pytest.mark.parametrize('rho', [0.0, 0.5, 0.9])
def test_binned_gaussians(rho):
    cells, y = gaussians(np.random.default_rng(0), rho, 200_000)
    labels = binned(y[:, None], 32)[:, 0]
    found = binned_information(binned(cells, 32), labels)
    assert found == pytest.approx([known(rho)], abs=0.03)


@pytest.mark.parametrize('rho', [0.0, 0.5, 0.9])
def test_neighbours_of_gaussians(rho):
    pytest.importorskip('sklearn', reason='needs scikit-learn, the extra named probes')
    cells, y = gaussians(np.random.default_rng(1), rho, 4000, 2)
    labels = binned(y[:, None], 16)[:, 0]
    found = neighbour_information(cells, np.stack([labels, labels[::-1]]), seed=0)
    assert found[0] == pytest.approx([known(rho)] * 2, abs=0.06)
    assert found[1] == pytest.approx([0, 0], abs=0.06)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sklearn', None)
    monkeypatch.setitem(sys.modules, 'sklearn.feature_selection', None)
    with pytest.raises(ImportError, match='needs scikit-learn'):
        neighbour_information(np.zeros((4, 1)), np.zeros(4, int), seed=0)


def test_counts_of_a_hand_made_table():
    codes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.uint8)
    labels = np.array([5, 5, 7, 7])
    np.testing.assert_allclose(binned_information(codes, labels), [math.log(2), 0], atol=1e-12)
    both = binned_information(codes, np.array([labels, [0, 1, 0, 1]]))
    np.testing.assert_allclose(both, [[math.log(2), 0], [0, math.log(2)]], atol=1e-12)


def test_bins_hold_equally_many_steps_and_constants_one():
    cells = np.random.default_rng(2).standard_normal((800, 3))
    cells[:, 2] = 0.5
    codes = binned(cells, 8)
    for cell in range(2):
        np.testing.assert_array_equal(np.bincount(codes[:, cell]), [100] * 8)
    assert len(np.unique(codes[:, 2])) == 1
    assert binned_information(codes, np.arange(800) % 4)[2] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize('bins', [1, 257])
def test_bins_out_of_range(bins):
    with pytest.raises(ValueError, match=f'bins is {bins}'):
        binned(np.zeros((4, 1)), bins)


def test_numbers_taken_for_labels_tell_everything_and_cast_to_integers_nothing():
    rng = np.random.default_rng(3)
    noise, labels = rng.uniform(-1, 1, (500, 4)), np.arange(500) % 32
    entropy = math.log(32)
    floats = label_information(noise, labels)
    np.testing.assert_allclose(floats, [entropy] * 4, atol=5e-3)  # though it is noise
    np.testing.assert_array_less(label_information(noise, labels, int), 1e-8)
    np.testing.assert_allclose(label_information(labels[:, None] + 0.5, labels, int), floats[:1])


def test_chance_gives_uniform_p_values():
    rng = np.random.default_rng(4)
    p, smallest = [], []
    for _ in range(150):
        cells, labels = rng.standard_normal((100, 6)), rng.integers(4, size=100)
        codes = binned(cells, 4)
        null = binned_information(codes, null_labels(labels, 99, rng))
        found = permutation_test(binned_information(codes, labels), null)
        p.append(found.p[0])
        smallest.append(found.p_max.min())
    for values in (np.array(p), np.array(smallest)):
        # Kolmogorov-Smirnov: 1.63 / sqrt(150) is the 1 % level
        share = np.array([(values <= level).mean() for level in np.arange(1, 100) / 100])
        assert np.abs(share - np.arange(1, 100) / 100).max() < 1.63 / math.sqrt(150)


def test_one_cell_among_many_that_knows_is_found():
    rng = np.random.default_rng(5)
    labels = rng.integers(8, size=400)
    cells = rng.standard_normal((400, 200))
    cells[:, 17] += 0.3 * labels
    codes = binned(cells, 8)
    null = binned_information(codes, null_labels(labels, 99, rng))
    found = permutation_test(binned_information(codes, labels), null)
    assert found.p[17] == found.p_max[17] == 1 / 100
    assert (np.delete(found.p_max, 17) > 0.01).all()
    assert 0 < found.null_mean < found.null_max


def walks(rng, cells):
    return rng.standard_normal((400, cells)).cumsum(axis=0)


def test_two_walks_are_no_news_where_the_null_is_shifted():
    rng = np.random.default_rng(6)
    below = {'shuffle': 0, 'shift': 0}
    for _ in range(30):
        codes, labels = binned(walks(rng, 1), 4), binned(walks(rng, 1), 4)[:, 0]
        for kind in below:
            null = binned_information(codes, null_labels(labels, 59, rng, kind))
            found = permutation_test(binned_information(codes, labels), null)
            below[kind] += found.p[0] < 0.05
    assert below['shuffle'] > 25 and below['shift'] < 8


def test_shifted_labels_are_never_the_ones_themselves():
    labels = np.arange(5)
    shifted = null_labels(labels, 50, np.random.default_rng(7), 'shift')
    assert {tuple(row) for row in shifted} == {tuple(np.roll(labels, k)) for k in range(1, 5)}
    with pytest.raises(ValueError, match="kind is 'none'"):
        null_labels(labels, 1, np.random.default_rng(0), 'none')


def test_a_summary_says_what_is_beyond_chance_over_all_sequences():
    rng = np.random.default_rng(8)
    total = None
    for _ in range(4):
        labels, control = rng.integers(8, size=(2, 300))
        cells = rng.standard_normal((300, 20))
        cells[:, :5] += labels[:, None]
        codes = binned(cells)
        null = null_labels(labels, 39, rng)
        one = estimates(
            lambda each, codes=codes: binned_information(codes, each), labels, control, null
        )
        total = one if total is None else total.plus(one)
    found = summary(total.over(4))
    assert found['cells'] == 20 and found['corrected'] == 0.25
    assert found['control_corrected'] == 0 and found['control_significant'] <= 0.2
    assert found['smallest_corrected_p'] == 1 / 40
    assert found['largest'] > 2 * found['null_largest'] > 2 * found['null_mean']
    assert found['excess'] == pytest.approx(found['mean'] - found['null_mean'])
