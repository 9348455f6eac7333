"""The inspector's web server: starlette, uvicorn and websockets (the extra ``inspector``).

GET reads and changes nothing; ``guard`` says who may ask. Everything is read anew when it is asked
for, so a run in training may be watched.
"""

from __future__ import annotations

import contextlib
import pathlib
import socket
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from chainer_wm.inspector import catalog, episodes, folders, summaries, tables
from chainer_wm.inspector.catalog import Catalog
from chainer_wm.inspector.guard import LOOPBACK, Guard
from chainer_wm.inspector.latent_answers import LatentAnswers
from chainer_wm.inspector.live import Live
from chainer_wm.inspector.model_answers import ModelAnswers
from chainer_wm.inspector.pixel_dreamer import has_pixel_model
from chainer_wm.inspector.real_game import script_of
from chainer_wm.inspector.replies import CSV, to_bytes, to_json, whole
from chainer_wm.inspector.task_answers import TaskAnswers
from chainer_wm.inspector.task_work import is_at_work
from chainer_wm.inspector.trained import Models, parts_of

STATIC = pathlib.Path(__file__).with_name('static')
ADDRESS = LOOPBACK[0]
KINDS = {
    '.css': 'text/css; charset=utf-8',
    '.html': 'text/html; charset=utf-8',
    '.js': 'text/javascript; charset=utf-8',
    '.svg': 'image/svg+xml',
}
PICTURES = {'.png': 'image/png', '.gif': 'image/gif', '.jpg': 'image/jpeg'}
#: What a damaged file may raise, whoever reads it.
DAMAGED = (*summaries.UNREADABLE, TypeError, AttributeError, IndexError)


def make_app(path: pathlib.Path, token: str | None = None, public: bool = False) -> Guard:
    """The guarded application over what lies at or below ``path``.

    Args:
        token, public: see `Guard`.

    Raises:
        InspectorError: there is nothing to look into.
    """
    known, models, recorded = Catalog(path), Models(), episodes.Episodes()
    learnt = ModelAnswers(known, recorded, models)
    answers = Answers(known, recorded).all() | learnt.all()
    answers |= LatentAnswers(known, recorded, models).all() | TaskAnswers(known, models).all()
    routes: list[BaseRoute] = [Route('/', _page), Route('/static/{name}', _static)]
    routes += [Route(f'/api/{name}', _asked(answer)) for name, answer in answers.items()]
    routes += [Route('/api/stop', _stop(models), methods=['POST'])]
    routes += [WebSocketRoute('/api/live', Live(learnt).__call__)]
    guarded = Guard(Starlette(routes=routes), token, public)
    guarded.app.state.token = guarded.token
    return guarded


