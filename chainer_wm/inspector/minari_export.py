"""A rollout cache as a Minari dataset (HDF5), episode by episode: no more than one is in memory.

The layout is Minari's own (0.5), written with h5py alone; ``minari.load_dataset`` reads it where
MINARI_DATASETS_PATH is the folder it was written to. Frames are kept without loss.
"""

from __future__ import annotations

import importlib
import json
import pathlib
import re
import shutil
import tempfile
from typing import Any

import numpy as np

from chainer_wm import files
from chainer_wm.inspector import folders
from chainer_wm.rollouts import DamagedEpisode, Rollout, RolloutStore

NAMESPACE = 'chainer-wm'
VERSION = '0.5.4'  # of Minari, whose layout this is
LAST_FRAME = (
    'The frame after the last action is not recorded: the one before it is repeated in its place.'
)


def write_minari(path: pathlib.Path, out: pathlib.Path) -> str:
    """Write the store at or below ``path`` into the folder of datasets ``out``.

    Returns:
        the dataset's id, as ``minari.load_dataset`` wants it.

    Raises:
        InspectorError: h5py is not installed, the store is empty or damaged, or the dataset is
            there already.
    """
    try:
        h5py: Any = importlib.import_module('h5py')
    except ModuleNotFoundError as error:
        raise folders.InspectorError(
            '--to minari needs h5py, which is not installed: pip install h5py'
        ) from error
    store, _ = folders.open_store(folders.the_store(path))
    if not store.episodes:
        raise folders.InspectorError(f'{store.path} has no episode yet')
    name = dataset_id(store)
    target = out / name
    if target.exists():
        raise folders.InspectorError(f'{target} is there already: give another --out')
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as made:
        data = pathlib.Path(made, 'dataset/data')
        data.mkdir(parents=True)
        with h5py.File(data / 'main_data.hdf5', 'w') as file:
            first, steps = _write_episodes(file, store)
        size = (data / 'main_data.hdf5').stat().st_size
        said = {**_metadata(store, name, first), 'total_steps': steps, 'dataset_size': size / 1e6}
        text = json.dumps(said, default=files.to_plain)
        (data / 'metadata.json').write_text(text)
        shutil.move(data.parent, target)
    return name


def dataset_id(store: RolloutStore) -> str:
    """namespace/game/name-v0, of letters that Minari takes."""
    plain = (
        re.sub(r'[^a-z0-9_-]+', '-', text.lower()).strip('-')
        for text in (folders.game_of(store) or 'game', store.path.resolve().parent.name or 'run')
    )
    return '/'.join((NAMESPACE, *plain)) + '-v0'


def _write_episodes(file: Any, store: RolloutStore) -> tuple[Rollout, int]:
    """All episodes, numbered from 0: the first one, and how many steps there are."""
    first, steps = None, 0
    for number, episode in enumerate(store.episodes):
        try:
            rollout = store.read(episode)
        except DamagedEpisode as error:
            raise folders.InspectorError(str(error)) from error
        first = first or rollout
        steps += len(rollout)
        entry = store.entry(episode)
        group = file.create_group(f'episode_{number}')
        group.attrs.update(id=number, total_steps=len(rollout))
        group.attrs.update(recorded_as=episode, sha256=entry['sha256'])
        if entry.get('seed') is not None:
            group.attrs['seed'] = int(entry['seed'])
        seen = np.concatenate([rollout.observations, rollout.observations[-1:]])  # T + 1
        chunk = (1, *seen.shape[1:])
        group.create_dataset('observations', data=seen, compression='gzip', chunks=chunk)
        group.create_dataset('actions', data=rollout.actions)
        group.create_dataset('rewards', data=rollout.rewards.astype(np.float64))
        group.create_dataset('terminations', data=rollout.terminated)
        group.create_dataset('truncations', data=rollout.truncated)
    assert first is not None
    return first, steps


def _metadata(store: RolloutStore, name: str, first: Rollout) -> dict[str, Any]:
    manifest = dict(store.manifest or {})
    settings = manifest.get('settings') or {}
    policy = settings.get('policy') if isinstance(settings, dict) else None
    actions = [store.read(each).actions for each in store.episodes[:16]]
    reach = max(1.0, *(float(np.abs(each).max()) for each in actions))
    versions = manifest.get('versions') or {}
    return {
        'dataset_id': name,
        'total_episodes': len(store.episodes),
        'data_format': 'hdf5',
        'jpeg_encoding': False,
        'minari_version': VERSION,
        'observation_space': _box(first.observations.shape[1:], 0, 255, 'uint8'),
        'action_space': _box(first.actions.shape[1:], -reach, reach, 'float32'),
        'algorithm_name': str((policy or {}).get('name', 'unknown')),
        'author': [NAMESPACE],
        'code_permalink': '',
        'requirements': [f'{each}=={version}' for each, version in versions.items()],
        'description': f'{folders.game_of(store)}. {LAST_FRAME}',
        'game': folders.game_of(store),
        'game_settings': settings,
        'root_seed': manifest.get('seed'),
        'versions': versions,
    }


def _box(shape: tuple[int, ...], low: float, high: float, dtype: str) -> str:
    """A Box as Minari writes one, as text."""
    ends = {name: np.full(shape, end).tolist() for name, end in (('low', low), ('high', high))}
    return json.dumps({'type': 'Box', 'dtype': dtype, 'shape': list(shape), **ends})
