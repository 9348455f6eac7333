"""Curves by hand."""

import numpy as np

from chainer_wm.runs import ppo_curves


def row(steps, episodes, value, **more):
    return {'steps': steps, 'episodes': episodes, 'return': value, 'entropy': float(steps), **more}


class TestCurves:
    LOG = (row(10, 1, 4.0), row(20, 3, 0.0), row(30, 0, None), row(40, 2, 8.0))

    def test_episodes_weigh_the_same(self):
        steps, means = ppo_curves.binned(self.LOG, 'return', 2)
        np.testing.assert_array_equal(steps, [20, 40])
        np.testing.assert_array_equal(means, [1, 8])
        _, means = ppo_curves.binned(self.LOG, 'return')
        np.testing.assert_array_equal(means, [4, 0, np.nan, 8])
        _, means = ppo_curves.binned(self.LOG, 'entropy', 2)
        np.testing.assert_array_equal(means, [15, 35])

    def test_goal_counts_whole_windows_only(self):
        log = [row(n, 50, value) for n, value in enumerate([9, 1, 5, 9, 0])]
        assert ppo_curves.reached(log, 5) == 1
        assert ppo_curves.reached(log, 6) == 3
        assert ppo_curves.reached(log, 8) is None
        assert ppo_curves.reached(log[:1], 5) is None
        assert ppo_curves.reached(log[:1], 5, episodes=50) == 0

    def test_draw_leaves_out_what_never_ended(self, tmp_path):
        log = [row(n, 0, None) for n in range(1, 9)]
        ppo_curves.draw(tmp_path, log, names=('return', 'entropy'))
        assert [path.name for path in tmp_path.iterdir()] == ['policy_entropy.png']

    def test_curves_for_the_comparison(self):
        log = [row(10 * n, 1, float(n) if n > 1 else None) for n in range(1, 5)]
        log[0]['episodes'] = 0
        found = ppo_curves.curves(log, ('return', 'entropy'), bins=4)
        first, second = found.values()
        assert first['x'] == [10, 20, 30, 40] and first['y'] == [None, 2, 3, 4]
        assert first['score'] == 'evaluation' and 'score' not in second
