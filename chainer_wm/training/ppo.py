"""Train a policy by PPO, out of curiosity too where RND is given.

Everything in an update comes from its number: in update ``n`` episodes start
anew where ``n`` is a multiple of ``restart_every``, with random numbers named
by ``n``. Snapshots are taken only there, so a run that was killed and resumed
gives the numbers of an unbroken one without any environment being saved.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import chainer
import numpy as np
import tqdm

from chainer_wm import files
from chainer_wm.agents.ppo.collect import Collector, Experience
from chainer_wm.agents.ppo.learner import PPO
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.agents.rnd import RND
from chainer_wm.seeds import stream
from chainer_wm.training.non_finite import NonFiniteError, find_non_finite
from chainer_wm.training.snapshots import Snapshots

_WHITENING_CHUNK = 128  # steps at a time


class Watch(Protocol):
    """Looks at all experience; what it found is part of the snapshots."""

    def see(self, experience: Experience) -> Mapping[str, float | None]:
        """Numbers for this update's row of the log."""

    def serialize(self, serializer: Any) -> None:
        """Save or load what was found, with Chainer's serializers."""


def as_they_are(rewards: np.ndarray) -> np.ndarray:
    """The environment's rewards, unchanged."""
    return rewards


def train(
    folder: str | os.PathLike,
    learner: PPO,
    collector: Collector,
    *,
    updates: int,
    rollout_length: int,
    seed: int,
    rnd: RND | None = None,
    whitening_steps: int = 0,
    shape_rewards: Callable[[np.ndarray], np.ndarray] = as_they_are,
    restart_every: int = 50,
    watch: Watch | None = None,
    label: str = 'policy',
    snapshot_seconds: float = 60.0,
    debug: bool = False,
    tick: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Improve ``learner`` up to ``updates`` updates, resuming from a save.

    Leaves ``policy.npz`` (the network, see ``load``), ``log.json`` and
    snapshots in ``folder``. A later call with more updates goes on, with the
    numbers of a run that was always that long.

    Args:
        learner: its streams say which rewards it learns from: 'extrinsic',
            'intrinsic' (then ``rnd`` is needed) or both.
        collector: of the learner's network.
        updates: rounds of collecting ``rollout_length`` steps in every lane
            and learning from them.
        rnd: curiosity.
        whitening_steps: steps in every lane that the untrained policy, which
            is nearly uniform, plays for the scales of ``rnd`` before the
            first update (the paper: 50 rollouts).
        shape_rewards: (T, B) of the environment -> what PPO learns from;
            clipped, say. The log has the environment's own.
        restart_every: updates after which all lanes start new episodes. The
            episodes that this cuts are not counted, so it should be many
            times an episode's length.
        watch: sees all experience.
        label: for the progress bar.
        snapshot_seconds: least time between snapshots.
        debug: name the first non-finite value, at the cost of speed.
        tick: called after every update.

    Returns:
        The log, a row per update: 'update' (how many are done), 'steps' (of
        all lanes together), 'episodes' that ended, means of their 'return'
        and 'length' (None where none ended), 'reward' (mean per step), what
        ``PPO.update`` and ``RND.update`` report, with RND 'intrinsic' and
        'bonus' (mean reward per step, scaled and not), and what ``watch``
        says.

    Raises:
        ValueError: streams and ``rnd`` do not fit, or a count below 1.
        devices.NonFiniteError: a number is not finite. It carries the label
            and the last good snapshot's path.
    """
    _check(learner, collector, rnd, updates, rollout_length, restart_every)
    loop = _Loop(learner, collector, seed, rnd, watch, rollout_length)
    loop.shape_rewards, loop.debug = shape_rewards, debug
    keeper = _Keeper(pathlib.Path(folder), loop, snapshot_seconds)
    resumed = keeper.resume(restart_every, updates)
    if resumed is not None:
        print(f'{label}: resumed from {resumed}')
    elif rnd is not None:
        loop.whiten(whitening_steps)
    with tqdm.tqdm(
        total=updates * loop.steps,
        initial=loop.number * loop.steps,
        desc=label,
        unit='step',
        unit_scale=True,
        mininterval=1.0,
        dynamic_ncols=True,
    ) as bar:
        while loop.number < updates:
            if loop.number % restart_every == 0:
                keeper.save_if_due()
                collector.start(stream(seed, 'episodes', loop.number))
            _named_update(loop, label, keeper)
            _show(bar, loop)
            tick()
    keeper.finish()
    return loop.log


def _check(learner, collector, rnd, updates, length, restart_every) -> None:
    if min(updates, length, restart_every) < 1:
        raise ValueError(
            f'updates {updates}, rollout_length {length} and restart_every '
            f'{restart_every} must all be at least 1'
        )
    if collector.network is not learner.network:
        raise ValueError('the collector plays another network than the learner improves')
    names = {stream.name for stream in learner.streams}
    if not names <= {'extrinsic', 'intrinsic'}:
        raise ValueError(
            f'reward streams are {sorted(names)}, expected extrinsic, intrinsic or both'
        )
    if ('intrinsic' in names) != (rnd is not None):
        raise ValueError(
            f'the learner has the streams {sorted(names)} but rnd is '
            f'{"missing" if rnd is None else "given"}: intrinsic rewards '
            'and rnd go together'
        )


class _Loop:
    """The training as far as it got: one update after the other."""

    def __init__(
        self,
        learner: PPO,
        collector: Collector,
        seed: int,
        rnd: RND | None,
        watch: Watch | None,
        rollout_length: int,
    ):
        self.learner, self.collector = learner, collector
        self.rnd, self.watch = rnd, watch
        self.seed, self.rollout_length = seed, rollout_length
        self.shape_rewards: Callable = as_they_are
        self.debug = False
        self.number = 0
        self.log: list[dict[str, Any]] = []

    @property
    def steps(self) -> int:
        """Of one update, in all lanes together."""
        return self.rollout_length * self.collector.lanes.num_envs

    def whiten(self, steps: int) -> None:
        """Let the untrained policy show RND what is usual."""
        assert self.rnd is not None
        self.collector.start(stream(self.seed, 'whitening'))
        for start in range(0, steps, _WHITENING_CHUNK):
            part = min(_WHITENING_CHUNK, steps - start)
            seen = self.collector.collect(part)
            self.rnd.observe(seen.following(self.rnd.channels))

    def update(self) -> None:
        """Collect, learn, and write a row."""
        seen = self.collector.collect(self.rollout_length)
        rewards = {'extrinsic': self.shape_rewards(seen.rewards)}
        metrics: dict[str, float | None] = {}
        if self.rnd is not None:
            following = seen.following(self.rnd.channels)
            rewards['intrinsic'], metrics = self._curiosity(following)
        names = [one.name for one in self.learner.streams]
        metrics |= self.learner.update(
            seen,
            {name: rewards[name] for name in names},
            stream(self.seed, 'minibatches', self.number),
        )
        if self.rnd is not None:
            rng = stream(self.seed, 'curiosity', self.number)
            metrics |= self.rnd.update(following, rng)
        if self.watch is not None:
            metrics |= self.watch.see(seen)
        self.number += 1
        self.log.append(self._row(seen, metrics))

    def _curiosity(self, following) -> tuple[np.ndarray, dict[str, Any]]:
        assert self.rnd is not None
        if not self.rnd.seen.count:  # nothing to whiten the first ones by
            self.rnd.observe(following)
        bonus = self.rnd.bonus(following)
        rewards = self.rnd.scaled(bonus)
        self.rnd.observe(following)
        found = {'bonus': bonus.mean(), 'intrinsic': rewards.mean()}
        return rewards, {name: float(x) for name, x in found.items()}

    def _row(self, seen: Experience, metrics: Mapping[str, float | None]) -> dict[str, Any]:
        ended = seen.episodes
        row = {
            'update': self.number,
            'steps': self.number * self.steps,
            'episodes': len(ended),
            'return': _mean([episode.total for episode in ended]),
            'length': _mean([episode.length for episode in ended]),
            'reward': float(seen.rewards.mean()),
            **metrics,
        }
        for name, value in row.items():
            if value is not None and not np.isfinite(value):
                raise NonFiniteError(f'{name} is {value} at update {self.number}')
        return row

    def serialize(self, serializer: Any) -> None:
        """Save or load all that the next update depends on, and the log."""
        self.learner.serialize(serializer['learner'])
        for name in ('rnd', 'watch'):
            if getattr(self, name) is not None:
                getattr(self, name).serialize(serializer[name])
        self.number = int(serializer('number', np.asarray(self.number)))
        if isinstance(serializer, chainer.Deserializer):
            self.log = json.loads(bytes(serializer('log', None)))
        else:
            text = json.dumps(self.log, default=files.to_plain).encode()
            serializer('log', np.frombuffer(text, np.uint8))


def _mean(values: list) -> float | None:
    return float(np.mean(values)) if values else None


def _named_update(loop: _Loop, label: str, keeper: _Keeper) -> None:
    """One update; an error about numbers says where to go on from."""
    try:
        network = loop.learner.network
        looking = find_non_finite(network) if loop.debug else None
        with looking or contextlib.nullcontext():
            loop.update()
    except NonFiniteError as error:
        error.stage = label
        error.snapshot = next(iter(keeper.snapshots.paths()), None)
        raise


def _show(bar: tqdm.tqdm, loop: _Loop) -> None:
    last = [row['return'] for row in loop.log[-20:]]
    if known := [value for value in last if value is not None]:
        bar.set_postfix_str(f'return {np.mean(known):.4g}', refresh=False)
    bar.update(loop.steps)


class _Keeper:
    """When and where the loop is saved."""

    def __init__(self, folder: pathlib.Path, loop: _Loop, seconds: float):
        self.folder, self.loop, self.seconds = folder, loop, seconds
        self.snapshots = Snapshots(folder / 'snapshots')
        self._saved_at = time.monotonic()
        self._saved: int | None = None

    def resume(self, restart_every: int, updates: int) -> pathlib.Path | None:
        """Load the newest snapshot that an unbroken run passes through."""
        path = self.snapshots.resume(
            self.loop, lambda number: number >= updates or number % restart_every == 0
        )
        if path is not None:
            self._saved = self.loop.number
        return path

    def save_if_due(self) -> None:
        if time.monotonic() - self._saved_at >= self.seconds:
            self._save()

    def _save(self) -> None:
        files.write_json(self.folder / 'log.json', self.loop.log)
        self.snapshots.save(self.loop, self.loop.number)
        self._saved_at, self._saved = time.monotonic(), self.loop.number

    def finish(self) -> None:
        """Save the end, and the network by itself."""
        if self._saved != self.loop.number:
            self._save()
        with files.atomic_write(self.folder / 'policy.npz') as file:
            chainer.serializers.save_npz(file, self.loop.learner.network)


def load(folder: str | os.PathLike, network: ActorCritic) -> list[dict]:
    """Give a network what ``train`` left in ``folder``; returns the log.

    Args:
        network: made as the one that was trained, on any device.
    """
    folder = pathlib.Path(folder)
    with np.load(folder / 'policy.npz', allow_pickle=False) as archive:
        chainer.serializers.NpzDeserializer(archive).load(network)
    return files.read_json(folder / 'log.json')
