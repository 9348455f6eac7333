"""How training and evolution went, and what the agent then scores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from chainer_wm.plots import style

Rows = Sequence[Mapping]


def training_curves(
    path: str | os.PathLike,
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    ylabel: str = 'loss',
    xlabel: str = 'iteration',
    title: str = '',
    log: bool = False,
    smooth: int = 0,
) -> None:
    """One chart of any number of curves, named at their right ends.

    Args:
        series: name -> (x, y), each (n,). 'train' and 'held-out' have their
            own colours. Non-finite values leave a gap.
        ylabel: with its unit, e.g. 'NLL (nats per latent dimension)'.
        log: logarithmic y axis; values that are not positive leave a gap.
        smooth: also draw the mean of this many neighbours, and the raw curve
            pale behind it; 0 draws the raw curve alone.

    Raises:
        ValueError: no series, or x and y of different lengths.
    """
    if not series:
        raise ValueError('no series to draw: has no training step been logged yet?')
    chart = style.figure(7.4, 4.0)
    axes = style.dress(chart.add_subplot(), xlabel, ylabel, title)
    ends = []
    for (name, (x, y)), colour in zip(series.items(), style.colours(series)):
        x, y = _checked(name, x, y, log)
        if smooth > 1 and len(y) >= 2 * smooth:
            axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.3)
            x, y = _smoothed(x, y, smooth)
        (line,) = axes.plot(
            x,
            y,
            color=colour,
            linewidth=1.8,
            label=name,
            marker='o' if len(x) < 25 else None,
            markersize=4,
        )
        ends.append((line, name, y))
    if log:
        axes.set_yscale('log')
    _name_ends(axes, ends)
    style.save(path, chart)


def _checked(name: str, x, y, log: bool) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, float).reshape(-1), np.array(y, float).reshape(-1)
    if len(x) != len(y) or not len(x):
        raise ValueError(
            f'{name!r} has {len(x)} x values and {len(y)} y '
            'values: as many of each, and at least one, are '
            'needed'
        )
    y[~np.isfinite(y) | (log & (y <= 0))] = np.nan
    return x, y


def _smoothed(x: np.ndarray, y: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of ``width`` neighbours, only where all of them are there."""
    kernel = np.full(width, 1 / width)
    return (np.convolve(x, kernel, 'valid'), np.convolve(y, kernel, 'valid'))


def _name_ends(axes: Axes, ends: list) -> None:
    """A legend that also tells each curve's last value."""
    for line, name, y in ends:
        known = y[np.isfinite(y)]
        line.set_label(f'{name} ({known[-1]:.4g})' if len(known) else name)
    style.legend(axes, loc='best')


def evolution(
    path: str | os.PathLike,
    history: Rows,
    evaluations: Rows = (),
    baseline: Mapping | float | None = None,
    solved: float | None = None,
    title: str = '',
    ylabel: str = 'score (time steps survived)',
) -> None:
    """CMA-ES over its generations, and what its mean scores in the game.

    Args:
        history: one row per generation: 'generation', and 'mean', 'std',
            'min', 'max' of the population's fitness (in the dream).
        evaluations: rows of the controller in the real game: 'generation',
            'mean', 'std', 'episodes'; the bars are standard errors.
        baseline: the random policy in the game: its mean, or
            {'mean', 'std', 'episodes'}.
        solved: the score that counts as solved.
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
    _population(axes, at, mean, std, low, high)
    if len(evaluations):
        _evaluations(axes, evaluations)
    _levels(axes, baseline, solved)
    axes.margins(x=0.02)
    axes.set_ylim(bottom=min(0.0, *low))
    style.legend(axes, loc='upper left', bbox_to_anchor=(-0.09, -0.14), ncol=2)
    style.save(path, chart)


def _population(axes: Axes, at, mean, std, low, high) -> None:
    """Two bands and two lines over the generations, each array (G,)."""
    colour = style.COLOURS['dream']
    axes.fill_between(
        at,
        low,
        high,
        color=colour,
        alpha=0.14,
        linewidth=0,
        label='dream: worst to best candidate',
    )
    axes.fill_between(
        at,
        mean - std,
        mean + std,
        color=colour,
        alpha=0.28,
        linewidth=0,
        label='dream: mean ± std of the population',
    )
    axes.plot(at, high, color=colour, linewidth=1.0, label='dream: best')
    axes.plot(at, mean, color=colour, linewidth=2.2, label='dream: mean')


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
