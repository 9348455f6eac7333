"""PixelCopter's flights: how far they get, what they look like, over seeds."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_wm import files
from chainer_wm.runs import ppo_settings
from chainer_wm.runs.ppo_settings import REWARDS, Finished, PPOConfig

BINS = 20  # in each some updates: the first after a start has few episodes
CMA_ES = 'CMA-ES, linear'
BASELINES = {'random': 'random_baseline', 'never climbs': 'falling_baseline'}
SCORES = ('length', 'blocks', 'without_block', 'climbs', 'fell')
PANELS = {
    'return': ('return', 'return'),
    'steps per episode': ('length', 'length'),
    'blocks passed': ('episode_blocks', 'blocks'),
}
TITLES = {'extrinsic': 'score', 'intrinsic': 'curiosity', 'both': 'score and curiosity'}


def label(run: Finished) -> str:
    """What distinguishes the runs of a comparison."""
    config = run.config
    if config['learner'] == 'cma_es':
        return CMA_ES
    parts = [TITLES[config['rewards']]]
    if config['recurrent']:
        parts.append(config['model'])
    if config['observation'] == 'pixels':
        parts.append('pixels')
    if config['sticky']:
        parts.append('sticky')
    return ', '.join(parts)


def summarise(config: PPOConfig, experiment: str) -> None:
    """Curves over the seeds, a table, and a film of each kind of agent."""
    found = ppo_settings.finished_runs(config, experiment)
    found.sort(key=lambda run: _order(run.config))
    groups = ppo_settings.grouped(found, label)
    folder = ppo_settings.summary_folder(config, experiment)
    trained = {name: group for name, group in groups.items() if group[0].log}
    by_view: dict[str, dict[str, list[Finished]]] = {}
    for name, group in trained.items():
        view = group[0].config['observation']
        by_view.setdefault(view, {})[name] = group
    table = {name: _row(group) for name, group in groups.items()}
    for view, some in by_view.items():
        ppo_settings.draw_seeds(
            folder / f'{view}.png',
            {
                label: ppo_settings.curves(some, column, BINS)
                for label, (column, _) in PANELS.items()
            },
            f'PixelCopter from {view}, PPO learning from',
            {label: _levels(table, found, score) for label, (_, score) in PANELS.items()},
        )
    ppo_settings.write_summary(folder, experiment, table, found)
    for name, group in groups.items():
        _copy_flight(folder, name, group[0])


def _levels(table: dict[str, Any], found: Sequence[Finished], score: str) -> dict[str, float]:
    """What the curves are compared with, of all seeds that there are."""
    levels = {name: row[score]['mean'] for name, row in table.items() if name == CMA_ES}
    for name, baseline in BASELINES.items():
        column = 'mean' if score == 'return' else score
        levels[name] = float(np.mean([run.results[baseline][column] for run in found]))
    return {f'{name}: {x:.3g}': x for name, x in levels.items()}


def _order(config: dict[str, Any]) -> tuple:
    return (
        config['learner'] != 'ppo',
        config['observation'] != 'state',
        config['recurrent'],
        config['sticky'],
        REWARDS.index(config['rewards']),
        config['seed'],
    )


def _copy_flight(folder: pathlib.Path, name: str, run: Finished) -> None:
    stem = name.lower().replace(', ', '_').replace(' ', '_')
    for suffix in ('png', 'gif'):
        source = run.folder / 'figures' / f'flight.{suffix}'
        with files.atomic_write(folder / f'{stem}.{suffix}') as file:
            file.write(source.read_bytes())


def _row(group: list[Finished]) -> dict[str, Any]:
    return {
        'seeds': [run.config['seed'] for run in group],
        'steps': [run.results['steps'] for run in group],
        'episodes': group[0].results['evaluation']['episodes'],
        **_scores(group, 'evaluation'),
        **{
            name.replace(' ', '_'): _scores(group, baseline)
            for name, baseline in BASELINES.items()
        },
        'minutes': ppo_settings.minutes(group),
    }


def _scores(group: list[Finished], player: str) -> dict[str, Any]:
    """What a player of these runs did, over the seeds."""
    found = [run.results[player] for run in group]
    named = {'return': 'mean', **{name: name for name in SCORES}}
    return {
        name: ppo_settings.spread([one[column] for one in found]) for name, column in named.items()
    }
