"""What every figure shares: colours, sizes, and how it reaches the disk.

Nothing here touches ``pyplot`` or ``rcParams``: a figure is an object, its style is set on its own
axes, and a program that imports this package finds Matplotlib as it left it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chainer_wm import files

Grid = Literal['x', 'y', 'both', '']
DPI = 130
TITLE, LABEL, TICK = 12.0, 10.5, 9.5  # points
INK, PALE_INK, GRID = '#222222', '#767676', '#dddddd'

# Okabe and Ito's palette, distinct under every common colour blindness.
BLUE, ORANGE, GREEN, PURPLE = '#0072b2', '#e69f00', '#009e73', '#cc79a7'
SKY, VERMILLION, GREY, BLACK = '#56b4e9', '#d55e00', '#8c8c8c', '#222222'

#: A thing has one colour in every figure of the project.
COLOURS = {
    'agent': BLUE,
    'controller': BLUE,
    'dnc': GREEN,
    'lstm': ORANGE,
    'random': GREY,
    'untrained': SKY,
    'game': BLACK,
    'truth': BLACK,
    'dream': PURPLE,
    'open-loop': PURPLE,
    'one-step': BLUE,
    'reconstruction': GREEN,
    'held-out': VERMILLION,
    'train': BLUE,
}
_OTHERS = (VERMILLION, PURPLE, SKY, ORANGE, GREEN, BLUE, GREY)


def colours(names: Iterable[str]) -> list[str]:
    """One colour per name: the fixed one, or one that is still free.

    A name counts as known when it is, or contains as a word, a key of
    :data:`COLOURS` (``'random policy'``, ``'DNC agent'``; of two keys the
    first word wins); names that share a known colour are told apart.
    """
    chosen: list[str] = []
    names = list(names)
    fixed = [_fixed(name) for name in names]
    for colour in fixed:
        free = [c for c in _OTHERS if c not in chosen and c not in fixed]
        if colour is None or colour in chosen:
            colour = free[0] if free else _OTHERS[len(chosen) % len(_OTHERS)]
        chosen.append(colour)
    return chosen


def _fixed(name: str) -> str | None:
    words = name.lower().replace('_', ' ').replace(',', ' ').split()
    known = (COLOURS[word] for word in words if word in COLOURS)
    return COLOURS.get(name.lower()) or next(known, None)


def figure(width: float, height: float, constrained: bool = True) -> Figure:
    """A white figure of ``width`` x ``height`` inches, with no manager."""
    return Figure(
        figsize=(width, height), dpi=DPI, facecolor='white', constrained_layout=constrained
    )


def dress(
    axes: Axes, xlabel: str = '', ylabel: str = '', title: str = '', grid: Grid = 'y'
) -> Axes:
    """The project's look: thin left and bottom spines, pale grid, ink text.

    Args:
        grid: the axes whose values get a line each.
    """
    axes.set_facecolor('white')
    for side, spine in axes.spines.items():
        spine.set_visible(side in ('left', 'bottom'))
        spine.set_color(PALE_INK)
        spine.set_linewidth(0.8)
    axes.tick_params(labelsize=TICK, color=PALE_INK, labelcolor=INK)
    axes.set_xlabel(xlabel, fontsize=LABEL, color=INK)
    axes.set_ylabel(ylabel, fontsize=LABEL, color=INK)
    if title:
        axes.set_title(title, fontsize=TITLE, color=INK, loc='left')
    if grid:
        axes.grid(True, axis=grid, color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
    return axes


def heading(chart: Figure, title: str) -> None:
    """A title over all panels, where there is one."""
    if title:
        chart.suptitle(title, fontsize=TITLE, color=INK, x=0.01, ha='left')


def limit(axes: Axes, value: float, upright: bool = False, **options) -> None:
    """A dotted line through the panel at a value that means something."""
    draw = axes.axvline if upright else axes.axhline
    options = {'linestyle': (0, (1, 2)), **options}
    draw(value, color=INK, linewidth=1.2, **options)


def legend(axes: Axes, **options) -> None:
    """A frameless legend, where there is anything to name."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**{'frameon': False, 'fontsize': TICK, 'labelcolor': INK, **options})


def common_legend(chart: Figure, columns: int) -> None:
    """One legend below all panels, every name once."""
    handles: dict[str, Artist] = {}
    for axes in chart.axes:
        lines, names = axes.get_legend_handles_labels()
        for name, line in zip(names, lines):
            handles.setdefault(name, line)
    if handles:
        chart.legend(
            handles.values(),
            handles.keys(),
            loc='outside lower center',
            ncols=min(columns, len(handles)),
            frameon=False,
            fontsize=TICK,
            labelcolor=INK,
        )


def dashes(names: Iterable[str]) -> dict[str, tuple]:
    """One way to dash a line per name, told apart up to six."""
    known = ((5, 2), (1, 1.5), (6, 2, 1, 2), (2, 1), (10, 3), (6, 1.5, 1, 1.5, 1, 1.5))
    return dict(zip(dict.fromkeys(names), itertools.cycle((0, each) for each in known)))


def save(path: str | os.PathLike, chart: Figure, dpi: float = DPI) -> None:
    """Write ``chart`` to ``path`` as PNG, whole or not at all."""
    with files.atomic_write(path) as file:
        chart.savefig(file, format='png', dpi=dpi, facecolor='white', metadata={'Software': None})
