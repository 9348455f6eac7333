"""Addition, repeat and priority sort, learned by an LSTM or a DNC.

The toy tasks published with the blog's Chainer DNC: trained on sequences of
at most 12 steps, asked for up to 100. ``--summary RUN [RUN ...]`` draws
finished runs of several models and seeds together.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import dnc.runtime  # noqa: F401

import numpy as np

from chainer_wm import files, plots
from chainer_wm.files.archives import load_link
from chainer_wm.runs import run_folder
from chainer_wm.runs.command_line import CommonConfig, main, opt, parse, run_stages
from chainer_wm.runs.task_figures import draw_panels, learning_panel, lengths_panel
from chainer_wm.runs.task_summaries import (
    by_model,
    curve_seeds,
    length_seeds,
    model_label,
    provenance,
    read_runs,
    same_settings,
)
from chainer_wm.seeds import stream
from chainer_wm.tasks.network import SequenceNet, make_net
from chainer_wm.tasks.sequence_tasks import TASKS, Task, make_task
from chainer_wm.training.tasks import BEST, error_over_length, held_out_curve, measure, train

NAME = 'dnc_tasks'
LENGTHS = (4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 40, 50, 64, 80, 100)


@dataclasses.dataclass(frozen=True)
class NetConfig(CommonConfig):
    """The network, and how it is trained."""

    width: int = opt(6, 'numbers in a row of a sequence')
    hidden_size: int = opt(256, 'LSTM, or controller of the DNC')
    match: bool = opt(False, 'LSTM: as many parameters as the DNC has')
    memory_length: int = opt(256, 'DNC: memory slots N')
    memory_width: int = opt(64, 'DNC: numbers per slot W')
    read_heads: int = opt(4, 'DNC: read heads R')
    link_sparsity: int = opt(0, 'DNC: K of the sparse link, 0 for dense', least=0)
    batch: int = opt(1, 'sequences per update')
    learning_rate: float = opt(1e-4, 'of Adam')
    clip: float = opt(0.0, 'largest norm of the gradient, 0 for no limit', least=0)
    measure_every: int = opt(500, 'updates between held-out scores')
    held_out: int = opt(200, 'sequences of such a score')
    summary: tuple[str, ...] = opt(
        (), 'draw these finished runs together; nothing is trained', free=True
    )
    out: str = opt('', 'where the summary goes (default: data)', free=True)


@dataclasses.dataclass(frozen=True)
class Config(NetConfig):
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
SMALL = dict(hidden_size=64, memory_length=64, memory_width=16, read_heads=2,
             batch=16, learning_rate=1e-3, clip=10.0, measure_every=100)
TINY = dict(hidden_size=16, memory_length=16, memory_width=8, read_heads=1,
            batch=8, learning_rate=3e-3, clip=10.0, measure_every=10,
            held_out=20)
PRESETS = {
    'smoke': dict(TINY, updates=60, lengths=(4, 12, 24), test_lanes=8),
    'laptop': dict(SMALL, updates=3000),
    'paper': dict(link_sparsity=8),
}
# fmt: on


# settings that make no task another one
MAY_DIFFER = {
    *('run', 'seed', 'model', 'match', 'link_sparsity', 'preset', 'stages'),
    *('device', 'workers', 'data', 'debug', 'summary', 'out'),
}


def new_net(config: NetConfig, task: Task) -> SequenceNet:
    """The net at its start, on its device."""
    memory = {
        'memory_length': config.memory_length,
        'memory_width': config.memory_width,
        'read_heads': config.read_heads,
        'link_sparsity': config.link_sparsity or None,
    }
    net = make_net(task, config.model, config.hidden_size, config.seed, memory, config.match)
    net.to_device(config.device)
    return net


def describe(net: SequenceNet) -> dict[str, Any]:
    """The net's size, for results.json."""
    return {'parameters': net.count_params(), **net.config}


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
        label=f'{config.task}, {model_label(run.config)}',
    )
    curves = {name: held_out_curve(log, name) for name in ('loss', 'error', 'exact')}
    run.add_results(net=describe(net), curves=curves)
    plots.training_curves(
        run.path('figures/training.png'),
        {
            'train': (
                np.array([row['iteration'] for row in log]),
                np.array([row['main/loss'] for row in log]),
            ),
            'held-out': (np.array(curves['loss'][0]), np.array(curves['loss'][1])),
        },
        ylabel='squared error per sequence',
        xlabel='update',
        title=f'{config.task}: {model_label(run.config)}',
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
    run.add_results(lengths=rows, tested_with=describe(net))
    for row in rows:
        print(
            '  length {length:3d}: {error:8.3f} {name} (a guess: {guess:.3f})'
            ', {share:4.0%} of the sequences right'.format(
                name=task.error_name, share=row['exact'], **row
            )
        )
    found = {model_label(run.config): [run.results()]}
    draw_panels(run.path('figures/lengths.png'), [lengths_panel(found, task, config.longest)])


def picture(config: Config, run: run_folder.Run) -> None:
    """A DNC's memory while it solves one of the longest trained sequences."""
    if config.model != 'dnc':
        return
    task = make_task(config.task, config.width)
    net = best_net(config, run)
    items = task.items(config.longest)
    batch = task.make(stream(config.seed, 'picture'), np.array([items]))
    xs = net.device.send(batch.inputs[:, 0].astype(net.dtype))
    trace = net.core.trace(xs)
    plots.memory_trace(
        run.path('figures/memory.png'),
        trace,
        {'items': 0, 'delimiter': items},
        f'{config.task}: the memory of the {model_label(run.config)}',
    )


def summarise(config: Config) -> None:
    """One figure per task over models and seeds, and one table."""
    folder = pathlib.Path(config.data, NAME)
    out = pathlib.Path(config.out or folder / 'summary')
    found = read_runs(folder, config.summary, 'lengths')
    table = {}
    for name in TASKS:
        group = [run for run in found if run['config']['task'] == name]
        if not group:
            continue
        settings = same_settings(group, MAY_DIFFER)
        models = by_model(group)
        table[name] = {
            'settings': settings,
            'models': {label: numbers(of) for label, of in models.items()},
        }
        task = make_task(name, settings['width'])
        draw_panels(
            out / f'{name}.png',
            [learning_panel(models, task), lengths_panel(models, task, settings['longest'])],
            f'{name.replace("_", " ")}: mean over seeds, and their range',
        )
    files.write_json(out / 'summary.json', table)
    print(f'summary of {len(found)} runs: {out}')


def numbers(found: list[dict]) -> dict[str, Any]:
    """What the table says of one model."""
    return {
        **provenance(found),
        'error over length': length_seeds(found).rows(),
        'exact over length': length_seeds(found, 'exact').rows(),
        'held-out error over updates': curve_seeds(found).rows(),
    }


STAGES = {'train': learn, 'lengths': test_lengths, 'picture': picture}


def script(argv=None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    if config.summary:
        summarise(config)
    else:
        run_stages(config, NAME, STAGES).close()


if __name__ == '__main__':
    main(script)
