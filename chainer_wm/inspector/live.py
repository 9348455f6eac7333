"""Dreams and games over a WebSocket: a few words in, frames out, the newest one first.

The page sends JSON: ``keys`` (an action, or null where none is pressed), ``take`` (who plays),
``temperature``, ``fps``, ``paused``, ``restart`` (a seed), ``place`` ('dream' or 'game'),
``record`` (whether a film is made), ``seen`` (the number of a frame). It is told the place, how
many numbers an action has and the like, at first and whenever the place changes; then frames come
as bytes: `HEAD`, then RGB. Number 0 is a film that has been recorded, a GIF. No more than `AHEAD`
frames are on their way at once: a browser that is slow misses frames, and neither slows the dream
nor fills memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import math
import pathlib
import struct
from typing import Any

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from chainer_wm.inspector import folders
from chainer_wm.inspector.dreamer import Dreamer, Shown
from chainer_wm.inspector.model_answers import TEMPERATURES, ModelAnswers
from chainer_wm.inspector.pixel_dreamer import PixelDreamer, has_pixel_model
from chainer_wm.inspector.real_game import RealGame, script_of
from chainer_wm.inspector.recorder import Recorder
from chainer_wm.inspector.replies import whole
from chainer_wm.inspector.trained import Trained, parts_of

#: Number, steps, first action, P(done), return, flags (1 over, 2 taken, 4 filmed), height, width.
HEAD = struct.Struct('<IIfffIII')
AHEAD = 3
FPS = 1.0, 60.0
LONGEST = 1 << 10  # characters of a message
Player = Dreamer | PixelDreamer | RealGame


class Live:
    """The dreams and games of all tabs; each has its own, on the models that all share.

    Args:
        answers: knows the runs, their models and traces.
    """

    def __init__(self, answers: ModelAnswers):
        self.answers = answers

    async def __call__(self, socket: WebSocket) -> None:
        """One tab's play, until it leaves."""
        await socket.accept()
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(contextlib.suppress(WebSocketDisconnect, RuntimeError))  # it left
            try:
                session = await asyncio.to_thread(self._session, socket)
                stack.callback(session.close)
                playing = asyncio.ensure_future(session.play())
                stack.push_async_callback(_ended, playing)
                await session.listen(playing)
            except folders.InspectorError as error:
                await _refuse(socket, str(error))

    def _session(self, socket: WebSocket) -> _Session:
        query = socket.query_params
        models = self.answers.models
        folder = self.answers.known.folder(query.get('run', ''))
        parts = parts_of(folder)
        trained = models.of(folder) if parts['vision'] else None
        places = ['dream'] if parts['model'] or has_pixel_model(folder) else []
        places += ['game'] if script_of(folder) else []
        place = query.get('place', places[0] if places else 'dream')
        if place not in places:
            raise folders.InspectorError(
                f'there is no {place} of this run: '
                + (f'there is its {" and ".join(places)}' if places else 'M is not trained yet')
            )
        branch = self.answers.branch(query) if 'episode' in query else {}
        stage = _Stage(folder, trained, places, branch)
        return _Session(socket, models, stage, place, whole(query, 'seed', 0))


async def _ended(task: asyncio.Future) -> None:
    """Cancel a task and wait for it."""
    task.cancel()
    await asyncio.wait([task])


async def _refuse(socket: WebSocket, reason: str) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await socket.send_json({'error': reason})
        await socket.close(4404)


class _Stage:
    """Where one may play: the dream and the game of a run, made when they are first wanted.

    Args:
        trained: V, M and C, or None.
        places: of 'dream' and 'game', those that there are.
        branch: where the dream begins, see `ModelAnswers.branch`.
    """

    def __init__(
        self, folder: pathlib.Path, trained: Trained | None, places: list[str], branch: dict
    ):
        self.folder, self.trained, self.places, self.branch = folder, trained, places, branch
        self.made: dict[str, Player] = {}

    def at(self, place: str) -> Player:
        """Who makes the steps there.

        Raises:
            InspectorError: it cannot be made.
        """
        if place not in self.made:
            if place == 'game':
                self.made[place] = RealGame(self.folder, self.trained)
            elif self.trained is not None:
                self.made[place] = Dreamer(self.trained)
            else:
                self.made[place] = PixelDreamer(self.folder)
        return self.made[place]


