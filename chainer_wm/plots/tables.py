"""Results as a picture of a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from chainer_wm.plots import style
from chainer_wm.plots.curves import Rows

COLUMNS = ((0.0, 'left'), (0.68, 'right'), (1.0, 'right'))
HEAD = ('temperature', 'score in the dream', 'score in the game')


def temperature_table(
    path: str | os.PathLike, rows: Rows, title: str = '', references: Sequence[Mapping] = ()
) -> None:
    """Scores by the temperature of the dream the agent was raised in.

    Args:
        rows: 'temperature', and 'dream' and 'game', each {'mean', 'std'}.
        references: other results to print under ours, as rows with a 'name'
            or 'temperature', a 'game', and perhaps a 'dream'.
    """
    lines = [HEAD, *map(_cells, rows), *map(_cells, references)]
    chart = style.figure(6.0, 0.6 + 0.3 * len(lines), constrained=False)
    axes = chart.add_axes((0.03, 0.03, 0.94, 0.94))
    axes.set_axis_off()
    axes.set_ylim(len(lines) + 0.2, -1)
    axes.set_xlim(0, 1)
    axes.text(0, -0.5, title, fontsize=style.TITLE, color=style.INK)
    for at, cells in enumerate(lines):
        _line(axes, at + 0.5, cells, bold=not at)
    for rule in (0, 1, 1 + len(rows), len(lines)):
        axes.axhline(rule, color=style.PALE_INK, linewidth=0.8)
    style.save(path, chart)


def _cells(row: Mapping) -> tuple[str, ...]:
    name = row.get('name') or f'{row["temperature"]:.2f}'
    return name, _spread(row.get('dream')), _spread(row['game'])


def _spread(score: Mapping | None) -> str:
    return f'{score["mean"]:.0f} ± {score["std"]:.0f}' if score else '-'


def _line(axes: Axes, y: float, cells: tuple[str, ...], bold: bool) -> None:
    for (x, side), cell in zip(COLUMNS, cells):
        axes.text(
            x,
            y,
            cell,
            ha=side,
            va='center',
            fontsize=style.LABEL,
            color=style.INK,
            weight='bold' if bold else 'normal',
        )
