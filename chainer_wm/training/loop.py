"""The one loop of every training: numbered steps, shown, saved, resumed.

A step is a function of its number and of what the steps before it left (its batch, its episodes
and its noise come from streams named by its number), and a save holds all that they left. So a run
that was killed and resumed gives the numbers of an unbroken one, and so does one whose budget is
raised later.

The loop is Chainer's Trainer, and ``Steps`` its Updater. Updates of a network are one kind of them
(``NumberedUpdater``), rounds of PPO another, generations of CMA-ES a third.
"""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import chainer
import numpy as np
import tqdm
from chainer import training
from chainer.training import extensions, triggers

from chainer_wm import files
from chainer_wm.files.archives import save_link
from chainer_wm.functions.non_finite import NonFiniteError, find_non_finite
from chainer_wm.links.recurrent import detach
from chainer_wm.training.data_parallel import ALONE, Ranks, SharedSaves
from chainer_wm.training.snapshots import Saves, Snapshots

Loss = Callable[[int, Any], tuple[chainer.Variable | None, Any]]


class Steps(training.Updater):
    """One step after the other, as Chainer's Trainer takes them.

    A kind of steps says what ``step`` does, and what ``serialize`` saves.

    Attributes:
        iteration: how many are done.
        unit, size: what the progress bar counts, and how much a step is of it.
        tick_every: steps between two calls of the loop's ``tick``.
        debug: name the first non-finite value, at the cost of speed.
        show: ``(text, refresh=True)``, says something beside the progress bar.
    """

    unit = 'update'
    size = 1
    tick_every = 1

    def __init__(self, debug: bool = False) -> None:
        self.iteration = 0
        self.debug = debug
        self.show: Callable[..., None] = _unseen

    @property
    def links(self) -> Sequence[chainer.Link]:
        """What trains, for the search for non-finite values."""
        return ()

    def begin(self) -> None:
        """Before the first step of all: called unless a save was found."""

    def step(self) -> None:
        """Do step number ``iteration``."""
        raise NotImplementedError

    def update(self) -> None:
        watch = find_non_finite(*self.links) if self.debug else contextlib.nullcontext()
        with watch:
            self.step()
        self.iteration += 1

    @property
    def epoch(self) -> int:
        """For the logs."""
        return self.iteration

    def connect_trainer(self, trainer) -> None:
        pass

    def finalize(self) -> None:
        self.show = _unseen

    def get_all_optimizers(self) -> dict[str, chainer.Optimizer]:
        return {}


def _unseen(text: str, refresh: bool = True) -> None:
    """Says nothing: there is no progress bar."""


def resumable(
    folder: str | os.PathLike,
    steps: Steps,
    total: int,
    label: str,
    *,
    saves: Saves | None = None,
    save_seconds: float = 60.0,
    between: Callable[[int], bool] = lambda number: True,
    finished: Callable[[], bool] = lambda: False,
    more: Iterable[training.Extension] = (),
    tick: Callable[[], None] = lambda: None,
    ranks: Ranks = ALONE,
) -> training.Trainer:
    """Go on up to ``total`` steps, from the last save if there is one.

    Args:
        folder: of the training.
        steps: at their start; what was saved takes their place.
        total: a later call with a larger one goes on.
        label: for the progress bar, and for errors.
        saves: None keeps the last two ``snapshots`` in the folder.
        save_seconds: least time between two saves; the end is always saved.
        between: the numbers of steps done at which a run may be cut and taken up again. An end of
            another number serves only whoever asks for no more steps.
        finished: ends the loop before ``total``.
        more: extensions of Chainer's.
        tick: called now and then, see ``Steps.tick_every``.
        ranks: that take these steps together; the first one saves and shows.

    Raises:
        NonFiniteError: a number is not finite. It carries the label and the path of the last good
            save.
    """
    saves = saves or Snapshots(pathlib.Path(folder) / 'snapshots')
    if ranks.size > 1:
        saves = SharedSaves(saves, ranks)

    def done(trainer: Any = None) -> bool:
        return steps.iteration >= total or finished()

    trainer = training.Trainer(steps, done, out=os.fspath(folder))
    for extension in more:
        trainer.extend(extension)
    keep = _Keep(saves, save_seconds, between)
    trainer.extend(keep, trigger=lambda trainer: ranks.first(lambda: keep.due(trainer)))
    if ranks.leads:
        trainer.extend(ProgressBar(total, label, tick))
    resumed = saves.resume(trainer, lambda number: number >= total or between(number))
    if resumed is None:
        steps.begin()
    elif ranks.leads:
        print(f'{label}: resumed at {steps.unit} {steps.iteration}, from {resumed}')
    goes_on = not done()
    try:  # where no step is left too, for the extensions and the trainer's clock
        trainer.run(show_loop_exception_msg=False)
    except NonFiniteError as error:
        error.stage = label
        error.snapshot = next(iter(saves.paths()), None)
        raise
    if goes_on:
        keep(trainer)
    return trainer


