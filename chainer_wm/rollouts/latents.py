"""Encoded episodes: V's posteriors of every frame, and the actions.

On disk: ``mu.npy``, ``ln_var.npy`` (rows, Z) and ``actions.npy`` (rows, A), float32, one row per
frame, episode after episode, to be memory-mapped; and ``index.json`` with the episodes, which is
written last: without it the rest is unfinished. ``progress.jsonl`` lets a writer go on.
``LatentWriter`` writes such a folder, ``Latents`` reads it, ``JoinedLatents`` reads several as if
they were one.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from chainer_wm import files
from chainer_wm.files import jsonlines

FORMAT_VERSION = 1
_ARRAYS = ('mu', 'ln_var', 'actions')
_HEADER = 128  # bytes of an npy file before its rows
_SYNC_EVERY = 16  # episodes
_INDEX = {'latent_size': int, 'action_size': int, 'source': dict, 'rows': int, 'episodes': list}
_EPISODE = {'episode': int, 'length': int, 'terminated': bool}


def _header(rows: int, width: int) -> bytes:
    """The npy header of a (rows, width) float32 array, always as long."""
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': "
    text = f'{text}({rows}, {width}), }}'
    text = text.ljust(_HEADER - 11) + '\n'
    return b'\x93NUMPY\x01\x00' + (_HEADER - 10).to_bytes(2, 'little') + (text.encode())


class LatentWriter:
    """Writes encoded episodes one by one; goes on where it was stopped.

    Args:
        folder: one of its own.
        latent_size: Z.
        action_size: A.
        source: what was encoded with what, e.g. the digest of V's file; a writer that goes on must
            be given the same.

    Attributes:
        written: the episodes that are in.
        complete: `finish` was called, now or by an earlier writer.

    Raises:
        FileError: the folder was begun with other sizes or another source, or is damaged.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        latent_size: int,
        action_size: int,
        source: Mapping[str, Any] | None = None,
    ):
        self.folder = pathlib.Path(folder)
        self._widths = dict(zip(_ARRAYS, (latent_size, latent_size, action_size)))
        self._begin = {
            'format': FORMAT_VERSION,
            'latent_size': latent_size,
            'action_size': action_size,
            'source': dict(source or {}),
        }
        self._progress = self.folder / 'progress.jsonl'
        self._pending: list[dict[str, Any]] = []
        self._files: dict[str, BinaryIO] = {}
        self._broken = False
        self._episodes = self._resume()
        self._rows = sum(e['length'] for e in self._episodes)
        self.written = {e['episode'] for e in self._episodes}
        if not self.complete:
            self._files = {name: self._open(name) for name in _ARRAYS}

    def _resume(self) -> list[dict[str, Any]]:
        """The episodes that are in, after a look at what was begun."""
        if self.complete:
            index = files.read_json(self.folder / 'index.json')
            self._check(index, 'index.json')
            files.expect(self.folder / 'index.json', index, _INDEX)
            return index['episodes']
        lines = list(jsonlines.read_lines(self._progress, strict=True))
        if not lines:
            jsonlines.append_line(self._progress, self._begin)
            return []
        self._check(lines[0], self._progress.name)
        for line in lines[1:]:
            files.expect(self._progress, line, {'episodes': list})
            for each in line['episodes']:
                _check_episode(self._progress, each)
        return [e for line in lines[1:] for e in line['episodes']]

    def _check(self, begun: dict[str, Any], name: str) -> None:
        for key, new in self._begin.items():
            if begun.get(key) != new:
                raise files.FileError(
                    f'{self.folder / name} was begun with {key} = {begun.get(key)!r},'
                    f' now it is {new!r}: was V trained again? Remove the '
                    'folder to encode anew'
                )

    def _open(self, name: str) -> BinaryIO:
        """A file whose end is the last row that is known to be in."""
        path = self.folder / f'{name}.npy'
        path.touch()
        end = _HEADER + self._rows * self._widths[name] * 4
        size = path.stat().st_size
        if self._rows and size < end:
            raise files.FileError(
                f'{path} has {size} bytes but {end} were written: was it cut '
                'off? Remove the folder to encode anew'
            )
        file = open(path, 'r+b')  # noqa: SIM115  (close() does)
        file.truncate(end)
        file.write(_header(self._rows, self._widths[name]))
        file.seek(end)
        return file

    @property
    def complete(self) -> bool:
        return (self.folder / 'index.json').exists()

    def add(
        self,
        episode: int,
        mu: np.ndarray,
        ln_var: np.ndarray,
        actions: np.ndarray,
        terminated: bool,
    ) -> None:
        """Append one episode of T steps.

        Args:
            mu, ln_var: (T, Z), of the frames before each action.
            actions: (T, A).
            terminated: the game itself ended after the last action.

        Raises:
            ValueError: shapes disagree, a value is not finite, or the episode is in already.
            OSError: the disk is full; a new writer goes on from before.
        """
        arrays = dict(zip(_ARRAYS, (mu, ln_var, actions)))
        for name, array in arrays.items():
            expected = (len(mu), self._widths[name])
            if array.shape != expected or not len(mu):
                raise ValueError(
                    f'{name} of episode {episode} has shape {array.shape}, '
                    f'expected {expected} with at least one row'
                )
            if not np.isfinite(array).all():
                raise ValueError(f'{name} of episode {episode} is not finite: did V diverge?')
        if episode in self.written or self.complete or self._broken:
            raise ValueError(
                f'episode {episode} cannot be added to {self.folder}: it is '
                'in already, the folder is finished, or writing failed before'
            )
        self._broken = True  # until all three are in
        for name, array in arrays.items():
            self._files[name].write(np.asarray(array, '<f4').tobytes())
        self._broken = False
        self.written.add(episode)
        self._pending.append(
            {'episode': int(episode), 'length': len(mu), 'terminated': bool(terminated)}
        )
        if len(self._pending) >= _SYNC_EVERY:
            self._commit()

    def _commit(self) -> None:
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        if self._pending:
            line = {'episodes': self._pending}
            jsonlines.append_line(self._progress, line)
        self._episodes += self._pending
        self._pending = []

    def finish(self) -> None:
        """All episodes are in: make the folder readable.

        Raises:
            ValueError: there are none, or writing failed before.
        """
        if self.complete:
            return
        rows = sum(e['length'] for e in self._episodes + self._pending)
        if not rows or self._broken:
            raise ValueError(
                f'{self.folder} cannot be finished: no episode was added, or writing failed before'
            )
        for name, file in self._files.items():
            file.seek(0)
            file.write(_header(rows, self._widths[name]))
            file.seek(0, os.SEEK_END)
        self._commit()
        sums = {name: files.sha256(self.folder / f'{name}.npy') for name in _ARRAYS}
        files.write_json(
            self.folder / 'index.json',
            {**self._begin, 'rows': rows, 'sha256': sums, 'episodes': self._episodes},
        )

    def close(self) -> None:
        """Keep what was added so far; a later writer goes on."""
        with contextlib.ExitStack() as stack:
            for file in self._files.values():
                stack.callback(file.close)
            if self._pending:
                self._commit()
        self._files = {}

    def __enter__(self) -> LatentWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Latents:
    """Encoded episodes, memory-mapped; opening compares their bytes with the index.

    Attributes:
        mu, ln_var: (rows, Z) float32, posterior of each frame.
        actions: (rows, A) float32, taken at each frame.
        episodes: (E,) int64, their numbers in the rollout store.
        starts, lengths: (E,) int64, their rows.
        terminated: (E,) bool.
        source: what was encoded with what.

    Raises:
        FileNotFoundError: the folder is not finished, or not there.
        FileError: a file does not fit the index, or was altered.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = folder = pathlib.Path(folder)
        if not (folder / 'index.json').exists():
            raise FileNotFoundError(f'{folder} holds no finished codes: run the encode stage')
        index = files.read_json(folder / 'index.json')
        if index.get('format') != FORMAT_VERSION:
            raise files.FileError(
                f'{folder / "index.json"} has format {index.get("format")}, this program reads '
                f'{FORMAT_VERSION}: was it written by another version?'
            )
        files.expect(folder / 'index.json', index, _INDEX)
        for each in index['episodes']:
            _check_episode(folder / 'index.json', each)
        self.latent_size: int = index['latent_size']
        self.action_size: int = index['action_size']
        self.source: dict[str, Any] = index['source']
        rows = index['rows']
        self.mu, self.ln_var, self.actions = (
            _map(folder / f'{name}.npy', rows, width, index.get('sha256', {}).get(name))
            for name, width in zip(_ARRAYS, (self.latent_size, self.latent_size, self.action_size))
        )
        column = {
            key: [e[key] for e in index['episodes']] for key in ('episode', 'length', 'terminated')
        }
        self.episodes = np.array(column['episode'], np.int64)
        self.lengths = np.array(column['length'], np.int64)
        if self.lengths.sum() != rows or (self.lengths < 1).any():
            raise files.FileError(
                f'{folder / "index.json"} lists episodes of {self.lengths.sum()} rows, the arrays '
                f'have {rows}: was it altered?'
            )
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.terminated = np.array(column['terminated'], bool)
        self._positions = {e: i for i, e in enumerate(column['episode'])}

    def __reduce__(self) -> tuple:
        return Latents, (self.folder,)  # to another process go no numbers, but where they are

    def __len__(self) -> int:
        return len(self.episodes)

    def first(self) -> tuple[np.ndarray, np.ndarray]:
        """Posteriors of first frames, for dreams: mu, ln_var, each (E, Z)."""
        return self.mu[self.starts], self.ln_var[self.starts]

    def position(self, episode: int) -> int:
        """Index of an episode of the store in the arrays here."""
        if episode not in self._positions:
            raise KeyError(f'episode {episode} was not encoded')
        return self._positions[episode]

    def rows(self, episode: int) -> slice:
        """Rows of an episode of the store."""
        index = self.position(episode)
        start = int(self.starts[index])
        return slice(start, start + int(self.lengths[index]))


class JoinedLatents(Latents):
    """The episodes of all ``parts`` one after the other, in memory.

    Episodes are numbered anew, from 0: an episode's number is its position.

    Args:
        parts: encoded by the same V.

    Attributes:
        parts: as given; the others as in ``Latents``.

    Raises:
        ValueError: no parts, or their codes come from different Vs.
    """

    def __init__(self, parts: Sequence[Latents]):
        if not parts:
            raise ValueError('there are no codes to join')
        for part in parts:
            if part.source != parts[0].source:
                raise ValueError(
                    f'codes of {part.source} cannot join those of '
                    f'{parts[0].source}: was V trained again in between?'
                )
        self.parts, self.source = tuple(parts), parts[0].source
        self.latent_size = parts[0].latent_size
        self.action_size = parts[0].action_size
        self.mu, self.ln_var, self.actions, self.lengths, self.terminated = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ('mu', 'ln_var', 'actions', 'lengths', 'terminated')
        )
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.episodes = np.arange(len(self.lengths))

    def __reduce__(self) -> tuple:
        return JoinedLatents, (self.parts,)

    def number(self, part: int, episode: int) -> int:
        """The number here of an episode of one of the parts.

        Raises:
            KeyError: that part has no such episode.
        """
        before = sum(len(other) for other in self.parts[:part])
        return before + self.parts[part].position(episode)

    def position(self, episode: int) -> int:
        """Index of an episode in the arrays: its number here.

        Raises:
            KeyError: there is no such episode.
        """
        if not 0 <= episode < len(self):
            raise KeyError(f'episode {episode} is not among {len(self)}')
        return episode


def _check_episode(path: pathlib.Path, row: Any) -> None:
    if not isinstance(row, dict):
        raise files.FileError(f'{path}: {row!r:.40} is no row of an episode')
    files.expect(path, row, _EPISODE)


def _map(path: pathlib.Path, rows: int, width: int, digest: str | None) -> np.ndarray:
    try:
        array = np.lib.format.open_memmap(path, mode='r')
    except Exception as error:  # whatever NumPy raises for bytes that are no npy
        raise files.FileError(
            f'{path} cannot be read ({error}): was it cut off? Encode again'
        ) from error
    if array.shape != (rows, width) or array.dtype != np.float32:
        raise files.FileError(
            f'{path} has shape {array.shape}, index.json says {(rows, width)}:'
            ' do they come from different runs?'
        )
    if digest is not None and files.sha256(path) != digest:
        raise files.FileError(
            f'{path} has other bytes than index.json says: was it altered? Remove the folder to '
            'encode anew'
        )
    return array
