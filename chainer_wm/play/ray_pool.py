"""The tasks of ``play.workers`` on a Ray cluster: one actor per CPU, one thread each.

What an actor needs (the function, and the game and player that its setup makes) goes to the object
store once and is passed by reference. Ray starts an actor again that died, and repeats its task; a
task may so be done twice, but each answer carries its key and is taken once. Where a whole node is
lost, its tasks go to others.
"""

from __future__ import annotations

import collections
import sys
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from typing import Any

import chainer

from chainer_wm import devices
from chainer_wm.play.cluster import LOOK, Cluster, alive_nodes, on_node
from chainer_wm.play.workers import WorkerError, bind, shown

_PATIENCE = 60.0  # seconds without a worker, after which that is said


class _Player:
    """An actor: it sets up once, then does one task after the other."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._call: Callable[[Any], Any] | None = None

    def ready(self) -> None:
        """Answers as soon as the process is there."""

    def do(
        self, key: tuple[int, int], task: Any, work: list[Any]
    ) -> tuple[tuple[int, int], str, Any]:
        """(Key, 'done', result), or the traceback of what 'raised' or had 'no setup'.

        Args:
            work: where (function, setup) is in the object store; in a list, or Ray would unpack
                it before there is anyone to say what is wrong.
        """
        import ray

        if self._call is None:
            try:
                devices.use(dtype=self._dtype)
                self._call = bind(*ray.get(work[0]))
            except BaseException:
                return key, 'no setup', traceback.format_exc()
        try:
            return key, 'done', self._call(task)
        except BaseException:
            return key, 'raised', traceback.format_exc()


class _Handle:
    """The driver's side of an actor.

    Attributes:
        node: the id of the machine that it is on.
        index: the number of the task in its hands, or None.
        pending: what it is asked, until it answers.
    """

    def __init__(self, node: str, work: Any, retries: int) -> None:
        import ray

        self.node = node
        self.index: int | None = None
        self.deadline: float | None = None
        self.tasks_done = 0
        options: dict[str, Any] = dict(
            num_cpus=1, max_restarts=-1, max_task_retries=retries, **on_node(node)
        )
        actor: Any = ray.remote(**options)(_Player)
        self._actor, self._work = actor.remote(chainer.get_dtype().name), [work]
        self.pending: Any = self._actor.ready.remote()

    def give(self, key: tuple[int, int], task: Any, timeout: float | None) -> None:
        self.index = key[1]
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.pending = self._actor.do.remote(key, task, self._work)

    def kill(self) -> None:
        import ray

        ray.kill(self._actor)


class RayPool:
    """``workers.WorkerPool`` on a cluster; the same arguments and answers.

    Pools share the CPUs: one that needs actors ends those of the others, which are begun anew when
    their pool has tasks again. So a search may keep its pool while its mean is scored by another.
    """

    def __init__(
        self,
        function: Callable,
        cluster: Cluster,
        setup: Callable[[], Any] | None = None,
        retries: int = 2,
        timeout: float | None = None,
        tasks_per_worker: int | None = None,
    ) -> None:
        import ray

        self.nodes = cluster.join()
        self.retries, self.timeout = retries, timeout
        self.tasks_per_worker = tasks_per_worker
        self.actors: list[_Handle] = []
        self.work = ray.put((function, setup))
        self.batches = 0
        self.nodes.pools.append(self)

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End all actors."""
        self.rest()
        if self in self.nodes.pools:
            self.nodes.pools.remove(self)

    @property
    def busy(self) -> bool:
        """A worker has a task in its hands."""
        return any(actor.index is not None for actor in self.actors)

    def rest(self) -> None:
        """Leave the CPUs to others until there are tasks again."""
        while self.actors:
            self.actors.pop().kill()

    def run(self, tasks: Sequence[Any]) -> Generator[tuple[int, Any], None, None]:
        """Yield (index, result) of every task, in the order they finish.

        Raises:
            WorkerError: a task kept failing; carries the actor's traceback.
        """
        self.batches += 1
        return _Run(self, tasks, self.batches).results()

    def start(self, most: int) -> None:
        """Have an actor for every CPU of every node, but no more than ``most``.

        Raises:
            RuntimeError: another pool is in the middle of its tasks.
        """
        self.nodes.refresh()
        counts = collections.Counter(actor.node for actor in self.actors)
        free = [
            key for key, node in self.nodes.used.items() for _ in range(node.cpus - counts[key])
        ]
        free = free[: max(most - len(self.actors), 0)]
        if free:
            self.nodes.take_over(self)
        self.actors += [_Handle(key, self.work, self.retries) for key in free]


