"""Tasks by workers: one interface, two engines, processes of this machine or a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from chainer_wm.play.cluster import Cluster
from chainer_wm.play.ray_pool import RayPool
from chainer_wm.play.workers import WorkerPool

Workers = int | Cluster  # so many processes of this machine, or a Ray cluster


def run_tasks(
    function: Callable,
    tasks: Sequence[Any],
    workers: Workers,
    setup: Callable[[], Any] | None = None,
    retries: int = 2,
    timeout: float | None = None,
    tasks_per_worker: int | None = None,
) -> Generator[tuple[int, Any], None, None]:
    """Yield (index, result) of every task, in the order they finish.

    The arguments are those of `WorkerPool`; `make_pool` is there for callers who run one batch of
    tasks after another and want to start the workers once.

    Raises:
        WorkerError: a task kept failing; carries the worker's traceback.
    """
    if not len(tasks):
        return
    if isinstance(workers, int):
        workers = min(workers, len(tasks))
    with make_pool(function, workers, setup, retries, timeout, tasks_per_worker) as pool:
        yield from pool.run(tasks)


def make_pool(
    function: Callable, workers: Workers, *options: Any, **more: Any
) -> WorkerPool | RayPool:
    """Workers of either kind that stay up; the arguments are those of `WorkerPool`."""
    if isinstance(workers, Cluster):
        return RayPool(function, workers, *options, **more)
    return WorkerPool(function, workers, *options, **more)


def count_of(workers: Workers) -> int:
    """How many tasks are done at once, at the moment."""
    return workers.join().cpus if isinstance(workers, Cluster) else workers


def label_of(workers: Workers) -> str:
    """Where tasks are done, for a line of progress; '' on one machine."""
    return str(workers.join()) if isinstance(workers, Cluster) else ''


def portable(make: Callable[[], Any], workers: Workers) -> Callable[[], Any]:
    """A maker for the workers.

    The nodes of a cluster do not see the files of this machine: it takes what it makes along.
    """
    return _Made(make()) if isinstance(workers, Cluster) else make


class _Made:
    def __init__(self, value: Any) -> None:
        self._value = value

    def __call__(self) -> Any:
        return self._value
