"""Film strips: frames of a game, of V and of M beside and under each other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from chainer_wm.plots import style
from chainer_wm.plots.frames import as_frames, enlarged, grid, picked, same_shape

GAP = 4  # pixels between two frames
MARGIN = 128  # pixels for the words at the left
LINE = 28  # pixels for a line of text
POINT = 72 / style.DPI  # points in a pixel of the page
PANEL = 118  # pixels for one panel of curves
EMPTY = 240  # the grey of a frame that is not there


class Page:
    """A white page of ``width`` x ``height`` pixels; y grows downwards.

    Laid out in pixels, so that frames keep their own.
    """

    def __init__(self, width: float, height: float):
        self.width, self.height = width, height
        self.figure = style.figure(width / style.DPI, height / style.DPI, constrained=False)

    def box(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes that cover this rectangle."""
        return self.figure.add_axes(
            (
                left / self.width,
                1 - (top + height) / self.height,
                width / self.width,
                height / self.height,
            )
        )

    def picture(self, left: float, top: float, pixels: np.ndarray) -> None:
        """An (H, W, 3) uint8 picture, one pixel to a pixel."""
        axes = self.box(left, top, pixels.shape[1], pixels.shape[0])
        axes.imshow(pixels, interpolation='nearest', aspect='auto')
        axes.set_axis_off()

    def words(self, x: float, y: float, words: str, side: str = 'left', **options) -> None:
        """Text with its ``side`` ('left', 'center', 'right') at x."""
        self.figure.text(
            x / self.width,
            1 - y / self.height,
            words,
            ha=side,
            va='center',
            **{'fontsize': style.TICK, 'color': style.INK, **options},
        )

    def stroke(self, x: float, top: float, bottom: float, **options) -> None:
        """A vertical line from top to bottom."""
        axes = self.box(0, 0, self.width, self.height)
        axes.set_axis_off()
        axes.set_xlim(0, self.width)
        axes.set_ylim(self.height, 0)
        axes.plot([x, x], [top, bottom], solid_capstyle='butt', **options)

    def save(self, path: str | os.PathLike) -> None:
        """As PNG at twice the pixels: sharp on fine screens, text too."""
        style.save(path, self.figure, dpi=2 * style.DPI)


def reconstructions(
    path: str | os.PathLike,
    frames: np.ndarray,
    reconstructions: np.ndarray,
    columns: int = 8,
    scale: int = 2,
    title: str = '',
) -> None:
    """Frames in rows, and under each of them what V makes of it.

    Args:
        frames, reconstructions: (N, H, W, 3) uint8 or (N, 3, H, W) float in [0, 1], of equal
            shape. N up to about 32 reads well.
        columns: frames per row.
        scale: whole-number enlargement.
    """
    truth = as_frames(frames, 'frames')
    rebuilt = as_frames(reconstructions, 'reconstructions')
    same_shape(truth, rebuilt, 'frames and reconstructions')
    columns = min(columns, len(truth))
    pairs = [
        _pair(truth[at : at + columns], rebuilt[at : at + columns], scale)
        for at in range(0, len(truth), columns)
    ]
    height, width, _ = pairs[0].shape
    top = LINE + 6 if title else 6
    page = Page(MARGIN + width + 6, top + len(pairs) * (height + 3 * GAP))
    page.words(6, LINE / 2 + 3, title, fontsize=style.TITLE)
    for index, pair in enumerate(pairs):
        y = top + index * (height + 3 * GAP)
        page.picture(MARGIN, y, pair)
        page.words(MARGIN - 10, y + height / 4, 'game', 'right')
        page.words(MARGIN - 10, y + height * 3 / 4, 'rebuilt by V', 'right')
    page.save(path)


def _pair(truth: np.ndarray, rebuilt: np.ndarray, scale: int) -> np.ndarray:
    return grid(np.concatenate([truth, rebuilt]), len(truth), scale, GAP)


