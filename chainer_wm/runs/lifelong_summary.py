"""What a lifelong run says of its levels, as tables and as what runs are compared in."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainer_wm import files
from chainer_wm.runs.comparison import curve

Rows = Sequence[Mapping[str, Any]]
AGENT = 'agent'
#: What the agent is held against: where the results have it.
PPO = {'PPO, same real steps': 'same_budget', 'PPO, until solved': 'until_solved'}
BASELINES = (*PPO, 'random')
SUCCESS, KEPT = 'success after the level', 'success at the end'
LEFT = 'success at the look that passed'
UNTIL, EXCESS = 'real steps until solved', 'steps / shortest way, at the end'


def rows(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """What every iteration left, ``level-*/iteration-*/scores.json``."""
    found = [
        files.read_json(path)
        for path in pathlib.Path(folder).glob('level-*/iteration-*/scores.json')
    ]
    return sorted(found, key=lambda row: (row['level'], row['iteration']))


def after_levels(every: Rows) -> list[Mapping[str, Any]]:
    """The last iteration of each level."""
    return list({row['level']: row for row in every}.values())


def folder_of(folder: str | os.PathLike, level: int, iteration: int) -> pathlib.Path:
    """Of an iteration, in a run's folder."""
    return pathlib.Path(folder, f'level-{level}', f'iteration-{iteration}')


def reported_path(folder: str | os.PathLike, row: Mapping[str, Any]) -> pathlib.Path:
    """Scores of fresh episodes after a level's last iteration."""
    place = folder_of(folder, row['level'], row['iteration'])
    return place / 'reported.json'


def retention(after: Rows) -> list[list[float]]:
    """Success on level j after learning level i: [i][j].

    Args:
        after: a row with the scores 'reported' per level learnt.
    """
    return [[score['success'] for score in row['reported']] for row in after]


def chance_of_passing(success: float, episodes: int, solved: float) -> float:
    """How likely a policy passes one test that it should fail.

    The binomial probability that at least a share ``solved`` of so many independent episodes
    succeed, where each does with chance ``success``.
    """
    passing = [n for n in range(episodes + 1) if n / episodes >= solved]
    return sum(
        math.comb(episodes, n) * success**n * (1 - success) ** (episodes - n) for n in passing
    )


def by_chance(episodes: int, solved: float) -> dict[str, Any]:
    """What the test by which a level is left lets through.

    Returns:
        'episodes' and 'solved' of the test, and 'one_look': by the true
        share of successes, the probability of passing it. The test is
        repeated after every iteration, so who gets k looks passes with at
        most k times that.
    """
    return {
        'episodes': episodes,
        'solved': solved,
        'one_look': {
            f'{share:.2f}': chance_of_passing(share, episodes, solved)
            for share in (0.5, 0.6, 0.7, 0.8, 0.85)
            if share < solved
        },
    }


def tables(folder: str | os.PathLike, solved: float) -> dict[str, Any]:
    """All of a run's iterations in one place.

    Args:
        solved: share of successes that counts as solved.

    Returns:
        'levels', one dict per level: 'real_steps' spent on it, 'solved_after' (real steps on it
        until a score was at least ``solved``, or None), 'looks' (how often it was scored) and
        'stopped_at' (the last of these scores, chosen for being high), 'learnt' and 'kept' (scores
        of fresh episodes right after the level, and after the last one); 'retention'
        of the policy, and 'model_retention' (share of whole pictures right; None ahead of a
        level); 'iterations', as they were left.
    """
    every = rows(folder)
    after = [
        {**row, 'reported': files.read_json(reported_path(folder, row), list)}
        for row in after_levels(every)
    ]
    totals = [0, *(row['real_steps'] for row in after)]
    levels = []
    for level, row in enumerate(after):
        enough = [
            one['real_steps'] - totals[level]
            for one in every
            if one['level'] == level and one['scores'][level]['success'] >= solved
        ]
        levels.append(
            {
                'level': level,
                'real_steps': totals[level + 1] - totals[level],
                'solved_after': enough[0] if enough else None,
                'looks': sum(one['level'] == level for one in every),
                'stopped_at': row['scores'][level],
                'learnt': row['reported'][level],
                'kept': after[-1]['reported'][level],
            }
        )
    return {
        'levels': levels,
        'retention': retention(after),
        'model_retention': [
            [probe['pictures'] for probe in row['probes']]
            + [None] * (len(after) - len(row['probes']))
            for row in after
        ],
        'iterations': every,
    }


