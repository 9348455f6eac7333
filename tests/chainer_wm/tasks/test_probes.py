"""Linear probes on targets whose R2 is known."""

import numpy as np
import pytest

from chainer_wm.tasks import probes
from chainer_wm.tasks.probes import Samples, constant, fit_adam, fit_ridge, probe, scaling

NONE = np.random.default_rng(0)


def linear(seed, n, d=20, noise=0.5, offset=3.0):
    """Features, a value of R2 1 - noise^2 / (1 + noise^2), one of R2 0, and a label."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    known = x[:, 0] + noise * rng.standard_normal(n)
    labels = x[:, 1:4].argmax(axis=1)
    scales = np.linspace(0.1, 50, d)
    values = {'known': offset + known, 'unknown': rng.standard_normal(n)}
    return Samples((x * scales + offset).astype('f'), values, {'label': labels})


@pytest.mark.parametrize(
    'method, options', [('ridge', {}), ('adam', {'learning_rate': 0.01, 'epochs': 5})]
)
def test_the_share_of_variance_that_is_there_is_found(method, options):
    found = probe(linear(0, 20000), {'other': linear(1, 20000)}, method, NONE, **options)
    assert list(found) == ['train', 'other']
    for scores in found.values():
        assert scores['known']['r2'] == pytest.approx(0.8, abs=0.02)
        assert scores['known']['mse'] == pytest.approx(0.25, abs=0.02)
        assert abs(scores['unknown']['r2']) < 0.02
        assert scores['label']['error'] < 0.05


def test_more_features_than_samples_fit_what_they_saw_but_not_the_rest():
    found = probe(linear(0, 60, 400), {'other': linear(1, 500, 400)}, 'ridge', NONE)
    assert found['other']['known']['r2'] < 0.4
    assert found['other']['unknown']['r2'] < 0.1


def test_ridge_is_least_squares_without_a_penalty():
    data = linear(2, 300)
    fitted = fit_ridge(data.features, data.values['known'][:, None], (0.0,))
    design = np.hstack([data.features.astype(float), np.ones((300, 1))])
    expected = design @ np.linalg.lstsq(design, data.values['known'], rcond=None)[0]
    np.testing.assert_allclose(fitted.outputs(data.features)[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize('d', [5, 40])
def test_ridge_is_the_minimum_whichever_gram_matrix_it_takes(d):
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((20, d)), rng.standard_normal((20, 2))
    fitted = fit_ridge(x, y, (0.1,))
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    expected = np.linalg.solve(z.T @ z / 20 + 0.1 * np.eye(d), z.T @ (y - y.mean(axis=0)) / 20)
    np.testing.assert_allclose(fitted.W, expected, atol=1e-10)


def test_the_penalty_has_the_least_leave_one_out_error():
    data = linear(4, 40, 30)
    targets = np.stack(list(data.values.values()), axis=1)

    def left_out(penalty):
        """Each sample left out in its turn, with the scaling of all."""
        mean, scale = scaling(data.features)
        x = probes.standardised(data.features, mean, scale)
        errors = []
        for i in range(40):
            rest = np.arange(40) != i
            inner, y = x[rest] - x[rest].mean(axis=0), targets[rest]
            b = y.mean(axis=0)
            gram = inner.T @ inner + 40 * penalty * np.eye(30)
            W = np.linalg.solve(gram, inner.T @ (y - b))
            errors.append((b + (x[i] - x[rest].mean(axis=0)) @ W - targets[i]) ** 2)
        return np.mean(errors, axis=0)

    penalties = (1e-3, 1e-1, 1.0, 100.0)
    best = np.argmin([left_out(each) for each in penalties], axis=0)
    fitted = fit_ridge(data.features, targets, penalties)
    for column, choice in enumerate(best):
        alone = fit_ridge(data.features, targets, (penalties[choice],))
        np.testing.assert_allclose(fitted.W[:, column], alone.W[:, column])
    assert len(set(best)) == 2


@pytest.mark.parametrize('d', [4, 60])
def test_groups_are_left_out_together(d):
    rng = np.random.default_rng(8)
    groups = np.repeat(np.arange(6), 5)
    x, y = rng.standard_normal((30, d)), rng.standard_normal((30, 2))
    x -= x.mean(axis=0)
    y -= y.mean(axis=0)
    u, s, _ = probes._thin_svd(x)
    shrink = s**2 / (s**2 + 30 * 0.1)
    errors = y - u @ (shrink[:, None] * (u.T @ y))
    found = probes._left_out(errors, u, shrink, groups)
    for group in range(6):
        rest = groups != group
        inner, b = x[rest] - x[rest].mean(axis=0), y[rest].mean(axis=0)
        W = np.linalg.solve(inner.T @ inner + 3 * np.eye(d), inner.T @ (y[rest] - b))
        expected = y[~rest] - b - (x[~rest] - x[rest].mean(axis=0)) @ W
        np.testing.assert_allclose(found[~rest], expected, atol=1e-6)
    alone = probes._left_out(errors, u, shrink, None)
    np.testing.assert_allclose(
        probes._left_out(errors, u, shrink, np.arange(30)), alone, atol=1e-6
    )


def test_features_that_tell_rollouts_apart_promise_nothing_for_others():
    rng = np.random.default_rng(9)

    def rollouts():
        groups = np.repeat(np.arange(10), 40)
        own, level = rng.standard_normal((10, 30))[groups], rng.standard_normal(10)[groups]
        noise = 0.1 * rng.standard_normal((len(groups), 30))
        return Samples(own + noise, {'level': level}, {}, groups)

    train, other = rollouts(), rollouts()
    alone = Samples(train.features, train.values, {})
    careful, careless = (
        probe(each, {'other': other}, 'ridge', NONE)['other']['level']['r2']
        for each in (train, alone)
    )
    guess = constant(train, other)['level']['r2']
    assert careless < careful - 0.1 and abs(careful - guess) < abs(careless - guess)


@pytest.mark.parametrize('method', ['ridge', 'adam'])
def test_what_is_far_outside_of_what_was_seen_costs_no_more_than_the_range(method):
    data = linear(10, 400)
    features = data.features.copy()
    features[0] = 1e6
    other = Samples(features, data.values, data.labels)
    mse = probe(data, {'other': other}, method, NONE)
    span = np.ptp(data.values['known'])
    assert mse['other']['known']['mse'] <= mse['train']['known']['mse'] + span**2 / 400


def test_constant_features_do_no_harm():
    data = linear(5, 500)
    features = np.hstack([np.full((500, 3), 0.1, 'f'), data.features, np.zeros((500, 1), 'f')])
    mean, scale = scaling(features)
    assert (scale[[0, 1, 2, -1]] == 1).all() and np.isfinite(mean).all()
    more = Samples(features, data.values, data.labels)
    one, two = (probe(each, {}, 'ridge', NONE)['train'] for each in (data, more))
    assert one['known']['r2'] == pytest.approx(two['known']['r2'], abs=1e-9)


def test_adam_begins_at_the_mean_and_takes_its_first_step_by_the_rate():
    x, y = np.array([[-1.0], [1.0]]), np.array([[4.0], [6.0]])
    still = fit_adam(x, y, NONE, epochs=0)
    np.testing.assert_array_equal(still.outputs(x), [[5.0], [5.0]])
    moved = fit_adam(x, y, NONE, learning_rate=0.1)
    np.testing.assert_allclose(moved.W, 0.1, rtol=1e-6)
    np.testing.assert_allclose(moved.b, 5.0, atol=1e-6)


def test_a_probe_that_sees_nothing():
    train, other = linear(6, 3000), linear(7, 3000)
    scores = constant(train, other)
    assert scores['known']['mse'] == pytest.approx(np.var(other.values['known']), rel=0.01)
    assert abs(scores['known']['r2']) < 0.01
    assert scores['label']['error'] == pytest.approx(2 / 3, abs=0.03)
    assert scores['label']['cross_entropy'] == pytest.approx(np.log(3), abs=0.01)


def test_a_target_that_does_not_change_has_no_r2():
    train = Samples(np.eye(4), {'still': np.ones(4)}, {})
    scores = probe(train, {}, 'ridge', NONE)['train']['still']
    assert scores['mse'] == 0 and np.isnan(scores['r2'])


@pytest.mark.parametrize('method', ['ridge', 'adam'])
def test_a_class_that_was_never_seen_is_wrong(method):
    train = Samples(np.eye(4), {}, {'label': np.array([0, 1, 0, 1])})
    other = Samples(np.eye(4), {}, {'label': np.array([0, 1, 2, 2])})
    for found in (probe(train, {'other': other}, method, NONE)['other'], constant(train, other)):
        assert found['label']['error'] >= 0.5
    assert found['label']['cross_entropy'] > 5


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="method is 'best'"):
        probe(linear(0, 10), {}, 'best', NONE)
    with pytest.raises(ValueError, match="kind is 'l1'"):
        fit_adam(np.eye(2), np.eye(2), NONE, 'l1')
