"""What lies under a folder, by names that an address may hold: runs, caches, packed agents.

A name is looked up among those that were found, never joined to a path: nothing outside the
folder can be asked for.
"""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from chainer_wm import files
from chainer_wm.inspector import folders, summaries

HERE = '.'  # name of the folder itself
PACKED = 'starts.npz'  # marks the folder of a packed agent, see agents/saved.py
LOGS = ('log.json', 'history.json')
DEPTH = 4  # how far below a run's folder a log may lie
POINTS = 2000  # of a curve that are sent
_COUNTERS = ('iteration', 'generation', 'update', 'epoch', 'steps', 'elapsed_time')


class Catalog:
    """The runs, rollout caches and packed agents at or below a folder.

    Args:
        root: a folder of any kind that `folders.kind` knows, or one of packed agents.

    Raises:
        InspectorError: it holds none of them.
    """

    def __init__(self, root: str | os.PathLike):
        self.root = pathlib.Path(root).resolve()
        self._rows: dict[str, tuple[tuple, dict[str, Any]]] = {}
        if not self.folders():
            folders.kind(self.root)  # says what is wrong

    def folders(self) -> dict[str, pathlib.Path]:
        """All that is there now, by name."""
        if not self.root.is_dir():
            return {}
        found = [self.root] if _is_one(self.root) else []
        found += folders.runs_in(self.root) + packed_in(self.root)
        if self.root not in found:
            found += [
                each
                for experiment in folders.experiments_in(self.root)
                for each in folders.runs_in(experiment)
            ]
        return {_name(self.root, each): each for each in dict.fromkeys(found) if self._ours(each)}

    def folder(self, name: str) -> pathlib.Path:
        """The folder of a name.

        Raises:
            InspectorError: there is none.
        """
        found = self.folders().get(name)
        if found is None:
            raise folders.InspectorError(f'there is no run {name!r}: was it renamed or removed?')
        return found

    def stores(self, name: str) -> dict[str, pathlib.Path]:
        """The rollout caches of a run, by their names inside it."""
        folder = self.folder(name)
        return {_name(folder, each): each for each in folders.stores_in(folder)}

    def store(self, name: str, store: str) -> pathlib.Path:
        """One cache of a run.

        Raises:
            InspectorError: there is none of that name.
        """
        found = self.stores(name)
        if store not in found:
            known = ', '.join(found) or 'none'
            raise folders.InspectorError(f'{name} has no rollouts {store!r}, it has: {known}')
        return found[store]

    def figure(self, name: str, figure: str) -> pathlib.Path:
        """The file of a figure, by its path as `summaries.run_summary` lists it.

        Raises:
            InspectorError: there is none of that name.
        """
        folder = self.folder(name)
        path = folder / figure
        if figure not in summaries.figures(folder) or not self._ours(path):
            raise folders.InspectorError(f'{name} has no figure {figure!r}')
        return path

    def rows(self) -> list[dict[str, Any]]:
        """Every run in a few words; what did not change is not read again."""
        found = []
        for name, folder in self.folders().items():
            stamp = _stamp(folder)
            if name not in self._rows or self._rows[name][0] != stamp:
                self._rows[name] = stamp, _row(name, folder)
            found.append({**self._rows[name][1], 'running': at_work(folder)})
        return found

    def _ours(self, path: pathlib.Path) -> bool:
        """Whether a path, links followed, is at or below the root."""
        return path.resolve().is_relative_to(self.root)


def packed_in(path: pathlib.Path) -> list[pathlib.Path]:
    """Folders of packed agents right inside a folder."""
    return sorted(each.parent for each in path.glob(f'*/{PACKED}'))


def _is_one(path: pathlib.Path) -> bool:
    if (path / PACKED).is_file():
        return True
    return folders.is_run(path) or folders.is_store(path)


def _name(base: pathlib.Path, folder: pathlib.Path) -> str:
    return folder.relative_to(base).as_posix()


def _stamp(folder: pathlib.Path) -> tuple:
    """Changes whenever a row may."""
    watched = [folder, *(folder / name for name in folders.RUN_FILES)]
    watched += [each / 'episodes.jsonl' for each in folders.stores_in(folder)]
    return tuple(_modified(each) for each in watched)


def _modified(path: pathlib.Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _row(name: str, folder: pathlib.Path) -> dict[str, Any]:
    if (folder / PACKED).is_file():
        return {
            'run': name,
            'kind': 'agent',
            'experiment': folder.parent.parent.name,
            'model': folder.name,
            'bytes': folders.bytes_in(folder),
            'when': _modified(folder / PACKED),
            'problems': [],
        }
    row = summaries.brief(folder, folder)
    games, problems = [], row['problems']
    for each in folders.stores_in(folder):
        try:
            store, wrong = folders.open_store(each)
        except folders.InspectorError as error:
            problems.append(str(error))
            continue
        games.append(folders.game_of(store))
        problems += wrong + [str(fault) for fault in store.verify(full=False, set_aside=False)]
    return {
        **row,
        'run': name,
        'experiment': folder.parent.name,
        'game': ', '.join(sorted({game for game in games if game})),
        'when': max(_modified(folder / each) for each in ('', *folders.RUN_FILES)),
    }


def at_work(folder: pathlib.Path) -> bool:
    """Whether a process holds the run's lock; reads the kernel's list and touches nothing."""
    try:
        inode = (folder / '.lock').stat().st_ino
        with open('/proc/locks') as table:
            return any(line.split()[5].rpartition(':')[2] == str(inode) for line in table)
    except (OSError, IndexError):
        return False


def curves(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    """What a run's results and the logs of its trainings hold, over their counters.

    Returns:
        by name, each {'x', 'y', 'xlabel', 'ylabel'} as `runs.comparison` describes it.
    """
    found: dict[str, dict[str, Any]] = {}
    results = folder / 'results.json'
    if results.is_file():
        said = files.read_json(results)
        said = said.get('curves') if isinstance(said, dict) else None
        said = said if isinstance(said, dict) else {}
        found |= {name: each for name, each in said.items() if _is_curve(each)}
    for path in _logs(folder):
        try:
            rows = files.read_json(path, object)
        except (ValueError, OSError):  # half written, or damaged: the summary names it
            continue
        if isinstance(rows, dict):
            rows = rows.get('generations', [])
        found |= _columns(_name(folder, path.parent), rows)
    return found


def _logs(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    for depth in range(1, DEPTH + 1):
        for name in LOGS:
            yield from sorted(folder.glob('*/' * depth + name))


def _is_curve(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(value.get(axis), list) for axis in ('x', 'y')
    )


def _columns(where: str, rows: Any) -> dict[str, dict[str, Any]]:
    """The numbers of a training's log as curves."""
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    names = dict.fromkeys(name for row in rows for name in row)
    counter = next((name for name in _COUNTERS if name in names), None)
    rows = rows[:: max(1, math.ceil(len(rows) / POINTS))]
    found = {}
    for name in names:
        points = [
            (row[counter], row[name])
            for row in rows
            if _is_number(row.get(name)) and _is_number(row.get(counter))
        ]
        if name not in _COUNTERS and points:
            x, y = zip(*points)
            label = name.removeprefix('main/')
            found[f'{where}: {label}'] = {
                'x': list(x),
                'y': list(y),
                'xlabel': counter,
                'ylabel': label,
                'log_of': where,
            }
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
