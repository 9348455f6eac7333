"""What is to be seen of one episode, with V and M beside it, as a table, a film or a picture."""

from __future__ import annotations

import csv
import io
import os
from typing import NamedTuple

import numpy as np

from chainer_wm import plots
from chainer_wm.inspector import pictures
from chainer_wm.inspector.episode_trace import PIECE, Dreamt, Trace, frames_of
from chainer_wm.inspector.trained import Models, Trained
from chainer_wm.rollouts import Rollout

GAP = 2  # pixels between two films
GREY = 128


class Look(NamedTuple):
    """An episode, and what V and M make of it where there are any.

    Fields:
        context: from where on the dream is M's own.
    """

    rollout: Rollout
    episode: int
    trained: Trained | None = None
    trace: Trace | None = None
    dreamt: Dreamt | None = None
    context: int = 0

    def series(self) -> dict[str, np.ndarray]:
        """All that is a number a step, (T,) each, by name."""
        rollout, found, dreamt = self.rollout, self.trace, self.dreamt
        columns = {'t': np.arange(len(rollout))}
        columns |= {f'action {n}': each for n, each in enumerate(rollout.actions.T)}
        columns['reward'] = rollout.rewards
        columns['return'] = rollout.rewards.cumsum(dtype=np.float64)
        if found is None:
            return columns
        columns['nats'] = found.nats
        columns['one step error'] = _rms(found.z - found.one_step)
        for name, values in (('P(done)', found.p_done), ('predicted reward', found.reward)):
            if values is not None:
                columns[name] = values
        if dreamt is not None:
            columns['dream error'] = _rms(found.z - dreamt.z)
            if dreamt.p_done is not None:
                columns['dream P(done)'] = dreamt.p_done
        columns |= {f'z {n}': each for n, each in enumerate(found.z.T)}
        for name in ('usage', 'write_weights'):
            if name in found.memory:
                columns |= {f'{name} {n}': each for n, each in enumerate(found.memory[name].T)}
        return columns

    def films(self, models: Models) -> dict[str, np.ndarray]:
        """The game, and V's pictures of what V and M say: (T, H, W, 3) uint8 each, by name."""
        found = {'game': self.rollout.observations}
        latents: dict[str, np.ndarray] = {}
        if self.trace is not None:
            latents |= {'reconstruction': self.trace.z, 'one step': self.trace.one_step}
        if self.dreamt is not None:
            latents['dream'] = self.dreamt.z
        stops = models.stops
        for name, z in latents.items():
            parts = []
            for at in range(0, len(z), PIECE):  # others may have the models in between
                models.check(stops)
                parts.append(models.run(frames_of, self.trained, z[at : at + PIECE]))
            found[name] = np.concatenate(parts)
        return found


def _rms(difference: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(difference**2, axis=1))


def table(look: Look) -> str:
    """CSV, a line a step; what is not known is empty."""
    columns = look.series()
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(columns)
    for row in zip(*columns.values()):
        writer.writerow([f'{each:.7g}' if np.isfinite(each) else '' for each in row])
    return file.getvalue()


def side_by_side(films: dict[str, np.ndarray]) -> np.ndarray:
    """Films of one size as one, (T, H, W', 3) uint8."""
    parts: list[np.ndarray] = []
    for frames in films.values():
        if parts:
            parts.append(np.full((*frames.shape[:2], GAP, 3), GREY, np.uint8))
        parts.append(frames)
    return np.concatenate(parts, axis=2)


def write_film(path: str | os.PathLike, look: Look, models: Models, fps: float) -> plots.Animation:
    """The game with V and M beside it as a GIF."""
    films = look.films(models)
    captions = [
        f'{" | ".join(films)}\tt {t}{" *" if look.dreamt and t >= look.context else ""}'
        for t in range(len(look.rollout))
    ]
    return plots.gif(path, side_by_side(films), fps, 2, captions)


def write_picture(path: str | os.PathLike, look: Look, models: Models, t: int) -> None:
    """One step of it as a PNG."""
    films = look.films(models)
    columns = look.series()
    shown = [name for name in columns if name not in ('t',) and not name[-1].isdigit()]
    words = ', '.join(f'{name} {columns[name][t]:.3g}' for name in shown)
    title = f'{pictures.title(look.rollout, look.episode)}; t {t}: {words}'
    frames = np.stack([film[t] for film in films.values()])
    plots.contact_sheet(path, frames, list(films), scale=4, title=title, columns=len(films))
