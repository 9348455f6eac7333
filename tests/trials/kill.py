"""``kill -9`` at random moments of every stage, of the driver or of a worker: nothing is lost.

    python -m tests.trials.kill FOLDER --count 200 --seed 0
    python -m tests.trials.kill FOLDER --scripts take_cover pendulum --minutes 60

Each script of ``tests.trials.scripts`` is run once and left alone. Then, script after script and
round after round, a new run of it is begun, and in every stage two processes are killed, after a
random share of the time that the stage took before: the driver, which is then begun again, or one
of its workers, where the run itself must go on. When it has ended, its results, its episodes, byte
for byte, and the names of its files must be those of the run that was left alone, and no worker
may have outlived its driver.

FOLDER keeps the runs and ``tally.jsonl``, a line for each kill and for each run that ended; the
trial can be stopped at any time and goes on from there. Kills count once their run has ended and
is equal.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import time

import numpy as np

from tests.trials import processes
from tests.trials.scripts import SCRIPTS, Script

DRIVER, WORKER = 'driver', 'worker'
EACH = 2  # kills in a stage
LOOK = 0.1  # seconds between two looks at a run
WORKERS_SHARE = 0.6  # of the kills, where there are workers
SNAPSHOT = re.compile(r'snapshots/[\w-]+\.npz$')
MOST_WORKERS = 2  # killed under one driver: a task that loses three is given up, as it should be


class Tally:
    """What was killed, and which runs have ended, in a file."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        text = path.read_text() if path.exists() else ''
        if text and not text.endswith('\n'):  # the trial was stopped in the middle of a line
            path.write_text(text + '\n')
        lines = text.splitlines()
        self.lines = [json.loads(line) for line in lines if line.endswith('}')]

    def add(self, **line: object) -> None:
        self.lines.append(line)
        with open(self.path, 'a') as file:
            file.write(json.dumps(line) + '\n')

    def ended(self, label: str, run: str) -> dict | None:
        """The line of a run that ended."""
        same = [line for line in self.lines if (line['script'], line['run']) == (label, run)]
        return next((line for line in same if 'equal' in line), None)

    def counts(self) -> collections.Counter[tuple[str, str, str]]:
        """Kills of runs that were equal: (script, stage, who) and how many."""
        found: collections.Counter[tuple[str, str, str]] = collections.Counter()
        for line in self.lines:
            if 'who' in line and (self.ended(line['script'], line['run']) or {}).get('equal'):
                found[line['script'], line['stage'], line['who']] += 1
        return found

    @property
    def failed(self) -> int:
        return sum(not line.get('equal', True) for line in self.lines)


class Killed:
    """A run that is killed in every stage.

    Args:
        script, data, run: which.
        tally: gets a line for each kill.
        rng: of the moments.
    """

    def __init__(
        self, script: Script, data: pathlib.Path, run: str, tally: Tally, rng: np.random.Generator
    ):
        self.script, self.data, self.run = script, data, run
        self.tally, self.rng = tally, rng
        self.orphans: set[int] = set()
        self._begin()

    def _begin(self) -> None:
        self.hit_workers = 0
        self.starts_before = self._starts()
        self.process = self.script.start(self.data, self.run)

    def through(self, stages: dict[str, float]) -> None:
        """Kill in each stage (by its seconds), then let it end.

        Raises:
            AssertionError: it did not go on after a kill, or a worker outlived its driver.
        """
        try:
            for stage in [stage for stage in stages for _ in range(EACH)]:
                if self._in(stage):
                    self._kill(stage, stages[stage] * self.rng.uniform())
            self._check(self.process.wait())
            left = {worker for worker in self.orphans if not processes.gone(worker)}
            assert not left, f'workers {left} outlived their driver'
        finally:
            self.process.kill_all()

    def _done(self, stage: str) -> bool:
        return self.script.stages(self.data, self.run).get(stage, {}).get('done', False)

    def _starts(self) -> collections.Counter[str]:
        """How often each stage was begun."""
        log = self.script.folder(self.data, self.run) / 'log.jsonl'
        lines = log.read_text().splitlines() if log.exists() else []
        seen = [json.loads(line) for line in lines if line.endswith('}')]
        return collections.Counter(line['stage'] for line in seen if line.get('event') == 'start')

    def _in(self, stage: str) -> bool:
        """Wait until the process is in a stage; False if it is over already, or the run is."""
        while not self._done(stage):
            if self._starts()[stage] > self.starts_before[stage]:
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(LOOK)
        return False

    def _kill(self, stage: str, delay: float) -> None:
        """Kill the driver or a worker after a delay, unless the run ends before."""
        until = time.monotonic() + delay
        while (left := until - time.monotonic()) > 0 and self.process.poll() is None:
            time.sleep(min(LOOK, left))
        workers = processes.workers(self.process.pid)
        hits_worker = bool(workers) and self.hit_workers < MOST_WORKERS
        hits_worker &= self.rng.random() < WORKERS_SHARE
        try:
            if hits_worker:
                os.kill(int(self.rng.choice(workers)), signal.SIGKILL)
                self.hit_workers += 1
            elif not self._kill_driver(workers):
                return
        except ProcessLookupError:
            return  # the worker was leaving
        who = WORKER if hits_worker else DRIVER
        where = f'after {stage}' if self._done(stage) else stage
        self.tally.add(script=self.script.label, run=self.run, who=who, stage=where)
        if who == DRIVER:
            self._begin()

    def _kill_driver(self, workers: list[int]) -> bool:
        """Whether it had not ended before."""
        self.orphans.update(workers)
        self.process.kill()
        return self.process.wait() == -signal.SIGKILL

    def _check(self, code: int) -> None:
        said = self.script.said(self.data, self.run)
        assert code == 0, f'it ended with {code}: {said[-2000:]}'
        assert 'Traceback' not in said, said[-2000:]


