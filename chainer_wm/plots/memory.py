"""A DNC's memory at work, step by step."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, PowerNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from chainer_wm.plots import style

MODES = {'backward': style.BLUE, 'content': style.GREY, 'forward': style.VERMILLION}
INK = LinearSegmentedColormap.from_list(  # of 0 to 1
    'ink', ('#ffffff', '#a9d8f2', style.BLUE, '#0b1f33')
)
SIGNED = LinearSegmentedColormap.from_list('signed', (style.BLUE, '#ffffff', style.VERMILLION))
MOST = 1100, 128  # columns and lines of a map; where there are more, they share
LETTER = 0.0125  # of the width of a panel, about

_SHAPES = {
    'memory': 'TNW',
    'usage': 'TN',
    'write_weights': 'TN',
    'read_weights': 'TRN',
    'allocation_gate': 'T',
    'write_gate': 'T',
    'free_gates': 'TR',
    'read_modes': 'TR3',
}
MEMORY_NAMES = tuple(_SHAPES)
"""What `memory_trace` draws over time, by the names of ``DNC.trace``."""


class _Row(NamedTuple):
    """A panel over time."""

    height: float  # inches
    draw: Callable[[Axes], None]


class _Pictures(NamedTuple):
    """A row of maps on one scale, one for each moment."""

    label: str
    below: str
    pictures: np.ndarray  # (moments, columns, lines)
    colours: Colormap
    norm: Normalize


def memory_trace(
    path: str | os.PathLike,
    trace: Mapping[str, np.ndarray],
    marks: Mapping[str, int] | None = None,
    title: str = '',
    signals: Mapping[str, np.ndarray] | None = None,
    moments: Sequence[int] = (),
    links: np.ndarray | None = None,
) -> None:
    """Where one sequence is written to and read from, by which gates, and what is kept.

    Over time, from above: the signals; the norm of each slot of M, usage, write weighting and read
    weightings as maps; the gates; the read modes. Below, M and the link as they are at some
    moments. Weightings, usage and link are inked by their square roots, so that a reading spread
    over many slots is seen too. Where steps or slots are more than there are pixels, those that
    share one show the largest of their values.

    Args:
        trace: any of memory (T, N, W), usage (T, N), write_weights (T, N), read_weights
            (T, R, N), allocation_gate and write_gate (T,) or (T, 1), free_gates (T, R), read_modes
            (T, R, 3) in the order backward,
            content, forward: what ``DNC.trace`` gives for one lane. Other
            keys are ignored; what is missing is not drawn.
        marks: names of time steps to draw a line at, e.g. {'recall': 12}.
        signals: what went in, what is true, ...: (T,) is drawn as a line, (T, X) as a map.
        moments: time steps at which M and the link are shown.
        links: the link after each of the moments, (len(moments), N, N).

    Raises:
        ValueError: an array of another shape, a moment outside T, or nothing to draw.
    """
    arrays, sizes = _checked(trace, signals or {}, moments, links)
    rows = [_signal(name, np.asarray(values, float)) for name, values in (signals or {}).items()]
    rows += _maps(arrays, sizes.get('R', 0))
    rows += _gates(arrays)
    rows += _modes(arrays)
    shots = _snapshots(arrays, moments, links)
    below = 1.75 * len(shots) + 0.3 * bool(shots)
    over = 0.75 + sum(row.height + 0.12 for row in rows)
    width = 8.0 + 4.0 * min(1.0, max(0, sizes['T'] - 200) / 400)
    chart = style.figure(width, over + below)
    parts: list[Figure | SubFigure] = [chart]
    if shots:
        parts = list(np.asarray(chart.subfigures(2, 1, height_ratios=[over, below])))
    _over_time(parts[0], rows, marks or {}, moments if shots else (), sizes['T'])
    if shots:
        _at_moments(parts[1], shots, moments)
    style.heading(chart, title)
    style.save(path, chart)


def _checked(
    trace: Mapping, signals: Mapping, moments: Sequence[int], links: np.ndarray | None
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Arrays of the known keys with one T, N, ..., and these sizes."""
    arrays = {key: _squeezed(trace[key], axes) for key, axes in _SHAPES.items() if key in trace}
    if not arrays:
        raise ValueError(f'the trace has {sorted(trace)}, but none of {sorted(_SHAPES)}')
    sizes = {'3': 3, 'K': len(moments)}
    named = [(key, array, _SHAPES[key]) for key, array in arrays.items()]
    named += [(key, np.asarray(a), 'TX'[: np.ndim(a)]) for key, a in signals.items()]
    if links is not None:
        named.append(('links', links, 'KNN'))
    for key, array, axes in named:
        sizes.pop('X', None)  # every signal has its own
        wrong = array.ndim != len(axes) or any(
            sizes.setdefault(axis, size) != size for axis, size in zip(axes, array.shape)
        )
        if wrong:
            raise ValueError(
                f'{key} has shape {array.shape}, but ({", ".join(axes)}) '
                f'with {sizes} is needed: is the batch axis still there?'
            )
    outside = [t for t in moments if not 0 <= t < sizes['T']]
    if outside:
        raise ValueError(f'moments {outside} are not among the {sizes["T"]} steps of the trace')
    return arrays, sizes


