"""A link in one file: its weights and how to build it."""

from __future__ import annotations

import os
from typing import Any

import chainer
import numpy as np

from chainer_wm.archives import read_archive, write_archive


def save_link(
    path: str | os.PathLike,
    link: chainer.Link,
    dtype: np.typing.DTypeLike | None = None,
) -> None:
    """Write a link's weights with ``link.config``, whole or not at all.

    ``config`` holds the constructor's arguments, so that ``load_link`` can
    build the link again.

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


def load_link(path: str | os.PathLike, kind: type[chainer.Link]) -> Any:
    """Build ``kind`` from the saved configuration and load its weights.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds another kind of link.
    """
    settings, arrays = read_archive(path, _kind(kind))
    link = kind(**settings['config'])
    chainer.serializers.NpzDeserializer(arrays).load(link)
    return link


def _kind(link: type[chainer.Link]) -> str:
    return f'{link.__name__}/1'
