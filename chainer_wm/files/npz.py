"""Npy and npz files: written whole, and read although nobody vouches for them.

Nothing is unpickled, and nothing is unpacked before its size is known to be that of its header and
no more than what is allowed.
"""

from __future__ import annotations

import io
import math
import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from chainer_wm import files

MOST_UNPACKED = 1 << 31  # bytes of all compressed arrays of a file
_KINDS = 'biufUS'  # booleans, numbers and texts
_SEAL = b'CRC-32'  # before four bytes at the end of an npy of ours


def write_npz(path: str | os.PathLike, pack: Callable[[BinaryIO], None]) -> None:
    """Write an npz, whole or not at all.

    It is packed in memory first: a zip that a full disk cut off complains once more when it is
    forgotten.

    Args:
        pack: writes the npz to a file.
    """
    held = io.BytesIO()
    pack(held)
    with files.atomic_write(path) as file:
        file.write(held.getbuffer())


def read_npz(path: str | os.PathLike, data: bytes | None = None) -> dict[str, np.ndarray]:
    """All arrays of an npz.

    Args:
        path: for messages too.
        data: its bytes, where they have been read.

    Raises:
        FileNotFoundError: there is no such file.
        FileError: it is no whole npz, or its arrays are none of ours: pickled, larger than they
            are packed, with names that lead out of a folder.
    """
    source = open(path, 'rb') if data is None else io.BytesIO(data)  # noqa: SIM115
    with source:
        try:
            with zipfile.ZipFile(source) as archive:
                _check_sizes(archive, source.seek(0, os.SEEK_END))
                return {
                    _name(member.filename): _read_member(archive, member)
                    for member in archive.infolist()
                }
        except Exception as error:  # whatever zipfile raises for bytes that are no archive
            raise files.FileError(
                f'{path} is no readable npz ({_words(error)}): was it cut off or altered?'
            ) from error


def _words(error: Exception) -> str:
    return ' '.join(str(error).split())[:200] or type(error).__name__


def _check_sizes(archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise ValueError('two arrays have the same name')
    packed = [m for m in members if m.compress_type != zipfile.ZIP_STORED]
    unpacked = sum(member.file_size for member in packed)
    stored = sum(member.file_size for member in members) - unpacked
    if stored > size or unpacked > MOST_UNPACKED:
        raise ValueError(
            f'{size} bytes would unpack to {stored + unpacked}, at most {MOST_UNPACKED} are read'
        )


def _name(name: str) -> str:
    parts = pathlib.PurePosixPath(name).parts
    if not name.endswith('.npy') or name.startswith('/') or '..' in parts or '\\' in name:
        raise ValueError(f'{name[:60]!r} is no name of an array')
    return name.removesuffix('.npy')


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        _check_header(file, member.file_size)
    with archive.open(member) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):  # to the end: only there the checksum is compared
            raise ValueError(f'{member.filename} goes on behind its array')
    return array


def _check_header(file: Any, size: int) -> tuple[tuple[int, ...], np.dtype]:
    """Of an npy of so many bytes; the shape and dtype that it claims."""
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError(f'npy version {version} is not read here')
    shape, _, dtype = read[version](file)
    if dtype.kind not in _KINDS or dtype.names is not None:
        raise ValueError(f'an array of dtype {dtype}, which is not a plain number or text')
    claimed = math.prod(shape) * dtype.itemsize
    if claimed + file.tell() > size or any(n < 0 for n in shape):
        raise ValueError(f'shape {shape} of {dtype} takes {claimed} bytes, the file has {size}')
    return shape, dtype


def write_array(path: str | os.PathLike, array: np.ndarray) -> None:
    """One array as an npy, whole or not at all, with a checksum that ``numpy.load`` passes by."""
    held = io.BytesIO()
    np.save(held, array, allow_pickle=False)
    data = held.getvalue()
    with files.atomic_write(path) as file:
        file.write(data + _SEAL + zlib.crc32(data).to_bytes(4, 'little'))


def read_array(path: str | os.PathLike) -> np.ndarray:
    """The array of an npy, every byte of it checked if ``write_array`` wrote it.

    Raises:
        FileNotFoundError: there is no such file.
        FileError: it is no whole npy, was altered, is pickled, or holds numbers that are not
            finite.
    """
    data = pathlib.Path(path).read_bytes()
    end = len(_SEAL) + 4
    sealed = data[-end:-4] == _SEAL
    body = data[:-end] if sealed else data
    file: BinaryIO = io.BytesIO(body)
    try:
        if sealed and zlib.crc32(body).to_bytes(4, 'little') != data[-4:]:
            raise ValueError('its bytes are not those of its checksum')
        _check_header(file, len(body))
        file.seek(0)
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):
            raise ValueError('it goes on behind its array')
    except Exception as error:  # whatever NumPy raises for bytes that are no npy
        raise files.FileError(
            f'{path} is no readable npy ({_words(error)}): was it cut off or altered?'
        ) from error
    check_finite(path, {'the array': array})
    return array


def check_finite(path: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
    """See that all numbers are finite.

    Raises:
        FileError: names the first array with one that is not.
    """
    for name, array in arrays.items():
        if array.dtype.kind == 'f' and not np.isfinite(array).all():
            wrong = int((~np.isfinite(array)).sum())
            raise files.FileError(
                f'{path}: {wrong} of the {array.size} numbers of {name} are not finite: did what '
                'made it diverge?'
            )
