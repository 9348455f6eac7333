"""CMA-ES against hand-computed constants, a plain oracle and its invariances.

The oracle is written from the equations with loops, outer products and an
eigendecomposition; it shares no line with the package.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainer_wm import cma_es
from chainer_wm.archives import write_archive
from chainer_wm.cma_es import CMAES, strategy_constants


def sphere(x):
    return -(x * x).sum(axis=1)


def ellipsoid(x):
    return -(x * x) @ 10 ** (6 * np.linspace(0, 1, x.shape[1]))


def rosenbrock(x):
    return -(
        100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2
    ).sum(axis=1)


def run(search, fitness, generations):
    for _ in range(generations):
        candidates = search.ask()
        search.tell(candidates, fitness(candidates))
    return search


def whole_state(search):
    return [
        search.mean,
        search.sigma,
        search.covariance,
        search.evaluations,
        search.generation,
        search.best_fitness,
        search.best_candidate,
        search.condition,
        search.pending,
        search.standard_deviations,
    ]


def assert_same(first, second):
    for a, b in zip(whole_state(first), whole_state(second)):
        np.testing.assert_array_equal(a, b)


# name: mu_eff, c_c, c_s, c_1, c_mu, damping of lambda 64, mu 16
CHECKED = {
    1088: (9.179, 0.00367, 0.01014, 1.686e-6, 1.227e-5, 1.0101),
    867: (9.179, 0.0046, 0.01269, 2.653e-6, 1.930e-5, 1.0127),
    2: (9.179, 0.56588, 0.69095, 0.09966, 0.5789, 2.9932),
}


class TestConstants:
    @pytest.mark.parametrize('n', CHECKED)
    def test_check_values(self, n):
        found = strategy_constants(n, 64, parent_fraction=0.25)
        assert len(found.weights) == 16
        np.testing.assert_allclose(found[1:7], CHECKED[n], rtol=2e-3)

    def test_weights_fall_and_sum_to_one(self):
        weights = strategy_constants(10, 20).weights
        assert len(weights) == 10
        assert weights.sum() == pytest.approx(1)
        assert (np.diff(weights) < 0).all() and weights[-1] > 0
        np.testing.assert_allclose(
            weights[0] / weights[3], math.log(10.5) / math.log(10.5 / 4)
        )

    @pytest.mark.parametrize('n, size', [(1, 4), (2, 6), (10, 10), (1088, 24)])
    def test_default_population(self, n, size):
        assert CMAES(np.zeros(n), 1.0).population_size == size

    def test_chi_n_is_the_expected_length(self):
        lengths = np.linalg.norm(
            np.random.default_rng(0).standard_normal((200_000, 7)), axis=1
        )
        assert strategy_constants(7, 10).chi_n == pytest.approx(
            lengths.mean(), rel=2e-3
        )

    def test_separable_learns_n_plus_two_thirds_faster(self):
        full = strategy_constants(100, 20)
        diagonal = strategy_constants(100, 20, separable=True)
        assert diagonal.c_1 == pytest.approx(full.c_1 * 34)
        assert diagonal.c_mu == pytest.approx(full.c_mu * 34)
        tiny = strategy_constants(1, 200, separable=True)
        assert 0 < tiny.c_1 + tiny.c_mu <= 1
        assert diagonal._replace(c_1=0, c_mu=0, refresh=0, weights=0) == (
            full._replace(c_1=0, c_mu=0, refresh=0, weights=0)
        )

    @pytest.mark.parametrize(
        'options, message',
        [
            ({'parent_fraction': 0.0}, 'must lie in'),
            ({'parent_fraction': 1.5}, 'must lie in'),
            (
                {'parent_fraction': 0.1, 'population_size': 5},
                'leaves no parent',
            ),
            ({'sigma': 0.0}, 'sigma must be positive'),
            ({'sigma': math.nan}, 'sigma must be positive'),
            ({'mean': np.zeros((2, 2))}, r'shape \(2, 2\)'),
            ({'mean': [0.0, math.inf]}, '1 finite entries'),
            ({'mean': []}, 'vector of finite numbers'),
        ],
    )
    def test_refuses_what_makes_no_search(self, options, message):
        with pytest.raises(ValueError, match=message):
            CMAES(**{'mean': np.zeros(4), 'sigma': 1.0, **options})


class Oracle:
    """One generation of CMA-ES, from the equations, slowly."""

    def __init__(self, mean, sigma, size, fraction, separable):
        self.m, self.sigma, self.size = np.array(mean, float), sigma, size
        self.mu, self.separable, self.n = (
            int(size * fraction),
            separable,
            (len(mean)),
        )
        w = [math.log(self.mu + 0.5) - math.log(i + 1) for i in range(self.mu)]
        self.w = [one / sum(w) for one in w]
        self.mueff = 1 / sum(one**2 for one in self.w)
        n, mueff = self.n, self.mueff
        self.cc = (4 + mueff / n) / (n + 4 + 2 * mueff / n)
        self.cs = (mueff + 2) / (n + mueff + 5)
        self.c1 = 2 / ((n + 1.3) ** 2 + mueff)
        self.cmu = min(
            1 - self.c1, 2 * (mueff - 2 + 1 / mueff) / ((n + 2) ** 2 + mueff)
        )
        if separable:
            self.c1, self.cmu = ((n + 2) / 3 * c for c in (self.c1, self.cmu))
        self.d = 1 + self.cs + 2 * max(0, math.sqrt((mueff - 1) / (n + 1)) - 1)
        self.chi = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n))
        self.ps, self.pc, self.c = np.zeros(n), np.zeros(n), np.eye(n)
        self.inverse_root = np.eye(n)
        self.evals = self.last = self.refreshed = self.stalled = 0

    def tell(self, x, f):
        order = sorted(range(self.size), key=lambda i: -f[i])
        y = [(x[i] - self.m) / self.sigma for i in order[: self.mu]]
        step = sum(w * one for w, one in zip(self.w, y))
        self.m = self.m + self.sigma * step
        self.evals += self.size
        cs, cc, n = self.cs, self.cc, self.n
        self.ps = (1 - cs) * self.ps + math.sqrt(
            cs * (2 - cs) * self.mueff
        ) * self.inverse_root @ step
        length = np.linalg.norm(self.ps)
        hsig = length / math.sqrt(
            1 - (1 - cs) ** (2 * self.evals / self.size)
        ) / self.chi < 1.4 + 2 / (n + 1)
        self.stalled += not hsig
        self.pc = (1 - cc) * self.pc + hsig * math.sqrt(
            cc * (2 - cc) * self.mueff
        ) * step
        new = (1 - self.c1 - self.cmu) * self.c
        new += self.c1 * (
            np.outer(self.pc, self.pc) + (1 - hsig) * cc * (2 - cc) * self.c
        )
        for w, one in zip(self.w, y):
            new += self.cmu * w * np.outer(one, one)
        self.c = np.diag(np.diag(new)) if self.separable else new
        self.sigma *= math.exp(cs / self.d * (length / self.chi - 1))
        gap = self.size / (self.c1 + self.cmu) / n / 10
        if self.separable or self.evals - self.last > gap:
            self.last = self.evals
            self.refreshed += 1
            values, basis = np.linalg.eigh(self.c)
            self.inverse_root = basis @ np.diag(values**-0.5) @ basis.T


@pytest.mark.parametrize('separable', [False, True])
@pytest.mark.parametrize(
    'n, size, fraction',
    [(5, 8, 0.5), (3, 40, 0.25), (40, 6, 0.5), (2, 64, 0.25)],
)
def test_follows_the_oracle(n, size, fraction, separable):
    start = np.linspace(-1, 2, n)
    search = CMAES(start, 0.5, size, fraction, seed=3, separable=separable)
    oracle = Oracle(start, 0.5, size, fraction, separable)
    for _ in range(60):
        x = search.ask()
        f = rosenbrock(x)
        search.tell(x, f)
        oracle.tell(x, f)
    np.testing.assert_allclose(search.mean, oracle.m, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(search.sigma, oracle.sigma, rtol=1e-7)
    np.testing.assert_allclose(
        search.covariance,
        oracle.c,
        rtol=1e-6,
        atol=1e-9 * np.abs(oracle.c).max(),
    )
    lazy = n == 40 and not separable
    assert oracle.refreshed == (30 if lazy else 60)


def test_the_oracle_run_meets_a_stalled_rank_one_update():
    """h_sigma = 0 happens in a run far from the optimum, and agrees."""
    start = np.full(4, 50.0)
    search, oracle = (
        CMAES(start, 0.01, 12),
        Oracle(start, 0.01, 12, 0.5, False),
    )
    for _ in range(30):
        x = search.ask()
        search.tell(x, sphere(x))
        oracle.tell(x, sphere(x))
    assert oracle.stalled > 0
    np.testing.assert_allclose(search.covariance, oracle.c, rtol=1e-9)
    np.testing.assert_allclose(search.sigma, oracle.sigma, rtol=1e-9)


def test_samples_have_the_distribution_s_moments():
    search = CMAES(np.array([1.0, -2.0, 3.0]), 0.3, 20, seed=1)
    run(search, lambda x: -((x @ [1.0, 5.0, 0.2]) ** 2), 10)
    draws = np.concatenate([search.ask() for _ in range(3000)])
    wanted = search.sigma**2 * search.covariance
    scale = np.sqrt(np.diag(wanted))
    np.testing.assert_allclose(
        draws.mean(axis=0) / scale, search.mean / scale, atol=0.02
    )
    np.testing.assert_allclose(
        np.cov(draws.T) / np.outer(scale, scale),
        wanted / np.outer(scale, scale),
        atol=0.03,
    )
    np.testing.assert_allclose(search.standard_deviations, scale)


class TestInvariance:
    def test_order_preserving_transforms_change_nothing(self):
        first = run(CMAES(np.ones(6), 0.5, seed=2), ellipsoid, 40)
        second = run(
            CMAES(np.ones(6), 0.5, seed=2),
            lambda x: np.cbrt(ellipsoid(x)) * 1e3 + 7,
            40,
        )
        np.testing.assert_array_equal(first.mean, second.mean)
        np.testing.assert_array_equal(first.covariance, second.covariance)

    def test_translation(self):
        shift = np.arange(6.0) * 3
        first = CMAES(np.ones(6), 0.5, seed=2)
        second = CMAES(np.ones(6) + shift, 0.5)
        for _ in range(40):
            x = first.ask()
            first.tell(x, ellipsoid(x))
            second.tell(x + shift, ellipsoid(x))
        np.testing.assert_allclose(first.mean, second.mean - shift, atol=1e-8)
        np.testing.assert_allclose(first.sigma, second.sigma, rtol=1e-6)
        np.testing.assert_allclose(
            first.covariance,
            second.covariance,
            rtol=1e-6,
            atol=1e-8 * np.abs(first.covariance).max(),
        )

    def test_scale(self):
        first = run(CMAES(np.ones(6), 0.5, seed=2), ellipsoid, 40)
        second = run(CMAES(np.full(6, 8.0), 4.0, seed=2), ellipsoid, 40)
        np.testing.assert_array_equal(8 * first.mean, second.mean)

    def test_rotation(self):
        rotation = np.linalg.qr(
            np.random.default_rng(0).standard_normal((6, 6))
        )[0]
        first = CMAES(np.ones(6), 0.5, seed=2)
        second = CMAES(rotation @ np.ones(6), 0.5)
        for _ in range(40):
            x = first.ask()
            first.tell(x, ellipsoid(x))
            second.tell(x @ rotation.T, ellipsoid(x))
        np.testing.assert_allclose(
            rotation @ first.mean, second.mean, atol=1e-8
        )
        np.testing.assert_allclose(
            rotation @ first.covariance @ rotation.T,
            second.covariance,
            rtol=1e-6,
            atol=1e-8 * np.abs(second.covariance).max(),
        )

    def test_order_of_the_candidates(self):
        first, second = (CMAES(np.ones(6), 0.5, 12, seed=2) for _ in 'ab')
        shuffle = np.random.default_rng(0).permutation(12)
        for _ in range(20):
            x = first.ask()
            second.ask()
            first.tell(x, ellipsoid(x))
            second.tell(x[shuffle], ellipsoid(x)[shuffle])
        np.testing.assert_array_equal(first.mean, second.mean)


class TestSolves:
    """Evaluations to 1e-10, each bound 1.4 times pycma 4.5's median.

    Without negative weights that is 1,490, 5,650 and 5,360 over 20 seeds; this
    package's medians over 20 seeds are 1,530, 5,960 and 5,510.
    """

    @pytest.mark.parametrize(
        'fitness, budget',
        [(sphere, 2090), (ellipsoid, 7900), (rosenbrock, 7500)],
    )
    @pytest.mark.parametrize('seed', [1, 2, 3])
    def test_ten_dimensions(self, fitness, budget, seed):
        search = CMAES(np.full(10, 0.5), 0.3, seed=seed)
        while not search.stop_reasons(-1e-10, budget):
            run(search, fitness, 1)
        assert set(search.stop_reasons(-1e-10)) == {'target'}
        assert fitness(search.mean[None])[0] > -1e-8

    def test_learns_the_inverse_hessian(self):
        search = run(CMAES(np.ones(5), 0.5, seed=1), ellipsoid, 400)
        assert 1e5 < search.condition < 1e7
        assert np.argmax(search.standard_deviations) == 0

    def test_separable_is_faster_where_it_fits_and_blind_elsewhere(self):
        def evaluations(fitness, separable):
            search = CMAES(np.full(30, 0.5), 0.3, seed=1, separable=separable)
            while not search.stop_reasons(-1e-8, 60_000):
                run(search, fitness, 1)
            return search.evaluations

        rotation = np.linalg.qr(
            np.random.default_rng(0).standard_normal((30, 30))
        )[0]
        assert evaluations(ellipsoid, True) < 0.5 * evaluations(
            ellipsoid, False
        )
        assert evaluations(lambda x: ellipsoid(x @ rotation), True) >= 60_000


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
            (
                lambda x, f: (x, np.full(8, -np.inf)),
                r'candidate 0 is -inf \(8 of',
            ),
            (
                lambda x, f: (x, f[:7]),
                r'fitness has shape \(7,\).* 8 candidates',
            ),
            (lambda x, f: (x, f[:, None]), r'fitness has shape \(8, 1\)'),
            (lambda x, f: (x[:7], f[:7]), r'shape \(7, 3\), but .* \(8, 3\)'),
            (lambda x, f: (x.T, f), r'shape \(3, 8\)'),
            (lambda x, f: (np.where(x > 9, x, np.nan), f), 'candidate 0 has'),
        ],
    )
    def test_refusals_leave_the_state_untouched(
        self, separable, break_it, message
    ):
        search, other = (
            run(
                CMAES(np.zeros(3), 1.0, 8, seed=4, separable=separable),
                sphere,
                3,
            )
            for _ in 'ab'
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
        search = CMAES(
            rng.standard_normal(n), 0.5, seed=seed, separable=separable
        )
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
    def test_a_loaded_search_goes_on_bitwise(
        self, tmp_path, options, generations
    ):
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
        'bits',
        [
            np.random.PCG64,
            np.random.MT19937,
            np.random.Philox,
            np.random.SFC64,
        ],
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
        first, second, other = (
            make({'n': 5}),
            make({'n': 5}),
            make({'n': 5}, seed=8),
        )
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


def test_public_names():
    assert {'CMAES', 'strategy_constants'} <= set(cma_es.__all__)
