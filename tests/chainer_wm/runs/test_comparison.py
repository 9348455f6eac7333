"""Runs side by side: groups, intervals and probabilities by hand, pictures."""

import json

import numpy as np
import pytest
from plots_case import charts, lines

from chainer_wm import files
from chainer_wm.runs import comparison, comparison_figures
from chainer_wm.runs.run_folder import RunError

__all__ = ['charts']  # a fixture


def results(name, seed, mean, **more):
    """What a script leaves of a run."""
    config = {'model': 'lstm', 'lanes': 4, 'memory_length': 8, 'data': '/here', 'seed': seed}
    for key in [key for key in more if key in (*config, 'recurrent', 'match', 'temperature')]:
        config[key] = more.pop(key)
    return {
        'experiment': 'maze',
        'run': name,
        'seed': seed,
        'config': config,
        'seconds': {'train': 90.0},
        'evaluation': {'mean': mean, 'std': 1.0, 'episodes': 2, 'returns': [mean - 1, mean + 1]},
        'random_baseline': {'mean': 5.0, 'std': 1.0, 'episodes': 2, 'returns': [4.0, 6.0]},
        **more,
    }


@pytest.fixture
def read(tmp_path):
    """Runs as their folders hold them."""

    def write_and_read(*found):
        for each in found:
            files.write_json(tmp_path / each['run'] / 'results.json', each)
        return [run for each in found for run in comparison.read(tmp_path / each['run'])]

    return write_and_read


def pairs(found, score='evaluation'):
    return {(row['of'], row['over']): row for row in found['pairs'] if row['score'] == score}


class TestGroups:
    def test_seeds_of_the_same_settings_are_pooled(self, read):
        runs = read(
            results('b', 1, 800.0), results('a', 0, 600.0), results('c', 0, 900.0, model='dnc')
        )
        found = comparison.compare(runs)
        assert found['compared'] == {'model': ['lstm', 'dnc']}
        assert list(found['groups']) == ['LSTM', 'DNC']
        lstm = found['groups']['LSTM']
        assert (lstm['runs'], lstm['seeds'], lstm['minutes']) == (['a', 'b'], [0, 1], [1.5, 1.5])
        row = lstm['scores']['evaluation']
        assert row['values'] == [600, 800] and row['mean'] == 700
        # t of one degree of freedom times 141.4 / sqrt(2)
        assert row['interval'] == pytest.approx([700 - 1270.6, 700 + 1270.6])
        assert found['groups']['DNC']['scores']['evaluation']['interval'] is None

    def test_what_differs_tells_groups_apart_and_what_is_off_is_not_said(self, read):
        runs = read(
            results('a', 0, 1.0, match=False, temperature=[1.15]),
            results('b', 0, 1.0, match=True, temperature=[1.15]),
            results('c', 0, 1.0, match=False, temperature=[1.0, 1.5]),
        )
        groups = comparison.compare(runs)['groups']
        assert list(groups) == [
            'temperature 1.15',
            'match, temperature 1.15',
            'temperature 1.0 1.5',
        ]

    def test_what_an_lstm_has_no_use_for_does_not_count(self, read):
        runs = read(
            results('a', 0, 1.0),
            results('b', 1, 1.0, memory_length=16),
            results('c', 0, 1.0, model='dnc', memory_length=16),
            results('d', 1, 1.0, model='dnc', recurrent=False),
        )
        assert list(comparison.compare(runs)['groups']) == ['LSTM', 'DNC', 'MLP']

    def test_settings_of_a_run_that_one_builds_on_count(self, read):
        runs = read(
            results('a', 0, 1.0, inherited={'episodes': 3000}),
            results('b', 1, 1.0, inherited={'episodes': 1000}),
        )
        assert comparison.compare(runs)['compared'] == {'inherited episodes': [3000, 1000]}
        runs = read(
            results('a', 0, 1.0, inherited={'model': 'lstm'}),
            results('b', 0, 1.0, model='dnc', inherited={'model': 'dnc'}),
        )
        assert set(comparison.compare(runs)['compared']) == {'model'}

    def test_too_long_a_label_is_a_number_with_its_settings_below(self, read):
        many = {f'a rather long setting {n}': n for n in (1, 2, 3)}
        runs = read(
            results('a', 0, 1.0, inherited=many),
            results('b', 0, 1.0, model='dnc', inherited={name: 7 for name in many}),
        )
        found = comparison.compare(runs)
        assert list(found['groups']) == ['LSTM, group 1', 'DNC, group 2']
        assert 'inherited a rather long setting 2 7' in comparison.as_text(found)

    def test_only_what_is_named_may_differ(self, read):
        runs = read(results('a', 0, 1.0), results('b', 1, 1.0, lanes=5))
        assert list(comparison.compare(runs, ['lanes'])['groups']) == ['lanes 4', 'lanes 5']
        with pytest.raises(RunError, match='lanes is 4 in a but 5 in b'):
            comparison.compare(runs, ['model'])

    @pytest.mark.parametrize('key', ['experiment', 'task'])
    def test_other_experiments_and_tasks_are_refused(self, read, key):
        runs = read(results('a', 0, 1.0), results('b', 1, 1.0, **{key: 'other'}))
        with pytest.raises(RunError, match=f"{key} is .* in a but 'other' in b"):
            comparison.compare(runs)

    def test_one_seed_twice_is_refused(self, read):
        with pytest.raises(RunError, match='one seed twice.* a, b'):
            comparison.compare(read(results('a', 0, 1.0), results('b', 0, 1.0)))

    def test_an_absent_and_an_unfinished_run_are_named(self, read, tmp_path):
        with pytest.raises(RunError, match='gone/results.json is not there'):
            comparison.read(tmp_path / 'gone')
        unfinished = results('a', 0, 1.0)
        del unfinished['evaluation']
        with pytest.raises(RunError, match="neither scores nor curves: was run 'a'"):
            read(unfinished)


