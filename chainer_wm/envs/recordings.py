"""The command that plays a recording of a game again, and what can be wrong with one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from chainer_wm.files import FileError
from chainer_wm.files.npz import read_npz

One = TypeVar('One')


class RecordingError(ValueError):
    """The file cannot be read as a recording."""


class Difference(Exception):
    """The first thing in which the game differs from the recording."""


def read(
    path: str | os.PathLike, unpack: Callable[[dict[str, np.ndarray]], Iterable[One]]
) -> list[One]:
    """What an npz holds, one recorded episode or game after the other.

    Args:
        unpack: its arrays -> what is recorded; raises RecordingError where they do not fit.

    Raises:
        RecordingError: not a recording, cut short, or its parts do not fit; names the file.
    """
    try:
        return list(unpack(read_npz(path)))
    except FileError as error:
        raise RecordingError(str(error)) from error
    except OSError as error:
        raise RecordingError(f'{path}: {error.strerror}') from error
    except RecordingError as error:
        raise RecordingError(f'{path}: {error}') from None


def replay_command(
    arguments: list[str] | None,
    *,
    game: str,
    unit: str,
    package: str,
    compares: str,
    prepare: Callable[[str, bool], tuple[Sequence[Any], Callable[[Any], None]]],
    summary: Callable[[Sequence[Any]], str],
) -> int:
    """The command line ``--replay FILE [--original]``; returns its exit status.

    0: all is equal. 1: something differs. 2: the recording cannot be read, or the original is not
    installed.

    Args:
        arguments: None takes those of the process.
        game: its name; its module in ``envs`` has the same in small letters.
        unit: what the recording is a list of: 'episode', 'game'.
        package: that the original game comes in.
        compares: what is compared, for the help.
        prepare: (file, whether the original plays) -> what is recorded, with ``seed`` and
            ``actions`` each, and what plays one of them and raises ``Difference``. Raises
            RecordingError or ImportError.
        summary: of all that is recorded, once it is equal.
    """
    parser = argparse.ArgumentParser(
        prog=f'python -m chainer_wm.envs.{game.lower()}',
        description=f'Play a recording of {game} again and compare {compares}.',
    )
    parser.add_argument('--replay', metavar='FILE', required=True)
    parser.add_argument(
        '--original',
        action='store_true',
        help=f'with the original game (package {package}), not with ours',
    )
    options = parser.parse_args(arguments)
    try:
        recorded, play = prepare(options.replay, options.original)
    except (RecordingError, ImportError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    steps = 0
    for number, one in enumerate(recorded):
        try:
            play(one)
        except Difference as difference:
            print(f'DIFFERENT: {unit} {number} (seed {one.seed}), {difference}')
            print(f'equal before: {number} {unit}s, {steps} steps')
            return 1
        steps += len(one.actions)
    print(f'equal: {len(recorded)} {unit}s, {steps} steps {summary(recorded)}')
    return 0
