"""Curves of several models over seeds, side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter

from chainer_wm.plots import style
from chainer_wm.runs.task_summaries import Seeds, curve_seeds, length_seeds
from chainer_wm.tasks.sequence_tasks import Task

Models = Mapping[str, Sequence[dict[str, Any]]]  # results of runs, by label


class Panel(NamedTuple):
    """One chart: the mean over seeds, and a band from least to largest.

    Fields:
        series: by the name of the model.
        floor: logarithmic y, with smaller values drawn at this one; None is
            a linear y from 0.
        reference: name and curve (x, y) of what needs no network.
        marks: name and x of dotted lines.
        log_x: logarithmic x.
    """

    series: Mapping[str, Seeds]
    xlabel: str
    ylabel: str
    title: str = ''
    floor: float | None = None
    reference: tuple[str, Sequence, Sequence] | None = None
    marks: Sequence[tuple[str, float]] = ()
    log_x: bool = False


def learning_panel(models: Models, task: Task) -> Panel:
    """Held-out error over updates."""
    return Panel(
        {name: curve_seeds(runs) for name, runs in models.items()},
        'update',
        task.error_name,
        'Training, held-out sequences',
        floor=task.floor,
    )


def lengths_panel(models: Models, task: Task, longest: int) -> Panel:
    """Error over length, with what a mere guess errs."""
    rows = next(iter(models.values()))[0]['lengths']
    x = [row['length'] for row in rows]
    return Panel(
        {name: length_seeds(runs) for name, runs in models.items()},
        'length of the sequence',
        task.error_name,
        'Longer than in training',
        floor=task.floor,
        reference=('guess from the length', x, [r['guess'] for r in rows]),
        marks=[(f'trained up to {longest}', longest)],
        log_x=True,
    )


def draw_panels(path: str | os.PathLike, panels: Sequence[Panel], title: str = '') -> None:
    """The panels in a row, one legend for all.

    Raises:
        ValueError: nothing to draw.
    """
    if not panels or not all(panel.series for panel in panels):
        raise ValueError('no curve to draw: has anything been measured yet?')
    chart = style.figure(1.2 + 4.6 * len(panels), 4.2)
    row = chart.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(row, panels):
        _panel(axes, panel)
    style.heading(chart, title)
    handles: dict[str, Any] = {}
    for axes in row:
        lines, names = axes.get_legend_handles_labels()
        handles |= dict(zip(names, lines))
    chart.legend(
        handles.values(),
        handles.keys(),
        loc='outside lower center',
        ncols=len(handles),
        frameon=False,
        fontsize=style.TICK,
    )
    style.save(path, chart, dpi=95)


def _panel(axes: Axes, panel: Panel) -> None:
    style.dress(axes, panel.xlabel, panel.ylabel, panel.title)
    names = list(panel.series)
    for (name, seeds), colour in zip(panel.series.items(), style.colours(names)):
        least = 0.0 if panel.floor is None else panel.floor
        ys = seeds.ys.clip(least)
        axes.plot(
            seeds.x,
            seeds.ys.mean(axis=0).clip(least),
            color=colour,
            linewidth=1.8,
            marker='o' if len(seeds.x) < 25 else None,
            markersize=3.5,
            label=name,
        )
        if len(ys) > 1:
            axes.fill_between(
                seeds.x, ys.min(axis=0), ys.max(axis=0), color=colour, alpha=0.18, linewidth=0
            )
    if panel.reference:
        name, x, y = panel.reference
        axes.plot(x, y, color=style.PALE_INK, linewidth=1.2, linestyle=(0, (5, 2)), label=name)
    _scales(axes, panel)
    _marks(axes, panel.marks)


def _scales(axes: Axes, panel: Panel) -> None:
    if panel.log_x:
        axes.set_xscale('log')
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks([2, 5, 12, 25, 50, 100])
    if panel.floor is not None:
        axes.set_yscale('log')
    else:
        axes.set_ylim(bottom=0)


def _marks(axes: Axes, marks: Sequence[tuple[str, float]]) -> None:
    for name, x in marks:
        style.limit(axes, x, upright=True)
        axes.annotate(
            f' {name}',
            (x, 1.0),
            xycoords=('data', 'axes fraction'),
            ha='left',
            va='top',
            fontsize=style.TICK,
            color=style.INK,
        )
