"""The addition curriculum of the Neural Computer Agent: DNC against LSTM.

Sums of growing length, switched every 5,000 sequences, the hardest from
30,000 on; the error on every task at each switch shows what is retained. The
post gives neither lengths nor sizes: those here are ours. ``--summary RUN
[RUN ...]`` draws finished runs of several models and seeds together.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import dataclasses
import pathlib
from typing import Any

from chainer_wm import files
from chainer_wm.runs import run_folder
from chainer_wm.runs.command_line import main, opt, parse, run_stages
from chainer_wm.runs.retention import (
    curriculum_panels,
    draw_retention,
    lesson_scores,
    ratios,
    retained,
)
from chainer_wm.runs.task_figures import draw_panels
from chainer_wm.runs.task_settings import MAY_DIFFER, TaskConfig, describe, new_net
from chainer_wm.runs.task_summaries import (
    by_model,
    model_label,
    provenance,
    read_runs,
    same_settings,
)
from chainer_wm.seeds import stream
from chainer_wm.tasks.curriculum import Curriculum
from chainer_wm.tasks.sequence_tasks import make_task
from chainer_wm.training.tasks import measure, train

NAME = 'addition'


@dataclasses.dataclass(frozen=True)
class Config(TaskConfig):
    """Sums that grow longer every 5,000 sequences: what is retained?"""

    lengths: tuple[int, ...] = opt((2, 4, 6, 8, 10, 12, 14), 'most symbols in a sum of each task')
    switch: int = opt(5000, 'sequences of each task')
    sequences: int = opt(40_000, 'in all', extends='train')
    only_new: bool = opt(False, 'a task asks only the lengths that are new in it')


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


def check(config: Config) -> None:
    """Every switch must be a measurement.

    Raises:
        runs.RunError: it is not.
    """
    step = config.batch * config.measure_every
    for name in ('switch', 'sequences'):
        if getattr(config, name) % step:
            raise run_folder.RunError(
                f'--{name} {getattr(config, name)} is no multiple of '
                f'{step}, the sequences between two measurements '
                f'(--batch {config.batch} x --measure-every '
                f'{config.measure_every})'
            )


def learn(config: Config, run: run_folder.Run) -> None:
    """Train through the curriculum, every task measured along the way."""
    check(config)
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
        label=f'addition, {model_label(run.config)}',
    )
    run.add_results(
        net=describe(net),
        retention=retained(log, config.batch, config.switch, len(config.lengths)),
        training={
            'sequences': [row['iteration'] * config.batch for row in log],
            'loss': [row['main/loss'] for row in log],
        },
    )


def report(config: Config, run: run_folder.Run) -> None:
    """The two figures of the post, of this run alone."""
    draw(run.path('figures'), {model_label(run.config): [run.results()]})


def draw(folder: pathlib.Path, models: dict[str, list[dict]]) -> None:
    """Training, and retention at each switch, of runs by model."""
    draw_panels(
        folder / 'curriculum.png',
        curriculum_panels(models),
        'Addition, longer and longer: mean over seeds, and their range',
    )
    draw_retention(folder / 'retention.png', models)


def summarise(config: Config) -> None:
    """Figures and one table over models and seeds."""
    folder = pathlib.Path(config.data, NAME)
    out = pathlib.Path(config.out or folder / 'summary')
    found = read_runs(folder, config.summary, 'retention')
    settings = same_settings(found, MAY_DIFFER)
    models = by_model(found)
    draw(out, models)
    table: dict[str, Any] = {
        'settings': settings,
        'lstm_over_dnc': ratios(models),
        'models': {
            label: {
                **provenance(of),
                'training': [run['training'] for run in of],
                'retention': [run['retention'] for run in of],
            }
            for label, of in models.items()
        },
    }
    files.write_json(out / 'summary.json', table)
    for name, ratio in table['lstm_over_dnc'].items():
        print(f'{name}: {ratio["geometric_mean"]:.2f} times the DNC')
    print(f'summary of {len(found)} runs: {out}')


STAGES = {'train': learn, 'report': report}


def script(argv=None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    if config.summary:
        summarise(config)
    else:
        run_stages(config, NAME, STAGES).close()


if __name__ == '__main__':
    main(script)
