"""Training loops on Chainer's Trainer: seeded, shown, kept, resumed.

An update is a function of its number alone (its batch and its noise come from
streams named by it), so a run that was killed and resumed gives the numbers
of an unbroken one.
"""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
import sys
from collections.abc import Callable, Iterable
from typing import Any

import chainer
import numpy as np
import tqdm
from chainer import training
from chainer.training import extensions, triggers

from chainer_wm import files
from chainer_wm.files.archives import save_link
from chainer_wm.training.non_finite import NonFiniteError, find_non_finite
from chainer_wm.training.snapshots import Snapshots

Loss = Callable[[int, Any], tuple[chainer.Variable, Any]]


class NumberedUpdater(training.Updater):
    """Update ``i`` minimises ``loss(i, state)`` once.

    Args:
        optimizer: set up on the link to train.
        loss: ``(iteration, state) -> (scalar Variable, next state)``. The
            state (a NamedTuple of arrays with the batch first, or None) is
            carried to the next update without its graph and is part of every
            snapshot.
        state: the state before the first update.
        updates_per_epoch: only for the epoch count in logs.
        debug: name the first non-finite value, at the cost of speed.
        rate: update number -> Adam's step size alpha; None leaves it.
    """

    def __init__(
        self,
        optimizer: chainer.Optimizer,
        loss: Loss,
        state: Any = None,
        updates_per_epoch: float = 1.0,
        debug: bool = False,
        rate: Callable[[int], float] | None = None,
    ):
        self.iteration = 0
        self.state = state
        self.is_new_epoch = False
        self.previous_epoch_detail: float | None = None
        self._optimizer = optimizer
        self._loss = loss
        self._updates_per_epoch = updates_per_epoch
        self._debug = debug
        self._rate = rate

    @property
    def epoch_detail(self) -> float:
        return self.iteration / self._updates_per_epoch

    @property
    def epoch(self) -> int:
        return int(self.epoch_detail)

    def connect_trainer(self, trainer) -> None:
        pass

    def finalize(self) -> None:
        pass

    @property
    def target(self) -> chainer.Link:
        """The link that is trained."""
        return self._optimizer.target

    def get_optimizer(self, name: str) -> chainer.Optimizer:
        return self.get_all_optimizers()[name]

    def get_all_optimizers(self) -> dict[str, chainer.Optimizer]:
        return {'main': self._optimizer}

    def update(self) -> None:
        link = self.target
        watch = find_non_finite(link) if self._debug else contextlib.nullcontext()
        with watch:
            loss, state = self._loss(self.iteration, self.state)
            value = float(loss.array)
            if not np.isfinite(value):
                raise NonFiniteError(f'the loss is {value} at update {self.iteration}')
            link.cleargrads()
            loss.backward()
            del loss
            if self._rate is not None:
                self._optimizer.alpha = self._rate(self.iteration)
            self._optimizer.update()
        self.state = detached(state)
        epoch, self.previous_epoch_detail = self.epoch, self.epoch_detail
        self.iteration += 1
        self.is_new_epoch = self.epoch != epoch

    def serialize(self, serializer) -> None:
        self.iteration = int(serializer('iteration', self.iteration))
        self._optimizer.serialize(serializer['optimizer'])
        self._optimizer.target.serialize(serializer['model'])
        if self.state is not None:
            self.state = type(self.state)(
                *(
                    serializer(f'state_{name}', array)
                    for name, array in zip(self.state._fields, self.state)
                )
            )


def linear_rate(first: float, last: float, updates: int) -> Callable[[int], float]:
    """A step size that falls in a straight line over so many updates.

    Returns:
        update number -> step size: ``first`` at 0, the lower one of both at
        ``updates`` and after. A training that is made longer goes on at what
        the longer line has there.

    Raises:
        ValueError: a step size is negative.
    """
    if not min(first, last) >= 0:
        raise ValueError(
            f'the step size cannot fall from {first} to {last}: both must be positive, or 0'
        )
    fall = first - min(first, last)
    return lambda number: first - fall * min(1.0, number / max(1, updates))


def detached(state: Any) -> Any:
    """A recurrent state's arrays, without the graph that made them."""
    if state is None:
        return None
    return type(state)(*(getattr(field, 'array', field) for field in state))


class HeldOut(training.Extension):
    """Measures on held-out data, keeps the best weights, knows when to stop.

    Args:
        measure: ``() -> {name: value}``; reported as ``held_out/name``.
        criterion: the name whose smallest value marks the best weights.
        keep: where the best weights go.
        patience: measurements without a new best before ``exhausted``. That
            of the end, see ``fit``, does not count.
    """

    priority = training.PRIORITY_WRITER

    def __init__(
        self,
        measure: Callable[[], dict[str, float]],
        criterion: str,
        keep: str | os.PathLike,
        patience: int | None = None,
    ):
        self.measure = measure
        self.criterion = criterion
        self.keep = pathlib.Path(keep)
        self.patience = patience
        self.best = float('inf')
        self.since_best = 0

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.since_best >= self.patience

    def __call__(self, trainer) -> None:
        values = self.measure()
        trainer.observation.update({f'held_out/{name}': value for name, value in values.items()})
        self.since_best += 1
        if values[self.criterion] < self.best:
            self.best = float(values[self.criterion])
            self.since_best = 0
            save_link(self.keep, trainer.updater.target)

    def measure_end(self, link: chainer.Link, aside: pathlib.Path) -> dict[str, float]:
        """Measure the last weights; they are kept if they are the best.

        A longer training does not pass through this measurement, so nothing
        of it stays here, and the best weights of before go ``aside``.

        Returns:
            The values by their names in the log.
        """
        values = self.measure()
        if values[self.criterion] < self.best:
            if math.isfinite(self.best) and not aside.exists():
                with files.atomic_write(aside) as file:
                    file.write(self.keep.read_bytes())
            save_link(self.keep, link)
        return {f'held_out/{name}': value for name, value in values.items()}

    def forget_end(self, aside: pathlib.Path) -> None:
        """Take back what ``measure_end`` set aside: a training goes on."""
        if aside.exists():
            os.replace(aside, self.keep)

    def serialize(self, serializer) -> None:
        self.best = float(serializer('best', self.best))
        self.since_best = int(serializer('since_best', self.since_best))


