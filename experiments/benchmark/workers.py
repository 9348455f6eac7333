"""What workers gain and cost: one process, then 1, 2 and 4 workers of either engine.

The work is that of World Models at the paper's sizes, with networks that learned nothing: Take
Cover's random episodes, shards of its dream, CarRacing's candidates in gym's game. Workers are set
up before the clock starts; how long that took is told, too. Ray (extra ``cluster``) is started
here with as many CPUs as workers are wanted; without it, processes alone are measured.

For numbers per core give this process one thread: ``OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1``.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import argparse
import contextlib
import functools
import importlib.util
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import numpy as np

from chainer_wm import files
from chainer_wm.agents.controller import LinearController
from chainer_wm.agents.policies import HeldRandom
from chainer_wm.agents.world_model import WorldModelAgent
from chainer_wm.dream.simulator import Dream
from chainer_wm.envs.car_racing import CarRacing
from chainer_wm.envs.take_cover import TakeCover
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.play import lanes
from chainer_wm.play.cluster import Cluster
from chainer_wm.play.collection import play_rollouts
from chainer_wm.play.engines import Workers, make_pool, portable
from chainer_wm.rollouts import RolloutStore
from chainer_wm.runs import run_folder
from chainer_wm.seeds import stream
from chainer_wm.training import evolution

CORES = len(os.sched_getaffinity(0))
WORKERS = (1, 2, 4)
DREAMS = 16  # per candidate
CAR_STEPS, DREAM_STEPS = 10, 60  # of the 1,000 and 2,100 that there may be
ANSWER = 500_000  # bytes


class Work(NamedTuple):
    """One row of the table.

    Fields:
        do: ``(context, task) -> answer``.
        make: makes the context.
        tasks: of one measurement.
        warm: a short one, for workers that begin.
        units: answer -> how many it is worth.
        travels: the context holds networks, which a cluster's object store brings to the workers.
    """

    name: str
    unit: str
    do: Callable
    make: Callable[[], Any]
    tasks: list[Any]
    warm: Any
    units: Callable[[Any], float]
    travels: bool = False


def record(context: tuple, episode: int) -> tuple[int, bytes]:
    """Frames of a random episode, and its compressed file."""
    envs, store, _ = context
    ((_, rollout),) = play_rollouts(envs, HeldRandom(), [stream(0, 'collect', episode)])
    return len(rollout), store.take(store.write(episode, rollout))


def recorder() -> tuple:
    folder = tempfile.TemporaryDirectory(prefix='episodes-')
    return lanes.Envs(TakeCover), RolloutStore(folder.name), folder


def dreamer() -> tuple[Dream, Callable]:
    """Take Cover's M in which nobody dies, and C's ``act``."""
    model = MDNRNN(64, 1, 512, predict_done=True)
    model.head.b.array[-1] = -50
    dream = Dream(model, (np.zeros((10, 64)), np.zeros((10, 64))), 1.15, max_steps=DREAM_STEPS)
    return dream, LinearController(64 + 2 * 512, 1, bias=False).act


def driver() -> tuple[lanes.Envs, WorldModelAgent]:
    """CarRacing and its agent."""
    controller = LinearController(32 + 256, 3, actions='driving')
    agent = WorldModelAgent(ConvVAE(32), MDNRNN(32, 3, 256), controller, ('z', 'h'))
    return lanes.Envs(functools.partial(CarRacing, 'gym', CAR_STEPS)), agent


def nothing(context: None, task: Any) -> Any:
    """Answers what the task says: zeros, or so many bytes."""
    return bytes(task) if isinstance(task, int) else np.zeros(evolution.LANES)


def no_context() -> None:
    """Needs nothing."""


def shard(candidates: int, generation: int) -> tuple:
    """A task of ``evolution.InShards``, with C of Take Cover."""
    theta = 0.1 * stream(0, 'benchmark').standard_normal((candidates, 1088))
    return theta, 0, generation, DREAMS, ('z', 'h', 'c')


def batch(candidates: int, generation: int) -> tuple:
    """A task of ``evolution.InGame``, with C of CarRacing."""
    theta = 0.1 * stream(0, 'benchmark').standard_normal((candidates, 867))
    return theta, 0, generation, [0] * candidates


def idle(name: str, tasks: list[Any]) -> Work:
    """What handing out costs."""
    return Work(name, 'tasks', nothing, no_context, tasks, warm=0, units=lambda answer: 1)


def dreams(name: str, tasks: list[Any]) -> Work:
    """What evolution in the dream costs."""
    return Work(
        name,
        'steps',
        evolution.dream_shard,
        dreamer,
        tasks,
        warm=shard(1, 9),
        units=lambda answer: answer.size * DREAM_STEPS,
        travels=True,
    )


def works() -> list[Work]:
    """What is measured."""
    return [
        idle('no work', [0] * 300),
        idle('no work, 111 kB in', [batch(16, 0)[0]] * 100),
        idle('no work, 500 kB out', [ANSWER] * 100),
        Work(
            'Take Cover, random episodes',
            'frames',
            record,
            recorder,
            tasks=[*range(16)],
            warm=16,
            units=lambda answer: answer[0],
        ),
        dreams('Take Cover, dreams of 8 candidates', [shard(8, n) for n in range(8)]),
        dreams('Take Cover, dreams of 1 candidate', [shard(1, n) for n in range(16)]),
        Work(
            'CarRacing, games of 16 candidates',
            'steps',
            evolution.play_candidates,
            driver,
            tasks=[batch(16, n) for n in range(4)],
            warm=batch(1, 9),
            units=lambda answer: sum(length for _, length in answer),
            travels=True,
        ),
    ]


def timed(do: Callable, context: Any, task: Any) -> tuple[int, float, Any]:
    """Who answered, for how many seconds it had a core, and the answer."""
    begin = time.process_time()
    answer = do(context, task)
    return os.getpid(), time.process_time() - begin, answer


class Measured(NamedTuple):
    """Of one work, by some workers."""

    start: float  # seconds until all workers had done a short task
    seconds: float  # of all tasks
    worked: float  # seconds that workers had a core; other work on the machine changes it little
    driven: float  # seconds that this process had one
    units: float
    received: int  # bytes of the answers, pickled


def measure(work: Work, workers: Workers, count: int) -> Measured:
    """Do the tasks once, by workers that are set up.

    Args:
        count: of the workers; 0 for this process.
    """
    begin = time.perf_counter()
    do = functools.partial(timed, work.do)
    make = portable(work.make, workers) if work.travels else work.make
    with make_pool(do, workers, make) as pool:
        seen: set[int] = set()
        while len(seen) < max(count, 1):
            seen |= {answer[0] for _, answer in pool.run([work.warm] * max(count, 1))}
        start, own = time.perf_counter(), time.process_time()
        found = [answer for _, answer in pool.run(work.tasks)]
        seconds, driven = time.perf_counter() - start, time.process_time() - own
    answers = [answer for _, _, answer in found]
    return Measured(
        start - begin,
        seconds,
        sum(cpu for _, cpu, _ in found),
        driven,
        sum(work.units(answer) for answer in answers),
        sum(size(answer) for answer in answers),
    )


def size(what: Any) -> int:
    """Bytes that go over a wire."""
    return len(ForkingPickler.dumps(what))


@contextlib.contextmanager
def engine(name: str, count: int) -> Iterator[Workers]:
    """So many workers."""
    if name == 'processes':
        yield count
        return
    import ray

    quiet: dict[str, Any] = dict(logging_level='error', log_to_driver=False)
    ray.init(address='local', num_cpus=count, include_dashboard=False, **quiet)
    try:
        yield Cluster('local')
    finally:
        ray.shutdown()


def row_text(work: Work, name: str, count: int, found: Measured) -> str:
    """A line of the table."""
    who = f'{count} {name}' if count else 'this process'
    tasks = len(work.tasks)
    each = (1000 * seconds / tasks for seconds in (found.seconds, found.worked, found.driven))
    task = ''.join(f'{ms:>9.2f}' for ms in each)
    rate = f'{found.units / found.seconds:>9.0f} {work.unit}/s'
    return f'{work.name:<36}{who:<14}{rate:<20}{task}{found.start:>9.1f}'


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--json', type=pathlib.Path, help='write results here')
    parser.add_argument('--only', nargs='+', default=[''], metavar='TEXT')
    parser.add_argument('--workers', nargs='+', type=int, default=WORKERS)
    options = parser.parse_args(argv)
    names = ['processes', 'ray'] if importlib.util.find_spec('ray') else ['processes']
    print(
        f'{CORES} cores, {os.environ.get("OPENBLAS_NUM_THREADS", CORES)} thread(s) in this process'
        f'{"" if "ray" in names else "; no Ray here: the extra cluster brings it"}'
    )
    print(f'{"ms a task: in all, of workers, of this process; s to start":>106}')
    chosen = [work for work in works() if any(text in work.name for text in options.only)]
    rows = []
    for name, count in [('processes', 0), *((n, c) for n in names for c in options.workers)]:
        with engine(name, count) as workers:
            for work in chosen:
                found = measure(work, workers, count)
                print(row_text(work, name, count, found), flush=True)
                sent = sum(map(size, work.tasks))
                said = dict(work=work.name, engine=name, workers=count, tasks=len(work.tasks))
                rows.append({**said, 'sent': sent, **found._asdict()})
    made = {work.name: size(work.make()) for work in chosen if work.travels}
    for row in rows[: len(chosen)]:
        print(f'{row["work"]}: {row["sent"]:,} bytes to workers, {row["received"]:,} back')
    for called, once in made.items():
        print(f'{called}: {once:,} bytes to each worker, once')
    if options.json:
        said = {'cores': CORES, 'once': made, 'versions': run_folder.versions()}
        files.write_json(options.json, {**said, 'rows': rows}, seal=False)


if __name__ == '__main__':
    main()
