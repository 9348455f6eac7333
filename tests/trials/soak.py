"""Collection or evolution for hours: memory, file handles and the log must not creep up.

    python -m tests.trials.soak collection --hours 2
    python -m tests.trials.soak evolution --hours 2

Collection is one call that plays Pendulum in two workers until the time is up; evolution is CMA-ES
in a dream, begun anew after some generations. Every ten seconds the resident memory of this
process and of its workers (MB), its open files and the bytes of the run's log are noted. The end
says their slopes by the hour, with standard errors, without the first quarter of the time. Ctrl-C
ends it early.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import argparse
import contextlib
import functools
import os
import pathlib
import shutil
import sys
import tempfile
import time
from typing import NamedTuple, TextIO

import numpy as np

from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.controller import LinearController
from chainer_wm.agents.policies import HeldRandom
from chainer_wm.dream.simulator import Dream
from chainer_wm.envs.pendulum import Pendulum
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.play.collection import collect
from chainer_wm.rollouts import RolloutStore
from chainer_wm.runs.run_folder import Run
from chainer_wm.training import evolution
from tests.trials import processes

EVERY = 10.0  # seconds between two rows
GENERATIONS = 25  # of one search
BLOCKS = 20  # whose means give a slope: neighbouring rows are not independent


class Row(NamedTuple):
    """What was seen at one moment."""

    hours: float
    units: int  # episodes or generations so far
    memory: float  # MB of this process
    workers_memory: float  # MB of all workers
    files: int
    log: int  # bytes


class TimeIsUp(Exception):
    """The soak is over."""


class Watch:
    """Notes rows until the time is up.

    Args:
        hours: how long.
        log: of the run.
        out: where a row is printed every few minutes.
    """

    def __init__(self, hours: float, log: pathlib.Path, out: TextIO):
        self.hours, self.log, self.out = hours, log, out
        self.rows: list[Row] = []
        self._units, self._start, self._last = 0, time.monotonic(), 0.0

    def note(self) -> None:
        """One more unit is done.

        Raises:
            TimeIsUp: it was the last.
        """
        self._units += 1
        spent = time.monotonic() - self._start
        if spent - self._last >= EVERY:
            self._last = spent
            me = os.getpid()
            workers = sum(map(processes.resident, processes.workers(me)))
            seen = processes.resident(me), workers, processes.open_files(me)
            self.rows.append(Row(spent / 3600, self._units, *seen, self.log.stat().st_size))
            if len(self.rows) % 20 == 1:
                print(*(f'{n} {v:.4g}' for n, v in self.rows[-1]._asdict().items()), file=self.out)
                self.out.flush()
        if spent > self.hours * 3600:
            raise TimeIsUp


class WatchedStore(RolloutStore):
    """A store whose every new episode is noted."""

    watch: Watch

    def append(self, entry: dict) -> None:
        super().append(entry)
        self.watch.note()


def collection(run: Run, watch: Watch) -> None:
    store = WatchedStore(run.path('rollouts'))
    store.watch = watch
    policy = functools.partial(HeldRandom, (4,))
    with run.working_on('collection'):
        collect(store, Pendulum, policy, 10**6, 0, workers=2, progress=False)


def evolve(run: Run, watch: Watch) -> None:
    model = MDNRNN(4, 1, 16, predict_done=True)
    firsts = np.zeros((8, 4), np.float32)
    dream = Dream(model, (firsts, firsts - 2), temperature=1.0, max_steps=50)
    controller = LinearController(4 + 2 * 16, 1, bias=False)
    for seed in range(10**6):
        fitness = evolution.in_dream(
            dream, controller.act, episodes=2, seed=seed, features=('z', 'h', 'c')
        )
        search = CMAES(np.zeros(controller.n_params), 0.1, population_size=8, seed=seed)
        folder = run.path('controller')
        with run.working_on('evolution'):
            evolution.evolve(folder, search, fitness, generations=GENERATIONS, tick=watch.note)
        shutil.rmtree(folder)


def slope(hours: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Least squares over the means of blocks: by the hour, and its standard error."""
    blocks = np.array_split(np.stack([hours, values]), BLOCKS, axis=1)
    x, y = np.array([block.mean(axis=1) for block in blocks]).T
    x = x - x.mean()
    gain = (x @ y) / (x @ x)
    left = y - y.mean() - gain * x
    return gain, float(np.sqrt(left @ left / (len(x) - 2) / (x @ x)))


def summary(part: str, rows: list[Row]) -> str:
    """What the last three quarters of the time tell."""
    table = np.array([row for row in rows if row.hours > rows[-1].hours / 4], float)
    said = [f'{part}: {rows[-1].units} units in {rows[-1].hours:.2f} h, {len(table)} rows']
    if len(table) < BLOCKS:
        return f'{said[0]}: too few for a slope'
    for name in ('memory', 'workers_memory', 'files', 'log'):
        values = table[:, Row._fields.index(name)]
        gain, error = slope(table[:, 0], values)
        said.append(
            f'{name}: {values[0]:.1f} to {values[-1]:.1f} (least {values.min():.1f}, most '
            f'{values.max():.1f}), {gain:+.3g} +- {error:.2g} an hour'
        )
    units = table[-1, 1] - table[0, 1]
    said.append(f'log: {(table[-1, 5] - table[0, 5]) / units:.2f} bytes a unit')
    return '\n'.join(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {'collection': collection, 'evolution': evolve}
    parser.add_argument('part', choices=parts)
    parser.add_argument('--hours', type=float, default=2.0)
    given = parser.parse_args()
    out = sys.stdout
    with tempfile.TemporaryDirectory() as held, open(os.devnull, 'w') as nowhere:
        run = Run(held, {})
        watch = Watch(given.hours, run.path('log.jsonl'), out)
        with (
            contextlib.suppress(TimeIsUp, KeyboardInterrupt),
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            parts[given.part](run, watch)
        run.close()
    print(summary(given.part, watch.rows))


if __name__ == '__main__':
    main()
