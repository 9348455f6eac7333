"""What policies score: over seeds, as histograms, as a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from chainer_wm.plots import style

TABLE = (6.0, 1.25)  # inches: of three columns, and of each one more


def seed_scores(
    path: str | os.PathLike,
    panels: Mapping[str, Mapping[str, Any]],
    levels: Mapping[str, Mapping[str, float]] | None = None,
    title: str = '',
    columns: int = 3,
) -> None:
    """Scores over seeds: a panel per score, in it a row per group.

    Every seed is a dot; the bar is their mean, with its 95 % interval where it has one.

    Args:
        panels: score -> group -> {'values' (one per seed, None or NaN for
            what was not reached), 'mean', 'interval' (low, high) or None}.
        levels: score -> name -> what to compare with, a dashed line each.

    Raises:
        ValueError: nothing to draw.
    """
    if not panels or not all(panels.values()):
        raise ValueError('no score to draw: was any run evaluated?')
    groups = list(dict.fromkeys(group for rows in panels.values() for group in rows))
    colours = dict(zip(groups, style.colours(groups)))
    dashes = style.dashes(name for each in (levels or {}).values() for name in each)
    across = min(columns, len(panels))
    down = -(-len(panels) // across)
    chart = style.figure(2.6 + 3.2 * across, 0.7 + down * (0.8 + 0.42 * len(groups)))
    every = chart.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes, (score, rows) in zip(every, panels.items()):
        style.dress(axes, score, grid='x')
        drawn = dict((levels or {}).get(score, {}))
        for place, group in enumerate(groups):
            if group in rows:
                _dots(axes, place, rows[group], colours[group])
        for name, value in drawn.items():
            look: dict[str, Any] = dict(color=style.INK, linewidth=1.2, label=name)
            axes.axvline(value, linestyle=dashes[name], **look)
        _limits(axes, rows, list(drawn.values()))
        axes.set_yticks(range(len(groups)), groups)
        axes.set_ylim(len(groups) - 0.5, -0.5)
    for axes in every[len(panels) :]:
        axes.set_visible(False)
    style.heading(chart, title)
    style.common_legend(chart, 2 * across)
    style.save(path, chart)


def _known(row: Mapping[str, Any]) -> list[float]:
    return [value for value in row['values'] if value is not None and np.isfinite(value)]


def _dots(axes: Axes, place: int, row: Mapping[str, Any], colour: str) -> None:
    """The seeds, spread a little, their mean and its interval."""
    known = _known(row)
    if not known:
        axes.annotate('never', (0.5, place), xycoords=('axes fraction', 'data'), va='center')
        return
    spread = place + np.linspace(-0.15, 0.15, len(known)) * (len(known) > 1)
    axes.plot(known, spread, 'o', color=colour, alpha=0.5, markersize=6, markeredgewidth=0)
    axes.plot([row['mean']] * 2, [place - 0.25, place + 0.25], color=colour, linewidth=3)
    if row['interval'] is not None:
        axes.plot(row['interval'], [place] * 2, color=colour, linewidth=1.2)


def _limits(axes: Axes, rows: Mapping[str, Mapping[str, Any]], levels: Sequence[float]) -> None:
    """All that was measured, and of intervals no more than as much again."""
    known = [*levels, *(value for row in rows.values() for value in _known(row))]
    if not known:
        return
    low, high = min(known), max(known)
    wide = high - low or abs(high) or 1.0
    ends = [end for row in rows.values() for end in row['interval'] or ()]
    low = min(low, max(min(ends, default=low), low - wide)) - 0.05 * wide
    high = max(high, min(max(ends, default=high), high + wide)) + 0.05 * wide
    axes.set_xlim(low, high)


def returns_histogram(
    path: str | os.PathLike,
    returns: Mapping[str, np.ndarray],
    solved: float | None = None,
    title: str = '',
    xlabel: str = 'return of an episode',
    bins: int = 24,
) -> None:
    """Histograms of returns, one panel per policy on one common axis.

    Each panel marks its mean and says mean ± std (n - 1) and of how many episodes; the line of
    ``solved`` (None: no line) runs through all of them.

    Args:
        returns: name ('agent', 'random', ...) -> (episodes,).

    Raises:
        ValueError: a policy has no returns, or one that is not finite.
    """
    values = {name: _checked(name, each) for name, each in returns.items()}
    chart = style.figure(7.4, 1.0 + 1.25 * len(values))
    panels = chart.subplots(len(values), 1, sharex=True, squeeze=False)[:, 0]
    edges = _edges(np.concatenate(list(values.values())), bins)
    for axes, (name, each), colour in zip(panels, values.items(), style.colours(values)):
        _histogram(axes, name, each, edges, colour)
        if solved is not None:
            style.limit(axes, solved, upright=True)
    panels[-1].set_xlabel(xlabel, fontsize=style.LABEL, color=style.INK)
    if solved is not None:
        panels[0].annotate(
            f'  solved above {solved:g}',
            (solved, 0.98),
            xycoords=('data', 'axes fraction'),
            va='top',
            fontsize=style.TICK,
            color=style.INK,
        )
    style.heading(chart, title)
    style.save(path, chart)


def returns_by_episode(
    path: str | os.PathLike,
    panels: Mapping[str, Mapping[str, np.ndarray]],
    solved: float | None = None,
    title: str = '',
    xlabel: str = 'episode, from the worst to the best of the first',
    ylabel: str = 'return of an episode',
) -> None:
    """What policies score in the same episodes, each a dot; a panel for each set of episodes.

    All panels have one scale.

    Args:
        panels: name -> policy -> (episodes,), as many for all of a panel. The first policy of a
            panel gives the order.
        solved: a line in all of them; None: no line.

    Raises:
        ValueError: policies of a panel played other numbers of episodes, none, or one whose return
            is not finite.
    """
    chart = style.figure(8.6, 0.8 + 2.4 * len(panels))
    every = chart.subplots(len(panels), 1, squeeze=False, sharey=True)[:, 0]
    names = dict.fromkeys(name for rows in panels.values() for name in rows)
    colours = dict(zip(names, style.colours(names)))
    for axes, (panel, rows) in zip(every, panels.items()):
        values = {name: _checked(name, each) for name, each in rows.items()}
        counts = {name: len(each) for name, each in values.items()}
        if len(set(counts.values())) > 1:
            raise ValueError(f'episodes of {panel!r} are {counts}, but must be the same for all')
        order = np.argsort(next(iter(values.values())), kind='stable')
        style.dress(axes, ylabel=ylabel)
        axes.set_title(panel, fontsize=style.LABEL, loc='left', color=style.INK)
        for name, each in values.items():
            label = f'{name}: {each.mean():.0f}'
            axes.plot(each[order], 'o', color=colours[name], markersize=4, label=label)
        if solved is not None:
            style.limit(axes, solved)
        # beside the panel: a legend's dot inside would look like an episode
        style.legend(axes, loc='upper left', bbox_to_anchor=(1, 1), borderaxespad=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    every[-1].set_xlabel(xlabel, fontsize=style.LABEL, color=style.INK)
    style.heading(chart, title)
    style.save(path, chart)


def _checked(name: str, returns: np.ndarray) -> np.ndarray:
    values = np.asarray(returns, float).reshape(-1)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(
            f'the returns of {name!r} are {len(values)} values, of which at '
            'least one must be there and all be finite: did the evaluation '
            'finish?'
        )
    return values


def _edges(values: np.ndarray, bins: int) -> np.ndarray:
    low, high = values.min(), values.max()
    if low == high:
        low, high = low - 0.5, high + 0.5
    if low >= 0:
        low = 0.0
    return np.linspace(low, high, bins + 1)


def _histogram(axes: Axes, name: str, values: np.ndarray, edges: np.ndarray, colour: str) -> None:
    style.dress(axes, ylabel='episodes')
    axes.hist(values, edges.tolist(), color=colour, alpha=0.85)
    axes.axvline(values.mean(), color=style.INK, linewidth=1.6)
    spread = f' ± {values.std(ddof=1):.0f}' if len(values) > 1 else ''
    name = name.replace('_', ' ')
    axes.set_title(
        f'{name}: {values.mean():.0f}{spread}, {len(values)} episodes',
        fontsize=style.LABEL,
        loc='left',
        color=style.INK,
    )
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))


def table(
    path: str | os.PathLike,
    head: Sequence[str],
    blocks: Sequence[Sequence[Sequence[str]]],
    title: str = '',
) -> None:
    """Words in columns, the first for names: rows in blocks, with a line between the blocks.

    Args:
        head: of the columns; blocks: of rows with as many cells.
    """
    lines = [head, *(row for block in blocks for row in block)]
    width = TABLE[0] + TABLE[1] * max(0, len(head) - 3)
    edges = np.linspace(0.68 * TABLE[0] / width, 1, len(head) - 1)
    columns = [(0.0, 'left'), *((float(edge), 'right') for edge in edges)]
    chart = style.figure(width, 0.6 + 0.3 * len(lines), constrained=False)
    axes = chart.add_axes((0.03, 0.03, 0.94, 0.94))
    axes.set_axis_off()
    axes.set_ylim(len(lines) + 0.2, -1)
    axes.set_xlim(0, 1)
    axes.text(0, -0.5, title, fontsize=style.TITLE, color=style.INK)
    look: dict[str, Any] = dict(va='center', fontsize=style.LABEL, color=style.INK)
    for at, cells in enumerate(lines):
        weight = 'normal' if at else 'bold'
        for (x, side), cell in zip(columns, cells):
            axes.text(x, at + 0.5, cell, ha=side, weight=weight, **look)
    for rule in np.cumsum([0, 1, *map(len, blocks)]):
        axes.axhline(rule, color=style.PALE_INK, linewidth=0.8)
    style.save(path, chart)