class _Run:
    """One batch of tasks on its way through the cluster."""

    def __init__(self, pool: RayPool, tasks: Sequence[Any], batch: int) -> None:
        self.pool, self.tasks, self.batch = pool, tasks, batch
        self.queue = collections.deque(range(len(tasks)))
        self.raised: collections.Counter[int] = collections.Counter()
        self.late: collections.Counter[int] = collections.Counter()
        # by task: how often its actor was lost, by node
        self.losses: dict[int, collections.Counter[str]] = collections.defaultdict(
            collections.Counter
        )
        self.done: set[int] = set()
        self.waited_since = time.monotonic()  # for a first worker, or for a line that says so

    def results(self) -> Generator[tuple[int, Any], None, None]:
        try:
            while len(self.done) < len(self.tasks):
                self._hand_out()
                for actor in self._wait():
                    answer = self._answer(actor)
                    if answer is not None:
                        yield answer
                self._stop_the_late()
        finally:
            for actor in [a for a in self.pool.actors if a.index is not None]:
                self._remove(actor)

    def _hand_out(self) -> None:
        if self.queue:
            self.pool.start(len(self.tasks) - len(self.done))
        for actor in self.pool.actors:
            if actor.pending is None and self.queue:
                index = self.queue.popleft()
                actor.give((self.batch, index), self.tasks[index], self.pool.timeout)

    def _wait(self) -> list[_Handle]:
        """Actors that have answered, or are lost."""
        import ray

        asked = {a.pending: a for a in self.pool.actors if a.pending is not None}
        if not asked:  # every node is gone: one may come back
            time.sleep(LOOK)
            return []
        limits = [a.deadline for a in asked.values() if a.deadline]
        patience = min([LOOK, *(max(limit - time.monotonic(), 0) for limit in limits)])
        answered, _ = ray.wait(list(asked), timeout=patience)
        self._say_that_none_starts()
        return [asked[ref] for ref in answered]

    def _say_that_none_starts(self) -> None:
        now = time.monotonic()
        if self.pool.busy:
            self.waited_since = now  # somebody is at work
        elif now - self.waited_since > _PATIENCE:
            self.waited_since = now
            print(
                f'no worker has started in {_PATIENCE:.0f} s: does other work hold the CPUs of '
                'the cluster? (`ray status` tells)',
                file=sys.stderr,
            )

    def _answer(self, actor: _Handle) -> tuple[int, Any] | None:
        """(Index, result) if it is one, and the first of this task."""
        import ray

        pending, actor.pending = actor.pending, None
        try:
            answer = ray.get(pending)
        except ray.exceptions.RayError as error:
            self._lost(actor, error)
            return None
        index, actor.index, actor.deadline = actor.index, None, None
        if index is None:
            return None  # it is ready
        key, kind, value = answer
        actor.tasks_done += 1
        if kind != 'done':
            self._failed(index, kind, value)
        if actor.tasks_done == self.pool.tasks_per_worker:
            self._remove(actor)
        if kind != 'done' or key != (self.batch, index) or index in self.done:
            return None
        self.done.add(index)
        return index, value

    def _lost(self, actor: _Handle, error: Exception) -> None:
        """An actor is out of reach, or Ray has given it up after all repetitions of its task."""
        import ray

        index = actor.index
        self._remove(actor)
        alive = alive_nodes()
        unreachable = isinstance(error, ray.exceptions.ActorUnavailableError)
        if index is None:
            if actor.node in alive and not unreachable:
                raise WorkerError(f'a worker could not be started:\n{error}')
            return
        self.queue.appendleft(index)
        if isinstance(error, ray.exceptions.RayTaskError):
            self._give_up(index, 'once', error)  # such as a result that cannot travel
        died = isinstance(error, ray.exceptions.ActorDiedError)
        self.losses[index][actor.node] += self.pool.retries + 1 if died else 1
        # A node that died is missed by its heartbeats, seconds after its actors are: whether a
        # loss was the task's own fault shows later.
        times = sum(count for node, count in self.losses[index].items() if node in alive)
        if times > self.pool.retries:
            self._give_up(index, f'{times} time(s): its worker died', error)

    def _failed(self, index: int, kind: str, text: str) -> None:
        """Queue a task that raised again, once."""
        if kind == 'no setup':
            raise WorkerError(f'a worker could not be set up:\n{text}')
        self.raised[index] += 1
        if self.raised[index] > min(self.pool.retries, 1):
            self._give_up(index, f'{self.raised[index]} time(s), the last time: raised', text)
        self.queue.appendleft(index)

    def _stop_the_late(self) -> None:
        now = time.monotonic()
        for actor in [a for a in self.pool.actors if a.deadline and a.deadline < now]:
            index = actor.index
            assert index is not None
            self._remove(actor)
            self.late[index] += 1
            if self.late[index] > self.pool.retries:
                times = f'{self.late[index]} time(s), the last time: too late'
                self._give_up(index, times, f'took more than {self.pool.timeout} s')
            self.queue.appendleft(index)

    def _give_up(self, index: int, how: str, text: object) -> None:
        raise WorkerError(f'task {index}, {shown(self.tasks[index])}, failed {how}\n{text}')

    def _remove(self, actor: _Handle) -> None:
        self.pool.actors.remove(actor)
        actor.kill()
