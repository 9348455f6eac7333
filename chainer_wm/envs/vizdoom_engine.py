"""ViZDoom's engine process: started out of the way, ended with its owner.

ViZDoom plays in a process of its own which, left to itself, survives an owner that is killed, with
10 MB of shared memory, and which writes into the current folder. Here it gets a temporary folder,
and a little shell process watches the
owner: when the owner is gone, however it went, the engine goes too.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterator
from typing import Any

_CWD_LOCK = threading.Lock()

# standard input ends when its writer, the owner, is gone
_GUARD = 'cat; kill -9 "$1"; rm -f "/dev/shm/ViZDoom"*"$2"; rm -rf "$3"'


def start(game: Any, owner: object) -> weakref.finalize:
    """Start the engine of a configured ``vizdoom.DoomGame``.

    Args:
        game: the ``DoomGame``, not yet initialised.
        owner: the engine ends when this object is collected, too.

    Returns:
        Ends the engine when called; does so by itself at the process's end.
    """
    folder = tempfile.mkdtemp(prefix='vizdoom-')
    game.set_doom_config_path(os.path.join(folder, 'vizdoom.ini'))
    before = set(_children())
    try:
        with _inside(folder):
            game.init()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    guards = [
        _watch(pid, name, folder) for pid in set(_children()) - before if (name := _instance(pid))
    ]
    return weakref.finalize(owner, _end, game, guards, folder)


def _end(game: Any, guards: list[subprocess.Popen], folder: str) -> None:
    game.close()
    for guard in guards:
        guard.kill()
        guard.communicate()
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _inside(folder: str) -> Iterator[None]:
    """Change the current folder; the engine inherits it and writes there."""
    with _CWD_LOCK:
        before = os.getcwd()
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def _children() -> list[int]:
    """Process numbers of this process's children ([] where unknown)."""
    found = []
    for path in pathlib.Path('/proc/self/task').glob('*/children'):
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in path.read_text().split()]
    return found


def _instance(pid: int) -> str | None:
    """The name that an engine's shared memory ends with."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        line = pathlib.Path(f'/proc/{pid}/cmdline').read_text().split('\0')
        return line[line.index('+viz_instance_id') + 1]
    return None


def _watch(pid: int, name: str, folder: str) -> subprocess.Popen:
    """A process that outlives this one just long enough to clean up."""
    return subprocess.Popen(
        ['/bin/sh', '-c', _GUARD, 'vizdoom-guard', str(pid), name, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd='/',
        start_new_session=True,
    )
