"""Scripts that are begun as forks, and what Linux tells of processes."""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import importlib
import os
import pathlib
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parents[2]

_PAGE = os.sysconf('SC_PAGE_SIZE') / 1e6  # MB


class Started:
    """``python experiments/NAME.py FLAGS`` in a process group of its own, less its imports.

    Whatever it imports is loaded once, in this process; the script itself is then run as the main
    program of a fork.

    Args:
        name: of the script.
        flags: its command line.
        output: where all goes that it prints.

    Attributes:
        returncode: None until its end was seen; -9 after a kill.
    """

    def __init__(self, name: str, flags: Sequence[str], output: pathlib.Path):
        os.environ['MPLBACKEND'] = 'Agg'
        importlib.import_module(f'experiments.{name}')
        importlib.import_module('matplotlib.pyplot')
        self.returncode: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            _run(f'experiments/{name}.py', flags, output)

    def poll(self) -> int | None:
        """``returncode`` as of now."""
        return self._reap(os.WNOHANG)

    def wait(self) -> int:
        code = self._reap(0)
        assert code is not None
        return code

    def kill(self) -> None:
        """Kill this process alone."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def kill_all(self) -> None:
        """Kill it and what it started, and wait for its end."""
        if self.poll() is None:
            children = workers(self.pid)
            self.kill()
            self.wait()
            for child in children:
                gone(child)

    def _reap(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _run(path: str, flags: Sequence[str], output: pathlib.Path) -> None:
    """Be the script; never returns."""
    code = 1
    try:
        os.setpgid(0, 0)  # no Ctrl-C from here; a session of its own would have another priority
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.chdir(ROOT)
        sys.argv = [path, *flags]
        runpy.run_path(path, run_name='__main__')
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else bool(error.code)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def gone(process: int, seconds: float = 30.0) -> bool:
    """Whether a process ends within some seconds."""
    deadline = time.monotonic() + seconds
    while resident(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not resident(process)


def workers(process: int) -> list[int]:
    """Children of a process that were spawned to play."""
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


def resident(process: int) -> float:
    """MB in memory; 0 once it has ended."""
    try:
        return int(pathlib.Path(f'/proc/{process}/statm').read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0.0


def open_files(process: int) -> int:
    return len(os.listdir(f'/proc/{process}/fd'))
