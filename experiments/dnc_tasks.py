"""Addition, repeat and priority sort, learned by an LSTM or a DNC.

The toy tasks published with the blog's Chainer DNC: trained on sequences of
at most 12 steps, asked for up to 100.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import dataclasses
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
from chainer_wm.tasks.network import SequenceNet
from chainer_wm.tasks.sequence_tasks import TASKS, Task, make_task
from chainer_wm.training.tasks import BEST, error_over_length, held_out_curve, measure, train

NAME = 'dnc_tasks'
RIGHT = 'share of sequences that are right'
LENGTHS = (4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 40, 50, 64, 80, 100)


@dataclasses.dataclass(frozen=True)
class Config(TaskConfig):
    """Addition, repeat and priority sort, learned by an LSTM or a DNC."""

    task: str = opt('addition', 'what is asked', TASKS)
    longest: int = opt(12, 'largest length in training')
    updates: int = opt(50_000, 'of the weights', extends='train')
    lengths: tuple[int, ...] = opt(LENGTHS, 'tested', extends='lengths')
    test_memory_length: int = opt(
        0, 'DNC: slots when tested, 0 for as trained', extends='lengths', least=0
    )
    test_lanes: int = opt(64, 'sequences of each length', extends='lengths')


# fmt: off
PRESETS: dict[str, dict] = {
    'smoke': dict(
        hidden_size=16, memory_length=16, memory_width=8, read_heads=1,
        batch=8, learning_rate=3e-3, clip=10.0, measure_every=10, held_out=20,
        updates=60, lengths=(4, 12, 24), test_lanes=8),
    'laptop': dict(
        hidden_size=64, memory_length=64, memory_width=16, read_heads=2,
        batch=16, learning_rate=1e-3, clip=10.0, measure_every=100, updates=3000),
    'paper': dict(link_sparsity=8),
}
# fmt: on


def learn(config: Config, run: run_folder.Run) -> None:
    """Train, with scores on held-out sequences of the same lengths."""
    task = make_task(config.task, config.width)
    net = new_net(config, task)
    held_out = task.batch(stream(config.seed, 'held-out'), config.held_out, config.longest)
    log = train(
        run.path('model'),
        net,
        lambda number: task.batch(
            stream(config.seed, 'train', number), config.batch, config.longest
        ),
        lambda: measure(net, task, held_out),
        'loss',
        updates=config.updates,
        measure_every=config.measure_every,
        learning_rate=config.learning_rate,
        clip=config.clip,
        debug=config.debug,
        tick=run.tick,
        label=f'{config.task}, {config.model.upper()}',
    )
    names = {'loss': 'squared error per sequence', 'error': task.error_name, 'exact': RIGHT}
    curves = {
        name: curve(*held_out_curve(log, name), 'update', label) for name, label in names.items()
    }
    for name in ('loss', 'error'):
        curves[name]['floor'] = task.floor
    run.add_results(net=describe(net), task=config.task, curves=curves)
    plots.training_curves(
        run.path('figures/training.png'),
        {
            'train': (
                np.array([row['iteration'] for row in log]),
                np.array([row['main/loss'] for row in log]),
            ),
            'held-out': held_out_curve(log, 'loss'),
        },
        ylabel='squared error per sequence',
        xlabel='update',
        title=f'{config.task}: {config.model.upper()}',
        log=True,
    )


def best_net(config: Config, run: run_folder.Run) -> SequenceNet:
    """The best weights; a DNC's with the slots to test it with."""
    net = load_link(run.path('model', BEST), SequenceNet)
    net.to_device(config.device)
    if config.model == 'dnc' and config.test_memory_length:
        net = net.with_memory_length(config.test_memory_length)
    return net


def test_lengths(config: Config, run: run_folder.Run) -> None:
    """The error on sequences of each length."""
    task = make_task(config.task, config.width)
    net = best_net(config, run)
    rows = error_over_length(net, task, config.lengths, config.test_lanes, config.seed)
    longer = over_length(task, rows, config.longest)
    run.add_results(
        lengths=rows,
        tested_with=describe(net),
        curves={**run.results()['curves'], **longer},
        scores=scores(rows, config.longest),
    )
    for row in rows:
        print(
            '  length {length:3d}: {error:8.3f} {name} (a guess: {guess:.3f})'
            ', {share:4.0%} of the sequences right'.format(
                name=task.error_name, share=row['exact'], **row
            )
        )
    core = config.model.upper()
    panels = [panel(name, {core: [longer[name]]}) for name in longer]
    plots.curves(
        run.path('figures/lengths.png'), panels, f'{config.task}: longer than in training'
    )


def over_length(task: Task, rows: list[dict], longest: int) -> dict[str, Any]:
    """Error and share of right sequences over the length, beside a mere guess."""
    look = {'log_x': True, 'marks': {f'trained up to {longest}': longest}}
    x, label = [row['length'] for row in rows], 'length of the sequence'
    error = curve(x, [row['error'] for row in rows], label, task.error_name, **look)
    guess = {'guess from the length': [row['guess'] for row in rows]}
    exact = curve(x, [row['exact'] for row in rows], label, RIGHT, **look)
    return {
        'error over length': {**error, 'floor': task.floor, 'references': guess},
        'exact over length': exact,
    }


def scores(rows: list[dict], longest: int) -> dict[str, dict[str, Any]]:
    """At the longest sequences of training, and at the longest of all."""
    found = {}
    for row in rows:
        length = row['length']
        if length in (longest, rows[-1]['length']):
            found[f'error at length {length}'] = {'mean': row['error'], 'lower_is_better': True}
            found[f'right at length {length}'] = {'mean': row['exact']}
    return found


def picture(config: Config, run: run_folder.Run) -> None:
    """A DNC's memory while it solves one of the longest trained sequences."""
    task = make_task(config.task, config.width)
    net = best_net(config, run)
    title = f'{config.task}: the memory of the DNC'
    path = run.path('figures/memory.png')
    figures.draw_task_memory(path, net, task, config.longest, title, config.seed)


STAGES = {'train': learn, 'lengths': test_lengths, 'picture': picture}


def script(argv=None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    run_stages(config, NAME, STAGES).close()


if __name__ == '__main__':
    main(script)
