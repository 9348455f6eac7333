"""What lifelong runs say: tables, and what they are compared in."""

import pytest

from chainer_wm import files
from chainer_wm.runs.lifelong_summary import (
    after_levels,
    by_chance,
    chance_of_passing,
    compared,
    tables,
)


def score(success, steps=10.0):
    return {'success': success, 'steps': steps, 'shortest': 8.0, 'return': 0.0}


def finished(tmp_path, seed, model, kept=0.5):
    """A run's folder as the script leaves it, two levels, two iterations."""
    folder = tmp_path / f'{model}-{seed}'
    steps = iter((100, 250, 300, 450))
    success = iter(([0.5, 0], [0.9, 0], [1, 0.2], [kept, 1.0]))
    for level in range(2):
        for iteration in range(2):
            files.write_json(
                folder / f'level-{level}/iteration-{iteration}/scores.json',
                {
                    'level': level,
                    'iteration': iteration,
                    'real_steps': next(steps),
                    'scores': [score(share) for share in next(success)],
                    'probes': [{'pictures': 0.75}] * (level + 1),
                },
            )
        files.write_json(
            folder / f'level-{level}/iteration-1/reported.json',
            [score(share) for share in ([0.8, 0.1], [kept, 0.6])[level]],
        )
    ppo = [
        {
            **{'level': n, 'real_steps': 512},
            **{'scores': [score(0.3)] * 2, 'reported': [score(0.2)] * 2},
        }
        for n in range(2)
    ]
    files.write_json(
        folder / 'results.json',
        {
            'run': folder.name,
            'seed': seed,
            'config': {'env': 'navigation', 'model': model, 'lanes': 4},
            'versions': {},
            'seconds': {},
            'passing_by_chance': by_chance(20, 0.9),
            'random': [score(0.1)] * 2,
            'same_budget': ppo,
            'until_solved': [row | {'solved': n == 0} for n, row in enumerate(ppo)],
            **tables(folder, 0.9),
        },
    )
    return folder


class TestSummary:
    def test_by_hand(self, tmp_path):
        found = files.read_json(finished(tmp_path, 0, 'dnc') / 'results.json')
        assert [row['real_steps'] for row in found['levels']] == [250, 200]
        assert [row['solved_after'] for row in found['levels']] == [250, 200]
        assert found['retention'] == [[0.8, 0.1], [0.5, 0.6]]
        assert found['model_retention'] == [[0.75, None], [0.75, 0.75]]
        first = found['levels'][0]
        assert first['stopped_at']['success'] == 0.9 and first['looks'] == 2
        assert first['learnt']['success'] == 0.8
        assert first['kept']['success'] == 0.5
        assert [row['iteration'] for row in after_levels(found['iterations'])] == [1, 1]

    def test_what_runs_are_compared_in(self, tmp_path):
        folder = finished(tmp_path, 0, 'dnc')
        found = compared(files.read_json(folder / 'results.json'))
        curves = found['curves']
        assert curves['success at the end']['y'] == [0.5, 0.6]
        assert curves['success after the level']['y'] == [0.8, 0.6]
        assert curves['success at the look that passed']['y'] == [0.9, 1.0]
        assert curves['looks']['y'] == [2, 2]
        assert curves['steps / shortest way, at the end']['y'] == [1.25, 1.25]
        until = curves['real steps until solved']
        assert until['y'] == [250, 200]
        assert until['references']['PPO, until solved'] == [512, None]
        assert until['references']['random'] == [None, None]
        first = curves['success on level 0']
        assert first['x'] == [0, 100, 250, 300, 450]
        assert first['y'] == [0.0, 0.5, 0.9, 1.0, 0.5]
        assert found['scores']['success at the end']['mean'] == pytest.approx(0.55)
        assert found['scores']['real steps in all'] == {'mean': 450, 'lower_is_better': True}
        assert found['baselines']['random']['success at the end']['mean'] == 0.1
        assert found['matrices']['M: whole pictures right']['values'] == [
            [0.75, None],
            [0.75, 0.75],
        ]

    def test_chance_of_passing_by_hand(self):
        # both of two; 18, 19 or 20 of 20
        assert chance_of_passing(0.5, 2, 0.9) == 0.25
        by_hand = 0.8**18 * (190 * 0.2**2 + 20 * 0.8 * 0.2 + 0.8**2)
        assert chance_of_passing(0.8, 20, 0.9) == pytest.approx(by_hand)
        assert by_hand == pytest.approx(0.2061, abs=1e-4)
        assert chance_of_passing(0.3, 5, 0) == pytest.approx(1)
        found = by_chance(20, 0.8)['one_look']
        assert list(found) == ['0.50', '0.60', '0.70']