class Every:
    """A trigger: true when so many seconds have passed since it last was."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last = time.monotonic()

    def __call__(self, trainer: training.Trainer) -> bool:
        if time.monotonic() - self._last < self.seconds:
            return False
        self._last = time.monotonic()
        return True


class _Keep(training.Extension):
    """Saves a loop, each number of steps once."""

    name = 'save'
    priority = -100

    def __init__(self, saves: Saves, seconds: float, between: Callable[[int], bool]) -> None:
        self._saves, self._between, self._every = saves, between, Every(seconds)
        self._saved: int | None = None

    def due(self, trainer: training.Trainer) -> bool:
        return self._between(trainer.updater.iteration) and self._every(trainer)

    def __call__(self, trainer) -> None:
        if self._saved != trainer.updater.iteration:
            self._saves.save(trainer)
            self._saved = trainer.updater.iteration


class ProgressBar(training.Extension):
    """Steps done, their rate, the time left and what the steps say."""

    trigger = 1, 'iteration'
    name = 'progress'
    priority = training.PRIORITY_READER

    def __init__(self, total: int, label: str, tick: Callable[[], None] = lambda: None):
        self._total, self._label, self._tick = total, label, tick
        self._bar: tqdm.tqdm | None = None

    def initialize(self, trainer) -> None:
        if trainer.stop_trigger(trainer):
            return
        steps = trainer.updater
        self._bar = tqdm.tqdm(
            total=self._total * steps.size,
            initial=steps.iteration * steps.size,
            desc=self._label,
            unit=steps.unit if steps.size == 1 else 'step',
            unit_scale=steps.size > 1,
            mininterval=1.0,
            file=sys.stderr,
            dynamic_ncols=True,
        )
        steps.show = self._bar.set_postfix_str

    def __call__(self, trainer) -> None:
        assert self._bar is not None
        self._bar.update(trainer.updater.size)
        if trainer.updater.iteration % trainer.updater.tick_every == 0:
            self._tick()

    def finalize(self) -> None:
        if self._bar is not None:
            self._bar.close()


class NumberedUpdater(Steps):
    """Update ``i`` minimises ``loss(i, state)`` once.

    Args:
        optimizer: set up on the link to train.
        loss: ``(iteration, state) -> (scalar Variable, next state)``. The state (a NamedTuple of
            arrays with the batch first, or None) is carried to the next update without its graph
            and is part of every snapshot. No Variable: there is nothing for this rank.
        state: the state before the first update.
        updates_per_epoch: only for the epoch count in logs.
        debug: name the first non-finite value, at the cost of speed.
        rate: update number -> Adam's step size alpha; None leaves it.
        ranks: over which gradients, and what is reported, are averaged.
    """

    tick_every = 20

    def __init__(
        self,
        optimizer: chainer.Optimizer,
        loss: Loss,
        state: Any = None,
        updates_per_epoch: float = 1.0,
        debug: bool = False,
        rate: Callable[[int], float] | None = None,
        ranks: Ranks = ALONE,
    ):
        super().__init__(debug)
        self.ranks = ranks
        self.state = state
        self._optimizer = optimizer
        self._loss = loss
        self._updates_per_epoch = updates_per_epoch
        self._rate = rate

    @property
    def epoch(self) -> int:
        return int(self.iteration / self._updates_per_epoch)

    @property
    def links(self) -> Sequence[chainer.Link]:
        return (self._optimizer.target,)

    @property
    def target(self) -> chainer.Link:
        """The link that is trained."""
        return self._optimizer.target

    def get_optimizer(self, name: str) -> chainer.Optimizer:
        return self.get_all_optimizers()[name]

    def get_all_optimizers(self) -> dict[str, chainer.Optimizer]:
        return {'main': self._optimizer}

    def step(self) -> None:
        loss, state = self._loss(self.iteration, self.state)
        value = 0.0 if loss is None else float(loss.array)
        if not np.isfinite(value):
            raise NonFiniteError(f'the loss is {value} at update {self.iteration}')
        self.target.cleargrads()
        if loss is not None:
            loss.backward()
        del loss
        if self.ranks.size > 1:
            value = self._average(value)
        if self._rate is not None:
            self._optimizer.alpha = self._rate(self.iteration)
        self._optimizer.update()
        self.state = None if state is None else detach(state)
        if self.iteration % self.tick_every == 0:
            self.show(f'loss {value:.4g}', refresh=False)

    def _average(self, value: float) -> float:
        """Of the loss; of gradients and of what was reported, too."""
        self.ranks.mean_gradients(self.target)
        seen = chainer.reporter.get_current_reporter().observation
        means = self.ranks.average({**seen, '': value})
        value = means.pop('')
        seen.update(means)
        return value

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
        update number -> step size: ``first`` at 0, the lower one of both at ``updates`` and after.
        A training that is made longer goes on at what the longer line has there.

    Raises:
        ValueError: a step size is negative.
    """
    if not min(first, last) >= 0:
        raise ValueError(
            f'the step size cannot fall from {first} to {last}: both must be positive, or 0'
        )
    fall = first - min(first, last)
    return lambda number: first - fall * min(1.0, number / max(1, updates))


