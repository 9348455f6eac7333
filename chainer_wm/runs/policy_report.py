"""Curves of a policy's training."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainer_wm import plots

Rows = Sequence[Mapping[str, Any]]


def binned(log: Rows, name: str, bins: int = 60) -> tuple[Any, Any]:
    """A column of a training's log, averaged over equal parts of it.

    'return', 'length' and 'episode_...' count by episode, all else by update.

    Returns:
        (steps, means), each (bins,) at most: steps at the end of each part;
        NaN where no episode ended.
    """
    steps, means = [], []
    for part in np.array_split(np.arange(len(log)), min(bins, len(log))):
        rows = [log[n] for n in part if log[n][name] is not None]
        values = np.array([row[name] for row in rows], float)
        weights = np.array([row['episodes'] if _per_episode(name) else 1 for row in rows], float)
        steps.append(log[part[-1]]['steps'])
        total = weights.sum()
        means.append((weights * values).sum() / total if total else np.nan)
    return np.array(steps), np.array(means)


def _per_episode(name: str) -> bool:
    return name in ('return', 'length') or name.startswith('episode_')


def reached(log: Rows, goal: float, name: str = 'return', episodes: int = 100) -> int | None:
    """Steps after which the mean of the last episodes first met a goal.

    Args:
        episodes: that the mean is of, at least: whole updates are counted.

    Returns:
        Steps of all environments together; None if it never did.
    """
    ended = [row for row in log if row['episodes']]
    first, count, total = 0, 0, 0.0
    for row in ended:
        count += row['episodes']
        total += row['episodes'] * row[name]
        while count - ended[first]['episodes'] >= episodes:
            count -= ended[first]['episodes']
            total -= ended[first]['episodes'] * ended[first][name]
            first += 1
        if count >= episodes and total / count >= goal:
            return row['steps']
    return None


def draw(
    figures: pathlib.Path,
    log: Rows,
    title: str = '',
    names: Sequence[str] = ('return', 'length', 'entropy'),
) -> None:
    """One chart per column of the log: ``figures/policy_<name>.png``."""
    labels = {
        'return': 'return (mean of the episodes that ended)',
        'length': 'steps per episode',
        'entropy': 'entropy of the policy (nats)',
        'intrinsic': 'intrinsic reward per step',
        'bonus': 'error of the predictor per step',
    }
    for name in names:
        if all(row[name] is None for row in log):
            continue
        plots.training_curves(
            figures / f'policy_{name}.png',
            {'train': binned(log, name, 200)},
            ylabel=labels.get(name, name),
            xlabel='steps of all environments',
            title=title,
            smooth=10,
        )
