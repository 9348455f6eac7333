"""A local web page over rollout stores and runs: read only, this machine only.

The page is one static file without anything from the network. It asks for

=================  ========================================================
``/api/stores``    every store: manifest, what is wrong, and its episodes
``/api/runs``      every run as the text that the terminal shows
``/api/episode``   ``?store=S&episode=N``: actions, rewards, ends, info
``/api/frames``    ``?store=S&episode=N``: all frames as one PNG, 32 a row
=================  ========================================================
"""

from __future__ import annotations

import functools
import http.server
import io
import json
import pathlib
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

from chainer_wm import files, plots
from chainer_wm.inspector import folders, pictures, report, summaries

ADDRESS = '127.0.0.1'
PAGE = pathlib.Path(__file__).with_name('page.html')
Answer = tuple[str, bytes]  # media type, body


def make_server(path: pathlib.Path, port: int) -> http.server.ThreadingHTTPServer:
    """A server for what lies at or below ``path``; port 0 takes a free one.

    Raises:
        InspectorError: the port cannot be used.
    """
    handler = functools.partial(_Handler, path)
    try:
        return http.server.ThreadingHTTPServer((ADDRESS, port), handler)
    except (OSError, OverflowError) as error:
        raise folders.InspectorError(
            f'port {port} cannot be used ({error}): give another one to '
            '--serve, or 0 for any free one'
        ) from error


def serve(path: pathlib.Path, port: int) -> None:
    """Serve until interrupted."""
    with make_server(path, port) as server:
        print(f'{path} at http://{ADDRESS}:{server.server_port}/ (Ctrl-C to stop)', flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET requests; each reads the folder anew, so it may grow."""

    def __init__(self, path: pathlib.Path, *args: Any):
        self._path = path
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer, or say what is wrong as JSON with status 403 or 404."""
        host = self.headers.get('Host', '').rpartition(':')[0]
        if host not in (ADDRESS, 'localhost'):  # no other site's page
            self._fail(403, f'this page is only for {ADDRESS}')
            return
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        answer = _ANSWERS.get(url.path)
        if answer is None:
            self._fail(404, f'there is no {url.path}')
            return
        try:
            self._send(200, *answer(self._path, query))
        except folders.InspectorError as error:
            self._fail(404, str(error))

    def _fail(self, status: int, message: str) -> None:
        self._send(status, *_json({'error': message}))

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.send_header('Cache-Control', 'no-store')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is for errors."""


def _json(value: Any) -> Answer:
    text = json.dumps(value, default=files.to_plain)
    return 'application/json', text.encode()


def _page(path: pathlib.Path, query: Mapping[str, str]) -> Answer:
    return 'text/html; charset=utf-8', PAGE.read_bytes()


def _stores(path: pathlib.Path, query: Mapping[str, str]) -> Answer:
    found = []
    for folder in folders.stores_in(path):
        name = _name(path, folder)
        try:
            found.append({'name': name, **_listed(folder)})
        except folders.InspectorError as error:
            found.append({'name': name, 'problems': [str(error)], 'episodes': []})
    return _json(found)


def _listed(folder: pathlib.Path) -> dict[str, Any]:
    store, problems = folders.open_store(folder)
    problems += [str(each) for each in store.verify(full=False, set_aside=False)]
    manifest = store.manifest or {}
    return {
        'game': manifest.get('game'),
        'seed': manifest.get('seed'),
        'settings': manifest.get('settings'),
        'versions': manifest.get('versions'),
        'problems': problems,
        'episodes': [store.entry(episode) for episode in store.episodes],
    }


def _name(path: pathlib.Path, folder: pathlib.Path) -> str:
    return folder.relative_to(path).as_posix()


def _runs(path: pathlib.Path, query: Mapping[str, str]) -> Answer:
    if folders.kind(path) == 'run':
        runs = [path]
    else:
        listed = [path / row['run'] for row in summaries.listing(path)['runs']]
        runs = [each for each in listed if folders.kind(each) == 'run']
    return _json(
        [
            {'name': _name(path, each), 'text': report.run_report(summaries.run_summary(each))}
            for each in runs
        ]
    )


def _rollout(path: pathlib.Path, query: Mapping[str, str]):
    """The episode that a query names; only stores that we found ourselves."""
    stores = {_name(path, each): each for each in folders.stores_in(path)}
    name, number = query.get('store', ''), query.get('episode', '')
    if name not in stores or not number.isdecimal():
        raise folders.InspectorError(f'there is no store {name!r} with an episode {number!r}')
    return pictures.read_episode(stores[name], int(number))


def _episode(path: pathlib.Path, query: Mapping[str, str]) -> Answer:
    rollout = _rollout(path, query)
    return _json(
        {
            'length': len(rollout),
            'size': rollout.observations.shape[1:3],
            'title': pictures.title(rollout, int(query['episode'])),
            'ending': pictures.ending(rollout),
            'actions': rollout.actions,
            'rewards': rollout.rewards,
            'info': dict(rollout.info),
        }
    )


def _frames(path: pathlib.Path, query: Mapping[str, str]) -> Answer:
    rollout = _rollout(path, query)
    file = io.BytesIO()
    Image.fromarray(plots.grid(rollout.observations, SPRITES, gap=0)).save(
        file, 'PNG', compress_level=1
    )
    return 'image/png', file.getvalue()


SPRITES = 32  # frames in a row of the picture; page.html knows it too
_ANSWERS: dict[str, Callable[[pathlib.Path, Mapping[str, str]], Answer]] = {
    '/': _page,
    '/api/stores': _stores,
    '/api/runs': _runs,
    '/api/episode': _episode,
    '/api/frames': _frames,
}
