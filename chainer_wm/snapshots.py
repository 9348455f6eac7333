"""Snapshots of a trainer: whole or absent, the newest readable one resumes."""

from __future__ import annotations

import os
import pathlib
import re
import warnings
import zipfile

import chainer
import numpy as np
from chainer import training

from chainer_wm import files


class Snapshots:
    """The last two snapshots of a trainer, each whole or absent."""

    KEPT = 2

    def __init__(self, folder: str | os.PathLike):
        self.folder = pathlib.Path(folder)

    def paths(self) -> list[pathlib.Path]:
        """Snapshots, the newest first."""
        found = [
            (int(match[1]), path)
            for path in self.folder.glob('*.npz')
            if (match := re.fullmatch(r'update-(\d+)\.npz', path.name))
        ]
        return [path for _, path in sorted(found, reverse=True)]

    def save(self, trainer: training.Trainer) -> None:
        """Write a snapshot, then drop the ones before the last two."""
        path = self.folder / f'update-{trainer.updater.iteration:08d}.npz'
        with files.atomic_write(path) as file:
            chainer.serializers.save_npz(file, trainer, compression=False)
        for old in self.paths()[self.KEPT :]:
            old.unlink()

    def resume(self, trainer: training.Trainer) -> pathlib.Path | None:
        """Load the newest readable snapshot; name each unreadable one."""
        for path in self.paths():
            try:
                with (
                    open(path, 'rb') as file,
                    np.load(file, allow_pickle=False) as archive,
                ):
                    arrays = {name: archive[name] for name in archive.files}
            except (
                OSError,
                ValueError,
                EOFError,
                zipfile.BadZipFile,
            ) as error:
                warnings.warn(
                    f'{path} is damaged ({error}): set aside, going '
                    'on from the snapshot before it',
                    stacklevel=2,
                )
                path.rename(path.with_suffix('.damaged'))
                continue
            chainer.serializers.NpzDeserializer(arrays).load(trainer)
            return path
        return None