def serve(path: pathlib.Path, port: int, host: str = ADDRESS, token: str | None = None) -> None:
    """Serve until interrupted.

    Args:
        host: another one than this machine's own needs the token in the address that is printed.

    Raises:
        InspectorError: the port cannot be used, or there is nothing to look into.
    """
    public = host not in LOOPBACK
    app = make_app(path, token, public)
    with _listen(host, port) as listener:
        number = listener.getsockname()[1]
        where = f'http://{host if ":" not in host else f"[{host}]"}:{number}/'
        if public:
            where += f'?token={app.token}'
            print('Other machines may ask: the token in the address is the only key.')
        print(f'{path} at {where} (Ctrl-C to stop)', flush=True)
        config = uvicorn.Config(
            app, log_level='warning', ws_max_size=1 << 16, timeout_graceful_shutdown=1
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
        print()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # who asks while the server begins, waits
    except (OSError, OverflowError) as error:
        listener.close()
        raise folders.InspectorError(
            f'port {port} of {host} cannot be used ({error}): give another one to '
            '--serve, or 0 for any free one'
        ) from error
    return listener


def _page(request: Request) -> Response:
    text = (STATIC / 'index.html').read_text().replace('{{token}}', request.app.state.token)
    return Response(text, media_type=KINDS['.html'])


def _static(request: Request) -> Response:
    name = request.path_params['name']
    if name not in {each.name for each in STATIC.iterdir() if each.suffix in KINDS}:
        return to_json({'error': f'there is no {name}'}, 404)
    return FileResponse(STATIC / name, media_type=KINDS[pathlib.Path(name).suffix])


def _stop(models: Models) -> Callable[[Request], Response]:
    """An endpoint that lets the models go."""

    def stop(request: Request) -> Response:
        models.let_go()
        return to_json({'models': []})

    return stop


def _asked(answer: Callable[[Mapping[str, str]], Response]) -> Callable[[Request], Response]:
    """An endpoint that words what is wrong: 404 not there, 422 damaged."""

    def endpoint(request: Request) -> Response:
        try:
            return answer(request.query_params)
        except folders.InspectorError as error:
            return to_json({'error': str(error)}, 404)
        except DAMAGED as error:
            return to_json({'error': f'cannot be read: {error or type(error).__name__}'}, 422)

    return endpoint


class Answers:
    """What the page may read.

    Args:
        known: the runs.
        recorded: reads their episodes.
    """

    def __init__(self, known: Catalog, recorded: episodes.Episodes):
        self.known, self.episodes = known, recorded

    def all(self) -> dict[str, Callable[[Mapping[str, str]], Response]]:
        """By the last word of the address."""
        return {
            'runs': self.runs,
            'run': self.run,
            'curves': self.curves,
            'points': self.points,
            'figure': self.figure,
            'episodes': self.list_episodes,
            'episode': self.episode,
            'frames': self.frames,
        }

    def runs(self, query: Mapping[str, str]) -> Response:
        """Every run as a row: `Catalog.rows`."""
        return to_json({'path': str(self.known.root), 'runs': self.known.rows()})

    def run(self, query: Mapping[str, str]) -> Response:
        """All of ``run`` but its curves."""
        folder = self._folder(query)
        if (folder / catalog.PACKED).is_file():
            return to_json({'kind': 'agent', 'parts': _parts(folder), 'stores': {}})
        summary = summaries.run_summary(folder)
        summary['parts'] = _parts(folder)
        summary['running'] = catalog.at_work(folder)
        summary['stores'] = {
            name: {'problems': [], **_counted(path, summary['stores'])}
            for name, path in self.known.stores(query.get('run', '')).items()
        }
        results = summary.pop('results')
        summary['extra'] = {
            name: results[name]
            for name, kind in (('scores', Mapping), ('baselines', Mapping), ('commits', list))
            if isinstance(results.get(name), kind)
        }
        return to_json(summary)

    def curves(self, query: Mapping[str, str]) -> Response:
        """The curves of ``run``, see `catalog.curves`."""
        return to_json(catalog.curves(self._folder(query)))

    def points(self, query: Mapping[str, str]) -> Response:
        """The same as CSV, a line a point."""
        text = tables.curves_table(catalog.curves(self._folder(query)))
        return Response(text, media_type=CSV)

    def figure(self, query: Mapping[str, str]) -> Response:
        """The picture ``name`` of ``run``."""
        path = self.known.figure(query.get('run', ''), query.get('name', ''))
        if path.suffix.lower() not in PICTURES:
            raise folders.InspectorError(f'{path.name} is no picture')
        return FileResponse(path, media_type=PICTURES[path.suffix.lower()])

    def list_episodes(self, query: Mapping[str, str]) -> Response:
        """The episodes of ``store`` in columns."""
        return to_json(episodes.columns(self._store(query)))

    def episode(self, query: Mapping[str, str]) -> Response:
        """Actions, rewards and ends of ``episode``."""
        number = whole(query, 'episode')
        rollout = self.episodes.read(self._store(query), number)
        return to_json(episodes.described(rollout, number))

    def frames(self, query: Mapping[str, str]) -> Response:
        """``count`` frames of ``episode`` from ``start`` on: RGB bytes."""
        number, start = whole(query, 'episode'), whole(query, 'start', 0)
        count = whole(query, 'count', episodes.BLOCK)
        return to_bytes(self.episodes.frames(self._store(query), number, start, count))

    def _folder(self, query: Mapping[str, str]) -> pathlib.Path:
        return self.known.folder(query.get('run', ''))

    def _store(self, query: Mapping[str, str]) -> pathlib.Path:
        return self.known.store(query.get('run', ''), query.get('store', ''))


def _parts(folder: pathlib.Path) -> dict[str, bool]:
    """What a run has learnt, and whether its game is known, or its task."""
    known = {'game': script_of(folder) is not None, 'task': is_at_work(folder)}
    return {**parts_of(folder), **known, 'pixels': has_pixel_model(folder)}


def _counted(path: pathlib.Path, stores: list[dict[str, Any]]) -> dict[str, Any]:
    """What is said of a cache in a run's summary, without its long lists."""
    names = ('game', 'episodes', 'steps', 'problems', 'set_aside')
    summary = next((each for each in stores if each['path'] == str(path)), {})
    found = {name: summary[name] for name in names if name in summary}
    for name in ('returns', 'lengths'):
        if summary.get(name):
            found[name] = {key: summary[name][key] for key in ('mean', 'std', 'min', 'max')}
    return found
