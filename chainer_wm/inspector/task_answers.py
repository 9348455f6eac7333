"""What the page asks of a net that was trained on a sequence task: one sequence, step by step."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from starlette.responses import Response

from chainer_wm import files
from chainer_wm.files.archives import load_link
from chainer_wm.inspector import folders
from chainer_wm.inspector.catalog import Catalog
from chainer_wm.inspector.episode_trace import KEPT, MODES
from chainer_wm.inspector.replies import Query, to_json, whole
from chainer_wm.inspector.trained import Models
from chainer_wm.seeds import stream
from chainer_wm.tasks.network import SequenceNet
from chainer_wm.tasks.sequence_tasks import TASKS, Task, make_task

LONGEST = 200  # length of a sequence
NUMBERS = 400_000  # of a memory over time that are sent; else it is left out


def task_of(folder: pathlib.Path) -> Task | None:
    """The task that a run's net was trained on, if it has one."""
    if not net_of(folder).is_file() or not (folder / 'config.json').is_file():
        return None
    config = files.read_json(folder / 'config.json')
    if not isinstance(config, Mapping) or config.get('task') not in TASKS:
        return None
    return make_task(config['task'], int(config.get('width', 6)))


def net_of(folder: pathlib.Path) -> pathlib.Path:
    """Where the best weights of such a run are."""
    return folder / 'model/best.npz'


class TaskAnswers:
    """A net at work on a sequence of its task.

    Args:
        known: the runs. models: the worker that runs the net.
    """

    def __init__(self, known: Catalog, models: Models):
        self.known, self.models = known, models

    def all(self) -> dict[str, Callable[[Query], Response]]:
        """By the last word of the address."""
        return {'task': self.task}

    def task(self, query: Query) -> Response:
        """A sequence of ``length`` that ``seed`` draws, what is answered, a DNC's memory.

        All of it (T, ...): 'inputs', 'targets', 'outputs', 'asked', and of a DNC the names of
        ``DNC.trace``.
        """
        folder = self.known.folder(query.get('run', ''))
        task = task_of(folder)
        if task is None:
            raise folders.InspectorError('this run has no net that was trained on a task')
        length, seed = whole(query, 'length', 12), whole(query, 'seed', 0)
        if not task.least * task.steps_per_item <= length <= LONGEST:
            raise folders.InspectorError(
                f'length is {length}, expected {task.least * task.steps_per_item} to {LONGEST}'
            )
        batch = task.batch(stream(seed, 'sequence'), 1, length, length)
        found = self.models.run(_at_work, net_of(folder), batch.inputs)
        score = task.score(found['outputs'][:, None], batch)
        found |= {'inputs': batch.inputs[:, 0], 'targets': batch.targets[:, 0]}
        found = {name: np.round(each.astype(np.float64), 4) for name, each in found.items()}
        more = {'asked': batch.asked[:, 0], 'modes': MODES, 'error': score['error']}
        return to_json({**found, **more, 'right': score['exact'] == 1, 'means': task.error_name})


def _at_work(path: pathlib.Path, inputs: np.ndarray) -> dict[str, Any]:
    """The answers of the net to inputs (T, 1, X), and a DNC's state after every step."""
    try:
        net = load_link(path, SequenceNet)
    except (ValueError, KeyError, OSError) as error:
        raise folders.InspectorError(f'the net cannot be loaded: {error}') from error
    found = {'outputs': net.answers(inputs)[:, 0]}
    if not hasattr(net.core, 'trace'):
        return found
    names: tuple[str, ...] = (*KEPT, 'read_modes')
    if len(inputs) * net.core.memory_length * net.core.memory_width <= NUMBERS:
        names = (*names, 'memory')
    traced = net.core.trace(inputs.astype(net.dtype), engine='fused', names=names)
    return found | {name: each[:, 0] for name, each in traced.items()}
