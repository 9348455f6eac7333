"""Train M on the codes of recorded episodes."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Callable
from typing import Any

import chainer
import numpy as np
from chainer.optimizer_hooks import GradientHardClipping

from chainer_wm import plots, training
from chainer_wm.datasets import LatentSequences
from chainer_wm.model import MDNRNN
from chainer_wm.recurrent import detach
from chainer_wm.streams import stream


def train(folder: str | os.PathLike, model: Any, sequences: LatentSequences,
          held_out: LatentSequences, *, epochs: float,
          learning_rate: float = 1e-3, clip: float = 1., seed: int,
          patience: int | None = None, measure_every: int = 100,
          debug: bool = False, tick: Callable[[], None] = lambda: None,
          label: str = 'model') -> list[dict]:
    """Minimise M's loss over windows whose state is carried on.

    Every window's z is drawn anew from V's posteriors. The weights kept in
    ``folder/model.npz`` are those with the least held-out loss.

    Args:
        model: an ``MDNRNN``, on the device to train on.
        sequences, held_out: windows to train on and to judge by.
        epochs: passes over ``sequences``, at most.
        clip: gradients are cut element-wise to [-clip, clip].
        patience: measurements without a new best before training stops.

    Returns:
        The log: a row of losses per 20 updates.
    """
    folder = pathlib.Path(folder)
    optimizer = chainer.optimizers.Adam(alpha=learning_rate).setup(model)
    optimizer.add_hook(GradientHardClipping(-clip, clip))

    def loss(number: int, state: Any):
        window = sequences.batch(number)
        batch = _batch(model, window, stream(seed, 'model z', number))
        return model.loss(**batch, state=state)

    updater = training.NumberedUpdater(
        optimizer, loss, model.initial_state(sequences.batch_size),
        sequences.windows_per_epoch, debug)
    watch = training.HeldOut(
        lambda: measure(model, held_out, seed), 'loss', folder / 'model.npz',
        patience)
    updates = math.ceil(epochs * sequences.windows_per_epoch)
    trainer = training.fit(folder, updater, updates, label, watch,
                           measure_every=min(measure_every, updates),
                           tick=tick)
    return training.history(trainer)


def _batch(model: Any, window: Any, rng: np.random.Generator) -> dict:
    """A window as M's loss takes it, with z drawn from the posteriors."""
    eps = rng.standard_normal(window.mu.shape)
    z = window.mu + np.exp(window.ln_var / 2) * eps

    def send(array, dtype=model.dtype):
        return model.device.send(np.ascontiguousarray(array, dtype))

    return {'z': send(z[:-1]), 'a': send(window.actions),
            'z_next': send(z[1:]), 'mask': send(window.mask),
            'done': send(window.done, np.int32),
            'reset': send(window.reset)}


def measure(model: Any, sequences: LatentSequences,
            seed: int) -> dict[str, float]:
    """M's mean losses over one pass through held-out episodes."""
    losses = []
    reporter = chainer.Reporter()
    reporter.add_observer('held_out', model)

    def step(batch, state):
        seen: dict[str, Any] = {}
        with reporter.scope(seen):
            _, state = model.loss(**batch, state=state)
        losses.append({name: float(chainer.as_array(value))
                       for name, value in seen.items()})
        return state

    _pass(model, sequences, seed, step)
    return {name.split('/')[-1]: float(np.mean([row[name] for row in losses]))
            for name in losses[0]}


def deaths(model: Any, sequences: LatentSequences, seed: int
           ) -> tuple[np.ndarray, np.ndarray]:
    """P(done) and the truth at every step of a pass, each (n,)."""
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    send = chainer.get_device('@numpy').send

    def step(batch, state):
        prediction, state = model.sequence(batch['z'], batch['a'], state,
                                           batch['reset'])
        logit = send(chainer.as_array(prediction.done_logit))
        seen.append((1 / (1 + np.exp(-logit)), send(batch['done'])))
        return state

    _pass(model, sequences, seed, step)
    p_done, done = (np.concatenate([part.ravel() for part in column])
                    for column in zip(*seen))
    return p_done, done


def _pass(model: Any, sequences: LatentSequences, seed: int,
          step: Callable[[dict, Any], Any]) -> None:
    """Hand every window of one epoch to ``step``, carrying the state."""
    state = model.initial_state(sequences.batch_size)
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        for number in range(max(1, int(sequences.windows_per_epoch))):
            batch = _batch(model, sequences.batch(number),
                           stream(seed, 'held-out z', number))
            state = detach(step(batch, state))


def draw(folder: pathlib.Path, log: list[dict]) -> None:
    """Training and held-out loss of the mixtures, over updates."""
    curves = {'train': _curve(log, 'main/nll'),
              'held-out': _curve(log, 'held_out/nll')}
    plots.training_curves(
        folder / 'model_training.png',
        {name: curve for name, curve in curves.items() if curve[0]},
        ylabel='nats per latent dimension', xlabel='update',
        title="M: negative log-likelihood of the next z")


def _curve(log: list[dict], name: str) -> tuple[list, list]:
    rows = [row for row in log if name in row]
    return [row['iteration'] for row in rows], [row[name] for row in rows]


def load(path: str | os.PathLike, device: Any = '@numpy') -> MDNRNN:
    """M from its file, on a device."""
    model = training.load_link(path, MDNRNN)
    model.to_device(chainer.get_device(device))
    return model
