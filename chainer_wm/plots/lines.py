"""Curves over seeds, and a search over its generations."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from chainer_wm.plots import style

Rows = Sequence[Mapping]
Curve = tuple[Any, Any]  # x (n,), and y (n,) or (seeds, n)
MARKERS = 'osD^vP*X<>'
FEW = 25  # points or fewer are marked one by one


@dataclasses.dataclass(frozen=True)
class Panel:
    """One chart of curves.

    Attributes:
        curves: name -> (x (n,), y (n,)), or y (seeds, n): then each seed is drawn pale, their mean
            strong. What is not finite leaves a gap, and is left out of the mean.
        bands: name -> (low (n,), high (n,)), e.g. the interval of a mean.
        references: name -> (x, y) of what did not learn, dashed.
        levels: name -> y of a dashed line through the panel.
        marks: name -> x of a dotted line; '' and blanks are not named.
        log: logarithmic y; what is not positive leaves a gap.
        floor: on a logarithmic y, smaller values are drawn at this one.
        log_x: logarithmic x.
        smooth: also draw the mean of this many neighbours, the raw curve pale behind it; 0 draws
            the raw curve alone.
        points: y against x as points, with the diagonal on which both agree.
    """

    curves: Mapping[str, Curve]
    xlabel: str = ''
    ylabel: str = ''
    title: str = ''
    bands: Mapping[str, Curve] = dataclasses.field(default_factory=dict)
    references: Mapping[str, Curve] = dataclasses.field(default_factory=dict)
    levels: Mapping[str, float] = dataclasses.field(default_factory=dict)
    marks: Mapping[str, float] = dataclasses.field(default_factory=dict)
    log: bool = False
    floor: float | None = None
    log_x: bool = False
    smooth: int = 0
    points: bool = False


def curves(
    path: str | os.PathLike, panels: Sequence[Panel], title: str = '', columns: int = 3
) -> None:
    """Panels side by side in rows; every name has one colour in all of them.

    Raises:
        ValueError: no panel, one without a curve, or x and y that do not fit.
    """
    if not panels or not all(panel.curves for panel in panels):
        raise ValueError('no curve to draw: has anything been measured yet?')
    alone = len(panels) == 1
    across = min(columns, len(panels))
    down = -(-len(panels) // across)
    chart = style.figure(*((7.4, 4.2) if alone else (1.2 + 4.4 * across, 0.9 + 3.6 * down)))
    every = chart.subplots(down, across, squeeze=False).ravel()
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    colours = dict(zip(names, style.colours(names)))
    dashes = style.dashes(name for panel in panels for name in (*panel.references, *panel.levels))
    for axes, panel in zip(every, panels):
        _panel(axes, panel, colours, dashes, alone)
    for axes in every[len(panels) :]:
        axes.set_visible(False)
    style.heading(chart, title)
    if alone and len(every[0].get_legend_handles_labels()[1]) < 5:
        style.legend(every[0], loc='best')
    else:
        style.common_legend(chart, 2 if alone else 4)
    style.save(path, chart, style.DPI if len(panels) < 3 else 90)


def training_curves(
    path: str | os.PathLike,
    series: Mapping[str, Curve],
    ylabel: str = 'loss',
    xlabel: str = 'iteration',
    title: str = '',
    log: bool = False,
    smooth: int = 0,
) -> None:
    """One panel of curves, see ``Panel``.

    Args:
        series: 'train' and 'held-out' have their own colours.
        ylabel: with its unit, e.g. 'NLL (nats per latent dimension)'.
    """
    curves(path, [Panel(series, xlabel, ylabel, title, log=log, smooth=smooth)])


def _panel(
    axes: Axes, panel: Panel, colours: Mapping[str, str], dashes: Mapping[str, tuple], alone: bool
) -> None:
    style.dress(axes, panel.xlabel, panel.ylabel, panel.title, 'both' if panel.points else 'y')
    shown = []
    for at, (name, curve) in enumerate(panel.curves.items()):
        x, ys = _checked(name, curve, panel)
        shown.append(ys)
        if panel.points:
            look: Any = dict(marker=MARKERS[at % len(MARKERS)], s=42, alpha=0.85)
            axes.scatter(np.tile(x, len(ys)), ys, color=colours[name], label=name, **look)
        else:
            _curve(axes, panel, name, x, ys, colours[name], alone)
    for name, (x, y) in panel.references.items():
        axes.plot(x, y, color=style.PALE_INK, linewidth=1.2, linestyle=dashes[name], label=name)
        shown.append(np.asarray(y, float))
    for name, value in panel.levels.items():
        label = f'{name}, {value:.4g}' if alone else name
        axes.axhline(value, color=style.INK, linewidth=1.2, linestyle=dashes[name], label=label)
        shown.append(np.asarray(value))
    for name, value in panel.marks.items():
        style.limit(axes, value, upright=True)
        where: dict = dict(xycoords=('data', 'axes fraction'), ha='left', va='top')
        axes.annotate(f' {name}', (value, 1.0), fontsize=style.TICK, color=style.INK, **where)
    _scales(axes, panel, np.concatenate([np.ravel(values) for values in shown]))


def _checked(name: str, curve: Curve, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """x (n,), ys (seeds, n) with NaN where nothing can be drawn."""
    x, y = np.asarray(curve[0], float).reshape(-1), np.array(curve[1], float)
    ys = y.reshape(-1, y.shape[-1]) if y.ndim else y.reshape(1, 1)
    if ys.shape[1] != len(x) or not ys.size:
        raise ValueError(
            f'{name!r} has {len(x)} x values and {ys.shape[1]} y values: as many of each, and '
            'at least one, are needed'
        )
    if panel.floor is not None:
        ys = ys.clip(panel.floor)
    ys[~np.isfinite(ys) | (panel.log & (ys <= 0))] = np.nan
    return x, ys


def _curve(
    axes: Axes, panel: Panel, name: str, x: np.ndarray, ys: np.ndarray, colour: str, alone: bool
) -> None:
    """The seeds pale, their mean strong, its band paler still."""
    if len(ys) > 1:
        axes.plot(x, ys.T, color=colour, linewidth=0.8, alpha=0.35)
    if name in panel.bands:
        low, high = panel.bands[name]
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    known = np.isfinite(ys).sum(axis=0)
    mean = np.nansum(ys, axis=0) / np.where(known, known, np.nan)
    label = f'{name}, {len(ys)} seeds' if len(ys) > 1 else name
    if len(ys) == 1 and alone and known.any():
        label = f'{name} ({mean[known > 0][-1]:.4g})'
    if panel.smooth > 1 and len(x) >= 2 * panel.smooth:
        axes.plot(x, mean, color=colour, linewidth=0.8, alpha=0.3)
        x, mean = (_smoothed(values, panel.smooth) for values in (x, mean))
    marker = 'o' if len(x) < FEW else None
    axes.plot(x, mean, color=colour, linewidth=2.0, marker=marker, markersize=4, label=label)


def _all(panel: Panel) -> list[Curve]:
    return [*panel.curves.values(), *panel.references.values()]


def _smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of ``width`` neighbours, only where all of them are there."""
    return np.convolve(values, np.full(width, 1 / width), 'valid')