class ProgressBar(training.Extension):
    """Updates done, their rate, the time left and the last loss."""

    trigger = 1, 'iteration'
    priority = training.PRIORITY_READER

    def __init__(self, total: int, label: str, tick: Callable[[], None] = lambda: None):
        self._total, self._label, self._tick = total, label, tick
        self._bar: tqdm.tqdm | None = None

    def initialize(self, trainer) -> None:
        self._bar = tqdm.tqdm(
            total=self._total,
            initial=trainer.updater.iteration,
            desc=self._label,
            unit='update',
            mininterval=1.0,
            file=sys.stderr,
            dynamic_ncols=True,
        )

    def __call__(self, trainer) -> None:
        assert self._bar is not None
        self._bar.update(trainer.updater.iteration - self._bar.n)
        if trainer.updater.iteration % 20 == 0:
            loss = trainer.observation.get('main/loss')
            if loss is not None:
                self._bar.set_postfix_str(f'loss {_number(loss):.4g}', refresh=False)
            self._tick()

    def finalize(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _number(value: Any) -> float:
    return float(getattr(value, 'array', value))


def fit(
    folder: str | os.PathLike,
    updater: NumberedUpdater,
    updates: int,
    label: str,
    held_out: HeldOut | None = None,
    measure_every: int = 100,
    log_every: int = 20,
    snapshot_seconds: float = 60.0,
    tick: Callable[[], None] = lambda: None,
    extra: Iterable[training.Extension] = (),
) -> training.Trainer:
    """Train up to ``updates`` updates, from the last snapshot if there is one.

    Writes ``log.json`` (Chainer's LogReport) and snapshots under ``folder``.
    The end is measured too, whatever ``measure_every`` is, and the updates
    since the last row of the log get a row.

    A later call with more updates goes on, with the numbers of a training
    that was always that long: the last snapshot is from before the
    measurement of the end, and the best weights until then are set aside.

    Raises:
        devices.NonFiniteError: a loss, and under debug any value, is not
            finite. It carries the stage and the last good snapshot's path.
    """
    snapshots = Snapshots(pathlib.Path(folder) / 'snapshots')
    aside = snapshots.folder / 'best.npz'

    def finished(trainer) -> bool:
        return trainer.updater.iteration >= updates or (
            held_out is not None and held_out.exhausted
        )

    trainer = training.Trainer(updater, finished, out=os.fspath(folder))
    if held_out is not None:
        trainer.extend(held_out, name='held_out', trigger=(measure_every, 'iteration'))
    rows = _Rows(log_every, 'iteration')
    trainer.extend(extensions.LogReport(trigger=rows, filename='log.json'))
    trainer.extend(
        lambda trainer: snapshots.save(trainer),
        name='snapshot',
        trigger=triggers.TimeTrigger(snapshot_seconds),
        priority=-100,
    )
    trainer.extend(ProgressBar(updates, label, tick), name='progress')
    for extension in extra:
        trainer.extend(extension)
    resumed = snapshots.resume(trainer)
    if resumed is not None:
        print(f'{label}: resumed from {resumed}')
    goes_on = not finished(trainer)
    if goes_on and held_out is not None:
        held_out.forget_end(aside)
    _run(trainer, label, snapshots)
    if goes_on:
        snapshots.save(trainer)
    values = {}
    if held_out is not None and updater.iteration % measure_every:
        values = held_out.measure_end(updater.target, aside)
    _log_end(trainer, rows, values)
    return trainer


class _Rows(triggers.IntervalTrigger):
    """When the log gets a row: at intervals, and when it is the end."""

    end = False

    def __call__(self, trainer) -> bool:
        return self.end or super().__call__(trainer)


def _log_end(trainer: training.Trainer, rows: _Rows, values: dict[str, float]) -> None:
    """Log what came after the last row, and the values of the end."""
    log, number = history(trainer), trainer.updater.iteration
    if not number or (log and log[-1]['iteration'] == number and not values):
        return
    trainer.observation = values
    rows.end = True
    trainer.get_extension('LogReport')(trainer)
    if len(log) > 1 and log[-2]['iteration'] == number:
        log[-2:] = [{**log[-2], **log[-1]}]
        files.write_json(os.path.join(trainer.out, 'log.json'), log)


def _run(trainer: training.Trainer, label: str, snapshots: Snapshots) -> None:
    try:
        trainer.run(show_loop_exception_msg=False)
    except NonFiniteError as error:
        last = next(iter(snapshots.paths()), None)
        error.stage = label
        error.snapshot = last
        raise


def history(trainer: training.Trainer) -> list[dict[str, float]]:
    """The log's entries, one per ``log_every`` updates and one of the end."""
    return trainer.get_extension('LogReport').log