class _Session:
    """What one tab wishes, and what it plays."""

    def __init__(self, socket: WebSocket, models, stage: _Stage, place: str, seed: int):
        self.socket, self.models, self.stage = socket, models, stage
        self.stops = models.stops
        self.wanted: str | None = place  # to go to
        self.place, self.seed = '', seed
        self.restart = True
        self.fps, self.paused, self.taken = FPS[1], False, False
        self.temperature: float | None = None
        self.number = self.seen = 0
        self.action = np.zeros(0)  # of the keys that are down
        self.tap: np.ndarray | None = None  # of a key that went down since the last step
        self.recorder = Recorder()

    def close(self) -> None:
        """End the games."""
        for each in self.stage.made.values():
            self.models.submit(each.close)

    async def listen(self, playing: asyncio.Future) -> None:
        """Take the page's words while it plays; what is no such word is passed over."""
        while True:
            hearing = asyncio.ensure_future(self.socket.receive())
            try:
                await asyncio.wait([hearing, playing], return_when=asyncio.FIRST_COMPLETED)
                if playing.done():
                    playing.result()  # raises what ended it
                message = await hearing
            finally:
                hearing.cancel()
            if message['type'] == 'websocket.disconnect':
                return
            text = message.get('text') or ''
            with contextlib.suppress(ValueError, TypeError, OverflowError, RecursionError):
                said = json.loads(text) if len(text) <= LONGEST else None
                if isinstance(said, dict):
                    self._heed(said)

    def _heed(self, said: dict[str, Any]) -> None:
        if 'seen' in said:
            self.seen = max(self.seen, min(int(said['seen']), self.number))
        if 'paused' in said:
            self.paused = bool(said['paused'])
        if 'take' in said:
            self.taken = bool(said['take'])
        if 'fps' in said:
            self.fps = _between(said['fps'], *FPS)
        if 'temperature' in said:
            self.temperature = _between(said['temperature'], *TEMPERATURES)
        if 'record' in said:
            self.recorder.ask(bool(said['record']))
        if said.get('place') in self.stage.places:
            self.wanted = said['place']
        if 'restart' in said:
            self.seed, self.restart = int(_between(said['restart'], 0, 2**31)), True
        if 'keys' in said:
            keys = np.zeros(self.action.shape) if said['keys'] is None else said['keys']
            action = np.asarray(keys, np.float64)
            if action.shape == self.action.shape and np.isfinite(action).all():
                self.action = action.clip(-1, 1)
                self.tap = self.action if action.any() else self.tap

    async def play(self) -> None:
        """Step at the rate that is asked for."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            self.models.check(self.stops)
            if self.wanted is not None:
                await self._go()
            shown = await self._next()
            if shown is not None:
                await self._show(shown)
            film = self.recorder.film()
            if film is not None:
                await self.socket.send_bytes(HEAD.pack(*[0] * 8) + film)
            due = max(due + 1 / self.fps, clock() - 0.2)  # after a stall no rush to catch up
            await asyncio.sleep(max(0.0, due - clock()))

    async def _go(self) -> None:
        """Go to the place that is wanted, and tell the page what there is."""
        place, self.wanted = self.wanted, None
        assert place is not None
        try:
            there = await asyncio.to_thread(self.stage.at, place)
        except folders.InspectorError as error:
            if not self.place:
                raise
            await self.socket.send_json({'problem': str(error)})
            return
        self.place, self.there, self.restart = place, there, True
        self.fps, self.taken = there.fps, not there.player
        self.action, self.tap = np.zeros(there.actions), None
        await self.socket.send_json(
            {
                'place': place,
                'places': self.stage.places,
                'actions': there.actions,
                'fps': there.fps,
                'player': there.player,
                'temperature': there.temperature,
                'counted': there.counted,
            }
        )

    async def _next(self) -> Shown | None:
        """Begin an episode or take a step, where that is due."""
        there = self.there
        if there.temperature is not None and self.temperature is not None:
            there.temperature = self.temperature
        if self.restart:
            self.restart = False
            return await self._work(functools.partial(there.begin, self.seed, **self.stage.branch))
        if self.paused or there.over:
            return None
        keys, self.tap = self.action if self.tap is None else self.tap, None
        return await self._work(there.step, keys if self.taken or not there.player else None)

    async def _work(self, work: Any, *given: Any) -> Shown | None:
        return await asyncio.wrap_future(self.models.submit(work, *given))

    async def _show(self, shown: Shown) -> None:
        self.recorder.add(shown.frame, self.fps)
        if self.number - self.seen >= AHEAD and not (shown.over or shown.steps == 0):
            return
        self.number += 1
        flags = shown.over + 2 * (self.taken or not self.there.player) + 4 * self.recorder.on
        numbers = float(shown.action[0]), shown.p_done, shown.total
        size = shown.frame.shape[:2]
        head = HEAD.pack(self.number, shown.steps, *numbers, flags, *size)
        await self.socket.send_bytes(head + shown.frame.tobytes())


def _between(value: Any, least: float, most: float) -> float:
    """A number within its limits.

    Raises:
        ValueError: it is none.
    """
    value = float(value)
    if math.isnan(value):
        raise ValueError('not a number')
    return min(max(value, least), most)
