"""A film strip: what the game shows, V rebuilds and M dreams."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from chainer_wm.plots import style
from chainer_wm.plots.frames import as_frames, enlarged, grid, picked, same_shape
from chainer_wm.plots.page import GAP, LINE, MARGIN, POINT, Page

PANEL = 118  # pixels for one panel of curves
EMPTY = 240  # the grey of a frame that is not there


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

    Rows: the game's frames; V's reconstructions (if given); M's one-step
    predictions, each made from the true past; M's open-loop dream, which saw
    the game for ``context`` steps and runs alone from there. Below, on the
    same axis of time: each row's root mean square pixel error against the
    game, and P(done).

    Args:
        truth, one_step, reconstruction: (T, H, W, 3) uint8 or (T, 3, H, W)
            float in [0, 1]. Frame t of ``one_step`` is M's idea of frame t,
            so its first frame cannot be known and is not shown.
        dreamed: the same, T frames (the first ``context`` are not shown) or
            T - context.
        context: how many true frames M saw before it dreamt, 1..T-1.
        done: P(done) in [0, 1] by the name of its curve ('one-step',
            'open-loop'), each (T,); a shorter one belongs to the last steps.
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
        + 2 * LINE,
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
    style.legend(axes, loc='upper left', ncol=3, handlelength=1.4)
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
