"""Spread tasks over processes that may die.

Each worker is a fresh (spawned) process with one thread, in a process group of
its own. A worker that dies, hangs past the time limit or raises is replaced,
with whatever processes it had started, and its task is run again with the same
arguments; when that keeps failing, `WorkerError` tells what is known. Workers
leave when their parent is gone, however it went.

Scripts that use workers need the usual guard: ``if __name__ == '__main__':``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from chainer_wm.workers.pool import WorkerError, WorkerPool

__all__ = ['WorkerError', 'WorkerPool', 'run_tasks']


def run_tasks(
    function: Callable,
    tasks: Sequence[Any],
    workers: int,
    setup: Callable[[], Any] | None = None,
    retries: int = 2,
    timeout: float | None = None,
    tasks_per_worker: int | None = None,
) -> Generator[tuple[int, Any], None, None]:
    """Yield (index, result) of every task, in the order they finish.

    The arguments are those of `WorkerPool`, which is there for callers who
    run one batch of tasks after another and want to start the workers once.

    Raises:
        WorkerError: a task kept failing; carries the worker's traceback.
    """
    if not len(tasks):
        return
    with WorkerPool(
        function,
        min(workers, len(tasks)),
        setup,
        retries,
        timeout,
        tasks_per_worker,
    ) as pool:
        yield from pool.run(tasks)