class HeldOut(training.Extension):
    """Measures on held-out data, keeps the best weights, knows when to stop.

    Args:
        measure: ``() -> {name: value}``; reported as ``held_out/name``.
        criterion: the name whose smallest value marks the best weights.
        keep: where the best weights go.
        patience: measurements without a new best before ``exhausted``. That
            of the end, see ``fit``, does not count.
        ranks: of which the first one measures and keeps.

    Attributes:
        aside: where the best weights lie while those of the end are kept,
            as ``fit`` says.
    """

    name = 'held_out'
    priority = training.PRIORITY_WRITER

    def __init__(
        self,
        measure: Callable[[], dict[str, float]],
        criterion: str,
        keep: str | os.PathLike,
        patience: int | None = None,
        ranks: Ranks = ALONE,
    ):
        self._ranks = ranks
        self.measure = lambda: ranks.first(measure)
        self.criterion = criterion
        self.keep = pathlib.Path(keep)
        self.patience = patience
        self.aside: pathlib.Path | None = None
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
            if self._ranks.leads:
                save_link(self.keep, trainer.updater.target)

    def measure_end(self, link: chainer.Link) -> dict[str, float]:
        """Measure the last weights; they are kept if they are the best.

        A longer training does not pass through this measurement, so nothing
        of it stays here, and the best weights of before go ``aside``.

        Returns:
            The values by their names in the log.
        """
        values = self.measure()
        if values[self.criterion] < self.best and self._ranks.leads:
            if self.aside and math.isfinite(self.best) and not self.aside.exists():
                with files.atomic_write(self.aside) as file:
                    file.write(self.keep.read_bytes())
            save_link(self.keep, link)
        return {f'held_out/{name}': value for name, value in values.items()}

    def initialize(self, trainer) -> None:
        """Take back what ``measure_end`` set aside, if the training goes on."""
        goes_on = self._ranks.leads and not trainer.stop_trigger(trainer)
        if goes_on and self.aside and self.aside.exists():
            os.replace(self.aside, self.keep)

    def serialize(self, serializer) -> None:
        self.best = float(serializer('best', self.best))
        self.since_best = int(serializer('since_best', self.since_best))


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
) -> training.Trainer:
    """Train up to ``updates`` updates, from the last snapshot if there is one.

    Writes ``log.json`` (Chainer's LogReport) and snapshots under ``folder``. The end is measured
    too, whatever ``measure_every`` is, and the updates since the last row of the log get a row.

    A later call with more updates goes on, with the numbers of a training
    that was always that long: the last snapshot is from before the
    measurement of the end, and the best weights until then are set aside.

    Raises:
        NonFiniteError: a loss, and under debug any value, is not finite. It carries the stage and
            the last good snapshot's path.
    """
    rows = _Rows(log_every, 'iteration')
    ranks = updater.ranks
    more: list[training.Extension] = []
    if ranks.leads:
        more.append(extensions.LogReport(trigger=rows, filename='log.json'))
    if held_out is not None:
        held_out.trigger = (measure_every, 'iteration')
        held_out.aside = pathlib.Path(folder) / 'snapshots/best.npz'
        more.insert(0, held_out)
    trainer = resumable(
        folder,
        updater,
        updates,
        label,
        save_seconds=snapshot_seconds,
        finished=lambda: held_out is not None and held_out.exhausted,
        more=more,
        tick=tick,
        ranks=ranks,
    )
    values = {}
    if held_out is not None and updater.iteration % measure_every:
        values = held_out.measure_end(updater.target)
    if ranks.leads:
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


def history(trainer: training.Trainer) -> list[dict[str, float]]:
    """The log's entries, one per ``log_every`` updates and one of the end; the first rank's."""
    return trainer.get_extension('LogReport').log if trainer.updater.ranks.leads else []
