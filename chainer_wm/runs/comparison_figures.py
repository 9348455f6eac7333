"""Figures of runs side by side: scores and curves over seeds, matrices, bars."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainer_wm import plots
from chainer_wm.runs.comparison import (
    EVALUATION,
    Finished,
    Groups,
    baselines,
    compare,
    differing,
    grouped,
    over_seeds,
)

POINTS = 300  # of curves over different x, at most


def draw(folder: pathlib.Path, runs: Sequence[Finished], by: Sequence[str] | None = None) -> list:
    """``scores.png``, ``curves.png``, a ``matrix_*.png`` and a ``bars_*.png`` each, if there are.

    Returns:
        The paths of what was drawn.
    """
    groups = grouped(runs, list(differing(runs, by)))
    found = compare(runs, by)
    paths = []
    names = list(dict.fromkeys(score for run in runs for score in run.scores))
    title = str(found['experiment'] or '').replace('_', ' ')
    if names:
        paths.append(folder / 'scores.png')
        rows = {
            score: {
                name: group['scores'][score]
                for name, group in found['groups'].items()
                if score in group['scores']
            }
            for score in names
        }
        plots.seed_scores(paths[-1], rows, levels(runs), f'{title}: seeds, mean and 95 %')
    curves = dict.fromkeys(
        name
        for run in runs
        for name, one in run.results.get('curves', {}).items()
        if one.get('points') or len(one['x']) > 1  # a single value is no curve
    )
    if curves:
        paths.append(folder / 'curves.png')
        panels = [panel(name, said_of(groups, 'curves', name), levels(runs)) for name in curves]
        plots.curves(paths[-1], panels, f'{title}: mean over seeds, and its 95 % interval')
    for kind, word, draw_one in (('matrices', 'matrix', draw_matrix), ('bars', 'bars', draw_bars)):
        for name in dict.fromkeys(name for run in runs for name in run.results.get(kind, {})):
            slug = re.sub(r'\W+', '_', name.lower()).strip('_')
            paths.append(folder / f'{word}_{slug}.png')
            draw_one(paths[-1], groups, name)
    return paths


def levels(runs: Sequence[Finished]) -> dict[str, dict[str, float]]:
    """Score -> name -> what it is compared with."""
    found = {
        score: {name: row['mean'] for name, row in rows.items() if row['mean'] is not None}
        for score, rows in baselines(runs).items()
    }
    if (solved := runs[0].results.get('solved')) is not None:
        found.setdefault(EVALUATION, {})['solved'] = solved
    return found


def said_of(groups: Groups, kind: str, name: str) -> dict[str, list[Mapping[str, Any]]]:
    """What the runs of each group say under ``results[kind][name]``."""
    found = {
        group: [one for run in members if (one := run.results.get(kind, {}).get(name))]
        for group, members in groups.items()
    }
    return {group: every for group, every in found.items() if every}


def panel(
    name: str,
    said: Mapping[str, Sequence[Mapping[str, Any]]],
    scores: Mapping[str, Mapping[str, float]] | None = None,
) -> plots.Panel:
    """One curve by group, each over its seeds.

    Args:
        said: group -> the curve of each of its runs, as results.json holds it.
        scores: what curves that name a score are compared with, see ``levels``.
    """
    first = next(iter(said.values()))[0]
    found: dict[str, tuple] = {}
    bands: dict[str, tuple] = {}
    for group, curves in said.items():
        if first.get('points'):
            x, y = (np.concatenate([np.array(c[k], float) for c in curves]) for k in 'xy')
            found[group] = x, y[None]
            continue
        x, ys = common(curves)
        found[group] = x, ys
        if len(ys) > 1:
            bands[group] = interval(ys)
    other = {
        key: (first['x'], mean([c['references'][key] for c in every]))
        for key in first.get('references', {})
        if (every := [c for curves in said.values() for c in curves if c['x'] == first['x']])
    }
    look = {k: first[k] for k in ('log', 'floor', 'log_x', 'points', 'marks') if k in first}
    return plots.Panel(
        found,
        first['xlabel'],
        first['ylabel'],
        name,
        bands=bands,
        references=other,
        levels=(scores or {}).get(first.get('score', ''), {}),
        **look,
    )


def common(curves: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Curves at common x (n,): (seeds, n), NaN where one says nothing.

    Where their x differ they are drawn through in straight lines, each as far as it goes, or with
    'hold' as it ended.
    """
    xs = [np.array(curve['x'], float) for curve in curves]
    ys = [np.array(curve['y'], float) for curve in curves]
    if all(np.array_equal(x, xs[0]) for x in xs):
        return xs[0], np.stack(ys)
    every = np.unique(np.concatenate(xs))
    if len(every) > POINTS:
        every = np.linspace(every[0], every[-1], POINTS)
    right = [None if curve.get('hold') else np.nan for curve in curves]
    rows = [np.interp(every, x, y, np.nan, r) for x, y, r in zip(xs, ys, right)]
    return every, np.stack(rows)


def mean(arrays: Sequence[Any]) -> np.ndarray:
    """Over the arrays, of those that say something; NaN where none does."""
    stacked = np.array(arrays, float)
    known = np.isfinite(stacked).sum(axis=0)
    return np.nansum(stacked, axis=0) / np.where(known, known, np.nan)


def interval(ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of the mean of (seeds, n), each end (n,); NaN for one seed."""
    found = [over_seeds(list(y[np.isfinite(y)]))['interval'] or (np.nan, np.nan) for y in ys.T]
    low, high = np.array(found, float).T
    return low, high


def draw_matrix(path: pathlib.Path, groups: Groups, name: str) -> None:
    """A matrix of every group, mean over its seeds."""
    said = said_of(groups, 'matrices', name)
    first = next(iter(said.values()))[0]
    means = {
        group: mean([each['values'] for each in matrices]) for group, matrices in said.items()
    }
    plots.matrices(path, means, title=name, **{k: v for k, v in first.items() if k != 'values'})


def draw_bars(path: pathlib.Path, groups: Groups, name: str) -> None:
    """Bars of every group with a dot per seed, and of what did not learn."""
    said = said_of(groups, 'bars', name)
    every = [each for rows in said.values() for each in rows]
    first = every[0]
    series = {
        group: np.array([each['values'] for each in rows], float) for group, rows in said.items()
    }
    for other in first.get('references', {}):
        known = [
            each['references'][other] for each in every if other in each.get('references', {})
        ]
        series[other] = mean(known)
    plots.bars(path, first['labels'], series, first['ylabel'], name)
