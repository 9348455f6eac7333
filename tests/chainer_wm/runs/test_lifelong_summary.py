"""What lifelong runs say: tables, comparison, pictures."""

import numpy as np
import pytest
from PIL import Image

from chainer_wm import files
from chainer_wm.plots.matrices import share_matrices
from chainer_wm.runs import lifelong_compare
from chainer_wm.runs.lifelong_summary import after_levels, by_chance, chance_of_passing, tables


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

    def test_chance_of_passing_by_hand(self):
        # both of two; 18, 19 or 20 of 20
        assert chance_of_passing(0.5, 2, 0.9) == 0.25
        by_hand = 0.8**18 * (190 * 0.2**2 + 20 * 0.8 * 0.2 + 0.8**2)
        assert chance_of_passing(0.8, 20, 0.9) == pytest.approx(by_hand)
        assert by_hand == pytest.approx(0.2061, abs=1e-4)
        assert chance_of_passing(0.3, 5, 0) == pytest.approx(1)
        found = by_chance(20, 0.8)['one_look']
        assert list(found) == ['0.50', '0.60', '0.70']

    def test_seeds_and_models_side_by_side(self, tmp_path):
        folders = [
            finished(tmp_path, seed, model, kept)
            for seed, model, kept in ((0, 'dnc', 0.5), (1, 'dnc', 0.7), (0, 'lstm', 0.1))
        ]
        names = [folder.name for folder in folders]
        lifelong_compare.compare(tmp_path, names, tmp_path / 'results')
        found = files.read_json(tmp_path / 'results/navigation.json')['table']
        assert found['dnc'][0]['kept'] == [0.5, 0.7]
        assert found['lstm'][0]['kept'] == [0.1]
        assert found['lstm'][1]['solved_after'] == [200]
        assert found['until_solved'][0]['solved_after'] == [512, 512]
        assert found['until_solved'][1]['solved_after'] == [None, None]
        assert found['random'][0]['learnt'] == [0.1, 0.1]
        assert found['until_solved'][0]['learnt'] == [0.2, 0.2]
        assert found['dnc'][1]['excess'] == [1.25, 1.25]
        for name in ('levels', 'retention', 'learning'):
            path = tmp_path / f'results/navigation_{name}.png'
            with Image.open(path) as picture:
                assert np.asarray(picture.convert('L')).std() > 5

    def test_success_is_known_from_the_first_score_to_the_end(self):
        scored = {100: 0.5, 250: 0.9}
        run = {
            'iterations': [
                {'real_steps': steps, 'scores': [score(share)]} for steps, share in scored.items()
            ]
        }
        steps = np.array([0, 99, 100, 249, 250, 900])
        np.testing.assert_array_equal(
            lifelong_compare.known(run, 0, steps), [0, 0, 0.5, 0.5, 0.9, 0.9]
        )

    def test_mixed_or_unfinished_runs_are_refused(self, tmp_path):
        good = finished(tmp_path, 0, 'dnc')
        with pytest.raises(ValueError, match='complete'):
            lifelong_compare.compare(tmp_path, [good.name, 'x'], tmp_path)
        other = finished(tmp_path, 1, 'dnc')
        found = files.read_json(other / 'results.json')
        found['config']['lanes'] = 5
        files.write_json(other / 'results.json', found)
        with pytest.raises(ValueError, match='lanes is 4.* 5'):
            lifelong_compare.compare(tmp_path, [good.name, other.name], tmp_path)


def test_matrices_of_different_shapes_are_refused(tmp_path):
    with pytest.raises(ValueError, match='shapes'):
        share_matrices(tmp_path / 'x.png', {'a': np.zeros((2, 2)), 'b': np.zeros((3, 2))})
