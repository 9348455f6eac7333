"""``python -m chainer_wm.inspector export PATH --to FORMAT``: what the page shows, as files."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from chainer_wm import files
from chainer_wm.inspector import catalog, episode_trace, folders, looks, pictures, tables
from chainer_wm.inspector.minari_export import write_minari
from chainer_wm.inspector.task_work import at_work, sequence_table
from chainer_wm.inspector.tensorboard_export import write_scalars
from chainer_wm.inspector.trained import Models, parts_of
from chainer_wm.inspector.words import size

FORMATS = {
    'csv': 'an episode, a line a step',
    'gif': 'an episode with V and M beside it',
    'png': 'one step of it',
    'curves': 'the curves of a run as CSV, a line a point',
    'sequence': 'a net of a task or of sprites at work as CSV, a line a step',
    'minari': 'a rollout cache as a Minari dataset (needs h5py)',
    'tensorboard': 'the curves of a run (needs tensorboard)',
}


def export(argv: Sequence[str]) -> None:
    """Write what is asked for, and say where.

    Raises:
        InspectorError: there is none of it, or it cannot be written.
    """
    given = _parser().parse_args(argv)
    if given.to == 'minari':
        out = given.out or pathlib.Path('minari')
        name = write_minari(given.path, out)
        print(f'wrote {name}: MINARI_DATASETS_PATH={out} lets minari.load_dataset find it')
        return
    if given.to == 'tensorboard':
        out = given.out or given.path / 'tensorboard'
        print(f'wrote {write_scalars(given.path, out)} curves to {out}')
        return
    if given.to in ('curves', 'sequence'):
        _write(given.out or pathlib.Path(f'{given.to}.csv'), _numbers(given))
        return
    models = Models()
    look = _look(models, given)
    out = given.out or pathlib.Path(f'episode-{given.episode:06d}.{given.to}')
    if given.to == 'csv':
        _write(out, looks.table(look))
        return
    if given.to == 'gif':
        looks.write_film(out, look, models, given.fps)
    else:
        if not 0 <= given.step < len(look.rollout):
            raise folders.InspectorError(
                f'step {given.step} was asked for: the episode has {len(look.rollout)}'
            )
        looks.write_picture(out, look, models, given.step)
    print(f'wrote {out} ({size(out.stat().st_size)})')


def _numbers(given: argparse.Namespace) -> str:
    """Of a run that has no episodes to look at."""
    if not folders.is_run(given.path):
        raise folders.InspectorError(f'{given.path} is no run: there are no {given.to} of it')
    if given.to == 'curves':
        return tables.curves_table(catalog.curves(given.path))
    return sequence_table(at_work(Models(), given.path, given.length, given.seed))


def _write(out: pathlib.Path, text: str) -> None:
    with files.atomic_write(out) as file:
        file.write(text.encode())
    print(f'wrote {out} ({size(out.stat().st_size)})')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m chainer_wm.inspector export',
        description='Write what the inspector shows: '
        + '; '.join(f'{name}: {text}' for name, text in FORMATS.items()),
    )
    add = parser.add_argument
    add('path', type=pathlib.Path, help='a run, or a rollout cache')
    add('--to', choices=FORMATS, default='csv', help='the format')
    add('--tensorboard', dest='to', action='store_const', const='tensorboard', help='the same')
    add('--out', type=pathlib.Path, help='the file; of minari and tensorboard a folder')
    add('--episode', type=int, default=0, help='which one (csv, gif, png)')
    add('--step', type=int, default=0, help='which one (png)')
    add('--fps', type=float, default=pictures.FPS, help='frames per second (gif)')
    add('--context', type=int, help='step from which M dreams alone (default: a quarter)')
    add('--temperature', type=float, help="of the dream (default: the run's own)")
    add('--seed', type=int, default=0, help='of the dream, or of the sequence')
    add('--length', type=int, default=12, help='of the sequence')
    return parser


def _look(models: Models, given: argparse.Namespace) -> looks.Look:
    """The episode, and what V and M make of it where the path is a run that has them."""
    rollout = pictures.read_episode(given.path, given.episode)
    if not folders.is_run(given.path) or not parts_of(given.path)['model'] or len(rollout) < 2:
        return looks.Look(rollout, given.episode)
    trained = models.of(given.path)
    assert trained.model is not None
    found = episode_trace.trace(models, trained, rollout)
    context = given.context or max(1, len(rollout) // 4)
    temperature = given.temperature or trained.temperature
    dreamt = episode_trace.dream_on(
        models, trained.model, found, context, temperature, given.seed, rollout.actions
    )
    return looks.Look(rollout, given.episode, trained, found, dreamt, context)
