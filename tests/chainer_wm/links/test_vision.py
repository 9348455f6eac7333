"""V: sizes, loss, its two engines against each other, likely mistakes."""

import copy
import json
import pickle

import chainer
import chainer.links as L
import numpy as np
import pytest

from chainer_wm.files.archives import load_link, save_link
from chainer_wm.functions.adam import Adam
from chainer_wm.links.conv_vae import (
    ConvVAE,
    Posterior,
    active_latents,
    kl_divergence,
    to_frames,
    to_input,
    without_latents,
)

ENGINES = pytest.mark.parametrize('engine', ['fused', 'reference'])
DTYPES = pytest.mark.parametrize('dtype', [np.float32, np.float64])


def make(engine='fused', dtype=np.float64, latents=5, seed=0):
    with chainer.using_config('dtype', dtype):
        return ConvVAE(latents, seed=seed, engine=engine)


def stored(batch, seed=0):
    """Smooth pictures: noise alone would leave little to encode."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 256, (batch, 4, 4, 3))
    return corners.repeat(16, axis=1).repeat(16, axis=2).astype(np.uint8)


def noise(batch, dtype=np.float64, latents=5):
    rng = np.random.default_rng(3)
    return rng.standard_normal((batch, latents)).astype(dtype)


def gradients(link):
    return {name: p.grad for name, p in link.namedparams()}


def assert_close(got, want, tolerance=1e-11):
    scale = max(1e-9, abs(want).max())
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize(('latents', 'parameters'), [(32, 4_348_547), (64, 4_446_915)])
def test_sizes_of_the_paper(latents, parameters):
    assert ConvVAE(latents).count_params() == parameters


@ENGINES
@DTYPES
@pytest.mark.parametrize('batch', [1, 3])
def test_shapes_types_and_range(engine, dtype, batch):
    vision = make(engine, dtype)
    x = to_input(stored(batch), dtype=dtype)
    mu, ln_var = vision.encode(x)
    frames = vision.decode(mu)
    loss = vision.loss(x, noise(batch, dtype))
    assert mu.shape == ln_var.shape == (batch, 5)
    assert frames.shape == x.shape == (batch, 3, 64, 64)
    assert loss.shape == ()
    assert 0 < frames.array.min() < frames.array.max() < 1
    assert {v.dtype for v in (mu, ln_var, frames, loss)} == {np.dtype(dtype)}
    np.testing.assert_array_equal(vision.reconstruct(x).array, frames.array)


@ENGINES
@DTYPES
def test_an_encoder_for_many_frames_gives_what_encode_gives(engine, dtype):
    vision = make(engine, dtype)
    encode = pickle.loads(pickle.dumps(vision.encoder()))
    for batch in (1, 4, 1):
        x = to_input(stored(batch, seed=batch), dtype=dtype)
        for got, wanted in zip(encode(x), vision.encode(x)):
            assert got.dtype == dtype
            np.testing.assert_array_equal(got, wanted.array)
    with pytest.raises(ValueError, match='divided by 255'):
        encode(x.dtype.type(255) * np.ones((1, 3, 64, 64), dtype))


@pytest.mark.parametrize('batch', [1, 3])
def test_engines_agree(batch):
    fused, plain = make('fused'), make('reference')
    x, eps = to_input(stored(batch), dtype=np.float64), noise(batch)
    losses = []
    for vision in (fused, plain):
        loss = vision.loss(chainer.Variable(x), eps)
        vision.cleargrads()
        loss.backward()
        losses.append(loss.array)
    np.testing.assert_allclose(*losses, rtol=1e-13)
    want = gradients(plain)
    assert all(abs(g).max() > 0 for g in want.values())
    for name, g in gradients(fused).items():
        assert g.shape == want[name].shape
        assert_close(g, want[name])


def test_engines_agree_in_single_precision():
    x, eps = to_input(stored(2)), noise(2, np.float32)
    for a, b in zip(make('fused', np.float32).encode(x), make('reference', np.float32).encode(x)):
        assert_close(a.array, b.array, 1e-5)
    losses = [make(engine, np.float32).loss(x, eps).array for engine in ('fused', 'reference')]
    np.testing.assert_allclose(*losses, rtol=1e-6)


def weighted(vision, x, z):
    """A scalar that asks for the gradients of each part in its own way."""
    mu, ln_var = vision.encode(x)
    frames = vision.decode(z)
    return sum(
        chainer.functions.sum(part * np.cos(np.arange(part.size)).reshape(part.shape))
        for part in (mu, ln_var, frames)
    )


def test_engines_agree_on_gradients_of_the_inputs():
    found = []
    for engine in ('fused', 'reference'):
        vision = make(engine)
        x = chainer.Variable(to_input(stored(2), dtype=np.float64))
        z = chainer.Variable(noise(2))
        weighted(vision, x, z).backward()
        error = vision._reconstruction_error(z, x)
        found.append([x.grad, z.grad, *chainer.grad([error], [x, z])])
    for got, want in zip(*found):
        got, want = (getattr(g, 'array', g) for g in (got, want))
        assert_close(got, want)


@pytest.mark.parametrize('part', ['mu', 'ln_var'])
def test_one_half_of_the_posterior_is_enough(part):
    found = []
    for engine in ('fused', 'reference'):
        vision = make(engine)
        posterior = vision.encode(to_input(stored(2), dtype=np.float64))
        vision.cleargrads()
        chainer.functions.sum(getattr(posterior, part)).backward()
        found.append(gradients(vision))
    for name, want in found[1].items():
        if want is not None and abs(want).max() > 0:
            assert_close(found[0][name], want)


def test_gradient_against_finite_differences():
    vision, x, eps = make(), to_input(stored(2), dtype=np.float64), noise(2)
    loss = vision.loss(x, eps)
    vision.cleargrads()
    loss.backward()
    rng = np.random.default_rng(5)
    for name, parameter in vision.namedparams():
        direction = rng.standard_normal(parameter.shape)
        direction /= np.sqrt((direction**2).sum())  # few kinks are crossed
        slope = float((parameter.grad * direction).sum())
        start, h = parameter.array.copy(), 1e-6
        ends = []
        for sign in (1, -1):
            parameter.array[...] = start + sign * h * direction
            ends.append(float(vision.loss(x, eps).array))
        parameter.array[...] = start
        measured = (ends[0] - ends[1]) / (2 * h)
        assert slope == pytest.approx(measured, rel=1e-4, abs=1e-6), name


@ENGINES
@pytest.mark.parametrize('tolerance', [0.0, 0.5, 1.3])
def test_loss_is_the_formula(engine, tolerance):
    vision, batch = make(engine), 4
    vision.ln_var.b.array[...] = [-1, 0, 1, 0, 0]
    vision.mu.b.array[...] = np.linspace(-2, 2, 5)
    vision.mu.W.array *= 8  # some frames above the floor, some below
    x, eps = to_input(stored(batch), dtype=np.float64), noise(batch)
    mu, ln_var = (part.array for part in vision.encode(x))
    y = vision.decode(mu + np.exp(ln_var / 2) * eps).array
    error = kl = floored = 0.0
    for b in range(batch):
        error += ((x[b] - y[b]) ** 2).sum() / batch
        total = 0.0
        for m, v in zip(mu[b], ln_var[b]):
            total += (m * m + np.exp(v) - v - 1) / 2
        kl += total / batch
        floored += max(total, tolerance * 5) / batch
    reporter = chainer.Reporter()
    reporter.add_observer('v', vision)
    with reporter:
        loss = vision.loss(x, eps, kl_tolerance=tolerance)
    seen = reporter.observation
    np.testing.assert_allclose(loss.array, error + floored, rtol=1e-12)
    np.testing.assert_allclose(seen['v/loss'].array, loss.array)
    np.testing.assert_allclose(seen['v/reconstruction'].array, error)
    np.testing.assert_allclose(seen['v/kl'], kl)
    assert seen['v/active_latents'] <= 5


def test_the_floor_is_per_frame_and_has_no_gradient_below():
    vision = make()
    x, eps = to_input(stored(3), dtype=np.float64), noise(3)
    low = vision.loss(x, eps, kl_tolerance=1e6)
    high = vision.loss(x, eps, kl_tolerance=0)
    grads = []
    for loss in (low, high):
        vision.cleargrads()
        loss.backward()
        grads.append(vision.mu.b.grad.copy())
    mu, _ = vision.encode(x)
    # d KL / d mu = mu, so that is what the floor hides
    np.testing.assert_allclose(grads[1] - grads[0], mu.array.mean(axis=0), rtol=1e-9)


def test_divergence_of_known_gaussians():
    mu, ln_var = np.array([0.0, 1.0, 0.0]), np.log([1.0, 1.0, 4.0])
    kl = kl_divergence(mu, ln_var).array
    np.testing.assert_allclose(kl, [0, 0.5, (4 - np.log(4) - 1) / 2])


def test_collapse_alarm():
    kl = np.array([[0.0, 0.02, 1.0], [0.0, 0.02, 0.0]])
    assert active_latents(kl) == 2
    assert active_latents(kl, threshold=0.1) == 1
    assert active_latents(0 * kl) == 0


@ENGINES
@DTYPES
def test_without_some_latents(engine, dtype):
    """The others stay, and pictures are as if those were at their means."""
    vision, x = make(engine, dtype), to_input(stored(3), dtype=dtype)
    dropped = np.array([False, True, False, False, True])
    means = np.arange(5).astype(dtype)
    rest = without_latents(vision, dropped, means)
    assert rest.latent_size == 3 and rest.dtype == dtype
    for got, want in zip(rest.encode(x), vision.encode(x)):
        np.testing.assert_allclose(got.array, want.array[:, ~dropped], 1e-4)
    z = noise(3, dtype)
    z[:, dropped] = means[dropped]
    np.testing.assert_allclose(
        rest.decode(np.ascontiguousarray(z[:, ~dropped])).array, vision.decode(z).array, rtol=1e-4
    )
    again = ConvVAE(**rest.config)
    assert again.count_params() == rest.count_params()


@pytest.mark.parametrize('dropped', [[True] * 5, [True, False]])
def test_without_all_latents_is_refused(dropped):
    with pytest.raises(ValueError, match='of 5: at least one must stay'):
        without_latents(make(), dropped, np.zeros(5))


def test_noise_from_a_generator_is_noise_given():
    vision, x = make(), to_input(stored(2), dtype=np.float64)
    drawn = vision.loss(x, rng=np.random.default_rng(3)).array
    assert drawn == vision.loss(x, noise(2)).array
    assert drawn != vision.loss(x, rng=np.random.default_rng(4)).array


@ENGINES
def test_seeds_and_types(engine):
    one, same, other = (make(engine, seed=seed) for seed in (1, 1, 2))
    single = make(engine, np.float32, seed=1)
    for (_, a), (_, b), (_, c), (_, d) in zip(
        *(sorted(v.namedparams()) for v in (one, same, other, single))
    ):
        np.testing.assert_array_equal(a.array, b.array)
        np.testing.assert_allclose(a.array, d.array, rtol=1e-6)
        assert d.dtype == np.float32
        if a.array.ndim > 1:
            assert abs(a.array - c.array).max() > 0


def test_rebuilt_from_its_configuration(tmp_path):
    vision = make(seed=4)
    config = json.loads(json.dumps(vision.config))
    assert config == {'latent_size': 5, 'seed': 4, 'engine': 'fused'}
    chainer.serializers.save_npz(tmp_path / 'v.npz', vision)
    with chainer.using_config('dtype', np.float64):
        again = ConvVAE(**{**config, 'seed': 0})
    chainer.serializers.load_npz(tmp_path / 'v.npz', again)
    x = to_input(stored(1), dtype=np.float64)
    np.testing.assert_array_equal(vision.encode(x).mu.array, again.encode(x).mu.array)


def test_reading_weights_draws_none(tmp_path, monkeypatch):
    vision = make(seed=4)
    save_link(tmp_path / 'v.npz', vision)
    drawn = []
    monkeypatch.setattr(chainer.initializers.LeCunNormal, '__call__', drawn.append)
    again = load_link(tmp_path / 'v.npz', ConvVAE)
    assert drawn == [] and again.config == vision.config
    for ours, theirs in zip(again.params(), vision.params()):
        np.testing.assert_array_equal(ours.array, theirs.array.astype(np.float32))


def test_weights_have_chainers_layouts():
    vision = make()
    assert isinstance(vision.conv1, L.Convolution2D)
    assert vision.conv1.W.shape == (32, 3, 4, 4)
    assert isinstance(vision.deconv1, L.Deconvolution2D)
    assert vision.deconv1.W.shape == (1024, 128, 5, 5)


@pytest.mark.parametrize(
    'duplicate',
    [
        copy.deepcopy,
        lambda link: link.copy(mode='copy'),
        lambda link: pickle.loads(pickle.dumps(link)),
    ],
)
def test_copies_are_independent(duplicate):
    vision, x = make(), to_input(stored(2), dtype=np.float64)
    before = vision.encode(x).mu.array.copy()
    other = duplicate(vision)
    other.mu.W.array += 1
    assert abs(other.encode(x).mu.array - before).max() > 0
    np.testing.assert_array_equal(vision.encode(x).mu.array, before)


def test_without_graph_in_pieces():
    vision, x = make(), to_input(stored(130), dtype=np.float64)
    whole = vision.encode(x)
    with chainer.no_backprop_mode():
        pieces = vision.encode(x)
        decoded = vision.decode(pieces.mu)
    for a, b in zip(whole, pieces):
        np.testing.assert_allclose(a.array, b.array, rtol=1e-12)
    np.testing.assert_allclose(vision.decode(whole.mu).array, decoded.array, rtol=1e-12)


def test_two_graphs_at_once_do_not_share_memory():
    vision, eps = make(), noise(2)
    first, second = (to_input(stored(2, seed), dtype=np.float64) for seed in (0, 1))
    want = []
    for x in (first, second):
        loss = vision.loss(x, eps)
        vision.cleargrads()
        loss.backward()
        want.append(gradients(vision))
        del loss
    losses = [vision.loss(x, eps) for x in (first, second)]
    for loss, wanted in zip(losses, want):
        vision.cleargrads()
        loss.backward()
        for name, g in gradients(vision).items():
            np.testing.assert_array_equal(g, wanted[name])


def test_gradients_accumulate():
    vision, x, eps = make(), to_input(stored(2), dtype=np.float64), noise(2)
    vision.cleargrads()
    vision.loss(x, eps).backward()
    once = {name: g.copy() for name, g in gradients(vision).items()}
    vision.loss(x, eps).backward()
    for name, g in gradients(vision).items():
        np.testing.assert_allclose(g, 2 * once[name], rtol=1e-12)


def test_results_outlive_later_calls():
    vision = make(dtype=np.float32)
    first, second = (to_input(stored(2, seed)) for seed in (0, 1))
    results = *vision.encode(first), vision.reconstruct(first)
    before = [r.array.copy() for r in results]
    for _ in range(3):
        vision.encode(second)
        vision.reconstruct(second)
        vision.loss(second, noise(2)).backward()
    for result, kept in zip(results, before):
        np.testing.assert_array_equal(result.array, kept)


def test_no_second_derivative():
    vision, x = make(), to_input(stored(1), dtype=np.float64)
    with pytest.raises(RuntimeError, match='engine="reference"'):
        vision.loss(x, noise(1)).backward(enable_double_backprop=True)


def test_learns():
    vision = make(dtype=np.float32, latents=8)
    optimizer = Adam(1e-3).setup(vision)
    x, rng = to_input(stored(8)), np.random.default_rng(0)
    losses = []
    for _ in range(25):
        optimizer.update(vision.loss, x, rng=rng)
        losses.append(float(vision.loss(x, noise(8, latents=8)).array))
    assert losses[-1] < 0.7 * losses[0]


@DTYPES
def test_stored_frames_and_back(dtype):
    every = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(1, 64, 64, 3)
    x = to_input(every, dtype=dtype)
    assert x.shape == (1, 3, 64, 64) and x.dtype == dtype
    assert x.min() == 0 and x.max() == 1
    assert x[0, 2, 1, 5] == dtype(every[0, 1, 5, 2]) / dtype(255)
    np.testing.assert_array_equal(to_frames(x), every)
    np.testing.assert_array_equal(to_frames(chainer.Variable(x[0])), every[0])
    assert to_input(every[None], dtype=np.dtype(dtype)).ndim == 5


@ENGINES
def test_the_order_of_memory_does_not_matter(engine):
    vision, x = make(engine), to_input(stored(2), dtype=np.float64)
    np.testing.assert_array_equal(
        vision.encode(x).mu.array, vision.encode(np.ascontiguousarray(x)).mu.array
    )


@pytest.mark.parametrize(
    ('frames', 'message'),
    [
        (stored(2), r'to_input\(\)'),
        (to_input(stored(2))[0], r'shape \(3, 64, 64\)'),
        (to_input(stored(2)), 'float32 but V computes in float64'),
        (255 * to_input(stored(2), dtype=np.float64), 'divided by 255'),
        (to_input(stored(2), dtype=np.float64) - 0.5, 'lie in'),
    ],
)
def test_likely_mistakes_with_frames(frames, message):
    with pytest.raises(ValueError, match=message):
        make().encode(frames)


def test_likely_mistakes_elsewhere():
    vision, x = make(), to_input(stored(2), dtype=np.float64)
    with pytest.raises(ValueError, match='another VAE'):
        vision.decode(np.zeros((2, 6)))
    with pytest.raises(ValueError, match='z is float32'):
        vision.decode(np.zeros((2, 5), np.float32))
    with pytest.raises(ValueError, match='exactly one'):
        vision.loss(x)
    with pytest.raises(ValueError, match='exactly one'):
        vision.loss(x, noise(2), rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r'eps has shape \(1, 5\)'):
        vision.loss(x, noise(1))
    with pytest.raises(ValueError, match='converted twice'):
        to_input(x)
    with pytest.raises(ValueError, match='V makes'):
        to_frames(stored(1))
    for size in (0, -1, 2.5):
        with pytest.raises(ValueError, match='latent_size'):
            ConvVAE(size)
    with pytest.raises(ValueError, match='engine'):
        ConvVAE(3, engine='fast')


@pytest.mark.gpu
def test_the_gpu_agrees():
    import cupy

    vision, eps = make(), noise(2)
    losses, grads = [], []
    for device in ('@numpy', '@cupy:0'):
        vision.to_device(device)
        loss = vision.loss(to_input(stored(2), vision.xp, np.float64), eps)
        vision.cleargrads()
        loss.backward()
        losses.append(float(loss.array))
        grads.append(cupy.asnumpy(vision.conv1.W.grad))
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    assert_close(grads[1], grads[0], 1e-8)


@ENGINES
def test_the_floor_by_hand_where_a_frame_lies_below_it(engine, monkeypatch):
    """KL of 0, 2 and 10 nats over a floor of 5 * 0.6 = 3: (3 + 3 + 10) / 3."""
    vision = make(engine)
    mu = np.zeros((3, 5))
    mu[1, 0], mu[2, 1] = 2, np.sqrt(20)
    posterior = Posterior(*map(chainer.Variable, (mu, np.zeros((3, 5)))))
    monkeypatch.setattr(vision, 'encode', lambda frames: posterior)
    reporter = chainer.Reporter()
    reporter.add_observer('v', vision)
    with reporter:
        loss = vision.loss(to_input(stored(3), dtype=np.float64), noise(3), kl_tolerance=0.6)
    seen = reporter.observation
    assert float(seen['v/kl']) == pytest.approx(4)
    floored = float(loss.array) - float(seen['v/reconstruction'].array)
    assert floored == pytest.approx(16 / 3)
