"""V: a convolutional variational autoencoder, frame -> z (World Models).

Ha and Schmidhuber 2018, "World Models", section 2 and appendix A.1: four stride-2 convolutions,
two linear maps to the mean and the log-variance of z, and four stride-2 transposed convolutions
back (Kingma and Welling 2014). On the CPU the layers run through
``chainer_wm.functions.conv_vae``; plain Chainer functions are its oracle and the path on a GPU. A
trained V may be had without the latents that tell nothing of the frame (``without_latents``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer import Variable
from chainer import initializers as init

from chainer_wm.devices import to_cpu
from chainer_wm.functions import conv_vae
from chainer_wm.functions.arena import Arena
from dnc.checks import checked_engine

FRAME_SHAPE = (3, 64, 64)
"""Channels, height and width of a frame inside the model."""

_CONVOLUTIONS = ((3, 32), (32, 64), (64, 128), (128, 256))
_TRANSPOSED = ((1024, 128, 5), (128, 64, 5), (64, 32, 6), (32, 3, 6))
_ENCODER = 'conv1', 'conv2', 'conv3', 'conv4', 'mu', 'ln_var'
_DECODER = 'fc', 'deconv1', 'deconv2', 'deconv3', 'deconv4'
_FLAT = 1024


class Posterior(NamedTuple):
    """q(z | frame): a Gaussian with a diagonal covariance."""

    mu: Variable  # (B, Z)
    ln_var: Variable  # (B, Z), natural logarithm of the variance


class ConvVAE(chainer.Chain):
    """The autoencoder V of World Models.

    Weights are LeCun-normal, biases zero. The paper's sizes: 32 latents for CarRacing (4,348,547
    parameters), 64 for Doom (4,446,915).

    Args:
        latent_size: number of latents Z.
        seed: of the initial weights.
        engine: 'fused' (on the CPU, whole-layer kernels) or 'reference' (Chainer's functions
            everywhere).

    Raises:
        ValueError: if ``latent_size`` is not a positive integer, or the
            engine has another name.
    """

    def __init__(self, latent_size: int, *, seed: int = 0, engine: str = 'fused') -> None:
        super().__init__()
        if latent_size != int(latent_size) or latent_size < 1:
            raise ValueError(f'latent_size is {latent_size!r} but V needs at least one latent')
        self.engine, self._arena = checked_engine(engine), Arena()
        self.latent_size, self.seed = int(latent_size), int(seed)
        # 4 million draws take longer than to read as many weights
        drawn = getattr(chainer.config, 'draw_weights', True)
        w = init.LeCunNormal(rng=np.random.default_rng(self.seed)) if drawn else init.Zero()
        with self.init_scope():
            for i, (inputs, outputs) in enumerate(_CONVOLUTIONS, 1):
                setattr(
                    self, f'conv{i}', L.Convolution2D(inputs, outputs, 4, stride=2, initialW=w)
                )
            self.mu = L.Linear(_FLAT, self.latent_size, initialW=w)
            self.ln_var = L.Linear(_FLAT, self.latent_size, initialW=w)
            self.fc = L.Linear(self.latent_size, _FLAT, initialW=w)
            for i, (inputs, outputs, size) in enumerate(_TRANSPOSED, 1):
                setattr(
                    self,
                    f'deconv{i}',
                    L.Deconvolution2D(inputs, outputs, size, stride=2, initialW=w),
                )

    @property
    def config(self) -> dict[str, Any]:
        """JSON-able constructor arguments: ``ConvVAE(**config)``."""
        return {'latent_size': self.latent_size, 'seed': self.seed, 'engine': self.engine}

    @property
    def dtype(self) -> np.dtype:
        """The floating-point type of the parameters."""
        return self.fc.W.dtype

    def encode(self, frames: Any) -> Posterior:
        """Posterior of the latents.

        Args:
            frames: (B, 3, 64, 64), in [0, 1], in the dtype of the parameters (``to_input`` makes
                them from stored ones).

        Returns:
            ``mu`` and ``ln_var``, each (B, Z).

        Raises:
            ValueError: wrong shape, dtype or range.
        """
        check_frames(frames, self.dtype)
        if self._fused:
            encode = conv_vae.Encode(self._arena)
            return Posterior(*encode.apply((frames, *self._parameters(_ENCODER))))
        h = chainer.as_variable(frames)
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            h = F.relu(layer(h))
        return Posterior(self.mu(h), self.ln_var(h))

    def encoder(self) -> Callable[[Any], tuple[Any, Any]]:
        """``encode`` for frames that come one after another: (mu, ln_var) as arrays.

        V must not change meanwhile: on the CPU its weights are copied and arranged once.
        """
        if not self._fused:
            return functools.partial(_encode_arrays, self)
        parameters = (parameter.array for parameter in self._parameters(_ENCODER))
        packed = conv_vae.PackedEncoder(*parameters)
        return functools.partial(_encode_packed, packed, self.dtype)

    def decode(self, z: Any) -> Variable:
        """Frames (B, 3, 64, 64) in [0, 1] of latents (B, Z).

        Raises:
            ValueError: ``z`` has another width or dtype.
        """
        if z.ndim != 2 or z.shape[1] != self.latent_size:
            raise ValueError(
                f'z has shape {z.shape} but V decodes (B, {self.latent_size})'
                ': was z made by another VAE?'
            )
        if z.dtype != self.dtype:
            raise ValueError(
                f'z is {z.dtype} but V computes in {self.dtype}:'
                ' cast z, or build V with the other dtype'
            )
        if self._fused:
            decode = conv_vae.Decode(self._arena)
            return decode.apply((z, *self._parameters(_DECODER)))[0]
        h = self.fc(chainer.as_variable(z))[:, :, None, None]
        for layer in (self.deconv1, self.deconv2, self.deconv3):
            h = F.relu(layer(h))
        return F.sigmoid(self.deconv4(h))

    def reconstruct(self, frames: Any) -> Variable:
        """Frames (B, 3, 64, 64) decoded from the posterior means."""
        return self.decode(self.encode(frames).mu)

    def loss(
        self,
        frames: Any,
        eps: Any = None,
        *,
        rng: np.random.Generator | None = None,
        kl_tolerance: float = 0.5,
    ) -> Variable:
        """Squared error plus KL divergence with a floor, a scalar.

        mean_b sum_pixels (x - x')^2 + mean_b max(sum_d KL_d, tolerance * Z). The floor ("free
        bits") is per sample, on the total over the latents.

        Reports ``loss``, ``reconstruction`` (squared error per frame), ``kl`` (mean over the
        batch, in nats, before the floor) and ``active_latents``.

        Args:
            frames: (B, 3, 64, 64) in [0, 1].
            eps: (B, Z) standard normal noise; or
            rng: the generator to draw it from, on the CPU.
            kl_tolerance: nats per latent that cost nothing.
        """
        mu, ln_var = self.encode(frames)
        # z = mu + sigma eps, the reparameterisation
        z = F.gaussian(mu, ln_var, eps=self._noise(mu.shape, eps, rng))
        error = self._reconstruction_error(z, frames)
        kl = kl_divergence(mu, ln_var)
        per_frame = F.sum(kl, axis=1)
        floor = kl_tolerance * self.latent_size
        # max(KL, floor) = relu(KL - floor) + floor, per frame
        loss = error + F.mean(F.relu(per_frame - floor)) + floor
        chainer.report(
            {
                'loss': loss,
                'reconstruction': error,
                'kl': self.xp.mean(per_frame.array),
                'active_latents': active_latents(kl.array),
            },
            self,
        )
        return loss

    def _reconstruction_error(self, z: Variable, frames: Any) -> Variable:
        """Squared error per frame, a scalar."""
        if self._fused:
            error = conv_vae.ReconstructionError(self._arena)
            return error.apply((z, frames, *self._parameters(_DECODER)))[0]
        return F.sum(F.square(self.decode(z) - frames)) / len(frames)

    @property
    def _fused(self) -> bool:
        return self.engine == 'fused' and self.xp is np and self.dtype.itemsize >= 4

    def _parameters(self, names: tuple[str, ...]) -> list[Variable]:
        return [p for name in names for p in (self[name].W, self[name].b)]

    def _noise(self, shape: tuple[int, int], eps: Any, rng: np.random.Generator | None) -> Any:
        if (eps is None) == (rng is None):
            raise ValueError(
                'loss needs either eps or rng, exactly one: got '
                f'eps={type(eps).__name__}, '
                f'rng={type(rng).__name__}'
            )
        if eps is None:
            eps = rng.standard_normal(shape)  # type: ignore[union-attr]
        if eps.shape != shape:
            raise ValueError(f'eps has shape {eps.shape} but the latents have {shape}')
        return self.xp.asarray(eps, self.dtype)


def _encode_arrays(vision: ConvVAE, frames: Any) -> tuple[Any, Any]:
    with chainer.no_backprop_mode():
        mu, ln_var = vision.encode(frames)
    return mu.array, ln_var.array


def _encode_packed(
    packed: conv_vae.PackedEncoder, dtype: np.dtype, frames: Any
) -> tuple[np.ndarray, np.ndarray]:
    check_frames(frames, dtype)
    return packed(chainer.as_array(frames))


def kl_divergence(mu: Any, ln_var: Any) -> Variable:
    """KL(N(mu, exp(ln_var)) || N(0, 1)) in nats, element-wise."""
    # Kingma and Welling 2014, appendix B: -(1 + ln sigma^2 - mu^2 - sigma^2) / 2
    return 0.5 * (F.square(mu) + F.exp(ln_var) - ln_var - 1)


def active_latents(kl: Any, threshold: float = 0.01) -> int:
    """How many latents carry information: the collapse alarm.

    Args:
        kl: (B, Z) array, the divergence per frame and latent in nats.
        threshold: a latent is active if its mean divergence is above this.

    Returns:
        a number from 0 (V ignores the frames: collapsed) to Z.
    """
    return int((kl.mean(axis=0) > threshold).sum())


def check_frames(frames: Any, dtype: np.dtype) -> None:
    """Raise ValueError unless these are (B, 3, 64, 64) in [0, 1]."""
    array = getattr(frames, 'array', frames)
    if array.ndim != 4 or array.shape[1:] != FRAME_SHAPE:
        raise ValueError(
            f'frames have shape {array.shape} but V takes (B, 3, 64, 64): '
            'are they stored frames (B, 64, 64, 3) that to_input() has not '
            'converted?'
        )
    if array.dtype != dtype:
        raise ValueError(
            f'frames are {array.dtype} but V computes in {np.dtype(dtype)}: '
            'to_input() makes them from stored uint8 frames'
        )
    if not len(array):
        return
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise ValueError(
            f'frames lie in [{low:g}, {high:g}] but V takes [0, 1]: were they not divided by 255?'
        )


def to_input(frames: Any, xp: Any = np, dtype: Any = np.float32) -> Any:
    """Stored frames as V takes them.

    Args:
        frames: (..., 64, 64, 3) uint8 NumPy array, usually (B, 64, 64, 3).
        xp: numpy or cupy, where the result lives.
        dtype: its floating-point type.

    Returns:
        (..., 3, 64, 64) array in [0, 1]. In memory the channels stay last,
        as the fused engine reads them.

    Raises:
        ValueError: another shape or dtype.
    """
    if frames.shape[-3:] != (64, 64, 3) or frames.dtype != np.uint8:
        raise ValueError(
            f'frames are {frames.dtype} of shape {frames.shape} but stored '
            'frames are uint8 (..., 64, 64, 3): were they converted twice?'
        )
    x = xp.asarray(frames, order='C').astype(dtype)
    x /= x.dtype.type(255)
    return xp.moveaxis(x, -1, -3)


def to_frames(x: Any) -> np.ndarray:
    """V's frames as they are stored, the inverse of ``to_input``.

    Args:
        x: (..., 3, 64, 64) array or Variable in [0, 1].

    Returns:
        (..., 64, 64, 3) uint8 NumPy array, rounded to the nearest.
    """
    x = to_cpu(x)
    if x.shape[-3:] != FRAME_SHAPE or x.dtype.kind != 'f':
        raise ValueError(f'x is {x.dtype} of shape {x.shape} but V makes floats (..., 3, 64, 64)')
    pixels = np.clip(np.moveaxis(x, -3, -1) * 255 + 0.5, 0, 255)
    return np.ascontiguousarray(pixels.astype(np.uint8))


def posteriors(
    vision: ConvVAE, frames: np.ndarray, block: int = 512
) -> tuple[np.ndarray, np.ndarray]:
    """mu and ln_var of frames (T, 64, 64, 3) uint8, each (T, Z), block by block."""
    parts = []
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        for at in range(0, len(frames), block):
            x = to_input(frames[at : at + block], vision.xp, vision.dtype.type)
            parts.append([to_cpu(part.array) for part in vision.encode(x)])
    mu, ln_var = (np.concatenate(column) for column in zip(*parts))
    return mu, ln_var


def decoded(vision: ConvVAE, latents: np.ndarray, block: int = 200) -> np.ndarray:
    """Latents (T, Z) as V draws them, (T, 64, 64, 3) uint8, block by block."""
    frames = []
    with chainer.no_backprop_mode():
        for at in range(0, len(latents), block):
            z = vision.device.send(np.asarray(latents[at : at + block], vision.dtype))
            frames.append(to_frames(vision.decode(z)))
    return np.concatenate(frames)


def without_latents(vision: ConvVAE, dropped: Any, means: Any) -> ConvVAE:
    """The same V without some latents, decoding as if at their means.

    Args:
        dropped: (Z,) booleans.
        means: (Z,), where the decoder takes a dropped latent to be.

    Raises:
        ValueError: all would be dropped, or there are not Z.
    """
    dropped = np.asarray(dropped, bool)
    if dropped.shape != (vision.latent_size,) or dropped.all():
        raise ValueError(
            f'{dropped.sum()} of {dropped.size} latents to drop from a V '
            f'of {vision.latent_size}: at least one must stay'
        )
    rest = ConvVAE(int((~dropped).sum()), seed=vision.seed, engine=vision.engine)
    rest.to_device(vision.device)
    xp = vision.xp
    dropped, means = xp.asarray(dropped), xp.asarray(means, vision.dtype)
    for layer in vision.children():
        W, b = layer.W.array, layer.b.array
        if layer.name in ('mu', 'ln_var'):
            W, b = W[~dropped], b[~dropped]
        elif layer.name == 'fc':
            b = b + W[:, dropped] @ means[dropped]  # W z + b with z = means there
            W = W[:, ~dropped]
        rest[layer.name].W.array = W.copy()
        rest[layer.name].b.array = b.copy()
    return rest
