"""Score policies in the game and in the dream, and print what they did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chainer_wm.agents.saved import SavedAgent
from chainer_wm.dream.simulator import FEATURES, Dream, rollout
from chainer_wm.play import evaluation
from chainer_wm.play.engines import Workers
from chainer_wm.seeds import stream

UNIT = 'time steps survived'  # of every score here
MakePolicy = Callable[[], Any]


def score_in_game(
    policies: Mapping[str, MakePolicy],
    make_env: Callable,
    episodes: int,
    seed: int,
    workers: Workers,
    max_steps: int | None = None,
    purpose: str = 'evaluate',
) -> dict[str, dict]:
    """Every policy on the same seeds: name -> ``evaluation.summary``."""
    returns = evaluation.evaluate(
        make_env, policies, episodes, seed, purpose, workers, max_steps=max_steps
    )
    return {name: evaluation.summary(values) for name, values in returns.items()}


def validation(
    saved: SavedAgent, make_env: Callable, episodes: int, seed: int, workers: Workers
) -> Callable[[np.ndarray, int], dict]:
    """What ``evolution.evolve`` is told of a C in the game, in episodes of their own."""

    def score(theta: np.ndarray, generation: int) -> dict:
        agent = {'agent': saved.agent_maker(theta)}
        found = score_in_game(agent, make_env, episodes, seed, workers, purpose='validate')
        return found['agent']

    return score


def score_in_dream(
    policies: Mapping[str, Any],
    dream: Dream,
    episodes: int,
    seed: int,
    features: Sequence[str] = FEATURES,
) -> dict[str, dict]:
    """Every policy in the same dreams: name -> ``evaluation.summary``."""
    scores = {}
    for name, policy in policies.items():
        rngs = [stream(seed, 'dreamt', episode) for episode in range(episodes)]
        scores[name] = evaluation.summary(rollout(dream, policy, rngs, features))
    return scores


def compare(game: Mapping[str, dict], dream: Mapping[str, dict]) -> str:
    """A table for the terminal: each policy in the game and in the dream."""
    lines = [f'{"policy":<12}{"game":>18}{"dream":>18}']
    for name in game:
        cells = [mean_and_std(scores.get(name)) for scores in (game, dream)]
        lines.append(f'{name:<12}' + ''.join(f'{c:>18}' for c in cells))
    return '\n'.join(lines)


def compare_ages(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table for the terminal: deaths per 1,000 steps, game / dream, by age.

    Args:
        rows: one per policy, see ``ages``; at least one.
    """
    spans = [f'{band.first}-{band.last}' for band in rows[0]['game']]
    lines = [f'{"age":<12}' + ''.join(f'{span:>14}' for span in spans)]
    for row in rows:
        cells = [
            ' / '.join(f'{band.rate:.2f}' if band.steps else '-' for band in at)
            for at in zip(row['game'], row['dream'])
        ]
        lines.append(f'{row["name"]:<12}' + ''.join(f'{c:>14}' for c in cells))
    return '\n'.join(lines)


def ages(
    game: Mapping[str, dict],
    dream: Mapping[str, dict],
    limits: tuple[float, float],
    edges: Sequence[int],
) -> list[dict[str, Any]]:
    """At which ages policies die: 'name', and the bands of 'game' and 'dream'.

    Args:
        game, dream: scores by policy, whose returns are steps survived.
        limits: where episodes of the game and of the dream are cut off.
        edges: of the bands, rising.
    """
    return [
        {
            'name': row['name'],
            'game': evaluation.ages(row['game']['returns'], limits[0], edges),
            'dream': evaluation.ages(row['dream']['returns'], limits[1], edges),
        }
        for row in in_both(game, dream)
    ]


def in_both(game: Mapping[str, dict], dream: Mapping[str, dict]) -> list[dict[str, Any]]:
    """A row for each policy that was scored in both."""
    return [
        {'name': name, 'game': game[name], 'dream': dream[name]} for name in game if name in dream
    ]


def mean_and_std(score: Mapping[str, Any] | None) -> str:
    """A score for the terminal."""
    return '-' if score is None else f'{score["mean"]:.0f} ± {score["std"]:.0f}'