def film_rows(
    path: str | os.PathLike,
    rows: Mapping[str, np.ndarray],
    count: int = 12,
    scale: int = 1,
    title: str = '',
    step: float = 1.0,
    unit: str = 'step',
) -> None:
    """Films under each other, each with its name, at the same moments.

    Args:
        rows: name -> (T, H, W, 3) uint8 or (T, 3, H, W) float in [0, 1].
            Where one is shorter than the longest, nothing is shown. The
            names may have several lines.
        count: frames of each.
        step, unit: what one frame is worth on the axis of time.

    Raises:
        ValueError: frames of different shapes, or no film.
    """
    films = {name: as_frames(frames, name) for name, frames in rows.items()}
    shapes = {frames.shape[1:] for frames in films.values()}
    if len(shapes) != 1:
        raise ValueError(f'frames have shapes {sorted(shapes)}, but need to be of one')
    shown = picked(max(map(len, films.values())), count)
    chart = style.figure(10.0, 0.86 * len(films) + 0.75, constrained=True)
    panels = chart.subplots(len(films), 1, squeeze=False)[:, 0]
    for axes, (name, frames) in zip(panels, films.items()):
        there = frames[shown[shown < len(frames)]]
        strip = grid(enlarged(there, scale), len(shown))
        axes.imshow(strip, interpolation='nearest', aspect='equal')
        axes.set_ylabel(
            name, fontsize=style.TICK, color=style.INK, rotation=0, ha='right', va='center'
        )
        axes.set_yticks([])
        axes.set_xticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
    cell = shapes.pop()[1] * scale + 2
    panels[-1].set_xticks(
        [(n + 0.5) * cell for n in range(len(shown))],
        [f'{moment * step:g}' for moment in shown],
        fontsize=style.TICK,
    )
    panels[-1].tick_params(length=0)
    panels[-1].set_xlabel(unit, fontsize=style.LABEL, color=style.INK)
    style.heading(chart, title)
    style.save(path, chart)


class _Row(NamedTuple):
    name: str
    colour: str
    frames: np.ndarray  # (T, H, W, 3) uint8
    start: int  # the first step that this row knows


class _Time(NamedTuple):
    """Where the steps of a strip lie on its page."""

    length: int  # T
    cells: int  # frames shown, evenly spread, both ends among them
    cell: int  # pixels from one shown frame to the next
    first: int  # number of the first frame within its episode

    @property
    def shown(self) -> np.ndarray:
        return picked(self.length, self.cells)

    @property
    def width(self) -> int:
        return self.cells * self.cell - GAP

    def limits(self) -> tuple[float, float]:
        """The strip's left and right edge in time steps of the episode.

        The middles of the outermost frames are the first and last step.
        """
        steps = (self.length - 1) / (self.cells - 1)
        half = steps * (self.cell - GAP) / self.cell / 2
        return self.first - half, self.first + self.length - 1 + half


def open_loop(
    path: str | os.PathLike,
    truth: np.ndarray,
    one_step: np.ndarray,
    dreamed: np.ndarray,
    context: int,
    *,
    reconstruction: np.ndarray | None = None,
    done: Mapping[str, np.ndarray] | None = None,
    died_at: int | None = None,
    first_step: int = 0,
    count: int = 12,
    scale: int = 1,
    title: str = '',
) -> None:
    """A film strip of the game, V and M's predictions, and their errors.

    Rows: the game's frames; V's reconstructions (if given); M's one-step predictions, each made
    from the true past; M's open-loop dream, which saw the game for ``context`` steps and runs
    alone from there. Below, on the
    same axis of time: each row's root mean square pixel error against the game, and P(done).

    Args:
        truth, one_step, reconstruction: (T, H, W, 3) uint8 or (T, 3, H, W) float in [0, 1]. Frame
            t of ``one_step`` is M's idea of frame t,
            so its first frame cannot be known and is not shown.
        dreamed: the same, T frames (the first ``context`` are not shown) or
            T - context.
        context: how many true frames M saw before it dreamt, 1..T-1.
        done: P(done) in [0, 1] by the name of its curve ('one-step', 'open-loop'), each (T,); a
            shorter one belongs to the last steps.
        died_at: index into ``truth`` of the step at which the game ended.
        first_step: number of the first frame within its episode.
        count: about how many frames in a row.
        scale: whole-number enlargement of the frames.
    """
    rows = _rows(truth, one_step, dreamed, context, reconstruction)
    height, width = (n * scale for n in rows[0].frames.shape[1:3])
    length = len(rows[0].frames)
    cells = max(2, min(count, length))
    time = _Time(length, cells, width + GAP, first_step)
    page = Page(
        MARGIN + time.width + 14,
        _top(title)
        + 2 * LINE
        + len(rows) * (height + GAP)
        + (1 + bool(done)) * (PANEL + 14)
        + 3 * LINE,
    )
    top = _film(page, rows, time, context, scale, title)
    panels = _panels(rows, done or {})
    for index, (label, curves) in enumerate(panels.items()):
        axes = page.box(MARGIN, top + index * (PANEL + 14), time.width, PANEL)
        _curves(axes, label, curves, time, context, died_at)
        if index < len(panels) - 1:
            axes.tick_params(labelbottom=False)
    axes.set_xlabel('time step', fontsize=style.LABEL, color=style.INK)
    if done:
        axes.set_ylim(-0.05, 1.05)
    below = {'loc': 'upper left', 'bbox_to_anchor': (0, -2 * LINE / PANEL), 'borderaxespad': 0}
    style.legend(axes, **below, ncol=4, handlelength=1.4)
    page.save(path)