def _scales(axes: Axes, panel: Panel, shown: np.ndarray) -> None:
    """Axes by the curves: the interval of two seeds would leave nothing to be read."""
    if panel.log_x:
        axes.set_xscale('log')
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    elif not panel.points and axes.get_xlim()[1] >= 10_000:
        axes.xaxis.set_major_formatter(EngFormatter(sep=''))
    elif not panel.points and all(np.equal(np.mod(c[0], 1), 0).all() for c in _all(panel)):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    # nothing positive, for instance a level that no run has solved: no logarithm to be had
    if (panel.log or panel.floor is not None) and np.isfinite(axes.yaxis.get_minpos()):
        axes.set_yscale('log')
    shown = shown[np.isfinite(shown) & ((shown > 0) | (axes.get_yscale() == 'linear'))]
    if panel.bands and len(shown):
        low, high = shown.min(), shown.max()
        if axes.get_yscale() == 'log':
            axes.set_ylim(low / 1.5, high * 1.5)
        else:
            room = 0.08 * (high - low or 1)
            axes.set_ylim(low - room, high + room)
    if panel.points:
        low = max(axes.get_xlim()[0], axes.get_ylim()[0])
        high = min(axes.get_xlim()[1], axes.get_ylim()[1])
        look: Any = dict(color=style.PALE_INK, linewidth=1.0, linestyle=(0, (5, 2)))
        axes.plot([low, high], [low, high], label='both agree', **look)


