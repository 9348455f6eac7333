"""PixelCopter's flights: how far they get, what they look like, over seeds."""

from __future__ import annotations

import pathlib
from typing import Any

import gym
import numpy as np

from chainer_wm import files, plots
from chainer_wm.policies import Policy
from chainer_wm.stages import policy_report
from experiments import policy_runs
from experiments.policy_runs import REWARDS, Finished, PolicyConfig

CELLS = 16  # pictures on the sheet of a flight
FILM_STEPS = 300
FILM_BYTES = 140_000
BINS = 20  # in each some updates: the first after a start has few episodes
TITLES = {
    'extrinsic': 'score',
    'intrinsic': 'curiosity',
    'both': 'score and curiosity',
}


def flights(played: policy_report.Played) -> dict[str, Any]:
    """Lengths of episodes and blocks passed: means, and what is usual."""
    blocks = np.array([info['blocks'] for info in played.lasts])
    return {
        'length': float(played.lengths.mean()),
        'length_median': float(np.median(played.lengths)),
        'lengths': played.lengths,
        'blocks': float(blocks.mean()),
        'without_block': float((blocks == 0).mean()),
    }


def draw_flights(
    figures: pathlib.Path, player: Policy, env: gym.Env, seed: int
) -> None:
    """A film of the first flight, and a sheet of it."""
    frames, total = policy_report.film(player, env, seed, max_steps=FILM_STEPS)
    plots.gif(
        figures / 'flight.gif', frames, fps=30, scale=3, max_bytes=FILM_BYTES
    )
    last = len(frames) - 1
    shown = np.unique(np.linspace(0, last, CELLS).astype(int))
    plots.contact_sheet(
        figures / 'flight.png',
        frames[shown],
        [f'step {step}' for step in shown],
        marks=[''] * (len(shown) - 1) + [f'return {total:g}'],
        scale=2,
    )


def draw_search(figures: pathlib.Path, log: list[dict]) -> None:
    """CMA-ES: returns of the candidates by generation."""
    at = np.array([row['generation'] for row in log])
    plots.training_curves(
        figures / 'search.png',
        {
            name: (at, np.array([row[name] for row in log]))
            for name in ('mean', 'max')
        },
        ylabel='return of the candidates',
        xlabel='generation',
        title='CMA-ES, linear controller',
    )


def label(run: Finished) -> str:
    """What distinguishes the runs of a comparison."""
    config = run.config
    if config['learner'] == 'cma_es':
        return 'CMA-ES, linear'
    parts = [TITLES[config['rewards']]]
    if config['recurrent']:
        parts.append(config['model'])
    if config['observation'] == 'pixels':
        parts.append('pixels')
    if config['sticky']:
        parts.append('sticky')
    return ', '.join(parts)


def summarise(config: PolicyConfig, experiment: str) -> None:
    """Curves over the seeds, a table, and a film of each kind of agent."""
    found = policy_runs.finished_runs(config, experiment)
    found.sort(key=lambda run: _order(run.config))
    groups = policy_runs.grouped(found, label)
    folder = policy_runs.summary_folder(config, experiment)
    trained = {name: group for name, group in groups.items() if group[0].log}
    by_view: dict[str, dict[str, list[Finished]]] = {}
    for name, group in trained.items():
        view = group[0].config['observation']
        by_view.setdefault(view, {})[name] = group
    for view, some in by_view.items():
        policy_runs.draw_seeds(
            folder / f'{view}.png',
            {
                'return': policy_runs.curves(some, 'return', BINS),
                'steps per episode': policy_runs.curves(some, 'length', BINS),
                'blocks passed': policy_runs.curves(
                    some, 'episode_blocks', BINS
                ),
            },
            f'PixelCopter from {view}, PPO learning from',
        )
    policy_runs.write_summary(
        folder,
        experiment,
        {name: _row(group) for name, group in groups.items()},
        found,
    )
    for name, group in groups.items():
        _copy_flight(folder, name, group[0])


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
    scores = [run.results['evaluation'] for run in group]
    random = [run.results['random_baseline'] for run in group]
    return {
        'seeds': [run.config['seed'] for run in group],
        'steps': [run.results.get('steps') for run in group],
        'episodes': scores[0]['episodes'],
        'return': policy_runs.spread([s['mean'] for s in scores]),
        'length': policy_runs.spread([s['length'] for s in scores]),
        'blocks': policy_runs.spread([s['blocks'] for s in scores]),
        'without_block': policy_runs.spread(
            [s['without_block'] for s in scores]
        ),
        'random_return': policy_runs.spread([s['mean'] for s in random]),
        'random_length': policy_runs.spread([s['length'] for s in random]),
        'minutes': policy_runs.minutes(group),
    }
