"""Episodes of a rollout cache for the page: a list in columns, one episode, blocks of frames."""

from __future__ import annotations

import collections
import pathlib
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from chainer_wm.inspector import folders, pictures
from chainer_wm.rollouts import Rollout

KEPT = 2  # episodes held in memory
BLOCK = 256  # frames in one answer at most
Value = TypeVar('Value')


class Recent:
    """The last few values that were made, by key; each is made once at a time.

    Args:
        size: how many are kept.
    """

    def __init__(self, size: int):
        self.size = size
        self._values: collections.OrderedDict[Hashable, Any] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key, made if it is not there."""
        with self._lock:
            if key not in self._values:
                self._values[key] = make()
            self._values.move_to_end(key)
            while len(self._values) > self.size:
                self._values.popitem(last=False)
            return self._values[key]

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._values.clear()


class Episodes:
    """Reads episodes of any cache; holds the last few."""

    def __init__(self) -> None:
        self._recent = Recent(KEPT)

    def read(self, store: pathlib.Path, episode: int) -> Rollout:
        """One episode, its observations as pictures.

        Raises:
            InspectorError: it is not there, or damaged.
        """
        path = store / 'episodes.jsonl'
        stamp = path.stat().st_mtime_ns if path.exists() else 0
        make = lambda: pictures.read_episode(store, episode)  # noqa: E731
        return self._recent.get((store, episode, stamp), make)

    def frames(self, store: pathlib.Path, episode: int, start: int, count: int) -> np.ndarray:
        """Some consecutive frames, (n, H, W, 3) uint8; n is smaller at the end.

        Raises:
            InspectorError: as `read`, or there are no such steps.
        """
        frames = self.read(store, episode).observations
        if not (0 <= start < len(frames) and 0 < count <= BLOCK):
            raise folders.InspectorError(
                f'frames {start} to {start + count - 1} were asked for: the episode has '
                f'{len(frames)}, and one answer at most {BLOCK}'
            )
        return frames[start : start + count]


def columns(path: pathlib.Path) -> dict[str, Any]:
    """The episodes of a cache, one list for each column, and what is wrong with it.

    Raises:
        InspectorError: the cache cannot be read.
    """
    store, problems = folders.open_store(path)
    problems += [str(each) for each in store.verify(full=False, set_aside=False)]
    manifest = store.manifest or {}
    entries = [store.entry(episode) for episode in store.episodes]
    return {
        **{name: manifest.get(name) for name in ('game', 'settings', 'seed', 'versions')},
        'problems': problems,
        'episode': store.episodes,
        'length': [entry['length'] for entry in entries],
        'return': [entry['return'] for entry in entries],
        'game_seed': [entry.get('seed') for entry in entries],
        'end': [_end(entry) for entry in entries],
    }


def _end(entry: dict[str, Any]) -> str:
    if entry.get('terminated'):
        return 'game'
    return 'limit' if entry.get('truncated') else 'cut'


def described(rollout: Rollout, episode: int) -> dict[str, Any]:
    """One episode without its frames."""
    return {
        'episode': episode,
        'length': len(rollout),
        'size': list(rollout.observations.shape[1:3]),
        'title': pictures.title(rollout, episode),
        'ending': pictures.ending(rollout),
        'actions': rollout.actions,
        'rewards': rollout.rewards,
        'info': dict(rollout.info),
    }
