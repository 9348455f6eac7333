"""The addition curriculum of the Neural Computer Agent: DNC against LSTM.

Sums of growing length, switched every 5,000 sequences, the hardest from
30,000 on; the error on every task at each switch shows what is retained. The
post gives neither lengths nor sizes: those here are ours.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainer_wm import plots
from chainer_wm.files.archives import load_link
from chainer_wm.runs import figures, run_folder
from chainer_wm.runs.command_line import main, opt, parse, run_stages
from chainer_wm.runs.comparison import curve
from chainer_wm.runs.comparison_figures import panel
from chainer_wm.runs.task_settings import TaskConfig, describe, new_net
from chainer_wm.seeds import stream
from chainer_wm.tasks.curriculum import Curriculum
from chainer_wm.tasks.network import SequenceNet
from chainer_wm.tasks.sequence_tasks import make_task
from chainer_wm.training.tasks import BEST, measure, train

NAME = 'addition'
SCORES = ('loss', 'error', 'exact')
Rows = Sequence[Mapping[str, Any]]  # of retained


@dataclasses.dataclass(frozen=True)
class Config(TaskConfig):
    """Sums that grow longer every 5,000 sequences: what is retained?"""

    lengths: tuple[int, ...] = opt((2, 4, 6, 8, 10, 12, 14), 'most symbols in a sum of each task')
    switch: int = opt(5000, 'sequences of each task')
    sequences: int = opt(40_000, 'in all', extends='train')
    only_new: bool = opt(False, 'a task asks only the lengths that are new in it')

    def check(self) -> None:
        """See that every switch is a measurement.

        Raises:
            runs.RunError: it is not.
        """
        step = self.batch * self.measure_every
        for name in ('switch', 'sequences'):
            if getattr(self, name) % step:
                raise run_folder.RunError(
                    f'--{name} {getattr(self, name)} is no multiple of '
                    f'{step}, the sequences between two measurements '
                    f'(--batch {self.batch} x --measure-every '
                    f'{self.measure_every})'
                )


# fmt: off
PRESETS: dict[str, dict] = {
    'smoke': dict(
        hidden_size=16, memory_length=16, memory_width=8, read_heads=1,
        batch=8, learning_rate=3e-3, clip=10.0, measure_every=10, held_out=20,
        lengths=(2, 3, 4), switch=160, sequences=640),
    'laptop': dict(
        hidden_size=64, memory_length=64, memory_width=16, read_heads=2,
        batch=10, learning_rate=1e-3, clip=10.0, measure_every=100),
    'paper': {},
}
# fmt: on


def learn(config: Config, run: run_folder.Run) -> None:
    """Train through the curriculum, every task measured along the way."""
    task = make_task('addition', config.width)
    net = new_net(config, task)
    curriculum = Curriculum(task, config.lengths, config.switch, config.only_new)
    tests = [
        curriculum.test(stream(config.seed, 'test', lesson), config.held_out, lesson)
        for lesson in range(len(config.lengths))
    ]
    log = train(
        run.path('model'),
        net,
        lambda number: curriculum.batch(
            stream(config.seed, 'train', number), config.batch, number * config.batch
        ),
        lambda: lesson_scores([measure(net, task, test) for test in tests]),
        f'loss {len(tests)}',
        updates=config.sequences // config.batch,
        measure_every=config.measure_every,
        learning_rate=config.learning_rate,
        clip=config.clip,
        debug=config.debug,
        tick=run.tick,
        label=f'addition, {config.model.upper()}',
    )
    rows = retained(log, config.batch, config.switch, len(config.lengths))
    training = {
        'sequences': [row['iteration'] * config.batch for row in log],
        'loss': [row['main/loss'] for row in log],
    }
    run.add_results(
        net=describe(net),
        retention=rows,
        training=training,
        curves=curves(config, rows, training),
        scores=scores(config, rows, training),
        matrices={'absolute error of the sum': matrix(config, rows)},
    )


def lesson_scores(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The scores of lessons 1, 2, ... in one row: 'loss 1', 'error 1', ..."""
    return {
        f'{name} {lesson}': values[name]
        for lesson, values in enumerate(scores, 1)
        for name in SCORES
    }


