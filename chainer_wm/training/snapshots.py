"""What a loop saves of itself, and goes on from."""

from __future__ import annotations

import os
import pathlib
import re
import warnings
from collections.abc import Callable
from typing import Protocol

import chainer
from chainer import training
from chainer.serializers import save_npz

from chainer_wm import files
from chainer_wm.files.archives import built_from
from chainer_wm.files.npz import check_finite, read_npz, write_npz


class Saves(Protocol):
    """Where a loop is saved, and found again."""

    def save(self, trainer: training.Trainer) -> None:
        """Save all that the steps done so far left."""

    def resume(
        self, trainer: training.Trainer, usable: Callable[[int], bool]
    ) -> pathlib.Path | None:
        """Load the last save that is usable, by the number of steps done."""

    def paths(self) -> list[pathlib.Path]:
        """All saves, the newest first."""


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

    def save(self, trainer: training.Trainer) -> None:
        """Write a snapshot, then drop the ones before the last two."""
        path = self.folder / f'update-{trainer.updater.iteration:08d}.npz'
        write_npz(path, lambda file: save_npz(file, trainer, compression=False))
        for old in self.paths()[self.KEPT :]:
            old.unlink()

    def resume(
        self, trainer: training.Trainer, usable: Callable[[int], bool]
    ) -> pathlib.Path | None:
        """Load the newest readable snapshot; name each unreadable one.

        Args:
            usable: says, by the number of updates done, which ones may be taken.

        Returns:
            The one that was taken, None without any.

        Raises:
            FileError: what it holds is of another network or another number of updates.
        """
        for number, path in self._numbered():
            if not usable(number):
                continue
            try:
                arrays = read_npz(path)
                check_finite(path, {n: a for n, a in arrays.items() if a.ndim})
            except files.FileError as error:
                warnings.warn(
                    f'{path} is damaged ({error}): set aside, going '
                    'on from the snapshot before it',
                    stacklevel=2,
                )
                path.rename(path.with_suffix('.damaged'))
                continue
            with built_from(path):
                chainer.serializers.NpzDeserializer(arrays).load(trainer)
                if trainer.updater.iteration != number:
                    raise ValueError(f'it is of update {trainer.updater.iteration}: renamed?')
            return path
        return None
