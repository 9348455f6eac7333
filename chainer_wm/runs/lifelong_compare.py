"""Lifelong runs of several seeds and models side by side."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainer_wm import files
from chainer_wm.plots import seed_curves, style
from chainer_wm.plots.matrices import share_matrices
from chainer_wm.runs.lifelong_summary import number, retention
from chainer_wm.runs.task_summaries import read_runs, same_settings

MAY_DIFFER = ('seed', 'model', 'run', 'data', 'stages', 'summary', 'results')
METHODS = {
    'dnc': 'agent, DNC model',
    'lstm': 'agent, LSTM model',
    'same_budget': 'PPO, same real steps',
    'until_solved': 'PPO, until solved',
    'random': 'random',
}
MEASURES = {
    'solved_after': 'real steps until solved',
    'learnt': 'success after the level',
    'kept': 'success at the end',
    'excess': 'steps / shortest way, at the end',
}


def compare(folder: str | os.PathLike, names: Sequence[str], results: str | os.PathLike) -> None:
    """Write ``<env>.json`` and figures ``<env>_*.png``, one ``<env>.gif``.

    Args:
        folder: that holds the runs.
        names: of finished runs of one game.
        results: the folder to write to.

    Raises:
        RunError: a run is not finished, or games or settings are mixed.
    """
    runs = read_runs(folder, names, 'passing_by_chance')
    config = same_settings(runs, MAY_DIFFER)
    env, results = config['env'], pathlib.Path(results)
    found = table(runs)
    files.write_json(
        results / f'{env}.json',
        {
            'config': config,
            'versions': runs[0]['versions'],
            'runs': [_kept(run) for run in runs],
            'passing_by_chance': runs[0]['passing_by_chance'],
            'table': found,
        },
    )
    print(as_text(found))
    draw_table(results / f'{env}_levels.png', found, env)
    draw_retention(results / f'{env}_retention.png', runs)
    draw_learning(results / f'{env}_learning.png', runs)
    _copy_pictures(pathlib.Path(folder), runs, results)


def _kept(run: Mapping[str, Any]) -> dict[str, Any]:
    """What the file of results says of one run."""
    names = ('run', 'seed', 'seconds', 'retention', 'model_retention')
    return {
        'stopped_at': [row['stopped_at'] for row in run['levels']],
        'looks': [row['looks'] for row in run['levels']],
        'model': run['config']['model'],
        **{name: run[name] for name in names},
    }


def _copy_pictures(folder: pathlib.Path, runs, results: pathlib.Path) -> None:
    """Dreams of the first run of each model, and the first run's film."""
    first = {run['config']['model']: run for run in reversed(runs)}
    env = runs[0]['config']['env']
    copies = {f'{env}_dreams_{model}.png': (run, 'dreams.png') for model, run in first.items()}
    copies[f'{env}.gif'] = (runs[0], 'agent.gif')
    for name, (run, picture) in copies.items():
        source = folder / run['run'] / 'figures' / picture
        if source.exists():
            shutil.copyfile(source, results / name)


def table(runs: Sequence[Mapping]) -> dict[str, list[dict[str, list]]]:
    """Method -> per level: each of MEASURES, one value per seed.

    PPO and random do not depend on the model, but PPO of the same budget
    does on how much it used: it is that of every run; of the others each
    seed counts once.
    """
    found: dict[str, list] = {}
    once = list({run['seed']: run for run in runs}.values())
    levels = range(len(runs[0]['levels']))
    for method in METHODS:
        of = [run for run in runs if run['config']['model'] == method]
        if method not in ('dnc', 'lstm'):
            of = list(runs) if method == 'same_budget' else once
        if of:
            rows = [[_row(run, method, level) for level in levels] for run in of]
            found[method] = [
                {name: [row[level][name] for row in rows] for name in MEASURES} for level in levels
            ]
    return found


def _row(run: Mapping, method: str, level: int) -> dict[str, float | None]:
    """One seed of one method on one level."""
    after: float | None = None
    if method == 'random':
        learnt = kept = run['random'][level]
    elif method in ('same_budget', 'until_solved'):
        rows = run[method]
        learnt = rows[level]['reported'][level]
        kept = rows[-1]['reported'][level]
        if rows[level].get('solved'):
            after = rows[level]['real_steps']
    else:
        row = run['levels'][level]
        learnt, kept = row['learnt'], row['kept']
        after = row['solved_after']
    steps, shortest = kept['steps'], kept['shortest']
    return {
        'solved_after': after,
        'learnt': learnt['success'],
        'kept': kept['success'],
        'excess': steps / shortest if steps else None,
    }


