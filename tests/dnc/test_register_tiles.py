"""Products of blocks against NumPy, and nothing written beside them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnc.cpu import register_tiles as tiles

REAL = pytest.mark.parametrize('dtype', [np.float32, np.float64])
GUARD = 123.0


def normal(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def tolerance(dtype):
    return {'rtol': 0, 'atol': 1e3 * np.finfo(dtype).eps}


@REAL
@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(0, 40),
    runs=st.integers(1, 3),
    run=st.integers(1, 20),
    gap=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_rows_times_panel(dtype, rows, runs, run, gap, seed):
    rng = np.random.default_rng(seed)
    width, step, stride = tiles.panel_width(dtype), 30, 0
    stride = width + gap
    a = normal(rng, 500, dtype)
    b = normal(rng, 7 + runs * run * width, dtype)
    table = rng.integers(0, 400, rows)
    c = np.full(3 + (rows + 1) * stride, GUARD, dtype)
    tiles.rows_times_panel(a, table, b, c, (5, 7, 3), (width, stride), (runs, run, step), rows)
    patch = (np.arange(runs)[:, None] * step + np.arange(run)).ravel()
    want = c.copy()
    want[3:-stride].reshape(rows, stride)[:, :width] = a[5 + table[:, None] + patch] @ b[
        7:
    ].reshape(-1, width)
    np.testing.assert_allclose(c, want, **tolerance(dtype))
    outside = c[3:].reshape(-1, stride)[:, width:]
    assert (outside == GUARD).all() and (c[:3] == GUARD).all()
    assert (c[3 + rows * stride :] == GUARD).all()


@REAL
@pytest.mark.parametrize('height', sorted(set(tiles.tile_heights(31))))
@pytest.mark.parametrize('count', [0, 1, 37])
def test_add_columns_times_rows(dtype, height, count):
    rng = np.random.default_rng(count)
    width = tiles.panel_width(dtype)
    stride = width + 3
    a, table = normal(rng, 300, dtype), rng.integers(0, 200, count)
    b = normal(rng, 2 + count * stride, dtype)
    before = normal(rng, 4 + (height + 1) * stride, dtype)
    after = before.copy()
    tiles.add_columns_times_rows(a, table, b, after, (9, 2, 4), (stride, stride), count, height)
    columns = a[9 + table[:, None] + np.arange(height)]
    want = before.copy()
    want[4:-stride].reshape(height, stride)[:, :width] += (
        columns.T @ b[2:].reshape(count, stride)[:, :width]
    )
    np.testing.assert_allclose(after, want, **tolerance(dtype))


@pytest.mark.parametrize('rows', range(60))
def test_heights_cover_the_rows(rows):
    heights = tiles.tile_heights(rows)
    assert sum(heights) == rows
    assert heights == sorted(heights, reverse=True)
