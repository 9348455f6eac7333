"""Masks of dropout: their mean, and the rates that there are none of."""

import numpy as np
import pytest

from chainer_wm.functions.dropout import draw_masks


def test_a_mask_is_one_on_average():
    rng = np.random.default_rng(0)
    z, h = draw_masks(lambda n: rng.random((500, n)), 0.2, 3, 40)
    assert (z.shape, h.shape) == ((500, 3), (500, 40))
    assert set(np.unique(h)) == {0.0, 1.25} == set(np.unique(z))
    # 20,000 numbers of standard deviation 0.5: four standard errors
    assert h.mean() == pytest.approx(1, abs=4 * 0.5 / np.sqrt(h.size))
    assert z.mean() == pytest.approx(1, abs=4 * 0.5 / np.sqrt(z.size))


def test_rate_0_keeps_all():
    z, h = draw_masks(lambda n: np.zeros((2, n)), 0.0, 3, 4)
    assert (z == 1).all() and (h == 1).all()


@pytest.mark.parametrize('rate', [1.0, -0.1, float('nan')])
def test_what_is_no_rate_is_named(rate):
    with pytest.raises(ValueError, match='must be at least 0 and below 1'):
        draw_masks(lambda n: np.zeros((2, n)), rate, 3, 4)
