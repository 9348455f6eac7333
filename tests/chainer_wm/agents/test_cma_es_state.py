"""CMA-ES as it is used: tell's refusals, reasons to stop, files."""

import numpy as np
import pytest
from cma_es_case import assert_same, rosenbrock, run, sphere, whole_state
from hypothesis import given, settings
from hypothesis import strategies as st

from chainer_wm.agents.cma_es import CMAES
from chainer_wm.files.archives import write_archive


class TestTell:
    def test_only_reads_its_arguments(self):
        search = CMAES(np.zeros(4), 1.0, 8)
        x = search.ask()
        f = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0])
        kept = x.copy(), f.copy()
        search.tell(x, f)
        np.testing.assert_array_equal(x, kept[0])
        np.testing.assert_array_equal(f, kept[1])
        x[:] = np.nan
        assert np.isfinite(search.best_candidate).all()
        np.testing.assert_array_equal(search.best_candidate, kept[0][5])

    def test_higher_is_better(self):
        search = CMAES(np.zeros(3), 1.0, 20)
        x = search.ask()
        search.tell(x, x[:, 0])
        assert search.mean[0] > 0.3
        assert search.best_fitness == x[:, 0].max()

    def test_takes_lists_and_integers(self):
        search = CMAES([0, 0], 1, 4)
        search.tell(search.ask().tolist(), [1, 2, 3, 4])
        assert search.generation == 1 and search.evaluations == 4

    def test_a_flat_fitness_is_harmless(self):
        search = run(CMAES(np.zeros(5), 1.0, 10), lambda x: np.zeros(10), 200)
        assert np.isfinite(search.covariance).all()
        assert 1e-3 < search.sigma < 1e3

    def test_ties_rank_in_the_order_given(self):
        first, second = (CMAES(np.zeros(3), 1.0, 6, seed=1) for _ in 'ab')
        x = first.ask()
        first.tell(x, [1.0, 1.0, 0.0, 1.0, 0.0, 0.0])
        second.tell(x, [9.0, 8.0, 0.0, 7.0, -1.0, -2.0])
        np.testing.assert_array_equal(first.mean, second.mean)

    def test_one_parameter_and_one_parent(self):
        search = run(CMAES([3.0], 1.0, 8, parent_fraction=1 / 8), sphere, 150)
        assert abs(search.mean[0]) < 1e-3

    @pytest.mark.parametrize('separable', [False, True])
    @pytest.mark.parametrize(
        'break_it, message',
        [
            (
                lambda x, f: (x, np.where(np.arange(8) == 5, np.nan, f)),
                r'candidate 5 is nan \(1 of 8',
            ),
            (lambda x, f: (x, np.full(8, -np.inf)), r'candidate 0 is -inf \(8 of'),
            (lambda x, f: (x, f[:7]), r'fitness has shape \(7,\).* 8 candidates'),
            (lambda x, f: (x, f[:, None]), r'fitness has shape \(8, 1\)'),
            (lambda x, f: (x[:7], f[:7]), r'shape \(7, 3\), but .* \(8, 3\)'),
            (lambda x, f: (x.T, f), r'shape \(3, 8\)'),
            (lambda x, f: (np.where(x > 9, x, np.nan), f), 'candidate 0 has'),
        ],
    )
    def test_refusals_leave_the_state_untouched(self, separable, break_it, message):
        search, other = (
            run(CMAES(np.zeros(3), 1.0, 8, seed=4, separable=separable), sphere, 3) for _ in 'ab'
        )
        x = search.ask()
        other.ask()
        with pytest.raises(ValueError, match=message):
            search.tell(*break_it(x, sphere(x)))
        assert_same(search, other)
        assert_same(run(search, sphere, 3), run(other, sphere, 3))

    @given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.booleans())
    @settings(max_examples=40, deadline=None)
    def test_the_covariance_stays_a_covariance(self, seed, n, separable):
        rng = np.random.default_rng(seed)
        search = CMAES(rng.standard_normal(n), 0.5, seed=seed, separable=separable)
        run(search, lambda x: rng.standard_normal(len(x)), 30)
        c = search.covariance
        np.testing.assert_allclose(c, c.T, rtol=1e-12, atol=1e-14)
        assert np.linalg.eigvalsh(c).min() > 0
        assert search.condition >= 1


