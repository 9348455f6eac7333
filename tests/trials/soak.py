"""Collection and evolution for hours: memory, file handles and the log must not creep up.

    python -m tests.trials.soak --hours 2

Episodes of a game are played by two workers into stores that are removed again, then generations
of CMA-ES in a dream, in turns. Every turn notes the resident memory of this process (MB), its open
files, and the bytes of the run's log; the end says the slopes, of the second half of the turns.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import argparse
import contextlib
import functools
import os
import pathlib
import shutil
import tempfile
import time

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

PAGE = os.sysconf('SC_PAGE_SIZE') / 1e6


def measured(log: pathlib.Path) -> tuple[float, int, int]:
    """Resident MB, open files, and bytes of the log."""
    pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
    return pages * PAGE, len(os.listdir('/proc/self/fd')), log.stat().st_size


def evolve(folder: pathlib.Path, seed: int, generations: int) -> None:
    model = MDNRNN(4, 1, 16, predict_done=True)
    firsts = np.zeros((8, 4), np.float32)
    dream = Dream(model, (firsts, firsts - 2), temperature=1.0, max_steps=50)
    controller = LinearController(4 + 2 * 16, 1, bias=False)
    fitness = evolution.in_dream(
        dream, controller.act, episodes=4, seed=seed, features=('z', 'h', 'c')
    )
    search = CMAES(np.zeros(controller.n_params), 0.1, population_size=16, seed=seed)
    evolution.evolve(folder, search, fitness, generations=generations)


def turn(run: Run, number: int, episodes: int, generations: int) -> None:
    folder = run.path('turn')
    with run.working_on('turn'):
        store = RolloutStore(folder / 'rollouts')
        policy = functools.partial(HeldRandom, (4,))
        collect(store, Pendulum, policy, episodes, number, workers=2, progress=False)
        evolve(folder / 'controller', number, generations)
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--hours', type=float, default=2.0)
    parser.add_argument('--episodes', type=int, default=8, help='of a turn')
    parser.add_argument('--generations', type=int, default=40, help='of a turn')
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as held, open(os.devnull, 'w') as nowhere:
        run = Run(held, {})
        start = time.monotonic()
        while (hours := (time.monotonic() - start) / 3600) < given.hours or len(rows) < 3:
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                turn(run, len(rows), given.episodes, given.generations)
            rows.append((hours, *measured(run.path('log.jsonl'))))
            _, memory, opened, logged = rows[-1]
            print(
                f'turn {len(rows)}: {hours:.3f} h, {memory:.1f} MB, {opened} files, {logged} bytes'
            )
        run.close()
    table = np.array(rows)[len(rows) // 2 :]
    slopes = [np.polyfit(table[:, 0], table[:, column], 1)[0] for column in (1, 2)]
    per_turn = (table[-1, 3] - table[0, 3]) / max(len(table) - 1, 1)
    print(
        f'{len(rows)} turns in {rows[-1][0]:.2f} h: memory {slopes[0]:+.1f} MB/h, files '
        f'{slopes[1]:+.2f}/h, log {per_turn:.0f} bytes a turn'
    )


if __name__ == '__main__':
    main()
