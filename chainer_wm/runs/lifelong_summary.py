"""What a lifelong run says of its levels, as tables and as what runs are compared in."""

from __future__ import annotations

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


def retention(after: Rows) -> list[list[float]]:
    """Success on level j after learning level i: [i][j].

    Args:
        after: a row with 'scores' per level learnt.
    """
    return [[score['success'] for score in row['scores']] for row in after]


def tables(folder: str | os.PathLike, solved: float) -> dict[str, Any]:
    """All of a run's iterations in one place.

    Args:
        solved: share of successes that counts as solved.

    Returns:
        'levels', one dict per level: 'real_steps' spent on it, 'solved_after'
        (real steps on it until a score was at least ``solved``, or None),
        'learnt' and 'kept' (scores right after the level, and after the last
        one); 'retention' of the policy, and 'model_retention' (share of whole
        pictures right; None ahead of a level); 'iterations', as they were
        left.
    """
    every = rows(folder)
    after = after_levels(every)
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
                'learnt': row['scores'][level],
                'kept': after[-1]['scores'][level],
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
        learnt, kept = rows[level]['scores'][level], rows[-1]['scores'][level]
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
        'level  shortest  |  agent: real steps, until solved, success, steps'
        '; kept  |  PPO, same budget: success; until solved: real steps'
        '  |  random'
    )
    lines = [head]
    for level, row in enumerate(results['levels']):
        learnt, kept = row['learnt'], row['kept']
        same, until = (results[name][level] for name in ('same_budget', 'until_solved'))
        lines.append(
            f'{level}  {number(learnt["shortest"])}  |  {row["real_steps"]}, '
            f'{number(row["solved_after"])}, {learnt["success"]:.2f}, '
            f'{number(learnt["steps"])}; {kept["success"]:.2f}  |  '
            f'{same["scores"][level]["success"]:.2f}; '
            f'{until["real_steps"] if until["solved"] else "-"}  |  '
            f'{results["random"][level]["success"]:.2f}'
        )
    return '\n'.join(lines)


def number(value: float | None) -> str:
    """'-' for nothing, no decimals where there are none."""
    if value is None:
        return '-'
    return f'{value:.0f}' if np.isclose(value, round(value)) else f'{value:.1f}'
