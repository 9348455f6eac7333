"""What a lifelong run says, and what several runs say together."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainer_wm import files

Rows = Sequence[Mapping[str, Any]]


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