def names(script: Script, data: pathlib.Path, run: str) -> set[str]:
    """Of the files of a run; when a snapshot was taken is up to the clock."""
    folder = script.folder(data, run)
    found = (path.relative_to(folder) for path in folder.rglob('*') if path.is_file())
    return {str(path) for path in found if not SNAPSHOT.search(str(path))}


def compare(script: Script, data: pathlib.Path, run: str = 'killed') -> None:
    """Raises AssertionError: an episode is lost, a number differs, or a file is left over."""
    whole, killed = (script.episodes(data, each) for each in ('whole', run))
    assert killed == whole, f'episodes differ: {set(whole.items()) ^ set(killed.items())}'
    whole, killed = (script.results(data, each) for each in ('whole', run))
    differ = [name for name in {*whole, *killed} if whole.get(name) != killed.get(name)]
    assert not differ, f'results differ in {differ}'
    differ = names(script, data, 'whole') ^ names(script, data, run)
    assert not differ, f'files differ: {sorted(differ)}'


def left_alone(script: Script, data: pathlib.Path, tally: Tally) -> dict[str, float]:
    """Seconds of each stage of a run that is not killed; run once, with what it is based on."""
    if script.base:
        left_alone(SCRIPTS[script.base], data, tally)
    if tally.ended(script.label, 'whole') is None:
        process = script.start(data, 'whole')
        try:
            assert process.wait() == 0, script.said(data, 'whole')[-2000:]
        finally:
            process.kill_all()
        tally.add(script=script.label, run='whole', equal=True)
    stages = script.stages(data, 'whole')
    return {stage: row['seconds'] for stage, row in stages.items()}


def one_run(script: Script, data: pathlib.Path, run: str, seed: int, tally: Tally) -> None:
    """Begin or go on with a run, kill it in every stage, and judge it."""
    stages = left_alone(script, data, tally)
    number = int.from_bytes(f'{script.label} {run}'.encode(), 'little')
    rng = np.random.default_rng([seed, number, len(tally.lines)])
    try:
        Killed(script, data, run, tally, rng).through(stages)
        compare(script, data, run)
    except AssertionError as error:
        tally.add(script=script.label, run=run, equal=False, said=str(error))
        print(f'{script.label} {run}: FAILED: {error}', flush=True)
        return
    tally.add(script=script.label, run=run, equal=True)
    shutil.rmtree(script.folder(data, run))


def table(tally: Tally) -> str:
    """A line for each script: whom its kills hit, and in which stages."""
    counts = tally.counts()
    stages: collections.Counter[tuple[str, str]] = collections.Counter()
    for (label, stage, _), count in counts.items():
        stages[label, stage] += count
    lines = []
    for label in dict.fromkeys(label for label, _, _ in counts):
        hits = {
            who: sum(n for (a, _, b), n in counts.items() if (a, b) == (label, who))
            for who in (DRIVER, WORKER)
        }
        seen = ', '.join(f'{stage} {n}' for (a, stage), n in stages.items() if a == label)
        lines.append(f'{label:20} {hits[DRIVER]:4} drivers {hits[WORKER]:4} workers: {seen}')
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=pathlib.Path)
    parser.add_argument('--count', type=int, default=200, help='kills in all')
    parser.add_argument('--minutes', type=float, default=float('inf'), help='begin no run later')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--scripts', nargs='+', default=list(SCRIPTS), choices=list(SCRIPTS))
    given = parser.parse_args()
    data, start = given.folder / 'data', time.monotonic()
    data.mkdir(parents=True, exist_ok=True)
    tally = Tally(given.folder / 'tally.jsonl')
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    turns = ((turn, SCRIPTS[label]) for turn in range(10**6) for label in given.scripts)
    try:
        for turn, script in turns:
            spent = (time.monotonic() - start) / 60
            if sum(tally.counts().values()) >= given.count or spent > given.minutes:
                break
            run = f'{given.seed}-{turn}'
            if tally.ended(script.label, run) is None:
                one_run(script, data, run, given.seed, tally)
                print(f'{script.label} {run}: {sum(tally.counts().values())} so far', flush=True)
    except KeyboardInterrupt:
        print('stopped; the same command goes on')
    print(table(tally))
    counts = tally.counts()
    total = {who: sum(n for (*_, w), n in counts.items() if w == who) for who in (DRIVER, WORKER)}
    print(f'{sum(total.values())} kills ({total}): {tally.failed} runs failed')
    sys.exit(bool(tally.failed))


if __name__ == '__main__':
    main()