class TestNumbers:
    def test_seeds_that_never_got_there_are_left_out(self):
        found = comparison.over_seeds([2.0, None, 4.0])
        assert (found['values'], found['mean']) == ([2.0, None, 4.0], 3)
        assert found['std'] == pytest.approx(2**0.5)
        assert comparison.over_seeds([None])['mean'] is None

    @pytest.mark.parametrize(
        ('degrees', 'wanted'), [(1, 12.706), (10, 2.228), (11, 2.201), (20, 2.086), (60, 2.000)]
    )
    def test_student(self, degrees, wanted):
        assert comparison.student(degrees) == pytest.approx(wanted, abs=1.5e-3)

    def test_probability_of_improvement_by_hand(self):
        # of the four pairs 3 > 2, 1 < 2, and 3 > 1; 1 and 1 tie
        found = comparison.improvement([3, 1], [2, 1])
        assert found['probability'] == (1 + 0 + 1 + 0.5) / 4
        low, high = found['interval']
        assert 0 <= low < found['probability'] < high <= 1
        assert comparison.improvement([3, 4], [1, 2]) == {'probability': 1, 'interval': [1, 1]}

    def test_the_bootstrap_covers_the_truth(self):
        rng = np.random.default_rng(0)
        inside = 0
        for _ in range(100):  # P(X > Y) = 0.5
            low, high = comparison.improvement(rng.random(15), rng.random(15))['interval']
            inside += low <= 0.5 <= high
        assert 88 <= inside <= 99

    def test_groups_are_paired_by_their_seeds(self, read):
        runs = read(
            *(results(f'l{seed}', seed, 100.0) for seed in (0, 1, 2)),
            *(results(f'd{seed}', seed, 100.0 * 10**seed, model='dnc') for seed in (0, 1)),
        )
        row = pairs(comparison.compare(runs))[('DNC', 'LSTM')]
        assert row['seeds'] == [0, 1]
        assert row['difference']['values'] == [0, 900]
        assert row['ratio'] == pytest.approx(10**0.5)
        assert row['improvement']['probability'] == (3 + 3 * 0.5) / 6

    def test_lower_may_be_better(self, read):
        def run(name, model, error):
            score = {'mean': error, 'lower_is_better': True}
            return results(name, 0, 1.0, model=model, scores={'error': score})

        found = comparison.compare(read(run('a', 'lstm', 3.0), run('b', 'dnc', 1.0)))
        row = pairs(found, 'error')[('DNC', 'LSTM')]
        assert row['improvement']['probability'] == 1 and row['ratio'] == pytest.approx(1 / 3)

    def test_baselines_stand_beside(self, read):
        still = {'evaluation': {'mean': 2.0}, 'steps': {'mean': 9.0}}
        found = comparison.compare(read(results('a', 0, 1.0, baselines={'still': still})))
        assert found['baselines']['evaluation']['random']['mean'] == 5
        assert found['baselines']['evaluation']['still']['mean'] == 2
        assert found['baselines']['steps'] == {'still': comparison.over_seeds([9.0])}

    def test_a_baseline_that_is_the_same_in_two_runs_of_a_seed_counts_once(self, read):
        found = comparison.compare(read(results('a', 0, 1.0), results('b', 0, 1.0, model='dnc')))
        assert found['baselines']['evaluation']['random']['values'] == [5]

    def test_a_comparison_is_read_again_and_names_no_folder(self, read, tmp_path):
        runs = read(results('a', 0, 1.0, inherited={'x': 1}), results('b', 0, 2.0, model='dnc'))
        found = comparison.compare(runs)
        files.write_json(tmp_path / 'comparison.json', found)
        assert '/here' not in json.dumps(found) and 'returns' not in json.dumps(found)
        assert comparison.compare(comparison.read(tmp_path / 'comparison.json')) == found

    def test_the_terminal_says_seeds_intervals_and_probability(self, read):
        runs = read(
            *(results(f'l{seed}', seed, 600.0 + seed) for seed in (0, 1, 2)),
            results('d', 0, 900.0, model='dnc', scores={'until': {'mean': None}}),
        )
        said = comparison.as_text(comparison.compare(runs))
        assert 'maze, compared by model: lstm, dnc' in said
        assert 'evaluation: 601 (95 %: 599 to 603)  [600 601 602]' in said
        assert 'until: -  [-]' in said
        assert 'DNC over LSTM, evaluation: difference 300 on 1 common seeds, 1.5 times' in said
        assert 'better with probability 1.00 (1.00 to 1.00)' in said


