"""What the agent scores, beside those it should beat."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from chainer_wm.plots import style


def returns_histogram(
    path: str | os.PathLike,
    returns: Mapping[str, np.ndarray],
    solved: float | None = None,
    title: str = '',
    xlabel: str = 'return of an episode (time steps survived)',
    bins: int = 24,
) -> None:
    """Histograms of returns, one panel per policy on one common axis.

    Each panel marks its mean and says mean ± std (n - 1) and of how many
    episodes; the line of ``solved`` (None: no line) runs through all of them.

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
        _panel(axes, name, each, edges, colour)
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


def _panel(axes: Axes, name: str, values: np.ndarray, edges: np.ndarray, colour: str) -> None:
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
