"""The rollout cache: a folder of episodes, listed and verified; several read as one."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tqdm

from chainer_wm import files
from chainer_wm.files import jsonlines
from chainer_wm.rollouts.episode import Rollout

FORMAT_VERSION = 1
_MANIFEST = {'game': str, 'settings': dict, 'seed': int, 'versions': dict}
_ENTRY = {
    'episode': int,
    'file': str,
    'length': int,
    'return': (int, float),
    'sha256': str,
    'bytes': int,
}
Number = tuple[int, int]  # of a joined store: the part, and the episode there


class DamagedEpisode(files.FileError):
    """An episode's file is missing, cut short, altered or unreadable.

    Args:
        episode: its number in the store that raises this.
        reason: what is wrong with it.
    """

    def __init__(self, episode: Any, reason: str):
        super().__init__(f'episode {episode}: {reason}')
        self.episode = episode
        self.reason = reason


def _usable(line: dict[str, Any], path: str) -> bool:
    """Whether a line of the list says what it must, and names a file in the store.

    One that does not is left out, with a warning: its episode is then missing.
    """
    where = f'{path}, the line of episode {line.get("episode")!r:.40}'
    try:
        files.expect(where, line, {'episode': int} if 'set_aside' in line else _ENTRY)
        name = line.get('file', '')
        if name.startswith('/') or '..' in name.split('/'):
            raise files.FileError(f'{where}: {name:.60} is outside of the folder')
    except files.FileError as error:
        warnings.warn(f'{error} It is left out', stacklevel=4)
        return False
    return True


class RolloutStore:
    """A folder of episodes.

    Args:
        path: the folder; nothing is created before something is written.

    Raises:
        FileError: the manifest is of another format version, or not JSON.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        self.manifest: dict[str, Any] | None = None
        self._entries: dict[int, dict[str, Any]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the manifest and the list again, as another process left it."""
        manifest = self.path / 'manifest.json'
        self.manifest = files.read_json(manifest) if manifest.exists() else None
        if self.manifest is not None and self.manifest.get('format') != FORMAT_VERSION:
            raise files.FileError(
                f'{manifest} has format {self.manifest.get("format")}, this '
                f'program reads {FORMAT_VERSION}: was it written by another '
                'version?'
            )
        self._entries = {}
        path = self.path / 'episodes.jsonl'
        for line in jsonlines.read_lines(path):
            if not _usable(line, str(path)):
                continue
            if 'set_aside' in line:
                self._entries.pop(line['episode'], None)
            else:
                self._entries[line['episode']] = line

    def describe(
        self, game: str, settings: Mapping[str, Any], seed: int, versions: Mapping[str, str]
    ) -> None:
        """Write the manifest, or check it against the one that is there.

        Raises:
            FileError: the store holds episodes of another game, seed or settings; the message
                names the first value that differs.
        """
        new = json.loads(
            json.dumps(
                {
                    'format': FORMAT_VERSION,
                    'game': game,
                    'settings': dict(settings),
                    'seed': seed,
                    'versions': dict(versions),
                },
                default=files.to_plain,
            )
        )
        if self.manifest is None:
            files.write_json(self.path / 'manifest.json', new)
            self.manifest = new
        files.expect(self.path / 'manifest.json', self.manifest, _MANIFEST)
        for key in ('game', 'settings', 'seed'):
            if found := _difference(self.manifest[key], new[key], key):
                raise files.FileError(
                    f'{self.path} was collected with {found[0]} = {found[1]!r}'
                    f', now it is {found[2]!r}: mixing them would void the '
                    'data; choose another folder, or the old setting'
                )
        if found := _difference(self.manifest['versions'], new['versions'], 'versions'):
            warnings.warn(
                f'{self.path} was begun with {found[0]} = {found[1]!r}, now it'
                f' is {found[2]!r}: new episodes may differ from those that '
                'the old version would give',
                stacklevel=2,
            )

    @property
    def episodes(self) -> list[int]:
        """Numbers of the listed episodes, in order."""
        return sorted(self._entries)

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each listed episode, (episodes,) int64."""
        return np.array([self._entries[e]['length'] for e in self.episodes], np.int64)

    @property
    def returns(self) -> np.ndarray:
        """Sum of rewards of each listed episode, (episodes,) float64."""
        return np.array([self._entries[e]['return'] for e in self.episodes], np.float64)

    @property
    def size(self) -> int:
        """Bytes of all listed episode files."""
        return sum(entry['bytes'] for entry in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, episode: object) -> bool:
        return episode in self._entries

    def entry(self, episode: int) -> dict[str, Any]:
        """The line of one episode: file, length, return, seed, sha256, ..."""
        if episode not in self._entries:
            raise KeyError(f'{self.path} has no episode {episode} (it lists {len(self)})')
        return dict(self._entries[episode])

    def missing(self, episodes: int) -> list[int]:
        """Which of the first so many episodes are not listed."""
        return [e for e in range(episodes) if e not in self._entries]

    def write(self, episode: int, rollout: Rollout) -> dict[str, Any]:
        """Put the file on disk and return its line, which is NOT yet listed.

        Safe in any number of processes, for different episodes.
        """
        name = f'episodes/{episode:06d}.npz'
        rollout.save(self.path / name)
        return {
            'episode': episode,
            'file': name,
            'length': len(rollout),
            'return': float(rollout.rewards.sum(dtype=np.float64)),
            'seed': rollout.info.get('seed'),
            'sha256': files.sha256(self.path / name),
            'bytes': (self.path / name).stat().st_size,
            'terminated': bool(rollout.terminated[-1]),
            'truncated': bool(rollout.truncated[-1]),
        }

    def take(self, entry: Mapping[str, Any]) -> bytes:
        """The file that ``write`` made, which is then gone: another store is to ``put`` it."""
        path = self.path / entry['file']
        data = path.read_bytes()
        path.unlink()
        return data

    def put(self, entry: Mapping[str, Any], data: bytes) -> None:
        """Put a file that another store took on disk. It is NOT yet listed."""
        with files.atomic_write(self.path / entry['file']) as file:
            file.write(data)

    def append(self, entry: Mapping[str, Any]) -> None:
        """List an episode whose file is written; only one process may."""
        jsonlines.append_line(self.path / 'episodes.jsonl', entry)
        self._entries[entry['episode']] = dict(entry)

    def add(self, episode: int, rollout: Rollout) -> None:
        """`write` and `append`."""
        self.append(self.write(episode, rollout))

    def read(self, episode: int) -> Rollout:
        """Read one episode, every byte checked against its SHA-256.

        Raises:
            DamagedEpisode: the file is missing, or not the one listed.
            KeyError: no such episode is listed.
        """
        data = self._verified(episode)
        try:
            rollout = Rollout.from_bytes(data)
        except (ValueError, TypeError) as error:
            raise DamagedEpisode(episode, f'{self._file(episode)}: {error}') from error
        if len(rollout) != (listed := self.entry(episode)['length']):
            reason = f'{self._file(episode)} has {len(rollout)} steps, listed with {listed}'
            raise DamagedEpisode(episode, reason)
        return rollout

    def __iter__(self) -> Iterator[Rollout]:
        """All episodes in order; a damaged one is named and set aside."""
        for episode in self.episodes:
            try:
                rollout = self.read(episode)
            except DamagedEpisode as error:
                self.set_aside(error)
                continue
            yield rollout

    def set_aside(self, error: DamagedEpisode) -> None:
        """Move a damaged file to ``damaged/``: the episode is then missing.

        A warning names it, and a line in ``episodes.jsonl`` says why.
        """
        source = self._file(error.episode)
        target = self.path / 'damaged' / source.name
        target.parent.mkdir(exist_ok=True)
        for number in range(1, 10_000):
            if not target.exists():
                break
            target = target.with_name(f'{source.stem}.{number}.npz')
        if source.exists():
            os.replace(source, target)
        jsonlines.append_line(
            self.path / 'episodes.jsonl',
            {
                'episode': error.episode,
                'reason': error.reason,
                'set_aside': str(target.relative_to(self.path)),
            },
        )
        self.forget(error.episode)
        warnings.warn(f'{error}; set aside as {target}, to be collected again', stacklevel=2)

    def forget(self, episode: int) -> None:
        """This process, or another one, has set the episode aside."""
        self._entries.pop(episode, None)

    def unlisted(self) -> list[str]:
        """Whole files without a line: a killed writer's, or the list was cut or lost."""
        listed = {entry['file'] for entry in self._entries.values()}
        found = sorted((self.path / 'episodes').glob('*.npz'))
        return [path.name for path in found if f'episodes/{path.name}' not in listed]

    def remove_unfinished(self) -> list[str]:
        """Delete what killed writers left half written; names the files.

        Only while no other process writes into this store.
        """
        return [path.name for path in files.remove_unfinished(self.path / 'episodes')]

    def verify(
        self, progress: bool = False, full: bool = True, set_aside: bool = True
    ) -> list[DamagedEpisode]:
        """Check every listed episode.

        Args:
            progress: show a bar with the time left.
            full: reread every byte; else compare sizes only.
            set_aside: move what is damaged, so that it counts as missing.
        Returns:
            What is wrong, one per damaged episode.
        """
        check = self._verified if full else self._check_size
        found = []
        for episode in tqdm.tqdm(self.episodes, 'verify', unit='episode', disable=not progress):
            try:
                check(episode)
            except DamagedEpisode as error:
                found.append(error)
                if set_aside:
                    self.set_aside(error)
        return found

    def _file(self, episode: int) -> pathlib.Path:
        return self.path / self.entry(episode)['file']

    def _check_size(self, episode: int) -> None:
        path, expected = self._file(episode), self.entry(episode)['bytes']
        if not path.is_file():
            raise DamagedEpisode(episode, f'{path} is missing')
        if (size := path.stat().st_size) != expected:
            raise DamagedEpisode(
                episode,
                f'{path} has {size} bytes, listed with {expected}: cut short, or overwritten?',
            )

    def _verified(self, episode: int) -> bytes:
        self._check_size(episode)
        path, expected = self._file(episode), self.entry(episode)['sha256']
        data = path.read_bytes()
        if (digest := hashlib.sha256(data).hexdigest()) != expected:
            raise DamagedEpisode(
                episode,
                f'{path} has SHA-256 {digest[:12]}..., listed with '
                f'{expected[:12]}...: its bytes were altered',
            )
        return data


class JoinedStores:
    """The episodes of all ``parts``, to be read.

    An episode's number is (part, its number there), which stays when another one is set aside.

    Args:
        parts: at least one.
    """

    def __init__(self, parts: Sequence[RolloutStore]):
        self.parts = tuple(parts)
        self.path = self.parts[0].path

    @property
    def episodes(self) -> list[Number]:
        """Numbers of the listed episodes, in order."""
        return [
            (part, episode) for part, store in enumerate(self.parts) for episode in store.episodes
        ]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __contains__(self, number: Number) -> bool:
        return number[1] in self.parts[number[0]]

    def entry(self, number: Number) -> dict[str, Any]:
        """The line of one episode, as its store has it."""
        return self.parts[number[0]].entry(number[1])

    def read(self, number: Number) -> Rollout:
        """Read one episode, verified.

        Raises:
            DamagedEpisode: with the number that it has here.
            KeyError: no such episode is listed.
        """
        try:
            return self.parts[number[0]].read(number[1])
        except DamagedEpisode as error:
            raise DamagedEpisode(number, error.reason) from error

    def set_aside(self, error: DamagedEpisode) -> None:
        """Let its store set a damaged episode aside."""
        part, episode = error.episode
        self.parts[part].set_aside(DamagedEpisode(episode, error.reason))

    def forget(self, number: Number) -> None:
        """This process, or another one, has set the episode aside."""
        self.parts[number[0]].forget(number[1])


def _difference(old: Any, new: Any, name: str) -> tuple[str, Any, Any] | None:
    """The first value in which two trees of dicts differ: name, old, new."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            found = _difference(old.get(key), new.get(key), f'{name}.{key}')
            if found:
                return found
        return None
    return None if old == new else (name, old, new)
