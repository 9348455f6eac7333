"""``kill -9`` at random moments of a run, of the driver or of a worker: nothing is lost.

    python -m tests.trials.kill --count 200 --seed 0 --scripts doom_take_cover

A run is left alone first; then another is killed again and again, each time after a random share
of the time that the first one took, and begun again, until it ends. Its results and the bytes of
its episodes must be those of the first. That is repeated, script after script, until ``--count``
kills have hit a process. Where a worker is hit, the run itself must go on.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

from tests.trials.scripts import SCRIPTS, Script


def children(process: int) -> list[int]:
    """Workers: children of a process that were spawned to play."""
    found = []
    for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
        try:
            parent = int(path.read_text().rpartition(')')[2].split()[1])
            command = (path.parent / 'cmdline').read_text()
        except (OSError, IndexError, ValueError):
            continue
        if parent == process and 'spawn_main' in command:
            found.append(int(path.parent.name))
    return found


def hit(process: subprocess.Popen, delay: float, worker: bool, rng: np.random.Generator) -> str:
    """Kill after a delay; whom, '' for nobody: it had ended."""
    try:
        process.wait(delay)
        return ''
    except subprocess.TimeoutExpired:
        pass
    workers = children(process.pid) if worker else []
    if workers:
        try:
            os.kill(int(rng.choice(workers)), signal.SIGKILL)
        except ProcessLookupError:
            return ''
        return 'worker'
    process.kill()
    return 'driver'


def one_run(
    script: Script, data: pathlib.Path, whole_seconds: float, most: int, rng: np.random.Generator
) -> dict[str, int]:
    """A run killed up to so many times until it ends; how often whom."""
    kills = {'driver': 0, 'worker': 0}
    while True:
        process = script.start(data, 'killed')
        while sum(kills.values()) < most and process.poll() is None:
            delay = whole_seconds * rng.uniform(0.02, 0.6)
            who = hit(process, delay, bool(rng.random() < 0.5), rng)
            if who:
                kills[who] += 1
            if who != 'worker':
                break
        said = process.communicate()[0]
        if process.returncode == 0:
            return kills
        assert process.returncode == -signal.SIGKILL, said[-2000:]


def compare(script: Script, data: pathlib.Path) -> None:
    """Raises AssertionError: an episode is lost, or a number differs."""
    whole, killed = (script.episodes(data, run) for run in ('whole', 'killed'))
    assert killed == whole, f'episodes differ: {set(whole.items()) ^ set(killed.items())}'
    whole, killed = (script.results(data, run) for run in ('whole', 'killed'))
    differ = [name for name in {*whole, *killed} if whole.get(name) != killed.get(name)]
    assert not differ, f'results differ in {differ}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--count', type=int, default=200)
    parser.add_argument('--each', type=int, default=8, help='kills of a run, at most')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--scripts', nargs='+', default=list(SCRIPTS), choices=list(SCRIPTS))
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    total, runs, failed = {'driver': 0, 'worker': 0}, 0, 0
    with tempfile.TemporaryDirectory() as held:
        data, seconds = pathlib.Path(held), {}
        while sum(total.values()) < given.count:
            for name in given.scripts:
                script = SCRIPTS[name]
                if name not in seconds:
                    start = time.monotonic()
                    process = script.start(data, 'whole')
                    said = process.communicate()[0]
                    assert process.returncode == 0, said[-2000:]
                    seconds[name] = time.monotonic() - start
                try:
                    kills = one_run(script, data, seconds[name], given.each, rng)
                    compare(script, data)
                except AssertionError as error:
                    failed += 1
                    print(f'{name}: FAILED: {error}')
                else:
                    total = {who: total[who] + kills[who] for who in total}
                    print(f'{name}: {kills}, equal; so far {total}', flush=True)
                shutil.rmtree(script.folder(data, 'killed'), ignore_errors=True)
                runs += 1
                if sum(total.values()) >= given.count or failed > 20:
                    break
            if failed > 20:
                break
    print(
        f'{sum(total.values())} kills ({total}) in {runs} runs, seed {given.seed}: {failed} failed'
    )
    sys.exit(bool(failed))


if __name__ == '__main__':
    main()
