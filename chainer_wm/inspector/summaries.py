"""What is in a store, a run or a folder of runs, as plain values."""

from __future__ import annotations

import json
import os
import pathlib
import zipfile
import zlib
from typing import Any

import numpy as np

from chainer_wm import files
from chainer_wm.inspector import folders
from chainer_wm.inspector.numbers import ActionCounter, spread
from chainer_wm.rollouts import DamagedEpisode, RolloutStore

SAMPLE = 50  # episodes read for the action statistics, unless all are asked
UNREADABLE = (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error)
TAIL = 64 << 10  # bytes at the end of a log that are read


def store_summary(path: str | os.PathLike, sample: int | None = SAMPLE) -> dict[str, Any]:
    """All there is to know about a rollout store; reads one episode at once.

    Args:
        sample: about so many episodes, evenly spread, are read for the action statistics; None
            reads all, 0 none.

    Raises:
        InspectorError: it is no store, or its manifest cannot be read.
    """
    store, problems = folders.open_store(path)
    manifest = store.manifest or {}
    actions, unreadable = _actions(store, sample)
    wrong = store.verify(full=False, set_aside=False)
    named = {each.episode for each in wrong}
    wrong += [each for each in unreadable if each.episode not in named]
    problems += [str(each) for each in wrong]
    entries = [store.entry(episode) for episode in store.episodes]
    return {
        'kind': 'store',
        'path': str(path),
        **{key: manifest.get(key) for key in ('format', 'game', 'settings', 'seed', 'versions')},
        'episodes': len(store),
        'first': min(store.episodes, default=None),
        'last': max(store.episodes, default=None),
        'missing': _gaps(store),
        'steps': int(store.lengths.sum()),
        'lengths': spread(store.lengths),
        'returns': spread(store.returns),
        'terminated': sum(bool(each.get('terminated')) for each in entries),
        'truncated': sum(bool(each.get('truncated')) for each in entries),
        'actions': actions,
        'disk': _disk(store),
        'problems': problems + _not_described(store),
        'set_aside': set_aside(store),
    }


def _gaps(store: RolloutStore) -> list[int]:
    return store.missing(max(store.episodes, default=-1) + 1)


def _not_described(store: RolloutStore) -> list[str]:
    if store.manifest is None:
        return [
            f'{store.path / "manifest.json"} is missing: which game and '
            'settings these episodes are from is not known'
        ]
    return []


def _actions(
    store: RolloutStore, sample: int | None
) -> tuple[dict[str, Any] | None, list[DamagedEpisode]]:
    """Statistics of the sampled actions, and the episodes that failed."""
    listed = store.episodes
    count = len(listed) if sample is None else min(sample, len(listed))
    spots = np.linspace(0, len(listed) - 1, count) if count else np.zeros(0)
    counter: ActionCounter | None = None
    damaged = []
    for index in np.unique(spots.round().astype(int)):
        try:
            actions = _actions_of(store, listed[index])
            counter = counter or ActionCounter(actions.shape[1])
            counter.add(actions)
        except UNREADABLE as error:
            damaged.append(DamagedEpisode(listed[index], str(error)))
    if counter is None:
        return None, damaged
    return {
        'episodes_read': count - len(damaged),
        'steps': counter.steps,
        'dimensions': counter.summary(),
    }, damaged


def _actions_of(store: RolloutStore, episode: int) -> np.ndarray:
    """The actions (T, A) alone, without unpacking the frames."""
    path = store.path / store.entry(episode)['file']
    with open(path, 'rb') as file, np.load(file, allow_pickle=False) as npz:
        actions = npz['actions']
    if actions.ndim != 2 or actions.dtype.kind not in 'fiu':
        raise ValueError(
            f'{path}: actions are {actions.dtype} of shape '
            f'{actions.shape}, expected numbers (steps, size)'
        )
    return actions


def _disk(store: RolloutStore) -> dict[str, int]:
    return {
        'bytes': folders.bytes_in(store.path),
        'episode_bytes': store.size,
        'unlisted_files': len(store.unlisted()),
        'unfinished_files': len(files.unfinished(store.path / 'episodes')),
    }


def set_aside(store: RolloutStore) -> list[dict[str, Any]]:
    """What was found damaged earlier: file and bytes."""
    folder = store.path / 'damaged'
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        {'file': str(each.relative_to(store.path)), 'bytes': folders.bytes_in(each)}
        for each in found
    ]


