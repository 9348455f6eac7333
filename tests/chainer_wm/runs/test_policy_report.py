"""Curves by hand."""

import numpy as np
import pytest
from PIL import Image

from chainer_wm import plots
from chainer_wm.runs import policy_report


def row(steps, episodes, value, **more):
    return {'steps': steps, 'episodes': episodes, 'return': value, 'entropy': float(steps), **more}


class TestCurves:
    LOG = (row(10, 1, 4.0), row(20, 3, 0.0), row(30, 0, None), row(40, 2, 8.0))

    def test_episodes_weigh_the_same(self):
        steps, means = policy_report.binned(self.LOG, 'return', 2)
        np.testing.assert_array_equal(steps, [20, 40])
        np.testing.assert_array_equal(means, [1, 8])
        _, means = policy_report.binned(self.LOG, 'return')
        np.testing.assert_array_equal(means, [4, 0, np.nan, 8])
        _, means = policy_report.binned(self.LOG, 'entropy', 2)
        np.testing.assert_array_equal(means, [15, 35])

    def test_goal_counts_whole_windows_only(self):
        log = [row(n, 50, value) for n, value in enumerate([9, 1, 5, 9, 0])]
        assert policy_report.reached(log, 5) == 1
        assert policy_report.reached(log, 6) == 3
        assert policy_report.reached(log, 8) is None
        assert policy_report.reached(log[:1], 5) is None
        assert policy_report.reached(log[:1], 5, episodes=50) == 0

    def test_draw_leaves_out_what_never_ended(self, tmp_path):
        log = [row(n, 0, None) for n in range(1, 9)]
        policy_report.draw(tmp_path, log, names=('return', 'entropy'))
        assert [path.name for path in tmp_path.iterdir()] == ['policy_entropy.png']

    def test_seed_curves(self, tmp_path):
        curve = np.arange(5), np.arange(10.0).reshape(2, 5)
        plots.seed_curves(
            tmp_path / 'x.png',
            {'return': {'a': curve, 'b': curve}, 'length': {'a': curve}},
            levels={'return': {'solved': 7.0}},
        )
        with Image.open(tmp_path / 'x.png') as picture:
            assert picture.size[0] > picture.size[1] > 300
        with pytest.raises(ValueError, match=r"'a' has x \(5,\)"):
            plots.seed_curves(tmp_path / 'x.png', {'y': {'a': (curve[0], curve[0])}})

    def test_visit_maps(self, tmp_path):
        counts = np.array([[0, 1, 5], [2, 1000, 0]])
        path = tmp_path / 'x.png'
        plots.visit_maps(path, {'a': counts, 'b': 0 * counts}, {'S': (0, 1)})
        with Image.open(path) as picture:
            assert np.asarray(picture.convert('L')).std() > 5
        with pytest.raises(ValueError, match='one'):
            plots.visit_maps(path, {'a': counts, 'b': counts[:1]})
