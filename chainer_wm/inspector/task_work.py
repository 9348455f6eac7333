"""A net at work on one sequence, of its task or of sprites: what it reads, says and holds."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from chainer_wm import files
from chainer_wm.files.archives import load_link
from chainer_wm.inspector import folders, tables
from chainer_wm.inspector.episode_trace import KEPT
from chainer_wm.inspector.trained import Models
from chainer_wm.seeds import stream
from chainer_wm.tasks.network import SequenceNet
from chainer_wm.tasks.sequence_tasks import TASKS, Task, make_task
from chainer_wm.tasks.sprite_model import SpriteModel
from chainer_wm.tasks.sprite_sequences import ACTIONS, MOTIONS, SpriteRollouts, SpriteWindows
from chainer_wm.tasks.sprites import COUNTS, FACTORS, VALUES, Sprites

LONGEST = 200  # length of a sequence
NUMBERS = 400_000  # of a memory over time that are sent; else it is left out
RANGES = np.array([np.ptp(values) for values in VALUES])  # of the factors of sprites
PICTURED = ('shown', 'comes next', 'predicted')


def config_of(folder: pathlib.Path) -> Mapping[str, Any] | None:
    """The settings of a run that has a net for sequences, or None."""
    if not net_of(folder).is_file() or not (folder / 'config.json').is_file():
        return None
    return files.read_json(folder / 'config.json')


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


def at_work(models: Models, folder: pathlib.Path, length: int, seed: int) -> dict[str, Any]:
    """A sequence that ``seed`` draws, what is answered, and what is remembered.

    Returns:
        by name, all of it (T, ...): 'inputs', 'targets', 'outputs', 'asked' of a task; 'actions'
        and 'factors' (in units of their ranges), 'wrong' pixels and `PICTURED` of sprites; of an
        LSTM 'h', of a DNC the names of ``DNC.trace``.

    Raises:
        InspectorError: there is no such net, or no such sequence.
    """
    task, sprites = task_of(folder), sprites_of(folder)
    if task is None and sprites is None:
        raise folders.InspectorError('this run has no net that was trained on a task')
    least = task.least * task.steps_per_item if task else 1
    if not least <= length <= LONGEST:
        raise folders.InspectorError(f'length is {length}, expected {least} to {LONGEST}')
    if task:
        return models.run(_at_task, net_of(folder), task, length, seed)
    return models.run(_at_sprites, net_of(folder), sprites, length, seed)


def sequence_table(found: Mapping[str, Any]) -> str:
    """What `at_work` found as CSV, without pictures and memories."""
    left_out = (*PICTURED, 'memory')
    arrays = {
        name: each
        for name, each in found.items()
        if isinstance(each, np.ndarray) and name not in left_out
    }
    return tables.steps_table({'t': np.arange(len(next(iter(arrays.values())))), **arrays})


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
