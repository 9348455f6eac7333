"""What the page asks of a run's models: traces of episodes, pictures of latents."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from starlette.responses import Response

from chainer_wm.inspector import episode_trace, folders, looks
from chainer_wm.inspector.catalog import Catalog
from chainer_wm.inspector.episode_trace import MODES, Dreamt, Trace
from chainer_wm.inspector.episodes import BLOCK, Episodes, Recent
from chainer_wm.inspector.replies import CSV, Query, real, to_bytes, to_json, whole
from chainer_wm.inspector.trained import Models, Trained, parts_of
from chainer_wm.rollouts import Rollout

TEMPERATURES = 0.1, 2.0  # that a dream may have
SPEEDS = 1.0, 140.0  # frames a second of a film
TRACES, DREAMS = 2, 4  # held in memory
PICTURED = ('reconstruction', 'one-step', 'dream')


class ModelAnswers:
    """Traces of recorded episodes; the last few are held.

    Args:
        known: the runs. recorded: reads their episodes. models: loads and runs V and M.
    """

    def __init__(self, known: Catalog, recorded: Episodes, models: Models):
        self.known, self.episodes, self.models = known, recorded, models
        self._traces, self._dreams = Recent(TRACES), Recent(DREAMS)

    def all(self) -> dict[str, Callable[[Query], Response]]:
        """By the last word of the address."""
        return {
            'trace': self.trace,
            'map': self.map,
            'moment': self.moment,
            'dream': self.dream,
            'pictures': self.pictures,
            'table': self.table,
            'film': self.film,
            'models': self.held,
        }

    def held(self, query: Query) -> Response:
        """Runs whose models are in memory."""
        names = {path: name for name, path in self.known.folders().items()}
        return to_json({'models': [names.get(path, path.name) for path in self.models.held]})

    def trace(self, query: Query) -> Response:
        """What M says along an episode, one number a step."""
        trained, found = self._trace(query)
        error = np.sqrt(np.mean((found.z - found.one_step) ** 2, axis=1))
        core = None
        if found.memory:
            slots, heads = found.memory['usage'].shape[1], found.memory['read_weights'].shape[1]
            core = {'slots': slots, 'heads': heads}
        return to_json(
            {
                'latents': found.z.shape[1],
                'hidden': found.h.shape[1],
                'nats': found.nats,
                'p_done': found.p_done,
                'reward': found.reward,
                'error': error,
                'temperature': trained.temperature,
                'dnc': core,
            }
        )

    def map(self, query: Query) -> Response:
        """``what`` over time as bytes (N, T): z, h, usage, write, read-N."""
        _, found = self._trace(query)
        maps = {'z': found.z, 'h': found.h}
        if found.memory:
            maps |= {'usage': found.memory['usage'], 'write': found.memory['write_weights']}
            reads = found.memory['read_weights']
            maps |= {f'read-{head}': reads[:, head] for head in range(reads.shape[1])}
        what = query.get('what', '')
        if what not in maps:
            raise folders.InspectorError(f'there is no map of {what!r}, but of {", ".join(maps)}')
        values, low, high = episode_trace.quantised(maps[what], what not in ('z', 'h'))
        return to_bytes(values, low=low, high=high)

    def moment(self, query: Query) -> Response:
        """A DNC's memory, link, weightings and gates after step ``t``."""
        trained, found = self._trace(query)
        t = self._step(query, found)
        if not found.memory:
            raise folders.InspectorError('this run has an LSTM: it has no memory to look at')
        here = self.models.run(episode_trace.moment, trained.model, found, t)
        return to_json({**here, 'modes': MODES})

    def dream(self, query: Query) -> Response:
        """The dream from ``context`` on, one number a step."""
        _, found = self._trace(query)
        dreamt = self._dream(query)
        error = np.sqrt(np.mean((found.z - dreamt.z) ** 2, axis=1))
        return to_json({'error': error, 'p_done': dreamt.p_done})

    def pictures(self, query: Query) -> Response:
        """``count`` frames from ``start`` on as V draws them, of ``kind``."""
        kind, start, count = query.get('kind'), whole(query, 'start', 0), whole(query, 'count', 64)
        if kind not in PICTURED or not 0 < count <= BLOCK:
            raise folders.InspectorError(
                f'kind is {kind!r} and count {count}: expected one of {", ".join(PICTURED)}, '
                f'and 1 to {BLOCK}'
            )
        trained, z = self._latents(query, kind)
        self._within(start, len(z))
        z = z[start : start + count]
        return to_bytes(self.models.run(episode_trace.frames_of, trained, z))

    def table(self, query: Query) -> Response:
        """The episode as CSV, and the dream of ``context``, ``temperature`` and ``seed``."""
        text = looks.table(self._look(query))
        return Response(text, media_type=CSV)

    def film(self, query: Query) -> Response:
        """The same as a GIF, at ``fps``."""
        fps = real(query, 'fps', 35.0, *SPEEDS)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, 'film.gif')
            looks.write_film(path, self._look(query), self.models, min(fps, 50.0))
            return Response(path.read_bytes(), media_type='image/gif')

    def _look(self, query: Query) -> looks.Look:
        folder, rollout, (_, _, number) = self._episode(query)
        if not parts_of(folder)['model']:
            return looks.Look(rollout, number)
        trained, found = self._trace(query)
        if 'context' not in query:
            return looks.Look(rollout, number, trained, found)
        context = whole(query, 'context')
        return looks.Look(rollout, number, trained, found, self._dream(query), context)

    def branch(self, query: Query) -> dict[str, Any]:
        """Where a dream goes on from step ``t`` of an episode: 'z', and M's 'state' before it.

        Of a run without V: 'rollout' and 't'.
        """
        folder, rollout, _ = self._episode(query)
        if not parts_of(folder)['vision']:
            t = whole(query, 't', 0)
            self._within(t, len(rollout))
            return {'rollout': rollout, 't': t}
        trained, found = self._trace(query)
        t = self._step(query, found)
        if not t:
            return {'z': found.z[:1], 'state': None}
        state = self.models.run(episode_trace.state_before, trained.model, found, t)
        return {'z': found.z[t : t + 1], 'state': state}

    def _latents(self, query: Query, kind: str) -> tuple[Trained, np.ndarray]:
        trained, found = self._trace(query)
        if kind == 'dream':
            return trained, self._dream(query).z
        return trained, found.z if kind == 'reconstruction' else found.one_step

    def _step(self, query: Query, found: Trace) -> int:
        t = whole(query, 't', 0)
        self._within(t, len(found.z))
        return t

    def _within(self, t: int, length: int) -> None:
        if t >= length:
            raise folders.InspectorError(f'step {t} was asked for: the episode has {length}')

    def _episode(self, query: Query) -> tuple[pathlib.Path, Rollout, tuple]:
        run = query.get('run', '')
        store = self.known.store(run, query.get('store', ''))
        number = whole(query, 'episode')
        folder = self.known.folder(run)
        return folder, self.episodes.read(store, number), (folder, store, number)

    def _trace(self, query: Query) -> tuple[Trained, Trace]:
        folder, rollout, key = self._episode(query)
        trained = self.models.of(folder)
        # not the episode alone: loaded anew, the models may be others
        key = (*key, id(trained.vision))
        make = lambda: episode_trace.trace(self.models, trained, rollout)  # noqa: E731
        return trained, self._traces.get(key, make)

    def _dream(self, query: Query) -> Dreamt:
        trained, found = self._trace(query)
        _, rollout, key = self._episode(query)
        model = trained.model
        assert model is not None  # or there were no trace
        context, seed = whole(query, 'context', 1), whole(query, 'seed', 0)
        temperature = real(query, 'temperature', 1.0, *TEMPERATURES)

        def make() -> Dreamt:
            return episode_trace.dream_on(
                self.models, model, found, context, temperature, seed, rollout.actions
            )

        return self._dreams.get((*key, id(found), context, temperature, seed), make)
