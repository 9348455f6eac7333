"""The toys, run tiny: their files, their numbers, and what they claim."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments import cma_es_schaffer, mdn_toy, running_statistics


def flags(data, more):
    return ['--data', str(data), '--run', 'tiny', *more.split()]


def results(folder):
    return json.loads((folder / 'results.json').read_text())


def check_common(found, name, seed):
    assert found['experiment'] == name and found['run'] == 'tiny'
    assert found['seed'] == found['config']['seed'] == seed
    assert {'python', 'numpy', 'chainer'} <= set(found['versions'])
    assert sum(found['seconds'].values()) > 0


def check_picture(path):
    with Image.open(path) as picture:
        assert min(picture.size) > 300
        assert np.asarray(picture.convert('L')).std() > 5


class TestSchaffer:
    def test_the_optimum_is_the_only_zero(self):
        assert cma_es_schaffer.schaffer(np.array([10.0, 10.0])) == 0
        x = np.random.default_rng(0).uniform(-20, 40, (10_000, 2))
        assert (cma_es_schaffer.schaffer(x) > 0).all()
        np.testing.assert_allclose(cma_es_schaffer.fitness(x), -(cma_es_schaffer.schaffer(x) ** 2))

    def test_by_hand(self):
        # a - b = 9 - 4 = 5, a + b = 13
        wanted = 0.5 + (np.sin(5.0) ** 2 - 0.5) / 1.013**2
        assert cma_es_schaffer.schaffer(np.array([13.0, 12.0])) == (pytest.approx(wanted))

    def test_the_drawn_landscape_is_the_function_where_it_is_smooth(self):
        drawn = cma_es_schaffer.landscape((9.5, 10.5, 9.5, 10.5), 50)
        at = 9.5 + (np.arange(50) + 0.5) / 50
        grid = np.stack(np.meshgrid(at, at), axis=-1)
        np.testing.assert_allclose(drawn, cma_es_schaffer.schaffer(grid), atol=1e-3)

    def test_a_search_keeps_to_its_budget(self):
        config = cma_es_schaffer.Config(target=1.0, evaluations=1000)
        assert len(cma_es_schaffer.search(config, 0.3, 0)) == 15

    def test_the_rule_of_thumb_reaches_the_target_nearly_always(self):
        config = cma_es_schaffer.Config(seeds=20)
        found = [
            cma_es_schaffer.arrived(config, cma_es_schaffer.search(config, 5.0, seed))
            for seed in range(20)
        ]
        assert sum(found) >= 18

    def test_files(self, tmp_path, monkeypatch):
        monkeypatch.setattr(cma_es_schaffer, 'FILM', 3)
        cma_es_schaffer.script(flags(tmp_path, '--seed 3 --seeds 3 --sigma 2 --sigmas 5'))
        folder = tmp_path / 'cma_es_schaffer' / 'tiny'
        found = results(folder)
        check_common(found, 'cma_es_schaffer', 3)
        assert [row['sigma'] for row in found['table']] == [2, 5]
        assert found['share'] == found['table'][0]
        assert 0 <= found['share']['arrived'] <= 3
        check_picture(folder / 'figures' / 'schaffer.png')
        with Image.open(folder / 'figures' / 'schaffer.gif') as film:
            assert film.n_frames >= 3


class TestMixture:
    def test_the_curve_has_three_answers_in_the_middle(self):
        rng = np.random.default_rng(0)
        x, y = mdn_toy.points(rng, 20_000, 'float64')
        assert x.shape == y.shape == (20_000, 1)
        here = y[np.abs(x - 0.25) < 0.02]
        counts = [
            ((low < here) & (here < high)).sum()
            for low, high in ((-0.1, 0.2), (0.3, 0.65), (0.8, 1.1))
        ]
        assert min(counts) > 20 and sum(counts) == len(here)

    def test_files_and_the_mixture_wins(self, tmp_path):
        mdn_toy.script(
            flags(tmp_path, '--seed 1 --epochs 150 --points 200 --hidden 64 --learning-rate 1e-2')
        )
        folder = tmp_path / 'mdn_toy' / 'tiny'
        found = results(folder)
        check_common(found, 'mdn_toy', 1)
        scores = found['held_out']
        assert scores['mixture_nll'] < scores['least_squares_nll'] - 0.2
        check_picture(folder / 'figures' / 'mdn.png')

    def test_the_same_seed_gives_the_same_numbers(self, tmp_path):
        for name in ('first', 'second'):
            mdn_toy.script(flags(tmp_path / name, '--epochs 2 --points 50 --hidden 8'))
        first, second = (
            results(tmp_path / name / 'mdn_toy' / 'tiny')['held_out']
            for name in ('first', 'second')
        )
        assert first == second


class TestRunningStatistics:
    def test_the_published_formula_is_exact_for_sample_deviations(self):
        x = np.random.default_rng(0).normal(3, 2, 60)
        found = running_statistics.running(x, 5, running_statistics.published, ddof=1)
        np.testing.assert_allclose(found[-1], x.std(ddof=1), rtol=1e-12)

    def test_files_and_the_error_it_shows(self, tmp_path):
        running_statistics.script(flags(tmp_path, '--seed 2 --values 256 --repeats 4'))
        folder = tmp_path / 'running_statistics' / 'tiny'
        found = results(folder)
        check_common(found, 'running_statistics', 2)
        for row in found['relative_error']:
            assert row['exact'] < 1e-14
            assert 0.3 < row['published'] * 2 * row['size'] < 1.2
        check_picture(folder / 'figures' / 'running_statistics.png')


@pytest.mark.parametrize('toy', [cma_es_schaffer, mdn_toy, running_statistics])
def test_help_names_every_flag(toy, capsys):
    with pytest.raises(SystemExit) as stopped:
        toy.script(['--help'])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    for flag in ('--seed', '--data', '--run', '--preset'):
        assert flag in shown
