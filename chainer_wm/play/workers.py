"""Spread tasks over processes that may die.

Each worker is a fresh (spawned) process with one thread, in a process group of its own; links that
it makes have the dtype that is current in the parent. A worker that dies, hangs past the time
limit or raises is replaced, with whatever processes it had started, and its task is run again with
the same arguments; when that keeps failing, `WorkerError` tells what is known. Workers leave when
their parent is gone, however it went.

Workers load the main script only for what is defined in it: what a script imports in order to
train and to draw is no burden to those that play. Scripts that use workers need the usual guard:
``if __name__ == '__main__':``.
"""

from __future__ import annotations

import collections
import contextlib
import faulthandler
import multiprocessing
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing import connection, spawn
from multiprocessing.reduction import ForkingPickler
from typing import Any

import chainer

from chainer_wm import devices
from dnc import runtime

_SPAWN = multiprocessing.get_context('spawn')
_START_LOCK = threading.Lock()
_GRACE = 3.0  # seconds to close a game before the worker is killed


class WorkerError(RuntimeError):
    """A task failed, and failed again when it was repeated."""


class WorkerPool:
    """Workers that stay up for several calls of `run`.

    Args:
        function: called as ``function(task)``, or, with ``setup``, as ``function(context, task)``.
            Picklable, like ``setup``.
        workers: number of processes. 0 calls the function in this process,
            for debugging: nothing is repeated, and the last bits of numbers may differ, since BLAS
            may use more threads here.
        setup: called once in every worker; returns the context.
        retries: how often a task is repeated after its worker died or was too slow. A task that
            raises is repeated once (never, if 0).
        timeout: seconds that one task may take, None for no limit.
        tasks_per_worker: replace a worker after so many tasks, for games that leak memory; None
            keeps it.
    """

    def __init__(
        self,
        function: Callable,
        workers: int,
        setup: Callable[[], Any] | None = None,
        retries: int = 2,
        timeout: float | None = None,
        tasks_per_worker: int | None = None,
    ):
        if workers < 0:
            raise ValueError(f'workers is {workers}, expected 0 or more')
        self.function, self.setup, self.size = function, setup, workers
        self.retries, self.timeout = retries, timeout
        self.tasks_per_worker = tasks_per_worker
        self.workers: list[Worker] = []
        self._started = 0
        self._folder: tempfile.TemporaryDirectory | None = None
        self._inline: Callable[[Any], Any] | None = None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers."""
        while self.workers:
            self.workers.pop().dismiss()
        if self._folder:
            self._folder.cleanup()
            self._folder = None

    def run(self, tasks: Sequence[Any]) -> Generator[tuple[int, Any], None, None]:
        """Yield (index, result) of every task, in the order they finish.

        Raises:
            WorkerError: a task kept failing; carries the worker's traceback.
        """
        if self.size == 0:
            return self._run_here(tasks)
        return _Run(self, tasks).results()

    def start(self) -> None:
        """Add one worker."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix='workers-')
        self._started += 1
        crash_file = pathlib.Path(self._folder.name, f'{self._started}.txt')
        self.workers.append(Worker(self.function, self.setup, crash_file))

    def _run_here(self, tasks: Sequence[Any]) -> Generator[tuple[int, Any], None, None]:
        if self._inline is None:
            self._inline = bind(self.function, self.setup)
        for index, task in enumerate(tasks):
            try:
                result = self._inline(task)
            except Exception as error:
                raise WorkerError(
                    f'task {index}, {shown(task)}, failed:\n{traceback.format_exc()}'
                ) from error
            yield index, result


