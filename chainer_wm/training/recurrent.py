"""Train a recurrent model on windows of sequences, its state carried from each to the next."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Callable
from typing import Any

from chainer_wm.files.archives import save_link
from chainer_wm.functions.adam import Adam
from chainer_wm.rollouts.sequences import LatentSequences
from chainer_wm.training import loop
from chainer_wm.training.data_parallel import ALONE, Ranks

BEST = 'model.npz'


def minimise(
    folder: str | os.PathLike,
    model: Any,
    sequences: LatentSequences,
    loss: Callable[[int, Any, slice], tuple],
    measure: Callable[[], dict[str, float]],
    *,
    epochs: float,
    learning_rate: float = 1e-3,
    last_learning_rate: float = math.inf,
    clip: float = 1.0,
    patience: int | None = None,
    measure_every: int = 100,
    debug: bool = False,
    tick: Callable[[], None] = lambda: None,
    label: str = 'model',
    ranks: Ranks = ALONE,
) -> list[dict]:
    """Adam on the loss of one window after the other.

    The weights kept in ``folder/model.npz`` are those with the least held-out loss.

    Args:
        model: on the device to train on, with an ``initial_state``.
        sequences: windows to train on.
        loss: (number of the window, state, lanes of this rank) -> (loss, state after it).
        measure: held-out losses by name, of which 'loss' marks the best weights.
        epochs: passes over ``sequences``, at most; none writes the first weights.
        last_learning_rate: Adam's falls to this in a straight line over all the passes, if it is
            lower.
        clip: gradients are cut element-wise to [-clip, clip].
        patience: measurements without a new best before training stops.
        measure_every: updates between two measurements; the end is one too.
        ranks: that train together; each has its share of the lanes.

    Returns:
        The log: a row of losses per 20 updates.

    Raises:
        ValueError: there are fewer lanes than ranks, or a learning rate is negative.
    """
    folder = pathlib.Path(folder)
    ranks.check_lanes(sequences.batch_size, 'batch_size')
    lanes = ranks.lanes(sequences.batch_size)
    updates = math.ceil(epochs * sequences.windows_per_epoch)
    updater = loop.NumberedUpdater(
        Adam(alpha=learning_rate, gradient_clip=clip).setup(model),
        lambda number, state: loss(number, state, lanes),
        model.initial_state(lanes.stop - lanes.start),
        sequences.windows_per_epoch,
        debug,
        loop.linear_rate(learning_rate, last_learning_rate, updates),
        ranks,
    )
    watch = loop.HeldOut(measure, 'loss', folder / BEST, patience, ranks)
    trainer = loop.fit(
        folder, updater, updates, label, watch, measure_every=measure_every, tick=tick
    )
    if ranks.leads and not watch.keep.exists():  # nothing was trained
        save_link(watch.keep, model)
    return loop.history(trainer)
