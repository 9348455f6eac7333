"""Curves of a training with PPO, out of its log."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainer_wm import plots
from chainer_wm.runs import comparison

Rows = Sequence[Mapping[str, Any]]
STEPS = 'steps of all environments'
#: Columns of a training's log.
LABELS = {
    'return': 'return (mean of the episodes that ended)',
    'length': 'steps per episode',
    'entropy': 'entropy of the policy (nats)',
    'intrinsic': 'intrinsic reward per step',
    'bonus': 'error of the predictor per step',
    'states': 'different states seen',
    'episode_blocks': 'blocks passed',
}


def binned(log: Rows, name: str, bins: int = 60) -> tuple[Any, Any]:
    """A column of a training's log, averaged over equal parts of it.

    'return', 'length' and 'episode_...' count by episode, all else by update.

    Returns:
        (steps, means), each (bins,) at most: steps at the end of each part; NaN where no episode
        ended.
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


def curves(
    log: Rows, names: Sequence[str], bins: int = 60, scores: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Columns of a training's log, as results.json holds curves.

    Args:
        bins: see ``binned``.
        scores: column -> the score that it grows into, beside 'return'.
    """
    known = {'return': 'evaluation', **(scores or {})}
    return {
        LABELS.get(name, name): comparison.curve(
            *binned(log, name, bins),
            *(STEPS, LABELS.get(name, name)),
            **({'score': known[name]} if name in known else {}),
        )
        for name in names
    }


def draw(
    figures: pathlib.Path,
    log: Rows,
    title: str = '',
    names: Sequence[str] = ('return', 'length', 'entropy'),
) -> None:
    """One chart per column of the log: ``figures/policy_<name>.png``."""
    for name in names:
        if all(row[name] is None for row in log):
            continue
        plots.training_curves(
            figures / f'policy_{name}.png',
            {'train': binned(log, name, 200)},
            ylabel=LABELS.get(name, name),
            xlabel=STEPS,
            title=title,
            smooth=10,
        )