class _Run:
    """One batch of tasks on its way through a pool."""

    def __init__(self, pool: WorkerPool, tasks: Sequence[Any]):
        self.pool, self.tasks = pool, tasks
        self.queue = collections.deque(range(len(tasks)))
        self.failures: collections.Counter[int | None] = collections.Counter()
        self.unfinished = len(tasks)

    def results(self) -> Generator[tuple[int, Any], None, None]:
        try:
            while self.unfinished:
                self._hand_out()
                for worker in self._wait():
                    kind, value = worker.message()
                    index = worker.index
                    if kind == 'done':
                        assert index is not None
                        self._finished(worker)
                        yield index, value
                    else:
                        self._other(worker, kind, value)
                self._stop_the_late()
        finally:
            for worker in [w for w in self.pool.workers if w.index is not None]:
                self._remove(worker)

    def _hand_out(self) -> None:
        """Start workers where there is need, give tasks to the idle."""
        pool = self.pool
        while len(pool.workers) < min(pool.size, self.unfinished):
            pool.start()
        for worker in pool.workers:
            if worker.ready and worker.index is None and self.queue:
                index = self.queue.popleft()
                worker.give(index, self.tasks[index], pool.timeout)

    def _wait(self) -> list[Worker]:
        """Workers with something to say, or dead; [] when time is up."""
        heard: dict[Any, Worker] = {}
        for worker in self.pool.workers:
            heard[worker.pipe] = heard[worker.sentinel] = worker
        limits = [w.deadline for w in self.pool.workers if w.deadline]
        patience = max(min(limits) - time.monotonic(), 0) if limits else None
        ready = connection.wait(list(heard), patience)
        return list({id(heard[r]): heard[r] for r in ready}.values())

    def _finished(self, worker: Worker) -> None:
        worker.index = worker.deadline = None
        worker.tasks_done += 1
        self.unfinished -= 1
        if worker.tasks_done == self.pool.tasks_per_worker:
            self.pool.workers.remove(worker)
            worker.dismiss()

    def _other(self, worker: Worker, kind: str, text: str | None) -> None:
        """A worker is ready, or something went wrong with it."""
        if kind == 'ready':
            worker.ready = True
            return
        if kind == 'no setup':
            raise WorkerError(f'a worker could not be set up:\n{text}')
        index, how = worker.index, self._remove(worker)
        if kind == 'raised':
            self._failed(index, 'raised', text, min(self.pool.retries, 1))
        else:
            self._failed(index, 'its worker died', how, self.pool.retries)

    def _stop_the_late(self) -> None:
        now = time.monotonic()
        for worker in list(self.pool.workers):
            late = worker.deadline is not None and worker.deadline < now
            if late and not worker.pipe.poll():
                index, how = worker.index, self._remove(worker)
                text = f'took more than {self.pool.timeout} s, stopped by {how}'
                self._failed(index, 'too late', text, self.pool.retries)

    def _remove(self, worker: Worker) -> str:
        self.pool.workers.remove(worker)
        return worker.kill()

    def _failed(self, index: int | None, what: str, text: str | None, retries: int) -> None:
        """Queue the task again, or give up with all that is known."""
        self.failures[index] += 1
        count = self.failures[index]
        if count <= retries:
            if index is not None:
                self.queue.appendleft(index)
            return
        if index is None:
            raise WorkerError(
                f'{count} workers died while they started ({text}): is the '
                "script's entry guarded by `if __name__ == '__main__':`? Is "
                'there enough memory?'
            )
        raise WorkerError(
            f'task {index}, {shown(self.tasks[index])}, failed {count} '
            f'time(s), the last time: {what}\n{text}'
        )


def shown(task: Any) -> str:
    """A task in an error's text, cut short."""
    text = repr(task)
    return text if len(text) <= 200 else f'{text[:200]}...'


def bind(function: Callable, setup: Callable[[], Any] | None) -> Callable[[Any], Any]:
    """Run ``setup`` and return ``function`` with its context filled in."""
    if setup is None:
        return function
    context = setup()
    return lambda task: function(context, task)


