"""Take Cover over cores and seeds: one table, two figures, the controls.

Needs nothing but the runs' results.json. Runs are pooled over seeds only where
every other setting is the same; the settings that tell groups apart are named.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chainer_wm import files, plots
from experiments.doom_take_cover import Config
from experiments.take_cover_table import (
    Finished,
    by_group,
    curve_rows,
    pooled,
    read,
    run_row,
    seeds_of,
)

RESULTS = pathlib.Path(__file__).resolve().parent / 'results'
#: World Models (Ha and Schmidhuber 2018), Take Cover: dream, game.
PAPER = {
    0.1: ((2086, 140), (193, 58)),
    0.5: ((2060, 277), (196, 50)),
    1.0: ((1145, 690), (868, 511)),
    1.15: ((918, 546), (1092, 556)),
    1.3: ((732, 269), (753, 139)),
}
Table = dict[str, Any]
LONGEST = 32  # letters of a group's name in a figure


def summarise(config: Config, experiment: str, solved: float) -> None:
    """Print and write the table of the runs named, and draw them.

    Raises:
        runs.RunError: a run has no result, or one seed was named twice.
    """
    folder = pathlib.Path(config.data, experiment)
    out = pathlib.Path(config.results or RESULTS, experiment)
    found = [read(folder, name) for name in config.summary]
    agents = [run for run in found if 'evaluation' in run.results]
    controls = [run for run in found if 'cells' in run.results]
    table: Table = {
        'runs': {run.name: run_row(run) for run in agents},
        'groups': {},
        'controls': control_rows(controls),
    }
    groups = by_group(agents)
    for label, members in groups.items():
        table['groups'][label] = group_row(members, table['runs'])
    files.write_json(out / 'summary.json', table)
    print('\n'.join([*agent_lines(table), *control_lines(table)]))
    print(f'table: {out / "summary.json"}')
    if agents:
        draw(out, table, solved)
    labels = dict.fromkeys(row['group'] for row in table['controls'])
    for label, name in short_names(labels).items():
        rows = [row for row in table['controls'] if row['group'] == label]
        word = name.lower().replace(',', '').replace(' ', '_')
        draw_temperatures(out / f'temperatures_{word}.png', rows, name)


def short_names(labels: Iterable[str]) -> dict[str, str]:
    """Groups' names for figures; one that is too long gets a number."""
    return {
        label: label if len(label) <= LONGEST else f'{label.split(",")[0]} group {number}'
        for number, label in enumerate(labels, 1)
    }


def group_row(members: Sequence[Finished], rows: Mapping[str, Any]) -> Table:
    """A group over its seeds."""
    mine = [rows[run.name] for run in members]
    return {
        'runs': [run.name for run in members],
        'seeds': [row['seed'] for row in mine],
        **{
            where: seeds_of([row[where]['mean'] for row in mine])
            for where in ('game', 'dream', 'random')
        },
        'minutes': seeds_of([row['minutes'] for row in mine]),
        'parameters': mine[0]['parameters'],
        'curve': curve_rows(members),
        'settings': members[0].settings,
    }


def agent_lines(table: Table) -> list[str]:
    """The runs and groups for the terminal."""
    lines = []
    for name, row in table['runs'].items():
        lines += [
            f'{name}: {row["core"]}, seed {row["seed"]}, '
            f'{row["parameters"]["M"]:,} parameters of M, '
            f'{row["minutes"]:.0f} minutes, '
            f'commits {" ".join(row["commits"])}',
            f'  game {_score(row["game"])}, dream {_score(row["dream"])}, '
            f'random {_score(row["random"])}',
        ]
        for stage in row['rounds']:
            game = _score(stage['game']) if stage['game'] else '-'
            caught = stage['caught']
            lines.append(
                f'  round {stage["round"]}'
                f'{" (C anew)" if stage["anew"] else ""}: '
                f'{stage["agents_episodes"]} '
                f'episodes of agents, generation {stage["generation"]}, '
                f'dream {stage["dream"]:.0f}, game {game}, deaths caught '
                f'{"-" if caught is None else f"{caught:.0%}"}'
            )
        spent = ', '.join(
            f'{stage} {seconds / 60:.1f}' for stage, seconds in row['seconds'].items()
        )
        lines += [f'  minutes: {spent}', f'  {row["command"]}']
    shown = short_names(table['groups'])
    for label, row in table['groups'].items():
        name = '' if shown[label] == label else f'{shown[label]}: '
        lines.append(
            f'{name}{label}, {_count(row["game"])}: game '
            f'{_over(row["game"])}, dream {_over(row["dream"])}, random '
            f'{_over(row["random"])}'
        )
    return lines


def control_rows(found: Sequence[Finished]) -> list[Table]:
    """A row per cell, over the seeds of its group.

    Runs of controls belong together where their own budget and all settings
    of their base runs are the same.
    """
    budgets = ('population', 'dreams', 'generations', 'sigma', 'max_steps')
    own = (*budgets, 'round', 'test_episodes')
    known = [
        dataclasses.replace(
            run, settings=run.settings | {f'controls {n}': run.results['config'][n] for n in own}
        )
        for run in found
    ]
    rows = []
    for label, members in by_group(known).items():
        names = dict.fromkeys(name for run in members for name in run.results['cells'])
        for name in names:
            mine = [run for run in members if name in run.results['cells']]
            rows.append({'group': label, **_cell_row(name, mine)})
    return rows


