"""Is the dream honest? Scores and deaths in it against the game's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from chainer_wm.plots import style
from chainer_wm.plots.lines import MARKERS, Rows, standard_error

FLOOR = 1e-6  # smaller P(done) share one bin
COLUMNS = 3  # panels of ages side by side
#: Of legends: inside the panel they would lie over somebody's interval.
BELOW: dict[str, Any] = {'loc': 'upper left', 'bbox_to_anchor': (-0.02, -0.14), 'ncol': 2}
LEAST = 500  # steps lived in a band, for a rate to be drawn


def calibration(
    path: str | os.PathLike,
    rows: Rows,
    death: tuple[np.ndarray, np.ndarray] | None = None,
    done_weight: float = 1.0,
    title: str = '',
    unit: str = '',
) -> None:
    """Policies' scores in the dream against the game, and P(done)'s honesty.

    Args:
        rows: one per policy: 'name', and 'dream' and 'game', each {'mean', 'std', 'episodes'}; the
            bars are 95 % intervals of the mean. On
            the diagonal, dream and game agree.
        death: adds a reliability diagram: M's P(done) of many steps, and whether the game ended
            there (0/1), both (n,).
        done_weight: the weight of a death in M's loss, for which the diagram shows what a
            perfectly trained M would say.
        unit: of the scores.
    """
    if not len(rows):
        raise ValueError('no policy was scored in both dream and game')
    chart = style.figure(10.4 if death else 5.6, 4.9)
    panels = chart.subplots(1, 2 if death else 1, squeeze=False)[0]
    _scores(panels[0], rows, unit)
    style.heading(chart, title)
    if death:
        _reliability(panels[1], *death, done_weight)
    style.save(path, chart)


def _scores(axes: Axes, rows: Rows, unit: str) -> None:
    said = f' ({unit})' if unit else ''
    style.dress(axes, f'score in the dream{said}', f'score in the game{said}', grid='both')
    reach = []
    for row, colour, marker in zip(
        rows,
        style.colours([row['name'] for row in rows]),
        MARKERS * (1 + len(rows) // len(MARKERS)),
    ):
        across, up = (1.96 * standard_error(row[where]) for where in ('dream', 'game'))
        at = row['dream']['mean'], row['game']['mean']
        axes.errorbar(
            *at,
            up,
            across,
            color=colour,
            marker=marker,
            markersize=7,
            capsize=3,
            linewidth=1.4,
            linestyle='',
            label=row['name'].replace('_', ' '),
        )
        reach += [*at, at[0] + across, at[1] + up]
    _diagonal(axes, min(0.0, *reach), max(reach))
    style.legend(axes, **BELOW, handletextpad=0.4)


def _diagonal(axes: Axes, low: float, high: float) -> None:
    """Equal axes, and the line on which dream and game agree."""
    limits = low, high + 0.06 * (high - low)
    axes.plot(limits, limits, color=style.PALE_INK, linewidth=1.0, linestyle=(0, (5, 2)), zorder=1)
    axes.annotate(
        'dream = game ',
        (high, high),
        ha='right',
        va='bottom',
        fontsize=style.TICK,
        color=style.PALE_INK,
    )
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_aspect('equal')


def _reliability(
    axes: Axes, predicted: np.ndarray, happened: np.ndarray, done_weight: float
) -> None:
    """Deaths are rare, so both axes are logarithmic, and so are the bins."""
    style.dress(axes, "M's P(done)", 'share of these steps at which the game ended', grid='both')
    bins = reliability(predicted, happened)
    seen = [row for row in bins if row['deaths']]
    low = min([max(row['predicted'], FLOOR) for row in bins] + [row['observed'] for row in seen])
    _bins(axes, seen, [row for row in bins if not row['deaths']])
    _ideals(axes, done_weight)
    axes.set_xscale('log')
    axes.set_yscale('log')
    axes.set_xlim(low / 2, 1.3)
    axes.set_ylim(low / 2, 1.3)
    style.legend(axes, **BELOW, handlelength=1.6)


def _bins(axes: Axes, seen: Rows, none: Rows) -> None:
    """Shares of deaths with their intervals; upper bounds without a death."""
    shares, low, high = (
        np.array([row[key] for row in seen]) for key in ('observed', 'low', 'high')
    )
    axes.errorbar(
        [max(row['predicted'], FLOOR) for row in seen],
        shares,
        np.stack([shares - low, high - shares]).clip(0),
        color=style.COLOURS['dream'],
        marker='o',
        markersize=5,
        capsize=3,
        linewidth=1.6,
        label='M, 95 % interval',
    )
    axes.scatter(
        [max(row['predicted'], FLOOR) for row in none],
        [row['high'] for row in none],
        marker='v',
        s=34,
        facecolors='none',
        edgecolors=style.COLOURS['dream'],
        label='no death: 95 % upper bound',
    )


def _ideals(axes: Axes, done_weight: float) -> None:
    """The diagonal, and what weighted deaths make of a perfect model."""
    chances = np.logspace(np.log10(FLOOR), 0, 200)
    lines = [(chances, style.PALE_INK, (5, 2), 'honest')]
    if done_weight != 1:
        weighted = chances * done_weight / (1 + (done_weight - 1) * chances)
        label = f'perfect for a weight of {done_weight:g}'
        lines.append((weighted, style.INK, (1, 2), label))
    for predicted, colour, dashes, label in lines:
        axes.plot(
            predicted, chances, color=colour, linewidth=1.0, linestyle=(0, dashes), label=label
        )


def reliability(predicted: np.ndarray, happened: np.ndarray, bins: int = 10) -> list[dict]:
    """Bins of equal width in log P, each with what really happened in it.

    Args:
        predicted: probabilities (n,); happened: 0/1 (n,).

    Returns:
        For each bin that is not empty: 'predicted' (mean), 'observed'
        (share), 'steps', 'deaths', and 'low', 'high': Wilson's 95 %
        interval of the share.
    """
    predicted = np.asarray(predicted, float).reshape(-1)
    happened = np.asarray(happened).reshape(-1).astype(bool)
    if predicted.shape != happened.shape or not len(predicted):
        raise ValueError(
            f'{len(predicted)} predictions for {len(happened)} '
            'steps: as many of each, and at least one, are '
            'needed'
        )
    if not ((predicted >= 0) & (predicted <= 1)).all():
        raise ValueError('P(done) leaves [0, 1]: is it the logit?')
    floor = max(predicted.min(), FLOOR)
    edges = np.logspace(np.log10(floor), 0, bins + 1)
    which = np.digitize(predicted, edges[1:-1])
    found = []
    for index in np.unique(which):
        inside = which == index
        steps, deaths = int(inside.sum()), int(happened[inside].sum())
        low, high = wilson(deaths, steps)
        found.append(
            {
                'predicted': float(predicted[inside].mean()),
                'observed': deaths / steps,
                'steps': steps,
                'deaths': deaths,
                'low': low,
                'high': high,
            }
        )
    return found


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a proportion (Wilson 1927)."""
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = (z / (1 + z * z / trials)) * np.sqrt(
        share * (1 - share) / trials + z * z / (4 * trials * trials)
    )
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def deaths_by_age(path: str | os.PathLike, rows: Rows, title: str = '') -> None:
    """Deaths per 1,000 steps against an episode's age, a panel per policy.

    Where the two lines part, the dream is kinder or harsher than the game at that age. Bars are 95
    % intervals (of a Poisson distribution whose mean is the number of deaths); ages at which fewer
    than 500 steps were lived are left out.

    Args:
        rows: one per policy: 'name', and 'dream' and 'game', each a sequence of
            ``evaluation.Band``.

    Raises:
        ValueError: there is no policy.
    """
    if not rows:
        raise ValueError('no policy was scored in both dream and game')
    down = -(-len(rows) // COLUMNS)
    chart = style.figure(11.0, 0.6 + 2.7 * down)
    panels = chart.subplots(down, COLUMNS, squeeze=False).ravel()
    for axes, row in zip(panels, rows):
        style.dress(axes, title=row['name'].replace('_', ' '))
        for where, marker in (('game', 'o'), ('dream', 's')):
            _line(axes, where, row[where], marker)
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
    for axes in panels[len(rows) :]:
        axes.set_visible(False)
    for axes in panels[::COLUMNS]:
        axes.set_ylabel('deaths per 1,000 steps', fontsize=style.LABEL, color=style.INK)
    for axes in panels[max(0, len(rows) - COLUMNS) : len(rows)]:
        axes.set_xlabel('age (steps)', fontsize=style.LABEL, color=style.INK)
    style.legend(panels[0], loc='upper left')
    style.heading(chart, title)
    style.save(path, chart)


def _line(axes: Axes, where: str, bands: Sequence[Any], marker: str) -> None:
    lived = [band for band in bands if band.steps >= LEAST]
    (colour,) = style.colours([where])
    axes.errorbar(
        [(band.first + band.last) / 2 for band in lived],
        [band.rate for band in lived],
        [1.96 * band.rate / max(band.deaths, 1) ** 0.5 for band in lived],
        color=colour,
        marker=marker,
        markersize=6,
        linewidth=1.4,
        capsize=3,
        label=where,
    )