def _squeezed(values: np.ndarray, axes: str) -> np.ndarray:
    """A gate of one value per step may come as (T, 1)."""
    values = np.asarray(values)
    one = axes == 'T' and values.ndim == 2 and values.shape[1] == 1
    return values[:, 0] if one else values


def _signal(name: str, values: np.ndarray) -> _Row:
    if values.ndim == 1:
        return _Row(0.8, functools.partial(_line, name=name, values=values))
    return _map(name, values)


def _maps(arrays: Mapping, heads: int) -> list[_Row]:
    rows = []
    if 'memory' in arrays:
        rows.append(_map('slot norm', np.linalg.norm(arrays['memory'], axis=2)))
    weights = {
        label: arrays[key]
        for key, label in {'usage': 'slot usage', 'write_weights': 'slot written'}.items()
        if key in arrays
    }
    for head in range(heads if 'read_weights' in arrays else 0):
        which = f',\nhead {head + 1}' if heads > 1 else ''
        weights[f'slot read{which}'] = arrays['read_weights'][:, head]
    for number, (label, values) in enumerate(weights.items()):
        draw = functools.partial(_weights, label=label, values=values, scale=not number)
        rows.append(_Row(_height(values.shape[1]), draw))
    return rows


def _height(lines: int) -> float:
    """Of a map with so many lines, inches."""
    return float(np.clip(0.3 + 0.03 * lines, 0.45, 1.1))


def _map(label: str, values: np.ndarray) -> _Row:
    """Numbers of any size, (T, lines): the range stands beside them."""
    draw = functools.partial(_numbers, label=label, values=values)
    return _Row(_height(values.shape[1]), draw)


def _line(axes: Axes, name: str, values: np.ndarray) -> None:
    style.dress(axes)
    _label(axes, name)
    axes.plot(values, color=style.INK, linewidth=1.2, drawstyle='steps-mid')
    axes.yaxis.set_major_locator(MaxNLocator(3))


def _numbers(axes: Axes, label: str, values: np.ndarray) -> None:
    style.dress(axes, grid='')
    colours, norm, said = _range(values)
    _image(axes, values, colours, norm)
    _label(axes, f'{label}\n({said})')


def _weights(axes: Axes, label: str, values: np.ndarray, scale: bool) -> None:
    style.dress(axes, grid='')
    _image(axes, values, INK, PowerNorm(0.5, 0, 1))
    _label(axes, label)
    if scale:
        _bar(axes, (0, 0.1, 0.5, 1))


def _bar(axes: Axes, ticks: Sequence[float]) -> None:
    """The colours of the panel's map, beside it."""
    inset = axes.inset_axes((1.02, 0, 0.018, 1))
    bar = axes.figure.colorbar(axes.images[0], cax=inset, ticks=ticks)
    inset.set_yticks(ticks, [f'{tick:g}' for tick in ticks])
    inset.tick_params(labelsize=style.TICK, labelcolor=style.INK)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _range(values: np.ndarray) -> tuple[Colormap, Normalize, str]:
    """Colours, their limits, and these in words."""
    most = float(np.abs(values).max()) or 1.0
    if values.min() < 0:
        return SIGNED, Normalize(-most, most), f'±{most:.2g}'
    return INK, Normalize(0, most), f'0 to {most:.2g}'


def _image(axes: Axes, values: np.ndarray, colours: Colormap, norm: Normalize) -> None:
    """(columns, lines): the first to the right, the second upwards."""
    shown, (right, top) = _pooled(values)
    axes.imshow(
        shown.T,
        aspect='auto',
        interpolation='nearest',
        cmap=colours,
        norm=norm,
        origin='lower',
        extent=(-0.5, right - 0.5, -0.5, top - 0.5),
    )
    # the last block may lack some: it is drawn whole, and cut
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.set_ylim(-0.5, values.shape[1] - 0.5)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))