class TestStopReasons:
    def test_none_at_first(self):
        assert CMAES(np.zeros(3), 1.0).stop_reasons(target=5.0) == {}

    def test_target_and_evaluations(self):
        search = run(CMAES(np.zeros(3), 1.0, 6), sphere, 4)
        assert search.stop_reasons(-100.0) == {'target': search.best_fitness}
        assert search.stop_reasons(1.0, 24) == {'evaluations': 24}

    def test_tiny_huge_and_ill_conditioned(self):
        tiny = CMAES(np.zeros(3), 1.0, 12)
        while not (reasons := tiny.stop_reasons(max_evaluations=9999)):
            run(tiny, sphere, 1)
        assert set(reasons) == {'step_tiny'}
        huge = CMAES(np.zeros(3), 1.0, 12)
        while not (reasons := huge.stop_reasons(max_evaluations=9999)):
            run(huge, lambda x: x[:, 0], 1)
        assert set(reasons) == {'step_huge'}
        flat = CMAES(np.ones(2), 1.0, 12, separable=True)
        while not (reasons := flat.stop_reasons(max_evaluations=9999)):
            run(flat, lambda x: -(x[:, 0] ** 2) - 1e18 * x[:, 1] ** 2, 1)
        assert 'condition' in reasons


CASES = pytest.mark.parametrize(
    'options',
    [
        {'n': 5},
        {'n': 5, 'separable': True},
        {'n': 40, 'population_size': 6, 'parent_fraction': 0.4},
    ],
)


def make(options, seed=7):
    options = dict(options)
    return CMAES(np.ones(options.pop('n')), 0.4, seed=seed, **options)


class TestSave:
    @CASES
    @pytest.mark.parametrize('generations', [0, 1, 6, 7])
    def test_a_loaded_search_goes_on_bitwise(self, tmp_path, options, generations):
        unbroken = run(make(options), rosenbrock, generations)
        unbroken.save(tmp_path / 'search.npz')
        loaded = CMAES.load(tmp_path / 'search.npz')
        assert_same(loaded, unbroken)
        assert_same(run(loaded, rosenbrock, 15), run(unbroken, rosenbrock, 15))

    @CASES
    def test_between_ask_and_tell(self, tmp_path, options):
        unbroken = run(make(options), rosenbrock, 4)
        candidates = unbroken.ask()
        unbroken.save(tmp_path / 'search.npz')
        loaded = CMAES.load(tmp_path / 'search.npz')
        np.testing.assert_array_equal(loaded.pending, candidates)
        for search in (loaded, unbroken):
            search.tell(candidates, rosenbrock(candidates))
            assert search.pending is None
        assert_same(run(loaded, rosenbrock, 9), run(unbroken, rosenbrock, 9))

    @pytest.mark.parametrize(
        'bits', [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64]
    )
    def test_any_generator(self, tmp_path, bits):
        search = make({'n': 3}, seed=np.random.Generator(bits(5)))
        run(search, sphere, 2).save(tmp_path / 'search.npz')
        loaded = CMAES.load(tmp_path / 'search.npz')
        np.testing.assert_array_equal(loaded.ask(), search.ask())

    def test_looking_changes_nothing(self):
        first, second = make({'n': 5}), make({'n': 5})
        for _ in range(5):
            run(first, rosenbrock, 1)
            run(second, rosenbrock, 1)
            whole_state(first)
            first.stop_reasons()
            first.mean[:] = first.covariance[:] = 0
        assert_same(first, second)

    def test_the_seed_decides(self):
        first, second, other = (make({'n': 5}), make({'n': 5}), make({'n': 5}, seed=8))
        x = first.ask()
        np.testing.assert_array_equal(x, second.ask())
        assert (x != other.ask()).all()

    def test_a_file_cut_off_or_of_another_kind_is_named(self, tmp_path):
        path = tmp_path / 'search.npz'
        make({'n': 5}).save(path)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(ValueError, match=r'search\.npz .*cut off'):
            CMAES.load(path)
        write_archive(path, 'controller/1', {}, {})
        with pytest.raises(ValueError, match=r"holds 'controller/1'"):
            CMAES.load(path)
        np.savez(path, x=np.zeros(3))
        with pytest.raises(ValueError, match='another file'):
            CMAES.load(path)
        with pytest.raises(FileNotFoundError):
            CMAES.load(tmp_path / 'none.npz')

    def test_a_failed_save_keeps_the_older_file(self, tmp_path, monkeypatch):
        path = tmp_path / 'search.npz'
        search = run(make({'n': 5}), sphere, 2)
        search.save(path)
        before = path.read_bytes()

        def full(file, **arrays):
            file.write(b'half')
            raise OSError('disk full')

        monkeypatch.setattr(np, 'savez', full)
        with pytest.raises(OSError, match='disk full'):
            search.save(path)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]
