"""The mixture: densities against a slow loop, samples against their law."""

import math

import chainer
import numpy as np
import pytest
from chainer import gradient_check

from chainer_wm.functions import mixture_kernels
from chainer_wm.functions.mixture import Mixture, mixture_mean, mixture_nll, sample_mixture
from chainer_wm.links.mdn_rnn import MDNRNN, p_done


def random_mixture(rng, shape, dtype=np.float64):
    return Mixture(*(rng.normal(size=shape).astype(dtype) for _ in range(3)))


def slow_nll(z, mixture):
    """Densities in the open, one number at a time."""
    *lead, size = z.shape
    out = np.empty(z.shape)
    for index in np.ndindex(*lead):
        for d in range(size):
            logits, mu, ln_sigma = (part[index][:, d] for part in mixture)
            weights = [math.exp(x) for x in logits]
            total = 0.0
            for w, m, s in zip(weights, mu, ln_sigma):
                sigma = math.exp(s)
                density = math.exp(-0.5 * ((z[(*index, d)] - m) / sigma) ** 2)
                total += w / sum(weights) * density / (sigma * math.sqrt(2 * math.pi))
            out[(*index, d)] = -math.log(total)
    return out


@pytest.mark.parametrize('lead', [(3,), (4, 2), ()])
def test_nll_equals_the_slow_loop(lead):
    rng = np.random.default_rng(1)
    mixture = random_mixture(rng, (*lead, 5, 3))
    z = rng.normal(size=(*lead, 3))
    np.testing.assert_allclose(mixture_nll(z, mixture).array, slow_nll(z, mixture), rtol=1e-12)


def test_one_standard_normal_component_by_hand():
    zeros = np.zeros((1, 1, 1), np.float32)
    nll = mixture_nll(np.array([[2.0]], 'f'), Mixture(zeros, zeros, zeros))
    assert nll.dtype == np.float32
    assert nll.array[0, 0] == pytest.approx(2 + 0.5 * math.log(2 * math.pi))


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_the_mean_by_hand(dtype):
    mu = np.array([[[2.0], [6.0]], [[1.0], [5.0]]])  # two mixtures of two, one number each
    logits = np.array([[[0.0], [math.log(3)]], [[800.0], [0.0]]])
    mixture = Mixture(*(part.astype(dtype) for part in (logits, mu, np.ones_like(mu))))
    mean = mixture_mean(mixture)
    assert mean.dtype == dtype
    np.testing.assert_allclose(mean, [[5.0], [1.0]], rtol=1e-6)


def test_p_done_of_a_logit_by_hand():
    found = p_done(chainer.Variable(np.array([0.0, math.log(3), -40.0], 'f')))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [0.5, 0.75, math.exp(-40)], rtol=1e-6)


def test_a_far_target_is_expensive_and_finite():
    zeros = np.zeros((1, 2, 1), np.float32)
    nll = mixture_nll(np.array([[1e6]], 'f'), Mixture(zeros, zeros, zeros))
    assert np.isfinite(nll.array).all()
    assert nll.array[0, 0] == pytest.approx(5e11, rel=1e-5)


def test_gradient_against_finite_differences():
    rng = np.random.default_rng(2)
    mixture = random_mixture(rng, (2, 3, 2))
    z = rng.normal(size=(2, 2))
    gradient_check.check_backward(
        lambda z, *fields: mixture_nll(z, Mixture(*fields)),
        (z, *mixture),
        rng.normal(size=(2, 2)),
        dtype=np.float64,
        eps=1e-5,
        atol=1e-7,
        rtol=1e-6,
    )


@pytest.mark.parametrize(('shape', 'words'), [((2, 4), 'another VAE'), ((3, 3), 'leading axes')])
def test_shapes_that_do_not_fit_are_named(shape, words):
    mixture = random_mixture(np.random.default_rng(0), (2, 5, 3))
    with pytest.raises(ValueError, match=words):
        mixture_nll(np.zeros(shape), mixture)


def moments(mixture, temperature, lanes=200_000):
    wide = Mixture(*(np.broadcast_to(f, (lanes, *f.shape)) for f in mixture))
    z = sample_mixture(wide, np.random.default_rng(3), temperature)
    return z, z.mean(axis=0), z.var(axis=0)


@pytest.mark.parametrize('temperature', [0.5, 1.0, 1.3])
def test_samples_have_the_moments_of_the_tempered_mixture(temperature):
    mixture = Mixture(
        np.array([[0.3], [-0.2], [1.0]]),
        np.array([[-1.0], [0.5], [2.0]]),
        np.log([[0.5], [0.1], [0.2]]),
    )
    _, mean, variance = moments(mixture, temperature)
    p = np.exp(mixture.logits / temperature)
    p /= p.sum()
    wanted = (p * mixture.mu).sum()
    second = (p * (mixture.mu**2 + np.exp(2 * mixture.ln_sigma) * temperature)).sum()
    assert mean[0] == pytest.approx(wanted, abs=0.02)
    assert variance[0] == pytest.approx(second - wanted**2, rel=0.02)


