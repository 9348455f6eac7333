"""One npz file of arrays and JSON settings that says what it holds.

A link goes into one such file too: its weights and how to build it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import chainer
import numpy as np

from chainer_wm import files
from chainer_wm.files.npz import check_finite, read_npz, write_npz

_MODEST = 4096  # a size that may be anywhere, whatever the arrays
#: What building from values that do not fit each other may raise.
_MISFITS = (
    *(LookupError, ValueError, TypeError, AttributeError, ArithmeticError),
    *(chainer.utils.type_check.InvalidType, AssertionError, MemoryError),
)


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
    # in order of their names: Chainer's is that of a set, another one in every process
    named = dict(sorted(arrays.items()))
    write_npz(path, lambda file: np.savez(file, settings=np.array(text), **named))


def read_archive(
    path: str | os.PathLike, kind: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The settings and arrays of a file that ``write_archive`` wrote.

    Nothing in the file is ever executed (``allow_pickle=False``).

    Raises:
        FileNotFoundError: there is no such file.
        FileError: the file is damaged, or is of another kind.
    """
    arrays = read_npz(path)
    try:
        settings = files.parse_json(str(arrays.pop('settings').item()).encode())
        found = settings.pop('kind')
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise files.FileError(
            f'{path} is no whole {kind} archive ({error}): was it cut off, or is it another file?'
        ) from error
    if found != kind:
        raise files.FileError(
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
        FileError: the file is damaged, holds another kind of link, or weights that are not finite.
    """
    settings, arrays = read_archive(path, _kind(kind))
    check_finite(path, arrays)
    largest = max((n for array in arrays.values() for n in array.shape), default=0)
    with built_from(path):
        _refuse_large(settings['config'], max(largest, _MODEST))
        with chainer.using_config('draw_weights', False):  # a large link heeds it
            link = kind(**settings['config'])
        _check_weights(link, arrays)
        chainer.serializers.NpzDeserializer(arrays).load(link)
    link.to_device(device)
    return link


@contextlib.contextmanager
def built_from(path: str | os.PathLike) -> Iterator[None]:
    """Whatever fails while something is built from a file's settings and arrays names the file.

    Raises:
        FileError: in the place of what was raised.
    """
    try:
        yield
    except files.FileError:
        raise
    except _MISFITS as error:
        said = ' '.join(str(error).split())[:200]
        raise files.FileError(
            f'{path} does not hold together ({type(error).__name__}: {said}): was it altered, or '
            'written by another version?'
        ) from error


def _refuse_large(config: Mapping[str, Any], most: int) -> None:
    """A size that no array of the file has would fill the memory before it is found wrong."""
    for name, value in config.items():
        numbers = value if isinstance(value, list) else [value]
        if name != 'seed' and any(isinstance(n, (int, float)) and n > most for n in numbers):
            raise ValueError(f'{name} is {str(value)[:40]}, no array has more than {most}')


def _check_weights(link: chainer.Link, arrays: Mapping[str, np.ndarray]) -> None:
    """Shapes as the link has them: Chainer would spread a smaller array over a larger one."""
    for name, parameter in link.namedparams():
        found = arrays.get(name.lstrip('/'))
        if found is None or parameter.array is None:
            continue
        if found.shape != parameter.shape or found.dtype.kind != 'f':
            raise ValueError(
                f'{name} is {found.dtype} {found.shape}, wanted are floats {parameter.shape}'
            )


def _kind(link: type[chainer.Link]) -> str:
    return f'{link.__name__}/1'
