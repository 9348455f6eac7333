"""Dreams over a WebSocket: a few words in, frames out, the newest one first.

The page sends JSON: ``keys`` (an action, or null where none is pressed), ``take`` (who plays),
``temperature``, ``fps``, ``paused``, ``restart`` (a seed), ``seen`` (the number of a frame). It is
told the temperature and how many numbers an action has; then frames come as bytes: `HEAD`, then
RGB. No more than `AHEAD` of them are on their way at once: a browser that is slow misses frames,
and neither slows the dream nor fills memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import struct
from typing import Any

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from chainer_wm.inspector import folders
from chainer_wm.inspector.dreamer import Dreamer, Shown
from chainer_wm.inspector.model_answers import TEMPERATURES, ModelAnswers
from chainer_wm.inspector.replies import whole

HEAD = struct.Struct('<IIfff')  # number, steps, first action, P(done), flags: 1 over, 2 taken
AHEAD = 3
FPS = 1.0, 60.0
LONGEST = 1 << 10  # characters of a message


class Live:
    """The dreams of all tabs; each has its own, on the models that all share.

    Args:
        answers: knows the runs, their models and traces.
    """

    def __init__(self, answers: ModelAnswers):
        self.answers = answers

    async def __call__(self, socket: WebSocket) -> None:
        """One tab's dream, until it leaves."""
        await socket.accept()
        try:
            session = await asyncio.to_thread(self._session, socket)
        except folders.InspectorError as error:
            await _refuse(socket, str(error))
            return
        dreamer = session.dreamer
        await socket.send_json({'temperature': dreamer.temperature, 'actions': dreamer.actions})
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it has left
            try:
                async with contextlib.AsyncExitStack() as stack:
                    playing = asyncio.ensure_future(session.play())
                    stack.push_async_callback(_ended, playing)
                    await session.listen(playing)
            except folders.InspectorError as error:
                await _refuse(socket, str(error))

    def _session(self, socket: WebSocket) -> _Session:
        query = socket.query_params
        models = self.answers.models
        trained = models.of(self.answers.known.folder(query.get('run', '')))
        dreamer = models.run(Dreamer, trained)
        branch: dict[str, Any] = {}
        if 'episode' in query:
            branch = self.answers.branch(query)
        return _Session(socket, models, dreamer, whole(query, 'seed', 0), branch)


async def _ended(task: asyncio.Future) -> None:
    """Cancel a task and wait for it."""
    task.cancel()
    await asyncio.wait([task])


async def _refuse(socket: WebSocket, reason: str) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await socket.send_json({'error': reason})
        await socket.close(4404)


class _Session:
    """What one tab wishes, and its dream."""

    def __init__(self, socket: WebSocket, models, dreamer: Dreamer, seed: int, branch: dict):
        self.socket, self.models, self.dreamer, self.branch = socket, models, dreamer, branch
        self.stops = models.stops
        self.seed: int | None = seed  # of a start that is due
        self.action = np.zeros(dreamer.actions)
        self.taken = dreamer.trained.controller is None
        self.fps, self.paused = 35.0, False
        self.number = self.seen = 0

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
            self.taken = bool(said['take']) or self.dreamer.trained.controller is None
        if 'fps' in said:
            self.fps = _between(said['fps'], *FPS)
        if 'temperature' in said:
            self.dreamer.temperature = _between(said['temperature'], *TEMPERATURES)
        if 'restart' in said:
            self.seed = int(_between(said['restart'], 0, 2**31))
        if 'keys' in said:
            keys = np.zeros(self.dreamer.actions) if said['keys'] is None else said['keys']
            action = np.asarray(keys, np.float64)
            if action.shape == self.action.shape and np.isfinite(action).all():
                self.action = action.clip(-1, 1)

    async def play(self) -> None:
        """Step at the rate that is asked for."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            self.models.check(self.stops)
            shown = None
            if self.seed is not None:
                seed, self.seed = self.seed, None
                given = self.branch.get('z'), self.branch.get('state')
                shown = await self._work(self.dreamer.begin, seed, *given)
            elif not (self.paused or self.dreamer.over):
                action = self.action if self.taken else None
                shown = await self._work(self.dreamer.step, action)
            if shown is not None:
                await self._show(shown)
            due = max(due + 1 / self.fps, clock() - 0.2)  # after a stall no rush to catch up
            await asyncio.sleep(max(0.0, due - clock()))

    async def _work(self, work: Any, *given: Any) -> Shown:
        return await asyncio.wrap_future(self.models.submit(work, *given))

    async def _show(self, shown: Shown) -> None:
        if self.number - self.seen >= AHEAD and not (shown.over or shown.steps == 0):
            return
        self.number += 1
        flags = shown.over + 2 * self.taken
        head = HEAD.pack(self.number, shown.steps, shown.action[0], shown.p_done, flags)
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
