"""Frames of a rollout store in random order, within a memory limit.

An epoch visits every frame once. Its episodes are put in random order and packed into groups that
fit into half of the memory; the frames of a group are shuffled, and batches are cut from that
order. While one group is used, the next is read, verified and decompressed by threads (zlib lets
them run beside Python). To begin anywhere, one group is read, not all that came before.

Ranks that train together each read some of the episodes of a group; then every rank gets from the
others the frames of its own share of every batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np

from chainer_wm.rollouts import DamagedEpisode, JoinedStores, RolloutStore
from chainer_wm.seeds import stream

_MB = 2**20


class _Plan(NamedTuple):
    """The order of one epoch."""

    groups: list[list[Any]]  # episodes of each
    starts: np.ndarray  # (groups + 1,) first frame of each in the epoch


class FrameDataset:
    """Batches of frames for V, each a function of its number alone.

    Args:
        store: where the episodes are.
        batch_size: frames per batch; the last one of an epoch may be smaller.
        seed: of the order.
        memory_mb: limit of what is held at once, in MB (2^20 bytes).
        threads: that read ahead.
        episodes: only these; None takes all.
        ranks: that share every batch, see ``training.data_parallel``; None for one process.

    Attributes:
        frames: their number in an epoch.
        batches_per_epoch: their number.
        peak_bytes: what is held at most.

    Raises:
        ValueError: the limit is too small for the longest episode.
    """

    def __init__(
        self,
        store: RolloutStore | JoinedStores,
        batch_size: int,
        seed: int,
        memory_mb: float = 1024,
        threads: int = 2,
        episodes: Sequence[Any] | None = None,
        ranks: Any = None,
    ):
        self.store: Any = store
        self._ranks: Any = ranks if ranks is not None and ranks.size > 1 else None
        self.batch_size, self.seed = batch_size, seed
        self.episodes = list(store.episodes if episodes is None else episodes)
        if not self.episodes:
            raise ValueError(f'{store.path} has no episodes: collect some')
        lengths = [store.entry(e)['length'] for e in self.episodes]
        self._lengths = dict(zip(self.episodes, lengths))
        self.frames = sum(lengths)
        self.batches_per_epoch = math.ceil(self.frames / batch_size)
        self._shape = self._frame_shape()
        self._capacity = self._group_frames(memory_mb, threads)
        self._pool = futures.ThreadPoolExecutor(threads, 'frames')
        self._plans: dict[int, _Plan] = {}
        self._groups: dict[tuple[int, int], _Group] = {}

    def _frame_shape(self) -> tuple[int, ...]:
        """Of the first episode that can be read."""
        reason: DamagedEpisode | None = None
        for episode in self.episodes:
            try:
                return self.store.read(episode).observations.shape[1:]
            except DamagedEpisode as error:
                reason = error  # named again, and set aside, in its batch
        assert reason is not None
        raise reason

    def _group_frames(self, memory_mb: float, threads: int) -> int:
        """How many frames a group may have."""
        frame = math.prod(self._shape)
        longest = max(self._lengths.values())
        # each thread holds an episode twice: compressed (never larger) and not
        reading = 2 * threads * longest * frame
        capacity = int((memory_mb * _MB - reading) // (2 * frame))
        if capacity < longest:
            least = (2 * longest * frame + reading) / _MB
            raise ValueError(
                f'memory_mb is {memory_mb:g} but the longest episode, '
                f'{longest} frames, needs {least:.1f}: raise it, or lower '
                f'threads from {threads}'
            )
        held = 2 * min(capacity, self.frames) * frame
        self.peak_bytes = held + reading
        return capacity

    def __str__(self) -> str:
        size = self.frames * math.prod(self._shape)
        return (
            f'{self.frames:,} frames of {len(self.episodes):,} episodes '
            f'({size / _MB:,.0f} MB), of which at most '
            f'{self.peak_bytes / _MB:,.0f} MB in memory'
        )

    def size(self, number: int) -> int:
        """How many frames batch ``number`` has, on all ranks together."""
        first = number % self.batches_per_epoch * self.batch_size
        return min(self.batch_size, self.frames - first)

    def batch(self, number: int) -> np.ndarray:
        """Batch ``number``, counted through all epochs: (B, ...) uint8, or this rank's share.

        A damaged episode is named in a warning, set aside, and other frames
        of its group take the places of its own.

        Raises:
            DamagedEpisode: nothing of a whole group can be read.
        """
        epoch, index = divmod(number, self.batches_per_epoch)
        first = index * self.batch_size
        last = first + self.size(number)
        starts = self._plan(epoch).starts
        parts = []
        group = int(np.searchsorted(starts, first, 'right')) - 1
        while first < last:
            end = min(last, int(starts[group + 1]))
            frames = self._group(epoch, group)
            parts.append(frames.take(*(np.array([first, end]) - starts[group])))
            first, group = end, group + 1
        return np.concatenate(parts)

    def close(self) -> None:
        """Stop reading ahead and free the memory."""
        self._pool.shutdown(cancel_futures=True)
        self._groups.clear()

    def _plan(self, epoch: int) -> _Plan:
        if epoch not in self._plans:
            self._plans = {e: p for e, p in self._plans.items() if abs(e - epoch) == 1}
            self._plans[epoch] = self._new_plan(epoch)
        return self._plans[epoch]

    def _new_plan(self, epoch: int) -> _Plan:
        order = stream(self.seed, 'frames', epoch).permutation(len(self.episodes))
        groups: list[list[Any]] = []
        sizes: list[int] = []
        for episode in (self.episodes[i] for i in order):
            length = self._lengths[episode]
            if not groups or sizes[-1] + length > self._capacity:
                groups.append([])
                sizes.append(0)
            groups[-1].append(episode)
            sizes[-1] += length
        return _Plan(groups, np.concatenate([[0], np.cumsum(sizes)]))

    def _group(self, epoch: int, index: int) -> _Group:
        """A group that is read; the one after it is on its way."""
        following = (epoch, index + 1)
        if index + 1 == len(self._plan(epoch).groups):
            following = (epoch + 1, 0)
        wanted = ((epoch, index), following)
        for key in [k for k in self._groups if k not in wanted]:
            self._groups.pop(key).cancel()
        for key in wanted:
            if key not in self._groups:
                self._groups[key] = self._read(*key)
        self._groups[wanted[0]].wait()
        return self._groups[wanted[0]]

    def _read(self, epoch: int, index: int) -> _Group:
        plan = self._plan(epoch)
        group = (
            self.store,
            {episode: self._lengths[episode] for episode in plan.groups[index]},
            self._shape,
            stream(self.seed, 'frames', epoch, index),
            self._pool,
        )
        if self._ranks is None:
            return _Group(*group)
        owners = self._owners(int(plan.starts[index]), int(plan.starts[index + 1]))
        return _SharedGroup(self._ranks, owners, *group)

    def _owners(self, first: int, last: int) -> np.ndarray:
        """The rank that trains on each frame of an epoch from ``first`` to ``last``."""
        at = np.arange(first, last)
        place = at % self.batch_size
        sizes = np.minimum(self.batch_size, self.frames - (at - place))
        ends = sizes[:, None] * (np.arange(self._ranks.size) + 1) // self._ranks.size
        return (place[:, None] >= ends).sum(axis=1)


class _Group:
    """Some whole episodes in one shuffled array, filled by threads."""

    def __init__(
        self,
        store: RolloutStore | JoinedStores,
        lengths: dict[Any, int],
        shape: tuple[int, ...],
        rng: np.random.Generator,
        pool: futures.Executor,
    ):
        self._store = store
        total = sum(lengths.values())
        self._frames = np.empty((total, *shape), np.uint8)
        self._order = rng.permutation(total)
        self._read(lengths, pool)

    def _read(self, lengths: dict[Any, int], pool: futures.Executor) -> None:
        self._parts: dict[Any, tuple[slice, futures.Future]] = {}
        at = 0
        for episode, length in lengths.items():
            place = slice(at, at + length)
            future = pool.submit(self._fill, episode, place)
            self._parts[episode] = place, future
            at += length
        self._ready = False

    def _fill(self, episode: Any, place: slice) -> None:
        """Put one episode into its place; in a thread."""
        if episode not in self._store:
            raise DamagedEpisode(episode, 'was set aside earlier')
        self._frames[place] = self._store.read(episode).observations

    def cancel(self) -> None:
        for _, future in self._parts.values():
            future.cancel()

    def wait(self) -> None:
        """Wait for all episodes; replace the frames of damaged ones."""
        if self._ready:
            return
        damaged = self._damaged()
        sources = _sources(len(self._frames), damaged)
        for place, _ in damaged:
            self._frames[place] = self._frames[sources[place]]
        self._ready = True

    def _damaged(self) -> list[tuple[slice, DamagedEpisode]]:
        """Wait for all; places of the damaged ones, which are set aside."""
        damaged = []
        for place, future in self._parts.values():
            try:
                future.result()
            except DamagedEpisode as error:
                damaged.append((place, error))
        for _, reason in damaged:
            if reason.episode in self._store:
                self._store.set_aside(reason)
        return damaged

    def take(self, first: int, last: int) -> np.ndarray:
        return self._frames[self._order[first:last]]


def _sources(total: int, damaged: Sequence[tuple[slice, DamagedEpisode]]) -> np.ndarray:
    """Whose frame stands at each place of a group: its own, or a good one in a damaged one's.

    Raises:
        DamagedEpisode: nothing of the group is good.
    """
    sources = np.arange(total)
    good = np.ones(total, bool)
    for place, _ in damaged:
        good[place] = False
    rows = np.flatnonzero(good)
    if not len(rows):
        raise damaged[0][1]
    for place, _ in damaged:
        sources[place] = np.resize(rows, place.stop - place.start)
    return sources


class _SharedGroup(_Group):
    """A group of which this rank reads some episodes, and keeps its share of the batches.

    Args:
        ranks, owners: (frames,) the rank that trains on the frame at each place of the order.
        others: as for ``_Group``.
    """

    def __init__(
        self,
        ranks: Any,
        owners: np.ndarray,
        store: RolloutStore | JoinedStores,
        lengths: dict[Any, int],
        shape: tuple[int, ...],
        rng: np.random.Generator,
        pool: futures.Executor,
    ):
        self._ranks, self._owners, self._store = ranks, owners, store
        readers, counts = np.arange(len(lengths)) % ranks.size, np.array([*lengths.values()])
        self._begins = dict(zip(lengths, (np.cumsum(counts) - counts).tolist()))
        self._readers = np.repeat(readers, counts)  # (frames,)
        self._order = rng.permutation(len(owners))
        mine = {episode: n for (episode, n), r in zip(lengths.items(), readers) if r == ranks.rank}
        self._frames = np.empty((sum(mine.values()), *shape), np.uint8)
        self._read(mine, pool)

    def wait(self) -> None:
        """Wait for all episodes, of the other ranks too, and change frames with them."""
        if self._ready:
            return
        found = []
        for place, error in self._damaged():
            begin = self._begins[error.episode]
            end = begin + place.stop - place.start
            found.append((slice(begin, end), error.episode, error.reason))
        damaged = [
            (place, DamagedEpisode(*reason))
            for one in self._ranks.gather(found)
            for place, *reason in one
        ]
        for _, error in damaged:
            self._store.forget(error.episode)
        self._exchange(_sources(len(self._order), damaged)[self._order])
        self._ready = True

    def _exchange(self, wanted: np.ndarray) -> None:
        """Have the frames that this rank trains on, in their order.

        Args:
            wanted: (frames,) which frame of the group stands at each place of the order.
        """
        rank, holder = self._ranks.rank, self._readers[wanted]
        rows = np.cumsum(self._readers == rank) - 1  # of the frames that were read here
        sent = [
            self._frames[rows[wanted[(self._owners == other) & (holder == rank)]]]
            for other in range(self._ranks.size)
        ]
        own = self._owners == rank
        self._frames = np.empty((int(own.sum()), *self._frames.shape[1:]), np.uint8)
        for other, frames in enumerate(self._ranks.exchange(sent)):
            self._frames[holder[own] == other] = frames
        self._place = np.concatenate([[0], np.cumsum(own)])

    def take(self, first: int, last: int) -> np.ndarray:
        return self._frames[self._place[first] : self._place[last]]