def evolution(
    path: str | os.PathLike,
    history: Rows,
    evaluations: Rows = (),
    baseline: Mapping | float | None = None,
    solved: float | None = None,
    title: str = '',
    ylabel: str = 'score',
    searched: str = 'dream',
) -> None:
    """CMA-ES over its generations, and what its mean scores in the game.

    Args:
        history: one row per generation: 'generation', and 'mean', 'std', 'min', 'max' of the
            population's fitness.
        evaluations: rows of the controller in the real game: 'generation', 'mean', 'std',
            'episodes'; the bars are standard errors.
        baseline: the random policy in the game: its mean, or
            {'mean', 'std', 'episodes'}.
        solved: the score that counts as solved.
        searched: where the population's fitness is from.
    """
    if not len(history):
        raise ValueError('the history holds no generation yet')
    chart = style.figure(7.4, 4.4)
    axes = style.dress(chart.add_subplot(), 'generation', ylabel, title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    at, mean, std, low, high = (
        np.array([row[key] for row in history], float)
        for key in ('generation', 'mean', 'std', 'min', 'max')
    )
    _population(axes, at, mean, std, low, high, searched)
    if len(evaluations):
        _evaluations(axes, evaluations)
    _levels(axes, baseline, solved)
    axes.margins(x=0.02)
    if axes.dataLim.y0 >= 0:
        axes.set_ylim(bottom=0)
    style.legend(axes, loc='upper left', bbox_to_anchor=(-0.09, -0.14), ncol=2)
    style.save(path, chart)


def _population(axes: Axes, at, mean, std, low, high, searched: str) -> None:
    """Two bands and two lines over the generations, each array (G,)."""
    colour = style.COLOURS['dream']
    axes.fill_between(
        at,
        low,
        high,
        color=colour,
        alpha=0.14,
        linewidth=0,
        label=f'{searched}: worst to best candidate',
    )
    axes.fill_between(
        at,
        mean - std,
        mean + std,
        color=colour,
        alpha=0.28,
        linewidth=0,
        label=f'{searched}: mean ± std of the population',
    )
    axes.plot(at, high, color=colour, linewidth=1.0, label=f'{searched}: best')
    axes.plot(at, mean, color=colour, linewidth=2.2, label=f'{searched}: mean')


def _evaluations(axes: Axes, rows: Rows) -> None:
    episodes = sorted({int(row['episodes']) for row in rows})
    count = f'{episodes[0]}' if len(episodes) == 1 else f'{episodes[0]} to {episodes[-1]}'
    axes.errorbar(
        [row['generation'] for row in rows],
        [row['mean'] for row in rows],
        [standard_error(row) for row in rows],
        color=style.COLOURS['agent'],
        marker='o',
        markersize=5,
        linewidth=1.4,
        capsize=3,
        label=f'game: mean of {count} episodes ± s.e.',
    )


def standard_error(row: Mapping) -> float:
    """Standard error of a mean, from 'std' and 'episodes' of its row."""
    return row['std'] / max(1, row['episodes']) ** 0.5


def _levels(axes: Axes, baseline: Mapping | float | None, solved: float | None) -> None:
    if baseline is not None:
        mean = baseline['mean'] if isinstance(baseline, Mapping) else baseline
        axes.axhline(
            mean,
            color=style.COLOURS['random'],
            linewidth=1.6,
            linestyle=(0, (5, 2)),
            label=f'game: random policy, {mean:.0f}',
        )
    if solved is not None:
        style.limit(axes, solved, label=f'solved, {solved:g}')
