"""Reread every byte of a store or a run, and name what is wrong."""

from __future__ import annotations

import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tqdm
from PIL import Image

from chainer_wm import files
from chainer_wm.envs.drawn import as_pictures
from chainer_wm.inspector import folders
from chainer_wm.rollouts import DamagedEpisode, Rollout, RolloutStore


class Damage(NamedTuple):
    """One thing that is wrong."""

    file: str
    reason: str


class Verification(NamedTuple):
    """What was read, and what of it is wrong."""

    files: int
    episodes: int
    damage: list[Damage]


def verify(path: str | os.PathLike, progress: bool = False) -> Verification:
    """Read every file of a store, a run or a folder of runs; change nothing.

    An episode must have the bytes of its SHA-256, the shapes and dtypes of
    the format, finite numbers, an end only at its last step, and the length and return of its
    line. Of the other files, JSON must parse, arrays must unpack and pictures decode.

    Args:
        progress: show a bar on stderr, with the time left.
    """
    stores = folders.stores_in(path)
    damage: list[Damage] = []
    episodes = 0
    for folder in stores:
        found, count = _verify_store(folder, progress)
        damage += found
        episodes += count
    others = list(_other_files(pathlib.Path(path), stores))
    for each in tqdm.tqdm(others, 'files', unit='file', disable=not progress):
        damage += _verify_file(each)
    return Verification(episodes + len(others), episodes, damage)


def _verify_store(folder: pathlib.Path, progress: bool) -> tuple[list[Damage], int]:
    """What is wrong with a store, and how many episodes it lists."""
    try:
        store, problems = folders.open_store(folder)
    except folders.InspectorError as error:
        return [Damage(str(folder / 'manifest.json'), str(error))], 0
    damage = [Damage(str(folder / 'episodes.jsonl'), each) for each in problems]
    if store.manifest is None:
        damage.append(Damage(str(folder / 'manifest.json'), 'is missing'))
    bar = tqdm.tqdm(
        store.episodes, f'episodes of {folder.name}', unit='episode', disable=not progress
    )
    size: tuple[int, ...] | None = None
    for episode in bar:
        name = str(folder / store.entry(episode)['file'])
        try:
            rollout = store.read(episode)
        except DamagedEpisode as error:
            damage.append(Damage(name, error.reason))
            continue
        shape = (*rollout.observations.shape[1:], rollout.actions.shape[1])
        size = size or shape
        damage += [
            Damage(name, reason) for reason in _faults(rollout, store, episode, shape, size)
        ]
    return damage, len(store)


def _faults(
    rollout: Rollout, store: RolloutStore, episode: int, shape: tuple, expected: tuple
) -> Iterator[str]:
    """What an episode's checksum does not see: it was written like this."""
    entry = store.entry(episode)
    try:
        as_pictures(folders.game_of(store), rollout.observations[:1])
    except ValueError as error:
        yield str(error)
    if shape != expected:
        yield (
            f'frames and actions have sizes {shape}, in the first episode '
            f'they have {expected}: are two games mixed?'
        )
    for name in ('actions', 'rewards'):
        wrong = np.argwhere(~np.isfinite(getattr(rollout, name)))
        if len(wrong):
            yield (
                f'{len(wrong)} values of {name} are not finite, the first at step {wrong[0][0]}'
            )
    for name in ('terminated', 'truncated'):
        early = np.flatnonzero(getattr(rollout, name)[:-1])
        if len(early):
            yield (f'{name} at step {early[0]}, but it goes on to step {len(rollout) - 1}')
    total = float(rollout.rewards.sum(dtype=np.float64))
    if np.isfinite(total) and not np.isclose(total, entry['return']):
        yield f'has return {total:g}, listed with {entry["return"]:g}'


def _other_files(path: pathlib.Path, stores: list[pathlib.Path]) -> Iterator[pathlib.Path]:
    """All visible files at or below ``path`` that are in no store."""
    for each in sorted(path.rglob('*')):
        inside = any(store in each.parents for store in stores)
        hidden = any(part.startswith('.') for part in each.relative_to(path).parts)
        if each.is_file() and not inside and not hidden:
            yield each


def _verify_file(path: pathlib.Path) -> list[Damage]:
    check = _CHECKS.get(path.suffix.lower(), _read)
    try:
        reasons = list(check(path))
    except FileNotFoundError:  # a run at work has replaced it
        return []
    except (
        OSError,
        ValueError,
        EOFError,
        SyntaxError,
        KeyError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reasons = [f'cannot be read: {error}']
    return [Damage(str(path), reason) for reason in reasons]


def _read(path: pathlib.Path) -> Iterator[str]:
    files.sha256(path)
    return iter(())


def _json(path: pathlib.Path) -> Iterator[str]:
    files.read_json(path, object)
    return iter(())


def _json_lines(path: pathlib.Path) -> Iterator[str]:
    """Whole lines must be JSON; a torn last one is a writer that died."""
    with open(path, 'rb') as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b'\n') and line.strip():
                try:
                    files.parse_json(line)
                except ValueError as error:
                    yield f'line {number} is not JSON ({error})'


def _npz(path: pathlib.Path) -> Iterator[str]:
    """Checksums of the archive, then whether its numbers are finite."""
    with zipfile.ZipFile(path) as archive:
        if broken := archive.testzip():
            yield f'the array {broken} does not match its checksum'
            return
    with open(path, 'rb') as file, np.load(file, allow_pickle=False) as npz:
        for name in npz.files:
            try:
                array = npz[name]
            except ValueError:  # Chainer stores None as a pickled object
                continue
            yield from _not_finite(name, array)


def _npy(path: pathlib.Path) -> Iterator[str]:
    yield from _not_finite('the array', np.load(path, allow_pickle=False, mmap_mode='r'))


def _not_finite(name: str, array: np.ndarray) -> Iterator[str]:
    if array.dtype.kind == 'f':
        wrong = int((~np.isfinite(array)).sum())
        if wrong:
            yield f'{wrong} of {array.size} values of {name} are not finite'


def _picture(path: pathlib.Path) -> Iterator[str]:
    with Image.open(path) as picture:
        for frame in range(getattr(picture, 'n_frames', 1)):
            picture.seek(frame)
            picture.load()
    return iter(())


_CHECKS: dict[str, Callable[[pathlib.Path], Iterator[str]]] = {
    '.json': _json,
    '.jsonl': _json_lines,
    '.npz': _npz,
    '.npy': _npy,
    '.png': _picture,
    '.gif': _picture,
}
