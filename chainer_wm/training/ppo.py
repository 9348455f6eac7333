"""Train a policy by PPO, out of curiosity too where RND is given.

Everything in an update comes from its number: in update ``n`` episodes start anew where ``n`` is a
multiple of ``restart_every``, with random numbers named by ``n``. Snapshots are taken only there,
so a run that was killed and resumed gives the numbers of an unbroken one without any environment
being saved.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import chainer
import numpy as np
from chainer import training
from chainer.serializers import save_npz

from chainer_wm import files
from chainer_wm.agents.ppo.experience import Experience
from chainer_wm.agents.ppo.learner import PPO
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.agents.rnd import RND
from chainer_wm.files.archives import built_from
from chainer_wm.files.npz import check_finite, read_npz, write_npz
from chainer_wm.functions.non_finite import NonFiniteError
from chainer_wm.play.collector import Collector
from chainer_wm.seeds import stream
from chainer_wm.training import loop

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

    Leaves ``policy.npz`` (the network, see ``load``), ``log.json`` and snapshots in ``folder``. A
    later call with more updates goes on, with the numbers of a run that was always that long.

    Args:
        learner: its streams say which rewards it learns from: 'extrinsic', 'intrinsic' (then
            ``rnd`` is needed) or both.
        collector: of the learner's network.
        updates: rounds of collecting ``rollout_length`` steps in every lane and learning from
            them.
        rnd: curiosity.
        whitening_steps: steps in every lane that the untrained policy, which is nearly uniform,
            plays for the scales of ``rnd`` before the
            first update (the paper: 50 rollouts).
        shape_rewards: (T, B) of the environment -> what PPO learns from; clipped, say. The log has
            the environment's own.
        restart_every: updates after which all lanes start new episodes. The episodes that this
            cuts are not counted, so it should be many
            times an episode's length.
        watch: sees all experience.
        label: for the progress bar.
        snapshot_seconds: least time between snapshots.
        debug: name the first non-finite value, at the cost of speed.
        tick: called after every update.

    Returns:
        The log, a row per update: 'update' (how many are done), 'steps' (of all lanes together),
        'episodes' that ended, means of their 'return'
        and 'length' (None where none ended), 'reward' (mean per step), what ``PPO.update`` and
        ``RND.update`` report, with RND 'intrinsic' and 'bonus' (mean reward per step, scaled and
        not), and what ``watch`` says.

    Raises:
        ValueError: streams and ``rnd`` do not fit, or a count below 1.
        NonFiniteError: a number is not finite. It carries the label
            and the last good snapshot's path.
    """
    _check(learner, collector, rnd, updates, rollout_length, restart_every)
    folder = pathlib.Path(folder)
    steps = _Rounds(learner, collector, seed, rnd, watch, rollout_length, whitening_steps, debug)
    steps.shape_rewards, steps.restart_every = shape_rewards, restart_every

    @training.make_extension(trigger=loop.Every(snapshot_seconds), default_name='log')
    def write_log(trainer: Any = None) -> None:
        files.write_json(folder / 'log.json', steps.log)

    loop.resumable(
        folder,
        steps,
        updates,
        label,
        save_seconds=snapshot_seconds,
        between=lambda number: number % restart_every == 0,
        more=[write_log],
        tick=tick,
    )
    write_log()
    write_npz(folder / 'policy.npz', lambda file: save_npz(file, learner.network))
    return steps.log


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


class _Rounds(loop.Steps):
    """Rounds of playing and learning, one update after the other."""

    def __init__(
        self,
        learner: PPO,
        collector: Collector,
        seed: int,
        rnd: RND | None,
        watch: Watch | None,
        rollout_length: int,
        whitening_steps: int,
        debug: bool,
    ):
        super().__init__(debug)
        self.learner, self.collector = learner, collector
        self.rnd, self.watch = rnd, watch
        self.seed, self.rollout_length = seed, rollout_length
        self.whitening_steps = whitening_steps
        self.shape_rewards: Callable = as_they_are
        self.restart_every = 1
        self.size = rollout_length * collector.lanes.num_envs  # game steps
        self.log: list[dict[str, Any]] = []

    @property
    def links(self) -> Sequence[chainer.Link]:
        return (self.learner.network,)

    def begin(self) -> None:
        """Let the untrained policy show RND what is usual."""
        if self.rnd is None:
            return
        self.collector.start(stream(self.seed, 'whitening'))
        for start in range(0, self.whitening_steps, _WHITENING_CHUNK):
            part = min(_WHITENING_CHUNK, self.whitening_steps - start)
            seen = self.collector.collect(part)
            self.rnd.observe(seen.following(self.rnd.channels))

    def step(self) -> None:
        """Collect, learn, and write a row."""
        if self.iteration % self.restart_every == 0:
            self.collector.start(stream(self.seed, 'episodes', self.iteration))
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
            stream(self.seed, 'minibatches', self.iteration),
        )
        if self.rnd is not None:
            rng = stream(self.seed, 'curiosity', self.iteration)
            metrics |= self.rnd.update(following, rng)
        if self.watch is not None:
            metrics |= self.watch.see(seen)
        self.log.append(self._row(seen, metrics))
        returns = [row['return'] for row in self.log[-20:] if row['return'] is not None]
        if returns:
            self.show(f'return {np.mean(returns):.4g}', refresh=False)

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
            'update': self.iteration + 1,
            'steps': (self.iteration + 1) * self.size,
            'episodes': len(ended),
            'return': _mean([episode.total for episode in ended]),
            'length': _mean([episode.length for episode in ended]),
            'reward': float(seen.rewards.mean()),
            **metrics,
        }
        for name, value in row.items():
            if value is not None and not np.isfinite(value):
                raise NonFiniteError(f'{name} is {value} at update {self.iteration + 1}')
        return row

    def serialize(self, serializer: Any) -> None:
        """Save or load all that the next update depends on, and the log."""
        self.learner.serialize(serializer['learner'])
        for name in ('rnd', 'watch'):
            if getattr(self, name) is not None:
                getattr(self, name).serialize(serializer[name])
        self.iteration = int(serializer('number', np.asarray(self.iteration)))
        if isinstance(serializer, chainer.Deserializer):
            self.log = json.loads(bytes(serializer('log', None)))
        else:
            text = json.dumps(self.log, default=files.to_plain).encode()
            serializer('log', np.frombuffer(text, np.uint8))


def _mean(values: list) -> float | None:
    return float(np.mean(values)) if values else None


def load(folder: str | os.PathLike, network: ActorCritic) -> list[dict]:
    """Give a network what ``train`` left in ``folder``; returns the log.

    Args:
        network: made as the one that was trained, on any device.
    """
    folder = pathlib.Path(folder)
    path = folder / 'policy.npz'
    arrays = read_npz(path)
    check_finite(path, arrays)
    with built_from(path):
        chainer.serializers.NpzDeserializer(arrays).load(network)
    return files.read_json(folder / 'log.json', list)
