"""Snapshots of a training: whole or absent, the newest readable resumes."""

from __future__ import annotations

import os
import pathlib
import re
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import chainer
import numpy as np

from chainer_wm import files


class Snapshots:
    """The last two snapshots of a trainer, each whole or absent."""

    KEPT = 2

    def __init__(self, folder: str | os.PathLike):
        self.folder = pathlib.Path(folder)

    def paths(self) -> list[pathlib.Path]:
        """Snapshots, the newest first."""
        return [path for _, path in self._numbered()]

    def _numbered(self) -> list[tuple[int, pathlib.Path]]:
        found = [
            (int(match[1]), path)
            for path in self.folder.glob('*.npz')
            if (match := re.fullmatch(r'update-(\d+)\.npz', path.name))
        ]
        return sorted(found, reverse=True)

    def save(self, target: Any, number: int | None = None) -> None:
        """Write a snapshot, then drop the ones before the last two.

        Args:
            target: a trainer, or whatever has ``serialize``.
            number: of updates done; None asks the trainer.
        """
        if number is None:
            number = target.updater.iteration
        path = self.folder / f'update-{number:08d}.npz'
        with files.atomic_write(path) as file:
            chainer.serializers.save_npz(file, target, compression=False)
        for old in self.paths()[self.KEPT :]:
            old.unlink()

    def resume(
        self, target: Any, usable: Callable[[int], bool] = lambda number: True
    ) -> pathlib.Path | None:
        """Load the newest readable snapshot; name each unreadable one.

        Args:
            usable: says, by the number of updates, which ones may be taken.
        """
        for number, path in self._numbered():
            if not usable(number):
                continue
            try:
                with open(path, 'rb') as file, np.load(file, allow_pickle=False) as archive:
                    arrays = {name: archive[name] for name in archive.files}
            except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
                warnings.warn(
                    f'{path} is damaged ({error}): set aside, going '
                    'on from the snapshot before it',
                    stacklevel=2,
                )
                path.rename(path.with_suffix('.damaged'))
                continue
            chainer.serializers.NpzDeserializer(arrays).load(target)
            return path
        return None