def test_dimensions_pick_their_components_independently():
    mixture = Mixture(
        np.zeros((2, 2)), np.array([[-5.0, -5.0], [5.0, 5.0]]), np.full((2, 2), -9.0)
    )
    z, _, _ = moments(mixture, 1.0, 20_000)
    signs = np.sign(z)
    assert abs((signs[:, 0] * signs[:, 1]).mean()) < 0.05


def test_the_noise_decides_by_hand():
    mixture = Mixture(np.log([[[0.25], [0.75]]]), np.array([[[1.0], [2.0]]]), np.zeros((1, 2, 1)))
    for u, eps, wanted in [(0.2, 0.0, 1.0), (0.3, 1.0, 3.0), (0.0, -1.0, 0.0), (1.0, 0.0, 2.0)]:
        noise = np.array([[u]]), np.array([[eps]])
        np.testing.assert_allclose(sample_mixture(mixture, noise=noise), [[wanted]])


def test_a_temperature_per_lane():
    rng = np.random.default_rng(4)
    mixture = random_mixture(rng, (3, 5, 2))
    noise = rng.random((3, 2)), rng.normal(size=(3, 2))
    taus = np.array([0.5, 1.0, 2.0])
    together = sample_mixture(mixture, temperature=taus, noise=noise)
    for n, tau in enumerate(taus):
        alone = sample_mixture(
            Mixture(*(f[n] for f in mixture)), temperature=tau, noise=(noise[0][n], noise[1][n])
        )
        np.testing.assert_allclose(together[n], alone, rtol=1e-14)


def test_float32_and_float64_see_the_same_noise():
    mixture = random_mixture(np.random.default_rng(5), (4, 3, 2))
    single = Mixture(*(f.astype('f') for f in mixture))
    a = sample_mixture(mixture, np.random.default_rng(6))
    b = sample_mixture(single, np.random.default_rng(6))
    assert (a.dtype, b.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(a, b, rtol=1e-4)


@pytest.mark.parametrize(
    'arguments',
    [
        {},
        {'rng': np.random.default_rng(0), 'noise': (0, 0)},
        {'rng': np.random.default_rng(0), 'temperature': 0.0},
    ],
)
def test_bad_arguments_of_sampling(arguments):
    mixture = random_mixture(np.random.default_rng(0), (2, 3, 2))
    with pytest.raises(ValueError, match=r'rng|temperature'):
        sample_mixture(mixture, **arguments)


TAUS = np.array([4.0, 0.25, 1.0])
NOISE = np.full((1, 1), 0.5), np.full((1, 1), 1.5)


def test_the_noise_is_scaled_by_the_root_of_the_temperature():
    """z = mu + sigma sqrt(tau) eps: 7, 2.5 and 4."""
    fields = (np.full((3, 1, 1), x) for x in (0.0, 1.0, np.log(2.0)))
    noise = (np.full((3, 1), 0.5), np.full((3, 1), 1.5))
    z = sample_mixture(Mixture(*fields), temperature=TAUS, noise=noise)
    np.testing.assert_allclose(z[:, 0], [7.0, 2.5, 4.0], rtol=1e-12)
    out, bias = np.zeros((3, 3)), np.array([0.0, 1.0, np.log(2.0)])
    z = mixture_kernels.sample_mixture(out, bias, *NOISE, np.zeros(3, int), TAUS)
    np.testing.assert_allclose(z[:, 0], [7.0, 2.5, 4.0], rtol=1e-12)


@pytest.mark.parametrize('engine', ['fused', 'reference'])
@pytest.mark.parametrize('core', ['lstm', 'dnc'])
def test_a_dream_scales_its_noise_by_the_root_of_the_temperature(core, engine):
    with chainer.using_config('dtype', np.float64):
        model = MDNRNN(1, 1, 4, mixtures=1, core=core, engine=engine)
    model.head.W.array[...] = 0
    model.head.b.array[...] = [0.0, 1.0, np.log(2.0)]
    for sample in (model.sample, model.sampler()):
        z, _, _ = sample(
            *(np.zeros((3, 1)), np.zeros((3, 1)), model.initial_state(3)),
            *(None, NOISE, np.zeros(3, int), TAUS),
        )
        np.testing.assert_allclose(z[:, 0], [7.0, 2.5, 4.0], rtol=1e-12)
