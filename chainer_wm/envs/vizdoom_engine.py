"""ViZDoom's engine process: started out of the way, ended with its owner.

ViZDoom plays in a process of its own which, left to itself, survives an owner that is killed, with
10 MB of shared memory, and which writes into the current folder. Here it gets a temporary folder,
and a little shell process watches the
owner: when the owner is gone, however it went, the engine goes too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterator
from typing import Any

_CWD_LOCK = threading.Lock()

# Standard input ends when its writer, the owner, is gone. The engine is known by its settings; it
# may be starting just then.
_GUARD = r"""
cat
for wait in 0 0.1 0.3 1 1; do
  sleep $wait
  for process in /proc/[0-9]*; do
    words=$(tr '\0' '\n' < $process/cmdline) || continue
    case $words in *"$1/vizdoom.ini"*) ;; *) continue ;; esac
    name=$(echo "$words" | sed -n '/^+viz_instance_id$/{n;p;}')
    kill -9 ${process#/proc/}
    rm -f "/dev/shm/ViZDoom"*"$name"
    break 2
  done
done
rm -rf "$1"
"""


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
    guard = _watch(folder)
    try:
        with _inside(folder):
            game.init()
    except BaseException:
        _end(game, guard, folder)
        raise
    return weakref.finalize(owner, _end, game, guard, folder)


def _end(game: Any, guard: subprocess.Popen, folder: str) -> None:
    game.close()
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


def _watch(folder: str) -> subprocess.Popen:
    """A process that outlives this one just long enough to clean up."""
    return subprocess.Popen(
        ['/bin/sh', '-c', _GUARD, 'vizdoom-guard', folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd='/',
        start_new_session=True,
    )