def _pooled(values: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Blocks of columns and lines as their largest value in magnitude, and where they end."""
    ends = []
    for axis, most in enumerate(MOST):
        size = values.shape[axis]
        block = -(-size // most)
        starts = np.arange(0, size, block)
        high, low = (ufunc.reduceat(values, starts, axis) for ufunc in (np.maximum, np.minimum))
        values = np.where(-low > high, low, high)
        ends.append(len(starts) * block)
    return values, (ends[0], ends[1])


def _gates(arrays: Mapping) -> list[_Row]:
    named = {
        label: arrays[key]
        for key, label in {
            'write_gate': 'write gate',
            'allocation_gate': 'allocation gate',
        }.items()
        if key in arrays
    }
    free = arrays.get('free_gates', np.zeros((0, 0)))
    for head, values in enumerate(free.T):
        which = f', head {head + 1}' if free.shape[1] > 1 else ''
        named[f'free gate{which}'] = values
    if not named:
        return []
    return [_Row(0.2 * len(named) + 0.05, functools.partial(_strip, named=named))]


def _strip(axes: Axes, named: Mapping[str, np.ndarray]) -> None:
    """A line of colour for each, the first at the top."""
    style.dress(axes, grid='')
    _image(axes, np.stack([*named.values()][::-1], axis=1), INK, Normalize(0, 1))
    axes.set_yticks(range(len(named)), [*named][::-1], fontsize=style.TICK)
    _bar(axes, (0, 0.5, 1))


def _modes(arrays: Mapping) -> list[_Row]:
    if 'read_modes' not in arrays:
        return []
    heads = arrays['read_modes'].shape[1]
    return [
        _Row(
            0.45,
            functools.partial(
                _shares,
                label=f'mode, head {head + 1}' if heads > 1 else 'mode',
                values=arrays['read_modes'][:, head],
                named=not head,
            ),
        )
        for head in range(heads)
    ]


def _shares(axes: Axes, label: str, values: np.ndarray, named: bool) -> None:
    """(T, 3) that sum to 1, one above the other."""
    style.dress(axes, grid='')
    _label(axes, label)
    edges = np.repeat(np.arange(len(values) + 1) - 0.5, 2)[1:-1]
    axes.stackplot(
        edges, values.T.repeat(2, axis=1), colors=MODES.values(), labels=MODES, linewidth=0
    )
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    if named:
        style.legend(
            axes,
            loc='upper left',
            bbox_to_anchor=(1.0, 1.15),
            fontsize=style.TICK - 1.5,
            handlelength=1.0,
            labelspacing=0.1,
            reverse=True,
        )


def _label(axes: Axes, words: str) -> None:
    axes.set_ylabel(
        words,
        rotation=0,
        ha='right',
        va='center',
        labelpad=6,
        fontsize=style.TICK,
        color=style.INK,
    )


def _over_time(
    part: Figure | SubFigure,
    rows: Sequence[_Row],
    marks: Mapping[str, int],
    moments: Sequence[int],
    length: int,
) -> None:
    heights = [row.height for row in rows]
    panels = part.subplots(
        len(rows), 1, sharex=True, squeeze=False, gridspec_kw={'height_ratios': heights}
    )[:, 0]
    for axes, row in zip(panels, rows):
        row.draw(axes)
        for moment in moments:
            axes.axvline(moment, color=style.PALE_INK, linewidth=0.8, linestyle=(0, (1, 2)))
        for step in marks.values():
            axes.axvline(step - 0.5, color=style.INK, linewidth=1.0, linestyle=(0, (3, 2)))
    _name_marks(panels[0], marks, length)
    panels[-1].set_xlim(-0.5, length - 0.5)
    panels[-1].set_xlabel('time step', fontsize=style.LABEL, color=style.INK)
    panels[-1].xaxis.set_major_locator(MaxNLocator(8, integer=True))


def _name_marks(axes: Axes, marks: Mapping[str, int], length: int) -> None:
    """Names above the panel, in as many lines as they need to stand apart."""
    ends: list[float] = []  # of the last name in each line, in steps
    for name, step in sorted(marks.items(), key=lambda mark: mark[1]):
        line = next((n for n, end in enumerate(ends) if end <= step), len(ends))
        ends[line : line + 1] = [step + LETTER * length * (len(name) + 1)]
        axes.annotate(
            name,
            (step - 0.5, 1.0),
            (0, 1 + 1.2 * style.TICK * line),
            fontsize=style.TICK,
            xycoords=('data', 'axes fraction'),
            textcoords='offset points',
            ha='left',
            va='bottom',
            color=style.INK,
        )


def _snapshots(
    arrays: Mapping, moments: Sequence[int], links: np.ndarray | None
) -> list[_Pictures]:
    """M and the link at the moments, as far as they are given."""
    rows = []
    if 'memory' in arrays and len(moments):
        memory = arrays['memory'][list(moments)].transpose(0, 2, 1)
        colours, norm, said = _range(memory)
        rows.append(_Pictures(f'memory,\nby slot\n({said})', 'column', memory, colours, norm))
    if links is not None and len(moments):
        # L[i, j]: slot i was written next after slot j
        most = float(np.max(links)) or 1.0
        rows.append(
            _Pictures(
                f'link\nto slot\n(0 to {most:.2g})',
                'from slot',
                np.asarray(links).transpose(0, 2, 1),
                INK,
                PowerNorm(0.5, 0, most),
            )
        )
    return rows


def _at_moments(
    part: Figure | SubFigure, rows: Sequence[_Pictures], moments: Sequence[int]
) -> None:
    grid = part.subplots(len(rows), len(moments), squeeze=False)
    for line, row in zip(grid, rows):
        for axes, picture in zip(line, row.pictures):
            style.dress(axes, grid='')
            axes.spines[:].set_visible(True)
            _image(axes, picture, row.colours, row.norm)
            axes.xaxis.set_major_locator(MaxNLocator(2, integer=True))
            axes.set_xlabel(row.below, fontsize=style.TICK, color=style.INK)
            if axes is not line[0]:
                axes.set_yticklabels([])
        _label(line[0], row.label)
    for axes, moment in zip(grid[0], moments):
        axes.set_title(f'after step {moment}', fontsize=style.TICK, color=style.INK)
