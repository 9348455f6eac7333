"""Train a SequenceNet, and measure it on sequences of any length."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from chainer import optimizer_hooks

from chainer_wm.files.archives import save_link
from chainer_wm.functions.adam import Adam
from chainer_wm.seeds import stream
from chainer_wm.tasks.network import SequenceNet
from chainer_wm.tasks.sequence_tasks import Batch, Task
from chainer_wm.training import loop

BEST, LAST = 'best.npz', 'last.npz'


def train(
    folder: str | os.PathLike,
    net: SequenceNet,
    batches: Callable[[int], Batch],
    scores: Callable[[], dict[str, float]],
    criterion: str,
    *,
    updates: int,
    measure_every: int,
    learning_rate: float = 1e-3,
    clip: float = 0.0,
    debug: bool = False,
    tick: Callable[[], None] = lambda: None,
    label: str = 'train',
) -> list[dict[str, float]]:
    """Minimise the squared error by Adam, from the last snapshot if any.

    Writes ``best.npz``, the weights with the least score, and ``last.npz``.

    Args:
        net: on the device to train on.
        batches: the batch of an update, by its number alone.
        scores: measures the net on held-out sequences.
        criterion: the score that marks the best weights.
        updates: in all; a later call with more goes on.
        measure_every: updates between two measurements.
        clip: largest norm of the gradient; 0 is none.

    Returns:
        The log: a row per measurement, 'iteration', 'main/loss' (mean since the row before) and
        the scores as 'held_out/NAME'.
    """
    folder = pathlib.Path(folder)
    optimizer = Adam(alpha=learning_rate).setup(net)
    if clip:
        optimizer.add_hook(optimizer_hooks.GradientClipping(clip))
    updater = loop.NumberedUpdater(
        optimizer, lambda number, state: (net.loss(batches(number)), state), debug=debug
    )
    trainer = loop.fit(
        folder,
        updater,
        updates,
        label,
        loop.HeldOut(scores, criterion, folder / BEST),
        measure_every=measure_every,
        log_every=measure_every,
        tick=tick,
    )
    save_link(folder / LAST, net)
    return loop.history(trainer)


def held_out_curve(log: Sequence[dict], name: str) -> tuple[list[float], list[float]]:
    """Updates, and the held-out score of that name after each of them."""
    rows = [row for row in log if f'held_out/{name}' in row]
    return ([row['iteration'] for row in rows], [row[f'held_out/{name}'] for row in rows])


def measure(net: SequenceNet, task: Task, batch: Batch) -> dict[str, float]:
    """'error' and 'exact' of ``Task.score``; 'loss', see the net's loss."""
    outputs = net.answers(batch.inputs)
    squares = batch.mask[..., None] * (outputs - batch.targets) ** 2
    loss = squares.sum(axis=0).mean()
    return {'loss': float(loss), **task.score(outputs, batch)}


def error_over_length(
    net: SequenceNet, task: Task, lengths: Sequence[int], lanes: int, seed: int
) -> list[dict[str, Any]]:
    """Scores on sequences of each length, and what a mere guess scores.

    Args:
        lengths: see ``Task.items``.
        lanes: sequences of each length. The same seed draws the same ones.

    Returns:
        Per length: 'length', 'items', 'loss', 'error', 'exact', 'guess'
        (the error of ``Task.guess``).
    """
    rows = []
    for length in lengths:
        rng = stream(seed, 'lengths', length)
        batch = task.make(rng, np.full(lanes, task.items(length)))
        guess = task.score(task.guess(batch), batch)['error']
        rows.append(
            {
                'length': length,
                'items': task.items(length),
                **measure(net, task, batch),
                'guess': guess,
            }
        )
    return rows
