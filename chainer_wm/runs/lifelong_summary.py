"""What a lifelong run says, and what several runs say together."""

from __future__ import annotations

import math
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

    The binomial probability that at least a share ``solved`` of so many
    independent episodes succeed, where each does with chance ``success``.
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
        'levels', one dict per level: 'real_steps' spent on it, 'solved_after'
        (real steps on it until a score was at least ``solved``, or None),
        'looks' (how often it was scored) and 'stopped_at' (the last of these
        scores, chosen for being high), 'learnt' and 'kept' (scores of fresh
        episodes right after the level, and after the last one); 'retention'
        of the policy, and 'model_retention' (share of whole pictures right;
        None ahead of a level); 'iterations', as they were left.
    """
    every = rows(folder)
    after = [
        {**row, 'reported': files.read_json(reported_path(folder, row))}
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
