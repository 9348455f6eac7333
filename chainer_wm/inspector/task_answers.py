"""What the page asks of a net at work: one sequence of its task or of sprites, step by step."""

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
from chainer_wm.inspector.episodes import BLOCK, Recent
from chainer_wm.inspector.replies import Query, to_bytes, to_json, whole
from chainer_wm.inspector.trained import Models
from chainer_wm.seeds import stream
from chainer_wm.tasks.network import SequenceNet
from chainer_wm.tasks.sequence_tasks import TASKS, Task, make_task
from chainer_wm.tasks.sprite_model import SpriteModel
from chainer_wm.tasks.sprite_sequences import ACTIONS, MOTIONS, SpriteRollouts, SpriteWindows
from chainer_wm.tasks.sprites import COUNTS, FACTORS, VALUES, Sprites

LONGEST = 200  # length of a sequence
NUMBERS = 400_000  # of a memory over time that are sent; else it is left out
FOUND = 4  # sequences held in memory
RANGES = np.array([np.ptp(values) for values in VALUES])  # of the factors of sprites
PICTURED = ('shown', 'comes next', 'predicted')


def config_of(folder: pathlib.Path) -> Mapping[str, Any] | None:
    """The settings of a run that has a net for sequences, or None."""
    if not net_of(folder).is_file() or not (folder / 'config.json').is_file():
        return None
    config = files.read_json(folder / 'config.json')
    return config if isinstance(config, Mapping) else None


def task_of(folder: pathlib.Path) -> Task | None:
    """The task that a run's net was trained on, if it has one."""
    config = config_of(folder)
    if config is None or config.get('task') not in TASKS:
        return None
    return make_task(config['task'], int(config.get('width', 6)))


def sprites_of(folder: pathlib.Path) -> Mapping[str, Any] | None:
    """The settings of the rollouts of sprites that a run's net was trained on, if it has some."""
    config = config_of(folder)
    known = config is not None and (
        config.get('motion') in MOTIONS and config.get('actions') in ACTIONS
    )
    return config if known else None


def is_at_work(folder: pathlib.Path) -> bool:
    """Whether a run has a net of either kind."""
    return task_of(folder) is not None or sprites_of(folder) is not None


def net_of(folder: pathlib.Path) -> pathlib.Path:
    """Where the best weights of such a run are."""
    return folder / 'model/best.npz'


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
        return {'task': self.task, 'sprites': self.sprites}

    def task(self, query: Query) -> Response:
        """A sequence of ``length`` that ``seed`` draws, what is answered, what is remembered.

        All of it (T, ...): 'inputs', 'targets', 'outputs', 'asked' of a task; 'actions' and
        'factors' (in units of their ranges) and 'wrong' pixels of sprites; of
        an LSTM 'h', of a DNC the names of ``DNC.trace``.
        """
        found = {name: each for name, each in self._of(query).items() if name not in PICTURED}
        rounded = {
            name: np.round(each.astype(np.float64), 4)
            for name, each in found.items()
            if isinstance(each, np.ndarray) and each.dtype != bool
        }
        return to_json({**found, **rounded, 'modes': MODES})

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
        task, sprites = task_of(folder), sprites_of(folder)
        if task is None and sprites is None:
            raise folders.InspectorError('this run has no net that was trained on a task')
        length, seed = whole(query, 'length', 12), whole(query, 'seed', 0)
        least = task.least * task.steps_per_item if task else 1
        if not least <= length <= LONGEST:
            raise folders.InspectorError(f'length is {length}, expected {least} to {LONGEST}')
        path = net_of(folder)

        def make() -> dict[str, Any]:
            if task:
                return self.models.run(_at_task, path, task, length, seed)
            return self.models.run(_at_sprites, path, sprites, length, seed)

        return self._found.get((path, path.stat().st_mtime_ns, length, seed), make)


def _at_task(path: pathlib.Path, task: Task, length: int, seed: int) -> dict[str, Any]:
    """A sequence, the net's answers to it, and what it holds after every step."""
    net = _loaded(path, SequenceNet)
    batch = task.batch(stream(seed, 'sequence'), 1, length, length)
    outputs = net.answers(batch.inputs)
    score = task.score(outputs, batch)
    return {
        'inputs': batch.inputs[:, 0],
        'targets': batch.targets[:, 0],
        'outputs': outputs[:, 0],
        'asked': batch.asked[:, 0],
        'error': score['error'],
        'right': score['exact'] == 1,
        'means': task.error_name,
        **_held(net.core, batch.inputs.astype(net.dtype)),
    }


def _at_sprites(
    path: pathlib.Path, config: Mapping[str, Any], length: int, seed: int
) -> dict[str, Any]:
    """A rollout that nobody learnt from, the net's next images, and what it holds."""
    net = _loaded(path, SpriteModel)
    moving = tuple(config.get('moving') or FACTORS)
    rollouts = SpriteRollouts(seed, 'look', length + 1, length + 1, config['motion'], moving)
    # the images are drawn: a file that the run's settings name may lie anywhere
    window = SpriteWindows(rollouts, 1, 1, length, Sprites(), config['actions']).batch(0)
    chance, _ = net.predictions(window, net.initial_state(1))
    following = window.images[1:, 0]
    wrong = ((chance[:, 0] > 0.5) != following).sum(axis=(1, 2))
    return {
        'shown': window.images[:-1, 0] * np.uint8(255),
        'comes next': following * np.uint8(255),
        'predicted': np.rint(chance[:, 0] * 255).astype(np.uint8),
        'actions': window.actions[:, 0] / RANGES,
        'factors': window.classes[:, 0] / (np.array(COUNTS) - 1),
        'names': FACTORS,
        'wrong': wrong,
        'error': float(wrong.mean()),
        'means': 'wrong pixels of the next image',
        **_held(net.core, np.asarray(net.inputs(window).array)),
    }


def _loaded(path: pathlib.Path, kind: type) -> Any:
    try:
        return load_link(path, kind)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise folders.InspectorError(f'the net cannot be loaded: {error}') from error


def _held(core: Any, xs: np.ndarray) -> dict[str, np.ndarray]:
    """What a core holds after every step of xs (T, 1, X), by name, (T, ...) each."""
    if not hasattr(core, 'trace'):
        ys, _ = core.sequence(xs, core.initial_state(1))
        return {'h': ys.array[:, 0]}
    names: tuple[str, ...] = (*KEPT, 'read_modes')
    if len(xs) * core.memory_length * core.memory_width <= NUMBERS:
        names = (*names, 'memory')
    traced = core.trace(xs, engine='fused', names=names)
    return {name: each[:, 0] for name, each in traced.items()}
