"""PixelCopter's flights: how far they get, what they look like, over seeds."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import gym
import numpy as np

from chainer_wm import files, plots
from chainer_wm.agents.policies import Policy
from chainer_wm.runs import policy_report, policy_runs
from chainer_wm.runs.policy_runs import REWARDS, Finished, PolicyConfig

CELLS = 16  # pictures on the sheet of a flight
FILM_STEPS = 300
FILM_BYTES = 140_000
FALL = 15  # frames (half a second) without a climb at the end: a fall
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


@dataclasses.dataclass(frozen=True)
class Falling:
    """Never climbs."""

    def start(self, rngs: Sequence[np.random.Generator]) -> None:
        """It remembers nothing, and draws nothing."""

    def act(self, observations: np.ndarray, state: None) -> tuple[Any, None]:
        """(B,) zeros."""
        return np.zeros(len(observations), np.int64), None


def flights(played: policy_report.Played) -> dict[str, Any]:
    """Lengths of episodes and blocks passed: means, and what is usual.

    'fell' is the share of flights that ended ``FALL`` frames or more after
    the last climb: of "a few ups, then fall".
    """
    blocks, climbs, sinking = (
        np.array([info[name] for info in played.lasts]) for name in ('blocks', 'climbs', 'sinking')
    )
    return {
        'length': float(played.lengths.mean()),
        'length_median': float(np.median(played.lengths)),
        'lengths': played.lengths,
        'blocks': float(blocks.mean()),
        'without_block': float((blocks == 0).mean()),
        'climbs': float(climbs.mean()),
        'fell': float((sinking >= FALL).mean()),
    }


def draw_flights(figures: pathlib.Path, player: Policy, env: gym.Env, seed: int) -> None:
    """A film of the first flight, and a sheet of it."""
    frames, total = policy_report.film(player, env, seed, max_steps=FILM_STEPS)
    plots.gif(figures / 'flight.gif', frames, fps=30, scale=3, max_bytes=FILM_BYTES)
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
        {name: (at, np.array([row[name] for row in log])) for name in ('mean', 'max')},
        ylabel='return of the candidates',
        xlabel='generation',
        title='CMA-ES, linear controller',
    )


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
    table = {name: _row(group) for name, group in groups.items()}
    for view, some in by_view.items():
        policy_runs.draw_seeds(
            folder / f'{view}.png',
            {
                label: policy_runs.curves(some, column, BINS)
                for label, (column, _) in PANELS.items()
            },
            f'PixelCopter from {view}, PPO learning from',
            {label: _levels(table, found, score) for label, (_, score) in PANELS.items()},
        )
    policy_runs.write_summary(folder, experiment, table, found)
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
        'minutes': policy_runs.minutes(group),
    }


def _scores(group: list[Finished], player: str) -> dict[str, Any]:
    """What a player of these runs did, over the seeds."""
    found = [run.results[player] for run in group]
    named = {'return': 'mean', **{name: name for name in SCORES}}
    return {
        name: policy_runs.spread([one[column] for one in found]) for name, column in named.items()
    }
