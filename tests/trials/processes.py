"""What Linux tells of processes: their workers, resident memory and open files."""

from __future__ import annotations

import os
import pathlib

_PAGE = os.sysconf('SC_PAGE_SIZE') / 1e6  # MB


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