def compared(results: Mapping[str, Any]) -> dict[str, Any]:
    """What runs are compared in: measures by level, success over real steps, what is kept.

    Args:
        results: of a run, with ``tables``, 'random', and PPO's rows 'same_budget' and
            'until_solved'.
    """
    levels = range(len(results['levels']))
    found = {
        method: [measures(results, method, level) for level in levels]
        for method in (AGENT, *BASELINES)
    }
    curves = {
        name: curve(
            *(list(levels), [row[name] for row in _known(found[AGENT])], 'level', name),
            references={m: [row[name] for row in _known(found[m])] for m in BASELINES},
        )
        for name in (SUCCESS, KEPT, UNTIL, EXCESS)
    }
    curves[UNTIL]['log'] = True
    for name, values in (
        (LEFT, [row['stopped_at']['success'] for row in results['levels']]),
        ('looks', [row['looks'] for row in results['levels']]),
    ):
        curves[name] = curve(list(levels), values, 'level', name)
    every = results['iterations']
    for level in levels:
        shares = [0.0, *(row['scores'][level]['success'] for row in every)]
        steps = [0, *(row['real_steps'] for row in every)]
        name = f'success on level {level}'
        curves[name] = curve(steps, shares, 'real steps', 'success', hold=True)
    scores = {
        method: {KEPT: {'mean': float(np.mean(np.array([row[KEPT] for row in rows], float)))}}
        for method, rows in found.items()
    }
    return {
        'curves': curves,
        'scores': {**scores.pop(AGENT), 'real steps in all': _real_steps(results)},
        'baselines': scores,
        'matrices': matrices(results),
    }


def measures(results: Mapping[str, Any], method: str, level: int) -> dict[str, float | None]:
    """One method on one level, None for what it never reached."""
    after: float | None = None
    if method == AGENT:
        row = results['levels'][level]
        learnt, kept, after = row['learnt'], row['kept'], row['solved_after']
    elif method in PPO:
        rows = results[PPO[method]]
        learnt, kept = rows[level]['reported'][level], rows[-1]['reported'][level]
        if rows[level].get('solved'):
            after = rows[level]['real_steps']
    else:
        learnt = kept = results['random'][level]
    steps = kept['steps']
    return {
        UNTIL: after,
        SUCCESS: learnt['success'],
        KEPT: kept['success'],
        EXCESS: steps / kept['shortest'] if steps else None,
    }


def matrices(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Success of the agent, exactness of M, and PPO on the real levels: [after][on level]."""
    found = {
        'agent: success': results['retention'],
        'M: whole pictures right': results['model_retention'],
        **{f'{name}: success': retention(results[key]) for name, key in PPO.items()},
    }
    return {
        name: {'values': values, 'rows': 'after level', 'columns': 'on level'}
        for name, values in found.items()
    }


def _known(rows: Sequence[Mapping[str, float | None]]) -> list[dict[str, float]]:
    """NaN for what was not reached."""
    return [{k: np.nan if v is None else v for k, v in row.items()} for row in rows]


def _real_steps(results: Mapping[str, Any]) -> dict[str, Any]:
    steps = sum(row['real_steps'] for row in results['levels'])
    return {'mean': steps, 'lower_is_better': True}


def as_text(results: Mapping[str, Any]) -> str:
    """One run's table for the terminal."""
    head = (
        'level  shortest  |  agent: real steps, until solved, stopped at, '
        'fresh: success, steps; kept  |  PPO, same budget: success; until '
        'solved: real steps'
        '  |  random'
    )
    lines = [head]
    for level, row in enumerate(results['levels']):
        learnt, kept = row['learnt'], row['kept']
        same, until = (results[name][level] for name in ('same_budget', 'until_solved'))
        lines.append(
            f'{level}  {number(learnt["shortest"])}  |  {row["real_steps"]}, '
            f'{number(row["solved_after"])}, '
            f'{row["stopped_at"]["success"]:.2f}, '
            f'{learnt["success"]:.2f}, {number(learnt["steps"])}; '
            f'{kept["success"]:.2f}  |  '
            f'{same["reported"][level]["success"]:.2f}; '
            f'{until["real_steps"] if until["solved"] else "-"}  |  '
            f'{results["random"][level]["success"]:.2f}'
        )
    test = results['passing_by_chance']
    chances = ', '.join(f'{p:.2g} at {share}' for share, p in test['one_look'].items())
    lines.append(
        f'one look at {test["episodes"]} episodes passes by chance with p = {chances} true success'
    )
    return '\n'.join(lines)


def number(value: float | None) -> str:
    """'-' for nothing, no decimals where there are none."""
    if value is None:
        return '-'
    return f'{value:.0f}' if np.isclose(value, round(value)) else f'{value:.1f}'
