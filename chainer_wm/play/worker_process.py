"""One worker: what runs inside it, and its handle in the parent."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import pathlib
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import connection
from typing import Any

import chainer

from chainer_wm import devices
from dnc import runtime

_SPAWN = multiprocessing.get_context('spawn')
_ENVIRONMENT_LOCK = threading.Lock()
_GRACE = 3.0  # seconds to close a game before the worker is killed


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


def _serve(
    pipe: connection.Connection,
    function: Callable,
    setup: Callable[[], Any] | None,
    crash_file: str,
    dtype: str,
) -> None:
    """Body of a worker: set up, then one task after the other.

    Args:
        dtype: of the links that it makes, as in the parent.
    """
    os.setpgid(0, 0)
    folder = pathlib.Path(crash_file).parent
    threading.Thread(target=_leave_with_parent, args=(folder,), daemon=True).start()
    with open(crash_file, 'w') as crash:
        faulthandler.enable(crash)  # a segmentation fault leaves its trace
        try:
            devices.use(dtype=dtype)
            call = bind(function, setup)
        except BaseException:
            pipe.send(('no setup', traceback.format_exc()))
            return
        pipe.send(('ready', None))
        while (message := pipe.recv()) is not None:
            try:
                pipe.send(('done', call(message[0])))
            except BaseException:
                pipe.send(('raised', traceback.format_exc()))
        faulthandler.disable()


@contextlib.contextmanager
def _single_threaded_environment() -> Iterator[None]:
    """Processes started inside have one thread per pool from their birth."""
    with _ENVIRONMENT_LOCK:
        before = dict(os.environ)
        runtime.single_thread()
        try:
            yield
        finally:
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
            args=(*(theirs, function, setup, str(crash_file)), chainer.get_dtype().name),
            daemon=True,
        )
        with _single_threaded_environment():
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
            self.pipe.send((task,))

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
            self.pipe.send(None)
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