def retained(log: Sequence[dict], batch: int, switch: int, lessons: int) -> list[dict[str, Any]]:
    """Every lesson's scores after each ``switch`` sequences.

    Args:
        log: rows of ``train`` with the scores of ``lesson_scores``.
        batch: sequences per update.

    Returns:
        Per switch: 'sequences', 'met' (lessons so far), and 'loss', 'error', 'exact', each a list
        over all lessons, those not yet met too.
    """
    rows = []
    for row in log:
        sequences = row['iteration'] * batch
        if sequences % switch:
            continue
        rows.append(
            {
                'sequences': sequences,
                'met': min(sequences // switch, lessons),
                **{
                    name: [row[f'held_out/{name} {lesson}'] for lesson in range(1, lessons + 1)]
                    for name in SCORES
                },
            }
        )
    return rows


def curves(config: Config, rows: Rows, training: Mapping[str, list]) -> dict[str, Any]:
    """The training error, and the error on the tasks so far."""
    marks = {' ' * lesson: lesson * config.switch for lesson in range(1, len(config.lengths))}
    so_far = [float(np.mean(row['error'][: row['met']])) for row in rows]
    return {
        'training, the task of the moment': curve(
            *(training['sequences'], training['loss']),
            *('sequences', 'squared error per sequence'),
            floor=1e-3,
            marks=marks,
        ),
        'held out, mean of the tasks so far': curve(
            *([row['sequences'] for row in rows], so_far),
            *('sequences, at each switch', 'absolute error of the sum'),
            floor=1e-2,
            marks=marks,
        ),
    }


def scores(config: Config, rows: Rows, training: Mapping[str, list]) -> dict[str, Any]:
    """The errors at the end of training."""
    last, since = rows[-1], rows[-1]['sequences'] - config.switch
    recent = [loss for at, loss in zip(training['sequences'], training['loss']) if at > since]
    found = {
        'training loss since the last switch': np.mean(recent),
        'squared error, hardest task': last['loss'][-1],
        'squared error, all tasks': np.mean(last['loss']),
        'absolute error, all tasks': np.mean(last['error']),
    }
    return {k: {'mean': float(v), 'lower_is_better': True} for k, v in found.items()}


def matrix(config: Config, rows: Rows) -> dict[str, Any]:
    """Each task's error at each switch, of the tasks met so far."""
    return {
        'values': [
            [error if task < row['met'] else None for task, error in enumerate(row['error'])]
            for row in rows
        ],
        'rows': 'sequences seen',
        'columns': 'symbols in the sum, up to',
        'row_names': [f'{row["sequences"]:,}' for row in rows],
        'column_names': list(config.lengths),
        'limits': (0.03, 10.0),
        'log': True,
    }


def report(config: Config, run: run_folder.Run) -> None:
    """The two figures of the post, of this run alone, and a DNC's memory during a longest sum."""
    core, found = config.model.upper(), run.results()
    panels = [panel(name, {core: [said]}) for name, said in found['curves'].items()]
    plots.curves(run.path('figures/curriculum.png'), panels, 'Addition, longer and longer')
    for name, said in found['matrices'].items():
        look = {key: value for key, value in said.items() if key != 'values'}
        plots.matrices(
            run.path('figures/retention.png'), {core: said['values']}, title=name, **look
        )
    net = load_link(run.path('model', BEST), SequenceNet)
    net.to_device(config.device)
    figures.draw_task_memory(
        run.path('figures/memory.png'),
        net,
        make_task('addition', config.width),
        config.lengths[-1],
        'addition: the memory of the DNC',
        config.seed,
    )


STAGES = {'train': learn, 'report': report}


def script(argv=None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    run_stages(config, NAME, STAGES).close()


if __name__ == '__main__':
    main(script)