def run_summary(path: str | os.PathLike) -> dict[str, Any]:
    """What a run's folder holds so far, finished or not.

    Its stores are summarised without reading an episode.
    """
    path = pathlib.Path(path)
    problems: list[str] = []
    results = _json(path / 'results.json', problems)
    config = _json(path / 'config.json', problems)
    return {
        'kind': 'run',
        'path': str(path),
        'experiment': results.get('experiment', path.absolute().parent.name),
        'run': results.get('run', path.absolute().name),
        'config': config or results.get('config', {}),
        'versions': results.get('versions', {}),
        'stages': _stages(path, problems),
        'results': results,
        'scores': scores(results),
        'log': last_lines(path / 'log.jsonl'),
        'figures': figures(path),
        'disk': {
            each.name: folders.bytes_in(each)
            for each in sorted(path.iterdir())
            if not each.name.startswith('.')
        },
        'stores': _stores_of(path, problems),
        'problems': problems,
    }


def figures(path: pathlib.Path) -> list[str]:
    """The pictures of a run, as paths inside its folder."""
    return [
        each.relative_to(path).as_posix()
        for each in sorted((path / 'figures').glob('*'))
        if each.is_file() and not each.name.startswith('.')
    ]


def _stores_of(path: pathlib.Path, problems: list[str]) -> list[dict[str, Any]]:
    """Every store of a run; one that cannot be opened is a problem noted."""
    found = []
    for folder in folders.stores_in(path):
        try:
            found.append(store_summary(folder, sample=0))
        except folders.InspectorError as error:
            problems.append(str(error))
    return found


def _json(path: pathlib.Path, problems: list[str]) -> dict[str, Any]:
    """A JSON object, or an empty one and a problem noted."""
    if not path.exists():
        return {}
    try:
        value = files.read_json(path)
    except (ValueError, OSError) as error:
        problems.append(str(error))
        return {}
    if not isinstance(value, dict):
        problems.append(f'{path} holds no JSON object')
        return {}
    return value


def _stages(path: pathlib.Path, problems: list[str]) -> dict[str, dict]:
    """The stages of a run; what is none is a problem noted."""
    found = _json(path / 'stages.json', problems)
    wrong = [name for name, stage in found.items() if not isinstance(stage, dict)]
    if wrong:
        problems.append(f'{path / "stages.json"} says of {wrong[0]} {found[wrong[0]]!r}')
    return {name: stage for name, stage in found.items() if name not in wrong}


def scores(results: dict[str, Any], prefix: str = '') -> dict[str, dict]:
    """Every {'mean', 'std', 'episodes'} in the results, by its name."""
    found: dict[str, dict] = {}
    for name, value in results.items():
        if not isinstance(value, dict) or name in ('config', 'versions'):
            continue
        if {'mean', 'std', 'episodes'} <= set(value):
            found[prefix + name] = value
        else:
            found |= scores(value, f'{prefix}{name}.')
    return found


def last_lines(path: str | os.PathLike, count: int = 5) -> list[dict]:
    """The last whole objects of a JSON-lines file; reads only its end."""
    path = pathlib.Path(path)
    if not path.exists():
        return []
    with open(path, 'rb') as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        lines = file.read().split(b'\n')
    found: list[dict] = []
    for line in reversed(lines):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.insert(0, value)
        if len(found) == count:
            break
    return found


def listing(path: str | os.PathLike) -> dict[str, Any]:
    """The runs (and shared stores) of an experiment, or of all of them."""
    path = pathlib.Path(path)
    found = folders.runs_in(path)
    for experiment in folders.experiments_in(path):
        found += folders.runs_in(experiment)
    return {
        'kind': folders.kind(path),
        'path': str(path),
        'runs': [brief(each, path) for each in found],
    }


def brief(path: pathlib.Path, base: pathlib.Path) -> dict[str, Any]:
    """A run, or a shared store, as a row of a table."""
    problems: list[str] = []
    results = _json(path / 'results.json', problems)
    config = _json(path / 'config.json', problems)
    stages = _stages(path, problems)
    found = scores(results)
    return {
        'run': str(path.relative_to(base)),
        'kind': folders.kind(path),
        'model': config.get('model'),
        'preset': config.get('preset'),
        'seed': config.get('seed'),
        'done': [name for name, stage in stages.items() if stage.get('done')],
        'stages': list(stages),
        'seconds': sum(stage.get('seconds', 0) for stage in stages.values()),
        'evaluation': found.get('evaluation'),
        'random_baseline': found.get('random_baseline'),
        'bytes': folders.bytes_in(path),
        'problems': problems,
    }
