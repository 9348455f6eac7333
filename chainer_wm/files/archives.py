"""One npz file of arrays and JSON settings that says what it holds.

A link goes into one such file too: its weights and how to build it.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import chainer
import numpy as np

from chainer_wm import files


def write_archive(
    path: str | os.PathLike,
    kind: str,
    settings: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write arrays and settings to ``path``, whole or not at all.

    Args:
        path: made with its folders; numpy alone can read it.
        kind: what it holds and in which version, e.g. ``'controller/1'``.
        settings: anything with a JSON form, stored as text under the name ``settings``, together
            with the kind.
        arrays: by names other than ``settings``.
    """
    text = json.dumps({'kind': kind, **settings}, default=files.to_plain)
    with files.atomic_write(path) as file:
        np.savez(file, settings=np.array(text), **arrays)


def read_archive(
    path: str | os.PathLike, kind: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The settings and arrays of a file that ``write_archive`` wrote.

    Nothing in the file is ever executed (``allow_pickle=False``).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or is of another kind.
    """
    try:
        with open(path, 'rb') as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        settings = json.loads(arrays.pop('settings').item())
        found = settings.pop('kind')
    except (
        ValueError,  # includes JSONDecodeError
        KeyError,
        AttributeError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(
            f'{path} is no whole {kind} archive ({error}): was it cut off, or is it another file?'
        ) from error
    if found != kind:
        raise ValueError(
            f'{path} holds {found!r}, but {kind!r} is wanted: is it the '
            'file of another part, or of another version?'
        )
    return settings, arrays


def save_link(
    path: str | os.PathLike, link: chainer.Link, dtype: np.typing.DTypeLike | None = None
) -> None:
    """Write a link's weights with ``link.config``, whole or not at all.

    ``config`` holds the constructor's arguments, so that ``load_link`` can build the link again.

    Args:
        dtype: of the numbers in the file, e.g. float16 for half the size;
            None keeps the link's own.
    """
    serializer = chainer.serializers.DictionarySerializer()
    serializer.save(link)
    arrays = serializer.target
    if dtype is not None:
        arrays = {name: array.astype(dtype) for name, array in arrays.items()}
    write_archive(path, _kind(type(link)), {'config': link.config}, arrays)


def load_link(path: str | os.PathLike, kind: type[chainer.Link], device: Any = '@numpy') -> Any:
    """Build ``kind`` from the saved configuration and load its weights.

    It gets the current dtype (``devices.use``), whatever is in the file: a run in float64 may read
    what one in float32 saved.

    Args:
        device: where the link goes, ``@numpy`` or ``@cupy:0``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds another kind of link.
    """
    settings, arrays = read_archive(path, _kind(kind))
    link = kind(**settings['config'])
    chainer.serializers.NpzDeserializer(arrays).load(link)
    link.to_device(device)
    return link


def _kind(link: type[chainer.Link]) -> str:
    return f'{link.__name__}/1'