def _rows(truth, one_step, dreamed, context, reconstruction) -> list[_Row]:
    truth = as_frames(truth, 'truth')
    length = len(truth)
    if not 1 <= context < length:
        raise ValueError(
            f'context is {context} of {length} frames: at least one must be seen and one dreamt'
        )
    rows = [_Row('game', style.COLOURS['game'], truth, 0)]
    if reconstruction is not None:
        rows.append(
            _Row(
                'V rebuilt',
                style.COLOURS['reconstruction'],
                as_frames(reconstruction, 'reconstruction'),
                0,
            )
        )
    rows.append(_Row('M one step', style.COLOURS['one-step'], as_frames(one_step, 'one_step'), 1))
    dreamed = as_frames(dreamed, 'dreamed')
    if len(dreamed) == length - context:
        unseen = np.full_like(truth[:context], EMPTY)
        dreamed = np.concatenate([unseen, dreamed])
    rows.append(_Row('M dreaming', style.COLOURS['dream'], dreamed, context))
    for row in rows[1:]:
        same_shape(truth, row.frames, f'truth and the row "{row.name}"')
    return rows


def _top(title: str) -> int:
    return LINE + 4 if title else 4


def _film(
    page: Page, rows: list[_Row], time: _Time, context: int, scale: int, title: str
) -> float:
    """Draw title, rows, their times and the mark; return where they end."""
    page.words(6, LINE / 2 + 2, title, fontsize=style.TITLE)
    top = _top(title)
    height = rows[0].frames.shape[1] * scale + GAP
    before = int(np.searchsorted(time.shown, context))
    split = MARGIN + before * time.cell - GAP / 2
    page.words(
        split + 6,
        top + LINE / 2,
        f'M dreams alone from step {time.first + context}',
        color=style.COLOURS['dream'],
        weight='bold',
    )
    for index, row in enumerate(rows):
        y = top + LINE + index * height
        shown = enlarged(row.frames[time.shown], scale)
        shown[time.shown < row.start] = EMPTY
        page.picture(MARGIN, y, grid(shown, len(shown), 1, GAP))
        look = {'color': row.colour, 'weight': 'bold'}
        middle = y + (height - GAP) / 2
        page.words(MARGIN - 10, middle, row.name, 'right', **look)
    bottom = top + LINE + len(rows) * height
    for column, step in enumerate(time.shown):
        x = MARGIN + (column + 0.5) * time.cell - GAP / 2
        page.words(x, bottom + LINE / 3, f'{time.first + step}', 'center')
    page.stroke(
        split,
        top + 4,
        bottom + 2 * LINE / 3,
        color=style.COLOURS['dream'],
        linewidth=GAP * POINT * 0.75,
    )
    return bottom + LINE + 4


def _error(row: _Row, truth: _Row) -> np.ndarray:
    """Root mean square pixel error of each frame, (T,); NaN if unknown."""
    error = np.full(len(row.frames), np.nan)
    for step in range(row.start, len(row.frames)):
        gap = row.frames[step].astype(float) - truth.frames[step]
        error[step] = np.sqrt((gap * gap).mean())
    return error


def _panels(rows: list[_Row], done: Mapping[str, np.ndarray]) -> dict:
    """Label of each panel -> {curve: (colour, (T,))}."""
    panels = {
        'pixel error\n(RMS, 0..255)': {
            row.name: (row.colour, _error(row, rows[0])) for row in rows[1:]
        }
    }
    if done:
        length = len(rows[0].frames)
        panels['P(done)'] = {
            name: (colour, _late(name, values, length))
            for (name, values), colour in zip(done.items(), style.colours(done))
        }
    return panels


def _late(name: str, values: np.ndarray, length: int) -> np.ndarray:
    """A curve of the last steps as one of all ``length`` steps."""
    values = np.asarray(values, float).reshape(-1)
    if len(values) > length:
        raise ValueError(f'P(done) of {name!r} has {len(values)} steps, but the game has {length}')
    return np.concatenate([np.full(length - len(values), np.nan), values])


def _curves(
    axes: Axes, label: str, curves: dict, time: _Time, context: int, died_at: int | None
) -> None:
    style.dress(axes, ylabel=label)
    steps = time.first + np.arange(time.length)
    for name, (colour, values) in curves.items():
        axes.plot(steps, values, color=colour, linewidth=1.6, label=name)
    axes.axvline(time.first + context - 0.5, color=style.COLOURS['dream'], linewidth=1.2)
    if died_at is not None:
        axes.axvline(
            time.first + died_at,
            color=style.INK,
            linewidth=1.2,
            linestyle=(0, (3, 2)),
            label='death in the game',
        )
    axes.set_xlim(*time.limits())
    axes.set_ylim(bottom=0)
    axes.locator_params(axis='y', nbins=4)