def _cell_row(name: str, mine: Sequence[Finished]) -> Table:
    cells = [run.results['cells'][name] for run in mine]
    config = mine[0].results['config']
    dream = [cell['dream'] for cell in cells]
    said = ('temperature', 'features', 'separable', 'untrained')
    return {
        'cell': name,
        **{key: cells[0][key] for key in said},
        'controller_parameters': cells[0]['controller_parameters'],
        'runs': [run.name for run in mine],
        'seeds': [run.results['seed'] for run in mine],
        'commits': {run.name: run.results.get('commits', ['unknown']) for run in mine},
        'generations': config['generations'],
        'population': config['population'],
        'dreams': config['dreams'],
        'minutes': [round(run.results['seconds'][name] / 60, 1) for run in mine],
        'game': seeds_of([cell['game']['mean'] for cell in cells]),
        'dream': seeds_of([scores['agent']['mean'] for scores in dream]),
        'random_in_dream': seeds_of([scores['random']['mean'] for scores in dream]),
        'random': seeds_of([run.results['random_baseline']['mean'] for run in mine]),
        'game_episodes': pooled([cell['game'] for cell in cells]),
        'dream_episodes': pooled([scores['agent'] for scores in dream]),
        'random_episodes': pooled([run.results['random_baseline'] for run in mine]),
    }


def control_lines(table: Table) -> list[str]:
    """The controls for the terminal."""
    lines = []
    for row in table['controls']:
        lines.append(
            f'{row["group"]}, {row["cell"]}, {_count(row["game"])} '
            f'({row["generations"]} generations of {row["population"]} x '
            f'{row["dreams"]}): game {_over(row["game"])}, dream '
            f'{_over(row["dream"])}; random {_over(row["random"])}, in the '
            f'dream {_over(row["random_in_dream"])}'
        )
    return lines


def draw(out: pathlib.Path, table: Table, solved: float) -> None:
    """Scores over generations, and the dream against the game."""
    groups, runs = table['groups'], table['runs']
    random = seeds_of([row['random']['mean'] for row in runs.values()])
    levels = {'solved': solved, 'random policy': random['mean']}
    ends: dict[str, list] = {}
    marks: dict[str, list] = {}
    shown = short_names(groups)
    for full, group in groups.items():
        label = shown[full]
        mine = [runs[name] for name in group['runs']]
        ends[label] = [(row['rounds'][-1]['generation'], row['game']['mean']) for row in mine]
        marks[label] = [
            {'dream': stage['dream'], 'game': stage['game']['mean']}
            for row in mine
            for stage in row['rounds']
            if stage['game']
        ]
    plots.score_bands(
        out / 'seeds.png',
        {shown[label]: group['curve'] for label, group in groups.items()},
        ends,
        levels,
        'Take Cover: C evolved in the dream, played in the game',
    )
    print(f'figure: {out / "seeds.png"}')
    if any(marks.values()):
        path = out / 'dream_and_game.png'
        title = 'After every round: dream and game'
        plots.dream_against_game(path, marks, levels, title)
        print(f'figure: {path}')


def draw_temperatures(path: pathlib.Path, rows: Sequence[Table], label: str) -> None:
    """The paper's table of temperatures below ours; none without a row.

    Args:
        rows: of one group, as ``control_rows`` makes them.
    """
    mine = [row for row in rows if row['cell'].startswith('tau-')]
    if not mine:
        return
    ours = [
        {
            'name': ' to '.join(f'{end:.2f}' for end in row['temperature']),
            'dream': row['dream_episodes'],
            'game': row['game_episodes'],
        }
        for row in mine
    ]
    random = {'name': 'random policy', 'game': mine[0]['random_episodes']}
    paper = [
        {
            'name': f'World Models, {tau:.2f}',
            'dream': dict(zip(('mean', 'std'), dream)),
            'game': dict(zip(('mean', 'std'), game)),
        }
        for tau, (dream, game) in PAPER.items()
    ]
    seeds = _count(mine[0]['game'])
    title = f'{label}, {seeds}'
    plots.temperature_table(path, ours, title, [random, *paper])
    print(f'figure: {path}')


def _score(score: Mapping[str, Any]) -> str:
    return f'{score["mean"]:.0f} ± {score["std"]:.0f} ({score["episodes"]} episodes)'


def _count(seeds: Mapping[str, Any]) -> str:
    count = len(seeds['values'])
    return f'{count} seeds' if count > 1 else '1 seed'


def _over(seeds: Mapping[str, Any]) -> str:
    """A mean over seeds, with its interval where there is one."""
    if seeds['interval'] is None:
        return f'{seeds["mean"]:.0f}'
    low, high = seeds['interval']
    return f'{seeds["mean"]:.0f} (95 %: {low:.0f} to {high:.0f})'
