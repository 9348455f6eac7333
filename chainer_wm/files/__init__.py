"""Files that are whole or absent: write aside, flush, rename."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

_BLANKS = {'0': ' ', '1': '\t'}
_CRC_BITS = 32
_ASIDE = re.compile(r'\..+\.\d+\.tmp')  # .NAME.PROCESS.tmp


class FileError(ValueError):
    """A file is damaged, or is not the one that is wanted: its message names it."""


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open ``path`` for binary writing; it appears only when all is on disk.

    The data goes to a temporary name in the same folder, is flushed to the disk and renamed. If
    the block raises (a full disk, an interrupt), the temporary file is removed and an older
    ``path`` stays as it was.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with open(aside, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        name_file(error, path)
        raise
    _flush_folder(path.parent)


def unfinished(folder: str | os.PathLike) -> list[pathlib.Path]:
    """What killed writers left half written below a folder: see ``atomic_write``."""
    found = pathlib.Path(folder).rglob('.*.tmp')
    return sorted(path for path in found if _ASIDE.fullmatch(path.name))


def remove_unfinished(folder: str | os.PathLike) -> list[pathlib.Path]:
    """Delete it, and name the files; only while nobody writes into the folder."""
    left = unfinished(folder)
    for path in left:
        path.unlink(missing_ok=True)
    return left


def name_file(error: BaseException, path: pathlib.Path) -> None:
    """Tell an error of the disk which file it is about."""
    if isinstance(error, OSError) and error.errno and error.filename is None:
        error.filename = os.fspath(path)


def _flush_folder(folder: pathlib.Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    with open(path, 'rb') as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sealed(text: str) -> str:
    """A JSON text with its CRC-32 behind it, as 32 blanks, which JSON does not see.

    A space is a 0 and a tab is a 1, the highest bit first.
    """
    bits = format(zlib.crc32(text.encode()), f'0{_CRC_BITS}b')
    return text + ''.join(_BLANKS[bit] for bit in bits)


def parse_json(data: bytes) -> Any:
    """The value of a JSON text, which fits its seal if it has one.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or its bytes are not those that were
            sealed.
    """
    text = data.decode().rstrip('\r\n')
    body = text.rstrip()
    seal = text[len(body) :]
    try:
        value = json.loads(body)
    except RecursionError as error:
        raise ValueError('brackets in brackets without end') from error
    if seal and text != sealed(body):
        raise ValueError(
            'it does not fit the checksum at its end; if the change was meant, remove the blanks '
            'behind the last bracket'
        )
    return value


def write_json(path: str | os.PathLike, value: Any, seal: bool = True) -> None:
    """Write ``value`` as JSON, whole or not at all; NumPy values allowed.

    Args:
        seal: with a checksum in blanks at the end, see ``sealed``.
    """
    text = json.dumps(value, indent=2, default=to_plain)
    with atomic_write(path) as file:
        file.write(((sealed(text) if seal else text) + '\n').encode())


def read_json(path: str | os.PathLike, kind: type = dict) -> Any:
    """Read a JSON file.

    Args:
        kind: of its value.

    Raises:
        FileError: it is not JSON, was altered, or holds a value of another kind (names the file,
            and says where).
    """
    try:
        value = parse_json(pathlib.Path(path).read_bytes())
    except ValueError as error:
        raise FileError(
            f'{path} is not valid JSON ({error}): was it edited, or cut off by another program?'
        ) from error
    if not isinstance(value, kind):
        raise FileError(
            f'{path} holds a {type(value).__name__}, a {kind.__name__} is wanted: is it the file '
            'of something else?'
        )
    return value


def expect(where: Any, value: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """See that a JSON object has the entries that are read of it.

    Args:
        where: the file, for the message.
        kinds: name -> type, or several.

    Raises:
        FileError: one is missing, or of another type.
    """
    for name, kind in kinds.items():
        found = value.get(name)
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is int):
            raise FileError(
                f'{where}: {name} is {str(found)[:40]!r}, which is no '
                f'{getattr(kind, "__name__", kind)}: is it the file of something else?'
            )


def to_plain(value: Any) -> Any:
    """NumPy scalars and arrays, paths and tuples as plain JSON values."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f'{value!r} of type {type(value).__name__} has no JSON form')
