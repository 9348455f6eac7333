"""A recurrent network that predicts the next image of a rollout of sprites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer import initializers

from chainer_wm.devices import to_cpu
from chainer_wm.functions.binary_cross_entropy import BinaryCrossEntropy
from chainer_wm.links.recurrent import OverCore, detach, make_core
from chainer_wm.tasks.sprite_sequences import SpriteWindow, SpriteWindows
from chainer_wm.tasks.sprites import FACTORS, SIZE, VALUES

PIXELS = SIZE * SIZE
#: What ``internals`` gives of a DNC, and what its trace calls it.
HELD = {'hidden': 'h', 'reads': 'read_vectors', 'memory': 'memory'}
#: Mean and deviation of each factor over the data set.
MEANS = np.array([values.mean() for values in VALUES])
DEVIATIONS = np.array([values.std() for values in VALUES])


class SpriteModel(OverCore):
    """(image_t, a_t) -> the logits of the pixels of image_{t+1}, deterministic.

    The core reads the 4,096 pixels and the action as they are, and one linear layer gives the
    logits from what the core puts out: no encoder, no mixture. With a ``code_size`` there is a
    layer of rectified units on either side, which costs less and learns otherwise.

    Args:
        hidden_size: H of the LSTM, or of the DNC's controller.
        core: 'lstm' or 'dnc'.
        seed: of the initial weights.
        engine: 'fused' or 'reference', see ``recurrent.LSTM``.
        code_size: units of the layers before and after the core; 0 for none.
        tells: whether a linear layer reads the factors off the memory (read vectors of a DNC, h of
            an LSTM), for an auxiliary loss.
        core_options: of the core, see ``recurrent.make_core``.

    Attributes:
        config: the constructor's arguments, for ``SpriteModel(**config)``.
    """

    def __init__(
        self,
        hidden_size: int,
        core: str = 'lstm',
        seed: int = 0,
        engine: str = 'fused',
        code_size: int = 0,
        tells: bool = False,
        **core_options: Any,
    ) -> None:
        super().__init__(
            hidden_size=hidden_size,
            core=core,
            seed=seed,
            engine=engine,
            code_size=code_size,
            tells=tells,
            **core_options,
        )
        seeds = np.random.SeedSequence(seed).generate_state(5)

        def linear(inputs: int, outputs: int, number: int) -> L.Linear:
            rng = np.random.RandomState(seeds[number])
            return L.Linear(inputs, outputs, initialW=initializers.LeCunNormal(rng=rng))

        with self.init_scope():
            if code_size:
                self.encoder = linear(PIXELS, code_size, 1)
            width = (code_size or PIXELS) + len(FACTORS)
            self.core = make_core(core, width, hidden_size, int(seeds[0]), engine, **core_options)
            if code_size:
                self.decoder = linear(self.core.output_size, code_size, 2)
            self.head = linear(code_size or self.core.output_size, PIXELS, 3)
            if tells:
                self.told = linear(self._memory_size, len(FACTORS), 4)

    @property
    def _memory_size(self) -> int:
        size = self.core.output_size
        return size - self.core.hidden_size if self._config['core'] == 'dnc' else size

    def inputs(self, window: SpriteWindow) -> chainer.Variable:
        """What the core reads, (T, B, X)."""
        images = self.send(window.images[:-1].reshape(*window.actions.shape[:2], PIXELS))
        if self._config['code_size']:
            images = F.relu(self.encoder(images, n_batch_axes=2))
        return F.concat([images, self.send(window.actions)], axis=2)

    def logits(self, outputs: Any) -> chainer.Variable:
        """What the core puts out (T, B, Y) -> (T, B, 4096)."""
        if self._config['code_size']:
            outputs = F.relu(self.decoder(outputs, n_batch_axes=2))
        return self.head(outputs, n_batch_axes=2)

    def forward(self, window: SpriteWindow, state: Any) -> tuple[Any, Any, Any]:
        """The logits (T, B, 4096), what the core put out (T, B, Y), and its state afterwards."""
        outputs, state = self.core.sequence(self.inputs(window), state, self.send(window.reset))
        return self.logits(outputs), outputs, state

    def loss(self, window: SpriteWindow, state: Any, tell_weight: float = 0.0, tell_lag: int = 0):
        """Binary cross-entropy of the next image, in nats, and the state afterwards.

        Summed over pixels, mean over the steps whose next image is of the same rollout. Reports
        'loss', 'image', and with a ``tell_weight`` 'told'.

        Args:
            tell_weight: of the squared error of the factors, in units of their variance over the
                data set, as told by the memory; summed over the factors.
            tell_lag: they are those of so many steps before; where that is before the window or
                the rollout, nothing is asked.
        """
        logits, outputs, state = self(window, state)
        image = self._cross_entropy(logits, window)
        chainer.report({'image': image}, self)
        loss = image
        if tell_weight:
            told = self._told_error(outputs, window, tell_lag)
            chainer.report({'told': told}, self)
            loss = image + tell_weight * told
        chainer.report({'loss': loss}, self)
        return loss, state

    def _cross_entropy(self, logits: Any, window: SpriteWindow) -> chainer.Variable:
        rows = F.reshape(logits, (window.mask.size, PIXELS))
        targets = self.device.send(window.images[1:].reshape(rows.shape))
        counts = self.device.send(window.mask.ravel())
        (total,) = BinaryCrossEntropy(targets, counts).apply((rows,))
        return total / max(1, int(window.mask.sum()))

    def _told_error(self, outputs: Any, window: SpriteWindow, lag: int) -> chainer.Variable:
        length = len(window.latents)
        told = self.told(outputs[lag:, :, -self._memory_size :], n_batch_axes=2)
        wanted = (window.latents[: length - lag] - MEANS) / DEVIATIONS
        asked = np.broadcast_to((window.steps >= lag)[lag:, :, None], wanted.shape)
        errors = F.square(told - self.send(wanted)) * self.send(asked)
        return F.sum(errors) / max(1, int(asked[..., 0].sum()))

    def score(self, window: SpriteWindow, state: Any) -> tuple[dict[str, float], Any]:
        """How well the next images are predicted, without gradients; the state afterwards.

        Returns:
            ({'steps': those that count, 'loss': nats per image, 'wrong': pixels of an image on the
            wrong side of 1/2}, state), and 'told' of ``loss`` at no lag if the model tells.
        """
        with chainer.no_backprop_mode(), chainer.using_config('train', False):
            logits, outputs, state = self(window, state)
            found = {'loss': float(self._cross_entropy(logits, window).array)}
            if self._config['tells']:
                found['told'] = float(self._told_error(outputs, window, 0).array)
        targets = self.device.send(window.images[1:].reshape(logits.shape)) != 0
        wrong = ((logits.array > 0) != targets).sum(axis=2)
        steps = int(window.mask.sum())
        found['wrong'] = float((wrong * self.send(window.mask)).sum()) / max(1, steps)
        return {'steps': steps, **found}, detach(state)

    def predictions(self, window: SpriteWindow, state: Any) -> tuple[np.ndarray, Any]:
        """The probability of each pixel of the next images, (T, B, 64, 64); the state after."""
        with chainer.no_backprop_mode(), chainer.using_config('train', False):
            logits, _, state = self(window, state)
            pixels = to_cpu(F.sigmoid(logits))
        return pixels.reshape(*window.mask.shape, SIZE, SIZE), detach(state)

    def internals(self, window: SpriteWindow, state: Any) -> tuple[dict[str, np.ndarray], Any]:
        """What the network holds after each step, as NumPy arrays, and the state afterwards.

        Returns:
            ({'hidden': h (T, B, H)}, state); of a DNC also 'reads' (T, B, R W) and 'memory' (T, B,
            N W).
        """
        with chainer.no_backprop_mode(), chainer.using_config('train', False):
            xs, reset = self.inputs(window).array, self.send(window.reset)
            outputs, after = self.core.sequence(xs, state, reset)
            if self._config['core'] == 'lstm':
                return {'hidden': to_cpu(outputs)}, detach(after)
            trace = self.core.trace(xs, state, reset, names=tuple(HELD.values()))
        lanes = window.mask.shape
        return {name: trace[key].reshape(*lanes, -1) for name, key in HELD.items()}, detach(after)


def measure(model: SpriteModel, source: SpriteWindows, count: int) -> dict[str, float]:
    """The scores of ``SpriteModel.score`` over the first windows of a source."""
    state, total = model.initial_state(source.lanes), 0
    sums: dict[str, float] = {}
    for number in range(count):
        found, state = model.score(source.batch(number), state)
        steps = int(found.pop('steps'))
        total += steps
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + steps * value
    return {name: value / max(1, total) for name, value in sums.items()}


def record(
    model: SpriteModel, source: SpriteWindows, strides: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """What a network holds while it sees each rollout of a source once.

    Args:
        source: of rollouts that are all of one length L.
        strides: name of ``SpriteModel.internals`` -> every how many steps it is kept.

    Returns:
        name -> (rollouts, ceil(L / stride), D).

    Raises:
        ValueError: the rollouts may be of different lengths.
    """
    length = int(source.rollouts.mean_length)
    if length != (source.rollouts.cut or source.rollouts.longest):
        raise ValueError(
            f'rollouts of {source.rollouts.shortest} to {source.rollouts.longest} steps are to '
            'be recorded, but all must be of one length: cut them'
        )
    steps = -(-source.count // source.lanes) * length  # of a lane
    state = model.initial_state(source.lanes)
    found: dict[str, np.ndarray] = {}
    for number in range(-(-steps // source.window)):
        window = source.batch(number)
        held, state = model.internals(window, state)
        for name, stride in strides.items():
            if name not in found:
                shape = (source.count, -(-length // stride), held[name].shape[2])
                found[name] = np.zeros(shape, held[name].dtype)
            kept = window.steps % stride == 0
            at = window.rollouts[kept], window.steps[kept] // stride
            found[name][at] = held[name][kept]
    return found


def mean_image(images: np.ndarray) -> dict[str, float]:
    """What it costs to predict every pixel by how often it is set: images (n, 64, 64).

    Returns:
        'loss' and 'wrong' of ``SpriteModel.score``.
    """
    p = images.mean(axis=0).clip(1e-12, 1 - 1e-12)
    loss = -np.sum(p * np.log(p) + (1 - p) * np.log(1 - p))
    wrong = (images != (p > 0.5)).sum(axis=(1, 2)).mean()
    return {'loss': float(loss), 'wrong': float(wrong)}


def last_image(images: np.ndarray) -> float:
    """'wrong' of who predicts that each image (n, 64, 64) is followed by itself."""
    return float((images[1:] != images[:-1]).sum(axis=(1, 2)).mean())