def as_text(found: Mapping[str, Sequence[Mapping]]) -> str:
    """The table for the terminal: means over the seeds that have a value."""
    lines = []
    for method, levels in found.items():
        lines.append(METHODS[method])
        for level, row in enumerate(levels):
            cells = []
            for name, label in MEASURES.items():
                known = [value for value in row[name] if value is not None]
                mean = number(np.mean(known)) if known else '-'
                if name != 'solved_after' and known:
                    mean = f'{np.mean(known):.2f}'
                cells.append(f'{label} {mean} ({len(known)}/{len(row[name])})')
            lines.append(f'  level {level}: ' + ', '.join(cells))
    return '\n'.join(lines)


def draw_table(path: str | os.PathLike, found: Mapping[str, Sequence], env: str) -> None:
    """A panel per measure: levels from left to right, a dot per seed."""
    chart = style.figure(11.0, 6.4)
    style.heading(chart, f'{env}: level after level')
    panels = chart.subplots(2, 2).flat
    colours = dict(zip(found, style.colours(found)))
    for axes, (name, label) in zip(panels, MEASURES.items()):
        style.dress(axes, 'level', label)
        for place, (method, levels) in enumerate(found.items()):
            _dots(axes, levels, name, place, len(found), method, colours)
        count = len(next(iter(found.values())))
        axes.set_xticks(range(count))
        axes.set_xlim(-0.5, count - 0.5)
        if name == 'solved_after' and len(axes.lines):
            axes.set_yscale('log')
        elif name == 'excess':
            style.limit(axes, 1.0)
        else:
            axes.set_ylim(-0.05, 1.08)
    handles = chart.axes[1].get_legend_handles_labels()
    chart.legend(*handles, loc='outside lower center', ncol=len(found), frameon=False)
    style.save(path, chart)


def _dots(axes, levels, name, place, count, method, colours) -> None:
    """One method in one panel: seeds pale, their mean as a bar."""
    label = METHODS[method]
    for level, row in enumerate(levels):
        known = [value for value in row[name] if value is not None]
        if not known:
            continue
        x = level + (place - (count - 1) / 2) * 0.15
        axes.plot(
            [x] * len(known),
            known,
            'o',
            color=colours[method],
            alpha=0.4,
            markersize=5,
            markeredgewidth=0,
        )
        axes.plot(
            [x - 0.06, x + 0.06],
            [np.mean(known)] * 2,
            color=colours[method],
            linewidth=3,
            label=label,
        )
        label = '_'


def draw_retention(path: str | os.PathLike, runs: Sequence[Mapping]) -> None:
    """Mean success on each level after each level, by method."""
    panels = {}
    for core, of in _by_model(runs).items():
        panels[METHODS[core]] = np.mean([run['retention'] for run in of], 0)
    for name in ('same_budget', 'until_solved'):
        panels[METHODS[name]] = np.mean([retention(run[name]) for run in runs], 0)
    seeds = len({run['seed'] for run in runs})
    share_matrices(
        path, panels, title=f'{runs[0]["config"]["env"]}: success, mean of {seeds} seeds'
    )


def draw_learning(path: str | os.PathLike, runs: Sequence[Mapping]) -> None:
    """Success on every level after every iteration: learning and keeping."""
    most = max(run['iterations'][-1]['real_steps'] for run in runs)
    steps = np.linspace(0, most, 200)
    panels = {
        f'success on level {level}': {
            core: (steps, np.stack([known(run, level, steps) for run in of]))
            for core, of in _by_model(runs).items()
        }
        for level in range(len(runs[0]['levels']))
    }
    seed_curves(
        path,
        panels,
        xlabel='real steps',
        title=f'{runs[0]["config"]["env"]}: the agent in the real game',
    )


def _by_model(runs: Sequence[Mapping]) -> dict[str, list[Mapping]]:
    return {
        core: of
        for core in ('dnc', 'lstm')
        if (of := [run for run in runs if run['config']['model'] == core])
    }


def known(run: Mapping, level: int, steps: np.ndarray) -> np.ndarray:
    """Success on a level as last scored after so many real steps.

    0 before the first score; after the last one it stays what it was: runs
    take different numbers of iterations.
    """
    rows = run['iterations']
    scored = [row['real_steps'] for row in rows]
    success = [0.0, *(row['scores'][level]['success'] for row in rows)]
    return np.array(success)[np.searchsorted(scored, steps, 'right')]