class TestCurves:
    def test_what_is_not_finite_is_none(self):
        found = comparison.curve([1, 2], [np.nan, 3], 'x', 'y', references={'r': [np.inf, 0]})
        assert found['y'] == [None, 3] and found['references'] == {'r': [None, 0]}
        json.dumps(found, allow_nan=False)

    def test_other_x_are_drawn_through_as_far_as_they_go(self):
        curves = [{'x': [0, 2], 'y': [0, 4]}, {'x': [0, 1], 'y': [1, None]}]
        x, ys = comparison_figures.common(curves)
        assert x.tolist() == [0, 1, 2]
        np.testing.assert_array_equal(ys, [[0, 2, 4], [1, np.nan, np.nan]])
        held = {'x': [0, 1], 'y': [1, 5], 'hold': True}
        _, ys = comparison_figures.common([curves[0], held])
        np.testing.assert_array_equal(ys[1], [1, 5, 5])

    def test_every_picture_of_two_groups(self, read, tmp_path, charts):
        def run(name, seed, model, shift):
            y = [shift, None, shift + 2]
            return results(
                *(name, seed, 10.0 * shift),
                model=model,
                solved=15.0,
                curves={
                    'learning': comparison.curve(
                        *([0, 1, 2], np.array(y, float), 'update', 'return'), score='evaluation'
                    ),
                    'agreement': comparison.curve([shift], [2], 'dream', 'game', points=True),
                    'at the end': comparison.curve([9], [shift], 'update', 'return'),
                },
                matrices={'kept': {'values': [[shift / 4, None], [0, 1]], 'rows': 'after'}},
            )

        runs = read(run('a', 0, 'lstm', 1), run('b', 1, 'lstm', 3), run('c', 0, 'dnc', 2))
        paths = comparison_figures.draw(tmp_path / 'out', runs)
        assert [path.name for path in paths] == ['scores.png', 'curves.png', 'matrix_kept.png']
        assert all(path.stat().st_size > 5000 for path in paths)
        scores, curves, matrix = charts
        titles = [axes.get_title('left') for axes in curves.axes]
        assert titles == ['learning', 'agreement'], 'a single value is no curve'
        np.testing.assert_array_equal(lines(curves, 'LSTM, 2 seeds')[1], [2, np.nan, 4])
        np.testing.assert_array_equal(lines(curves, 'DNC')[1], [2, np.nan, 4])
        assert lines(curves, 'solved')[1] == [15, 15] and lines(curves, 'random')[1] == [5, 5]
        assert [axes.get_title('left') for axes in matrix.axes] == ['LSTM', 'DNC']
        assert [text.get_text() for text in matrix.axes[0].texts] == ['0.50', '', '0', '1']
        low, high = scores.axes[0].get_xlim()
        assert low < 5 and high > 30, 'every seed and baseline is within'
