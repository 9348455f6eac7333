"""Append-only lists on disk: one JSON object per line, torn ends tolerated."""

from __future__ import annotations

import json
import os
import pathlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from chainer_wm import files


def read_lines(path: str | os.PathLike, strict: bool = False) -> Iterator[dict[str, Any]]:
    """The objects of a file, in order; none if there is no file.

    A last line without its newline was being written when the writer died: it is left out. A line
    in the middle that is no JSON object, or does not fit its checksum, is left out too, with a
    warning that names it.

    Args:
        strict: such a line in the middle is an error, for lists in which every line counts.

    Raises:
        FileError: there is such a line, and ``strict``.
    """
    path = pathlib.Path(path)
    data = path.read_bytes() if path.exists() else b''
    for number, text in enumerate(data.split(b'\n')[:-1], start=1):
        try:
            line = files.parse_json(text)
            if not isinstance(line, dict):
                raise ValueError('not a JSON object')
        except ValueError as error:
            if strict:
                raise files.FileError(
                    f'{path}, line {number} is damaged ({error}): remove the folder'
                ) from error
            warnings.warn(
                f'{path}, line {number} is left out ({error}): was the file edited?', stacklevel=2
            )
        else:
            yield line


def append_line(path: str | os.PathLike, value: Mapping[str, Any]) -> None:
    """Add one line and flush it to the disk; drop a torn end before it.

    Raises:
        OSError: the disk is full; the file then holds what it held before.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = files.sealed(json.dumps(value, default=files.to_plain)) + '\n'
    with open(path, 'a+b', buffering=0) as file:
        end = _end_of_whole_lines(file)
        file.truncate(end)
        data = memoryview(text.encode())
        try:
            while data:
                data = data[file.write(data) :]
            os.fsync(file.fileno())
        except BaseException as error:
            file.truncate(end)
            files.name_file(error, path)
            raise


def _end_of_whole_lines(file) -> int:
    """Offset just after the last newline."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(end - 4096, 0)
        file.seek(start)
        newline = file.read(end - start).rfind(b'\n')
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
