"""What the page asks of a net at work: one sequence of its task or of sprites, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from starlette.responses import Response

from chainer_wm.inspector import folders
from chainer_wm.inspector.catalog import Catalog
from chainer_wm.inspector.episode_trace import MODES
from chainer_wm.inspector.episodes import BLOCK, Recent
from chainer_wm.inspector.replies import CSV, Query, to_bytes, to_json, whole
from chainer_wm.inspector.task_work import PICTURED, at_work, net_of, sequence_table
from chainer_wm.inspector.trained import Models

FOUND = 4  # sequences held in memory


class TaskAnswers:
    """A net at work on a sequence of its task, or on a rollout of sprites.

    Args:
        known: the runs. models: the worker that runs the net.
    """

    def __init__(self, known: Catalog, models: Models):
        self.known, self.models = known, models
        self._found = Recent(FOUND)

    def all(self) -> dict[str, Callable[[Query], Response]]:
        """By the last word of the address."""
        return {'task': self.task, 'sequence': self.sequence, 'sprites': self.sprites}

    def task(self, query: Query) -> Response:
        """A sequence of ``length`` that ``seed`` draws: what `at_work` finds, but pictures."""
        found = {name: each for name, each in self._of(query).items() if name not in PICTURED}
        rounded = {
            name: np.round(each.astype(np.float64), 4)
            for name, each in found.items()
            if isinstance(each, np.ndarray) and each.dtype != bool
        }
        return to_json({**found, **rounded, 'modes': MODES})

    def sequence(self, query: Query) -> Response:
        """The same as CSV, a line a step, without pictures and memories."""
        return Response(sequence_table(self._of(query)), media_type=CSV)

    def sprites(self, query: Query) -> Response:
        """``count`` pictures from ``start`` on, of ``kind``, one of `PICTURED`."""
        found, kind = self._of(query), query.get('kind', '')
        start, count = whole(query, 'start', 0), whole(query, 'count', 64)
        if kind not in PICTURED or kind not in found:
            raise folders.InspectorError(f'there are no pictures of {kind!r} of this net')
        if not (start < len(found[kind]) and 0 < count <= BLOCK):
            raise folders.InspectorError(
                f'pictures {start} to {start + count - 1} were asked for: there are '
                f'{len(found[kind])}, and one answer has at most {BLOCK}'
            )
        grey = found[kind][start : start + count, ..., None]
        return to_bytes(np.repeat(grey, 3, axis=3))

    def _of(self, query: Query) -> dict[str, Any]:
        folder = self.known.folder(query.get('run', ''))
        length, seed = whole(query, 'length', 12), whole(query, 'seed', 0)
        path = net_of(folder)
        key = (path, path.stat().st_mtime_ns if path.is_file() else 0, length, seed)
        make = lambda: at_work(self.models, folder, length, seed)  # noqa: E731
        return self._found.get(key, make)
