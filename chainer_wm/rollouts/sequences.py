"""Windows of encoded episodes for M."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from chainer_wm.rollouts.latents import Latents
from chainer_wm.rollouts.states import RecordedStates
from chainer_wm.seeds import stream


class Window(NamedTuple):
    """T steps of B lanes.

    z_t is drawn from row t of mu and ln_var, z_next of step t is the draw from row t + 1: sample
    all T + 1 rows once, then shift.
    """

    mu: np.ndarray  # (T + 1, B, Z)
    ln_var: np.ndarray  # (T + 1, B, Z)
    actions: np.ndarray  # (T, B, A)
    reset: np.ndarray  # (T, B) 1 on an episode's first step
    mask: np.ndarray  # (T, B) 0 on its last, where z_next is unknown
    done: np.ndarray  # (T, B) 1 where the game itself ended, not a time limit


class LatentSequences:
    """Endless lanes of whole episodes, cut into windows.

    Each epoch shuffles the episodes; the lane that is shortest so far gets the next one, so lanes
    need no padding and epochs flow into each other. Window i holds steps i T to (i + 1) T - 1 of
    every lane: the state of M after one window is its state before the next. A window is a
    function of (seed, i).

    Args:
        latents: the encoded episodes, or recorded states in the place of codes.
        batch_size: B, lanes side by side.
        window: T, steps.
        seed: of the order.
        episodes: numbers of the only episodes to use, those that come twice twice as often; None
            takes all.
        dtype: of all arrays.
        rewards: (rows,) of every step, in the order of ``latents``' rows.

    Attributes:
        positions: of its episodes in the arrays of ``latents``.
        steps: of all its episodes together, an epoch.
        windows_per_epoch: a float, steps / (B T).

    Raises:
        ValueError: no episodes, or sizes below 1.
    """

    def __init__(
        self,
        latents: Latents | RecordedStates,
        batch_size: int,
        window: int,
        seed: int,
        episodes: Sequence[int] | None = None,
        dtype: np.typing.DTypeLike = np.float32,
        rewards: np.ndarray | None = None,
    ):
        if batch_size < 1 or window < 1:
            raise ValueError(
                f'batch_size is {batch_size} and window {window}; both must be at least 1'
            )
        self.latents, self.batch_size, self.window = (latents, batch_size, window)
        self.seed, self.dtype, self.rewards = seed, np.dtype(dtype), rewards
        if rewards is not None and rewards.shape != latents.mu.shape[:1]:
            raise ValueError(
                f'rewards have shape {rewards.shape} but there are {len(latents.mu)} encoded steps'
            )
        numbers = latents.episodes if episodes is None else episodes
        self.positions = np.array([latents.position(e) for e in numbers])
        if not len(self.positions):
            raise ValueError('there are no episodes to make sequences of')
        self.steps = int(latents.lengths[self.positions].sum())
        self.windows_per_epoch = self.steps / (batch_size * window)
        self._epochs = 0
        self._lanes = [_Lane() for _ in range(batch_size)]
        self._shortest = [(0, lane) for lane in range(batch_size)]

    def once(self) -> EpisodePass:
        """A pass that sees every step of every episode once."""
        return EpisodePass(self)

    def batch(self, number: int, lanes: slice = slice(None)) -> Window:
        """Window ``number``, counted through all epochs; of it, some lanes."""
        latents = self.latents
        rows, begins, episodes = self._rows(number, lanes)
        ends = begins[1:]  # the next step begins an episode: this one ends it
        done = ends & latents.terminated[episodes[:-1]]
        return Window(
            mu=latents.mu[rows].astype(self.dtype),
            ln_var=latents.ln_var[rows].astype(self.dtype),
            actions=latents.actions[rows[:-1]].astype(self.dtype),
            reset=begins[:-1].astype(self.dtype),
            mask=(~ends).astype(self.dtype),
            done=done.astype(self.dtype),
        )

    def reward(self, number: int, lanes: slice = slice(None)) -> np.ndarray | None:
        """(T, B) rewards of window ``number``; None where none were given."""
        if self.rewards is None:
            return None
        return self.rewards[self._rows(number, lanes)[0][:-1]].astype(self.dtype)

    def _rows(self, number: int, chosen: slice) -> tuple[np.ndarray, ...]:
        """Rows, begins and positions (see ``_Lane``), each (T + 1, B)."""
        first, steps = number * self.window, self.window + 1
        self._extend(first + steps)
        lanes = [lane.rows(first, steps) for lane in self._lanes[chosen]]
        return tuple(np.stack(column, axis=1) for column in zip(*lanes))

    def _extend(self, steps: int) -> None:
        """Hand out episodes until every lane has so many steps."""
        while self._shortest[0][0] < steps:
            order = stream(self.seed, 'sequences', self._epochs).permutation(self.positions)
            self._epochs += 1
            for position in order:
                length, lane = self._shortest[0]
                self._lanes[lane].add(length, int(self.latents.starts[position]), int(position))
                length += int(self.latents.lengths[position])
                heapq.heapreplace(self._shortest, (length, lane))


class _Lane:
    """Episodes one after the other."""

    def __init__(self) -> None:
        self._begins: list[int] = []  # step of the lane
        self._rows: list[int] = []  # first row of the latents
        self._positions: list[int] = []

    def add(self, begin: int, row: int, position: int) -> None:
        self._begins.append(begin)
        self._rows.append(row)
        self._positions.append(position)

    def rows(self, first: int, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, whether an episode begins, and which it is; each (steps,)."""
        at = np.arange(first, first + steps)
        begins = np.asarray(self._begins)
        segment = np.searchsorted(begins, at, 'right') - 1
        offset = at - begins[segment]
        return (
            np.asarray(self._rows)[segment] + offset,
            offset == 0,
            np.asarray(self._positions)[segment],
        )


