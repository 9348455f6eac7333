"""Train M on the codes of recorded episodes."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_wm.files.archives import read_archive, save_link, write_archive
from chainer_wm.functions.adam import Adam
from chainer_wm.links.recurrent import detach
from chainer_wm.rollouts.sequences import LatentSequences
from chainer_wm.seeds import stream
from chainer_wm.training import loop


def train(
    folder: str | os.PathLike,
    model: Any,
    sequences: LatentSequences,
    held_out: LatentSequences,
    *,
    epochs: float,
    learning_rate: float = 1e-3,
    last_learning_rate: float = math.inf,
    clip: float = 1.0,
    seed: int,
    patience: int | None = None,
    measure_every: int = 100,
    done_weight: float = 1.0,
    debug: bool = False,
    tick: Callable[[], None] = lambda: None,
    label: str = 'model',
) -> list[dict]:
    """Minimise M's loss over windows whose state is carried on.

    Every window's z is drawn anew from V's posteriors. The weights kept in
    ``folder/model.npz`` are those with the least held-out loss.

    Args:
        model: an ``MDNRNN``, on the device to train on.
        sequences, held_out: windows to train on and to judge by.
        epochs: passes over ``sequences``, at most.
        last_learning_rate: Adam's falls to this in a straight line over all
            the passes, if it is lower.
        clip: gradients are cut element-wise to [-clip, clip].
        patience: measurements without a new best before training stops.
        done_weight: of a death in the loss, see ``MDNRNN.loss``.

    Returns:
        The log: a row of losses per 20 updates.
    """
    folder = pathlib.Path(folder)
    optimizer = Adam(alpha=learning_rate, gradient_clip=clip).setup(model)

    def loss(number: int, state: Any):
        rng = stream(seed, 'model z', number)
        batch = _batch(model, sequences, number, rng)
        return model.loss(**batch, state=state, done_weight=done_weight)

    updates = math.ceil(epochs * sequences.windows_per_epoch)
    updater = loop.NumberedUpdater(
        optimizer,
        loss,
        model.initial_state(sequences.batch_size),
        sequences.windows_per_epoch,
        debug,
        loop.linear_rate(learning_rate, last_learning_rate, updates),
    )
    watch = loop.HeldOut(
        lambda: measure(model, held_out, seed, done_weight), 'loss', folder / 'model.npz', patience
    )
    trainer = loop.fit(
        folder,
        updater,
        updates,
        label,
        watch,
        measure_every=max(1, min(measure_every, updates)),
        tick=tick,
    )
    if not watch.keep.exists():  # an untrained control
        save_link(watch.keep, model)
    return loop.history(trainer)


def _batch(model: Any, sequences: LatentSequences, number: int, rng: np.random.Generator) -> dict:
    """A window as M's loss takes it, with z drawn from the posteriors."""
    window = sequences.batch(number)
    eps = rng.standard_normal(window.mu.shape)
    z = window.mu + np.exp(window.ln_var / 2) * eps  # z_t ~ N(mu_t, sigma_t^2)

    def send(array, dtype=model.dtype):
        return model.device.send(np.ascontiguousarray(array, dtype))

    batch = {
        'z': send(z[:-1]),
        'a': send(window.actions),
        'z_next': send(z[1:]),
        'mask': send(window.mask),
        'done': send(window.done, np.int32),
        'reset': send(window.reset),
    }
    if (reward := sequences.reward(number)) is not None:
        batch['reward'] = send(reward)
    return batch


def measure(
    model: Any, sequences: LatentSequences, seed: int, done_weight: float = 1.0
) -> dict[str, float]:
    """M's mean losses over one pass through held-out episodes."""
    losses = []
    reporter = chainer.Reporter()
    reporter.add_observer('held_out', model)

    def step(batch, state):
        seen: dict[str, Any] = {}
        with reporter.scope(seen):
            _, state = model.loss(**batch, state=state, done_weight=done_weight)
        losses.append({name: float(chainer.as_array(value)) for name, value in seen.items()})
        return state

    _pass(model, sequences, seed, step)
    return {
        name.split('/')[-1]: float(np.mean([row[name] for row in losses])) for name in losses[0]
    }


class Deaths(NamedTuple):
    """P(done) and whether the game ended there, at each of n steps."""

    p_done: np.ndarray  # (n,)
    done: np.ndarray  # (n,) 0 or 1

    def save(self, path: str | os.PathLike) -> None:
        write_archive(path, 'deaths/1', {}, self._asdict())

    @classmethod
    def load(cls, path: str | os.PathLike) -> Deaths:
        return cls(**read_archive(path, 'deaths/1')[1])

    def detection(self, threshold: float = 0.5) -> dict[str, float]:
        """How P(done) meets the deaths.

        Returns:
            ``deaths``, ``caught`` (share of them above the threshold),
            ``false_alarms`` (per 1,000 steps without a death) and
            ``expected`` (sum of P(done); a calibrated M's equals ``deaths``,
            one trained with deaths weighted 10 is above).
        """
        alarm, dead = self.p_done > threshold, self.done > 0
        alive = ~dead
        return {
            'steps': len(dead),
            'deaths': int(dead.sum()),
            'caught': float(alarm[dead].mean()) if dead.any() else 0.0,
            'false_alarms': 1000 * float(alarm[alive].mean()) if alive.any() else 0.0,
            'expected': float(self.p_done.sum()),
        }


def deaths(model: Any, sequences: LatentSequences, seed: int) -> Deaths:
    """M's P(done) beside the truth, over one pass of held-out episodes."""
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    send = chainer.get_device('@numpy').send

    def step(batch, state):
        prediction, state = model.sequence(batch['z'], batch['a'], state, batch['reset'])
        logit = send(chainer.as_array(prediction.done_logit))
        seen.append((1 / (1 + np.exp(-logit)), send(batch['done'])))
        return state

    _pass(model, sequences, seed, step)
    return Deaths(*(np.concatenate([part.ravel() for part in column]) for column in zip(*seen)))


def _pass(
    model: Any, sequences: LatentSequences, seed: int, step: Callable[[dict, Any], Any]
) -> None:
    """Hand every window of one epoch to ``step``, carrying the state."""
    state = model.initial_state(sequences.batch_size)
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        for number in range(max(1, int(sequences.windows_per_epoch))):
            batch = _batch(model, sequences, number, stream(seed, 'held-out z', number))
            state = detach(step(batch, state))
