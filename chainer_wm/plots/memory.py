"""A DNC's memory at work, step by step."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from chainer_wm.plots import style

MODES = {'backward': style.BLUE, 'content': style.GREY, 'forward': style.VERMILLION}
INKS = ('#ffffff', '#a9d8f2', style.BLUE, '#0b1f33')  # of 0 to 1
_SHAPES = {
    'usage': 'TN',
    'write_weights': 'TN',
    'read_weights': 'TRN',
    'allocation_gate': 'T',
    'write_gate': 'T',
    'free_gates': 'TR',
    'read_modes': 'TR3',
}


def memory_trace(
    path: str | os.PathLike,
    trace: Mapping[str, np.ndarray],
    marks: Mapping[str, int] | None = None,
    title: str = '',
) -> None:
    """Where one sequence is written to and read from, and by which gates.

    Args:
        trace: any of usage (T, N), write_weights (T, N), read_weights
            (T, R, N), allocation_gate and write_gate (T,) or (T, 1), free_gates (T, R), read_modes
            (T, R, 3) in the order backward,
            content, forward: what ``DNC.trace`` gives for one lane. Other
            keys are ignored; what is missing is not drawn.
        marks: names of time steps to draw a line at, e.g. {'recall': 12}.

    Raises:
        ValueError: an array of another shape, or nothing to draw.
    """
    arrays, heads = _checked(trace)
    maps = _maps(arrays, heads)
    lines = _gate_lines(arrays)
    modes = heads if 'read_modes' in arrays else 0
    ratios = [1.35] * len(maps) + [1.0] * bool(lines) + [0.55] * modes
    chart = style.figure(8.0, 0.9 + 0.95 * sum(ratios))
    panels = chart.subplots(
        len(ratios), 1, sharex=True, squeeze=False, gridspec_kw={'height_ratios': ratios}
    )[:, 0]
    length = len(next(iter(arrays.values())))
    for axes, (label, values) in zip(panels, maps):
        image = _heat(axes, label, values)
        if axes is panels[0]:
            _scale(chart, axes, image)
    if lines:
        _gates(panels[len(maps)], lines)
    for head, axes in enumerate(panels[len(ratios) - modes :]):
        _modes(axes, arrays['read_modes'][:, head], head, heads)
    _finish(chart, panels, marks or {}, length, title)
    style.save(path, chart)


def _checked(trace: Mapping) -> tuple[dict[str, np.ndarray], int]:
    """Arrays of the known keys with one T, N and R; R is returned too."""
    arrays = {key: _squeezed(trace[key], axes) for key, axes in _SHAPES.items() if key in trace}
    if not arrays:
        raise ValueError(f'the trace has {sorted(trace)}, but none of {sorted(_SHAPES)}')
    sizes = {'3': 3}
    for key, array in arrays.items():
        axes = _SHAPES[key]
        wrong = array.ndim != len(axes) or any(
            sizes.setdefault(axis, size) != size for axis, size in zip(axes, array.shape)
        )
        if wrong:
            raise ValueError(
                f'{key} has shape {array.shape}, but ({", ".join(axes)}) '
                f'with {sizes} is needed: is the batch axis still there?'
            )
    return arrays, sizes.get('R', 0)


def _squeezed(values: np.ndarray, axes: str) -> np.ndarray:
    """A gate of one value per step may come as (T, 1)."""
    values = np.asarray(values, float)
    one = axes == 'T' and values.ndim == 2 and values.shape[1] == 1
    return values[:, 0] if one else values


def _maps(arrays: Mapping, heads: int) -> list[tuple[str, np.ndarray]]:
    """Label and (T, N) of each heat map."""
    named = {'usage': 'slot usage', 'write_weights': 'slot written'}
    maps = [(label, arrays[key]) for key, label in named.items() if key in arrays]
    if 'read_weights' in arrays:
        for head in range(heads):
            which = f',\nhead {head + 1}' if heads > 1 else ''
            weights = arrays['read_weights'][:, head]
            maps.append((f'slot read{which}', weights))
    return maps


def _gate_lines(arrays: Mapping) -> list[tuple[str, str, np.ndarray]]:
    lines = [
        (label, colour, arrays[key])
        for key, label, colour in (
            ('write_gate', 'write', style.VERMILLION),
            ('allocation_gate', 'allocation', style.BLUE),
        )
        if key in arrays
    ]
    if 'free_gates' in arrays:
        lines.append(('free, mean\nof the heads', style.GREEN, arrays['free_gates'].mean(axis=1)))
    return lines


def _heat(axes: Axes, label: str, values: np.ndarray) -> AxesImage:
    style.dress(axes, grid='')
    _label(axes, label)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    return axes.imshow(
        values.T,
        aspect='auto',
        interpolation='nearest',
        cmap=LinearSegmentedColormap.from_list('ink', INKS),
        vmin=0,
        vmax=1,
        origin='lower',
    )


def _scale(chart: Figure, axes: Axes, image: AxesImage) -> None:
    bar = chart.colorbar(image, cax=axes.inset_axes((1.02, 0, 0.018, 1)), ticks=[0, 0.5, 1])
    bar.ax.tick_params(labelsize=style.TICK, labelcolor=style.INK)
    bar.outline.set_visible(False)


def _gates(axes: Axes, lines: list) -> None:
    style.dress(axes)
    _label(axes, 'gates')
    for name, colour, values in lines:
        axes.plot(values, color=colour, linewidth=1.6, label=name, drawstyle='steps-mid')
    axes.set_ylim(-0.05, 1.05)
    style.legend(axes, loc='center left', bbox_to_anchor=(1.0, 0.5))


def _modes(axes: Axes, values: np.ndarray, head: int, heads: int) -> None:
    style.dress(axes, grid='')
    _label(axes, f'mode, head {head + 1}' if heads > 1 else 'mode')
    base = np.zeros(len(values))
    for (name, colour), share in zip(MODES.items(), values.T):
        axes.bar(np.arange(len(values)), share, 1.0, base, color=colour, label=name, linewidth=0)
        base = base + share
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    if not head:
        style.legend(axes, loc='upper left', bbox_to_anchor=(1.0, 1.1))


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


def _finish(
    chart: Figure, panels: np.ndarray, marks: Mapping[str, int], length: int, title: str
) -> None:
    for name, step in marks.items():
        for axes in panels:
            axes.axvline(step - 0.5, color=style.INK, linewidth=1.0, linestyle=(0, (3, 2)))
        panels[0].annotate(
            name,
            (step - 0.5, 1.0),
            fontsize=style.TICK,
            xycoords=('data', 'axes fraction'),
            ha='left',
            va='bottom',
            color=style.INK,
        )
    panels[-1].set_xlim(-0.5, length - 0.5)
    panels[-1].set_xlabel('time step', fontsize=style.LABEL, color=style.INK)
    panels[-1].xaxis.set_major_locator(MaxNLocator(8, integer=True))
    style.heading(chart, title)
