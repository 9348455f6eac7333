"""A run on a disk that fills up, or that may not be written: one line, then on as if nothing was.

    python -m tests.trials.full_disk --script take_cover

As root, on Linux: the run lies on a tmpfs of a few hundred KB. It must stop with one line;
then the tmpfs grows a little, and it is begun again, until it ends. In the middle the tmpfs is
once made read-only. The results must be those of a run with room.
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys
import tempfile

from tests.trials.kill import compare
from tests.trials.scripts import SCRIPTS, Script


def mount(folder: pathlib.Path, options: str, kind: tuple[str, ...] = ()) -> None:
    subprocess.run(['mount', *kind, '-o', options, str(folder)], check=True)


def stopped(script: Script, data: pathlib.Path) -> str:
    """The one line of a run that stops; '' if it ended.

    Raises:
        AssertionError: it stopped otherwise.
    """
    if script.start(data, 'killed').wait() == 0:
        return ''
    said = script.said(data, 'killed')
    last = said.strip().splitlines()[-1]
    assert 'Traceback' not in said and last.startswith('error: '), said[-3000:]
    return last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--script', default='take_cover', choices=list(SCRIPTS))
    parser.add_argument('--first', type=int, default=256, help='KB of the disk')
    parser.add_argument('--factor', type=float, default=1.6, help='by which it grows')
    given = parser.parse_args()
    script, stops = SCRIPTS[given.script], 0
    with tempfile.TemporaryDirectory() as held:
        data = pathlib.Path(held)
        assert script.start(data, 'whole').wait() == 0, script.said(data, 'whole')[-2000:]
        disk = script.folder(data, 'killed')
        disk.mkdir()
        size = float(given.first)
        mount(disk, f'size={int(size)}k', ('-t', 'tmpfs', 'trial'))
        try:
            while line := stopped(script, data):
                stops += 1
                print(f'{int(size)} KB: {line}', flush=True)
                if stops == 2:
                    mount(disk, 'remount,ro')
                    print(f'read-only: {stopped(script, data)}')
                    mount(disk, 'remount,rw')
                size *= given.factor
                mount(disk, f'remount,size={int(size)}k')
            compare(script, data)
        finally:
            subprocess.run(['umount', str(disk)], check=True)
    print(f'{stops} stops, ended with {int(size)} KB: results and episodes equal')
    sys.exit(stops == 0)


if __name__ == '__main__':
    main()
