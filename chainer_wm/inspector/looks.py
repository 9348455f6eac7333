"""What is to be seen of one episode, with V and M beside it, as a table, a film or a picture."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from chainer_wm import plots
from chainer_wm.inspector import tables
from chainer_wm.inspector.episode_trace import PIECE, Dreamt, Trace, frames_of
from chainer_wm.inspector.trained import Models, Trained
from chainer_wm.rollouts import Rollout


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

    def since(self, t: int) -> str:
        """Whose the dream's picture at t is."""
        return f'since t {self.context}' if t >= self.context else 'as recorded'

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
    return tables.steps_table(look.series())


def write_film(path: str | os.PathLike, look: Look, models: Models, fps: float) -> plots.Animation:
    """The game with V and M beside it as a GIF, each with its name."""
    films = look.films(models)
    steps = range(len(look.rollout))
    captions = {name: [name] * len(steps) for name in films}
    captions['game'] = [f'game\tt {t}' for t in steps]
    if look.dreamt is not None:
        captions['dream'] = [f'dream\t{look.since(t)}' for t in steps]
    return plots.gif_row(path, list(films.values()), list(captions.values()), fps, 2)


def write_picture(path: str | os.PathLike, look: Look, models: Models, t: int) -> None:
    """One step of it as a PNG."""
    films = look.films(models)
    columns = look.series()
    words = [
        f'{name} {columns[name][t]:.3g}'
        for name in ('reward', 'return', 'nats')
        if name in columns and np.isfinite(columns[name][t])
    ]
    title = f'episode {look.episode}, t {t} of {len(look.rollout)}: {", ".join(words)}'
    notes = {name: '' for name in films}
    if look.trace is not None:
        notes['one step'] = f'error {columns["one step error"][t]:.2g}'
    if look.dreamt is not None:
        notes['dream'] = look.since(t)
    frames = np.stack([film[t] for film in films.values()])
    plots.contact_sheet(
        path, frames, list(films), list(notes.values()), scale=4, title=title, columns=len(films)
    )