def _leave_with_parent(folder: pathlib.Path) -> None:
    """Wait until the parent is gone; remove its folder, end this group."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def _main_script() -> dict[str, Any]:
    """Where the main script lies, as `spawn.prepare` takes it."""
    data = spawn.get_preparation_data('worker')
    return {name: value for name, value in data.items() if name.startswith('init_main')}


def _unpack(packed: bytes, main: dict[str, Any]) -> Any:
    """What was pickled, after the main script was loaded if that names it."""
    if b'__main__' in packed:
        spawn.prepare(main)
    return ForkingPickler.loads(packed)


def _serve(
    pipe: connection.Connection, work: bytes, main: dict[str, Any], crash_file: str, dtype: str
) -> None:
    """Body of a worker: set up, then one task after the other.

    Args:
        work: (function, setup), pickled.
        main: of `_main_script`.
        dtype: of the links that it makes, as in the parent.
    """
    os.setpgid(0, 0)
    folder = pathlib.Path(crash_file).parent
    threading.Thread(target=_leave_with_parent, args=(folder,), daemon=True).start()
    try:
        crash = open(crash_file, 'w')  # noqa: SIM115
    except FileNotFoundError:
        return  # the parent was killed, and a worker that had started sooner removed the folder
    with crash:
        faulthandler.enable(crash)  # a segmentation fault leaves its trace
        try:
            devices.use(dtype=dtype)
            call = bind(*_unpack(work, main))
        except BaseException:
            pipe.send(('no setup', traceback.format_exc()))
            return
        pipe.send(('ready', None))
        while packed := pipe.recv_bytes():
            try:
                pipe.send(('done', call(_unpack(packed, main))))
            except BaseException:
                pipe.send(('raised', traceback.format_exc()))
        faulthandler.disable()


@contextlib.contextmanager
def _bare_and_single_threaded() -> Iterator[None]:
    """Processes started inside load no main script, and have one thread per pool from birth."""
    with _START_LOCK:
        before, main = dict(os.environ), sys.modules['__main__']
        runtime.single_thread()
        sys.modules['__main__'] = types.ModuleType('__main__')
        try:
            yield
        finally:
            sys.modules['__main__'] = main
            for name in set(os.environ) - set(before):
                del os.environ[name]
            os.environ.update(before)


class Worker:
    """The parent's handle of one process.

    Attributes:
        ready: its setup is done.
        index: the number of the task in its hands, or None.
        deadline: when that task is too late, in `time.monotonic` seconds.
        tasks_done: how many it has finished.
    """

    def __init__(
        self, function: Callable, setup: Callable[[], Any] | None, crash_file: pathlib.Path
    ):
        self._crash_file = crash_file
        self.pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=_serve,
            args=(
                *(theirs, bytes(ForkingPickler.dumps((function, setup))), _main_script()),
                *(str(crash_file), chainer.get_dtype().name),
            ),
            daemon=True,
        )
        with _bare_and_single_threaded():
            self._process.start()
        theirs.close()
        self.sentinel = self._process.sentinel
        self.ready = False
        self.index: int | None = None
        self.deadline: float | None = None
        self.tasks_done = 0

    def give(self, index: int, task: Any, timeout: float | None) -> None:
        """Hand over a task; it will be answered by one message."""
        self.index = index
        self.deadline = None if timeout is None else time.monotonic() + timeout
        with contextlib.suppress(OSError):  # it died: seen at the next wait
            self.pipe.send_bytes(ForkingPickler.dumps(task))

    def message(self) -> tuple[str, Any]:
        """What the worker sent; ('died', None) when there is no more.

        To be called when the pipe or the sentinel has become ready.
        """
        try:
            return self.pipe.recv() if self.pipe.poll() else ('died', None)
        except (EOFError, OSError):
            return 'died', None

    def dismiss(self) -> None:
        """Let an idle worker close its game and end; kill it if it dawdles."""
        with contextlib.suppress(OSError):
            self.pipe.send_bytes(b'')
        connection.wait([self.sentinel], _GRACE)
        self.kill()

    def kill(self) -> str:
        """End the process, and all that it started; tells how it ended."""
        assert self._process.pid is not None
        # before join: until then no other process can have this number
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self.pipe.close()
        trace = ''
        if self._crash_file.exists():
            trace = self._crash_file.read_text().strip()
            self._crash_file.unlink()
        code = self._process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f'exit status {code}'
        return f'{how}\n{trace}'.strip()