class PassWindow(NamedTuple):
    """T steps of the B lanes of an ``EpisodePass`` that are not over yet.

    What a lane lacks at its end is filling: its last step over and over.
    """

    rows: np.ndarray  # (T, B) which step of the pass
    following: np.ndarray  # (T, B) the step after it, any where mask is 0
    real: np.ndarray  # (T, B) bool, False for filling
    reset: np.ndarray  # (T, B) bool, an episode's first step
    mask: np.ndarray  # (T, B) bool, a step that another one follows


class EpisodePass:
    """Every step of some episodes exactly once, side by side, in windows.

    Episodes are dealt out whole, the longest first, each to the lane that is shortest so far. The
    longest lane is the first one, so the lanes that are not over when a window begins are its
    first B: the state of M after one window, cut to B lanes, is its state before the next.

    Args:
        sequences: its episodes, lanes (at the most) and steps of a window.

    Attributes:
        steps: S, of all episodes together.
        episodes: (E,) their numbers in the latents; lengths: (E,).
        source: (S,) the steps as rows of the latents, episode after episode.
        done: (S,) bool, the game itself ended there, not a time limit.
    """

    def __init__(self, sequences: LatentSequences):
        latents, chosen = sequences.latents, sequences.positions
        self.episodes = latents.episodes[chosen]
        self.lengths = latents.lengths[chosen]
        self.steps = sequences.steps
        self._begins = np.cumsum(self.lengths) - self.lengths
        self.source = np.arange(self.steps) + np.repeat(
            latents.starts[chosen] - self._begins, self.lengths
        )
        self._last = np.zeros(self.steps, bool)
        self._last[self._begins + self.lengths - 1] = True
        self.done = self._last & np.repeat(latents.terminated[chosen], self.lengths)
        self._lanes = self._deal(sequences.batch_size)
        self._window = sequences.window

    def windows(self) -> Iterator[PassWindow]:
        """All windows; the last one has only the steps that there are."""
        begins = np.zeros(self.steps, bool)
        begins[self._begins] = True
        for first in range(0, len(self._lanes[0]), self._window):
            lanes = [
                lane[first : first + self._window] for lane in self._lanes if len(lane) > first
            ]
            at = np.arange(len(lanes[0]))[:, None]
            lengths = np.array([len(lane) for lane in lanes])
            at = np.minimum(at, lengths - 1)
            rows = np.concatenate(lanes)[np.cumsum(lengths) - lengths + at]
            real = np.arange(len(rows))[:, None] < lengths
            yield PassWindow(
                rows,
                np.minimum(rows + 1, self.steps - 1),
                real,
                real & begins[rows],
                real & ~self._last[rows],
            )

    def _deal(self, lanes: int) -> list[np.ndarray]:
        """The steps of each lane that has any, the longest lane first."""
        dealt: list[list[np.ndarray]] = [[] for _ in range(lanes)]
        shortest = [(0, lane) for lane in range(lanes)]
        for episode in np.argsort(-self.lengths, kind='stable'):
            length, lane = shortest[0]
            count = int(self.lengths[episode])
            dealt[lane].append(self._begins[episode] + np.arange(count))
            heapq.heapreplace(shortest, (length + count, lane))
        whole = [np.concatenate(lane) for lane in dealt if lane]
        return sorted(whole, key=len, reverse=True)
