"""What kind of folder a path is, and the rollout stores inside it."""

from __future__ import annotations

import os
import pathlib
import warnings

from chainer_wm.rollouts import RolloutStore

STORE_FILES = ('manifest.json', 'episodes.jsonl')
RUN_FILES = ('config.json', 'stages.json', 'results.json', 'log.jsonl')
_DEPTH = 3  # how far below a run's folder a store may lie


class InspectorError(ValueError):
    """What was asked for is not there."""


def kind(path: str | os.PathLike) -> str:
    """'store', 'run', 'experiment' (has runs) or 'data' (has experiments).

    Raises:
        InspectorError: there is no such folder, or it is none of these.
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        what = 'is a file' if path.exists() else 'does not exist'
        raise InspectorError(
            f'{path} {what}: give the folder of a rollout store, a run '
            '(data/EXPERIMENT/RUN) or an experiment'
        )
    if is_store(path):
        return 'store'
    if is_run(path):
        return 'run'
    if runs_in(path):
        return 'experiment'
    if experiments_in(path):
        return 'data'
    raise InspectorError(
        f'{path} is neither a rollout store ({" or ".join(STORE_FILES)}), nor '
        f'a run ({", ".join(RUN_FILES)}), nor a folder of runs: has anything '
        'been collected into it yet?'
    )


def _has(path: pathlib.Path, names: tuple[str, ...]) -> bool:
    return any((path / name).is_file() for name in names)


def is_store(path: pathlib.Path) -> bool:
    """A store has a manifest or a list of episodes."""
    return _has(path, STORE_FILES)


def is_run(path: pathlib.Path) -> bool:
    """A run has settings or results, or at least rollouts."""
    return _has(path, RUN_FILES) or _has(path / 'rollouts', STORE_FILES)


def _folders(path: pathlib.Path) -> list[pathlib.Path]:
    return sorted(each for each in path.iterdir() if each.is_dir())


def runs_in(experiment: str | os.PathLike) -> list[pathlib.Path]:
    """Folders of runs (or of shared stores) right inside a folder."""
    return [each for each in _folders(pathlib.Path(experiment)) if is_run(each) or is_store(each)]


def experiments_in(data: str | os.PathLike) -> list[pathlib.Path]:
    """Folders right inside a folder that hold runs but are none."""
    return [
        each
        for each in _folders(pathlib.Path(data))
        if not is_run(each) and not is_store(each) and runs_in(each)
    ]


def stores_in(path: str | os.PathLike) -> list[pathlib.Path]:
    """Rollout stores at or below a folder, three levels deep at most."""
    found, level = [], [pathlib.Path(path)]
    for _ in range(_DEPTH + 1):
        found += [each for each in level if is_store(each)]
        level = [inner for each in level if not is_store(each) for inner in _folders(each)]
    return found


def open_store(path: str | os.PathLike) -> tuple[RolloutStore, list[str]]:
    """A store, and what is wrong with its list (torn or edited lines).

    Raises:
        InspectorError: its manifest cannot be read.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        try:
            store = RolloutStore(path)
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise InspectorError(f'the store {path} cannot be read: {error}') from error
    return store, [str(each.message) for each in caught]


def game_of(store: RolloutStore) -> str:
    """The game's name in a store's manifest, '' without one."""
    return str((store.manifest or {}).get('game', ''))


def the_store(path: str | os.PathLike) -> pathlib.Path:
    """The one store at or below ``path``.

    Raises:
        InspectorError: there is none, or more than one (names them).
    """
    stores = stores_in(path)
    if len(stores) == 1:
        return stores[0]
    if not stores:
        raise InspectorError(f'{path} holds no rollout store: has its collection begun?')
    names = ', '.join(str(each) for each in stores)
    raise InspectorError(f'{path} holds {len(stores)} rollout stores, say which: {names}')


def bytes_in(path: str | os.PathLike) -> int:
    """Bytes of all files at or below a path; a file that vanishes counts 0."""
    path = pathlib.Path(path)
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue
    return total
