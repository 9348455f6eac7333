"""Score policies in the game and in the dream, and draw what they did."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chainer_wm import plots
from chainer_wm.agents.controller import ControllerPolicy
from chainer_wm.agents.saved import SavedAgent
from chainer_wm.dream.foresight import foresee
from chainer_wm.dream.gym_envs import DreamEnv
from chainer_wm.dream.simulator import FEATURES, Dream, rollout
from chainer_wm.links.conv_vae import decoded
from chainer_wm.play import evaluation
from chainer_wm.play.films import film
from chainer_wm.rollouts.latents import Latents
from chainer_wm.seeds import stream
from chainer_wm.training.evolution import read_history
from chainer_wm.training.mdn_rnn import Deaths

UNIT = 'time steps survived'  # of every score here
MakePolicy = Callable[[], Any]


def score_in_game(
    policies: Mapping[str, MakePolicy],
    make_env: Callable,
    episodes: int,
    seed: int,
    workers: int,
    max_steps: int | None = None,
    purpose: str = 'evaluate',
) -> dict[str, dict]:
    """Every policy on the same seeds: name -> ``evaluation.summary``."""
    returns = evaluation.evaluate(
        make_env, policies, episodes, seed, purpose, workers, max_steps=max_steps
    )
    return {name: evaluation.summary(values) for name, values in returns.items()}


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
        for row in _in_both(game, dream)
    ]


def _in_both(game: Mapping[str, dict], dream: Mapping[str, dict]) -> list[dict[str, Any]]:
    """A row for each policy that was scored in both."""
    return [
        {'name': name, 'game': game[name], 'dream': dream[name]} for name in game if name in dream
    ]


def mean_and_std(score: Mapping[str, Any] | None) -> str:
    """A score for the terminal."""
    return '-' if score is None else f'{score["mean"]:.0f} ± {score["std"]:.0f}'


def draw_scores(
    folder: pathlib.Path,
    saved: SavedAgent,
    game: Mapping[str, dict],
    dream: Mapping[str, dict],
    solved: float | None,
    core: str,
    done_weight: float,
    ages: Sequence[Mapping[str, Any]],
) -> None:
    """The evolution, histograms of returns, the dream against the game.

    Args:
        done_weight: of a death in M's loss.
        ages: what ``ages`` found.
    """
    plots.evolution(
        folder / 'evolution.png',
        *read_history(saved.home / 'controller'),
        game['random'],
        solved,
        f'C in the dream of an M with {core}',
        f'score ({UNIT})',
    )
    plots.returns_histogram(
        folder / 'returns.png',
        {name: score['returns'] for name, score in game.items()},
        solved=solved,
        xlabel=f'return of an episode ({UNIT})',
    )
    deaths = Deaths.load(saved.home / 'model/deaths.npz')
    plots.calibration(
        folder / 'calibration.png', _in_both(game, dream), deaths, done_weight, unit=UNIT
    )
    plots.deaths_by_age(folder / 'ages.png', ages)


def draw_films(
    folder: pathlib.Path,
    saved: SavedAgent,
    make_env: Callable,
    dream: Dream,
    dreamer: ControllerPolicy,
    seed: int,
    fps: float,
) -> None:
    """GIFs of the agent in the game, in its dream, and side by side."""
    game = film(make_env, saved.agent_maker()(), stream(seed, 'evaluate', 0)).frames
    inside = functools.partial(DreamEnv, dream, saved.features, saved.vision())
    dreamt = film(inside, dreamer, stream(seed, 'film'), rendered=True).frames
    plots.gif(folder / 'game.gif', game, fps)
    plots.gif(folder / 'dream.gif', dreamt, fps)
    plots.side_by_side(folder / 'game_and_dream.gif', game, dreamt, fps=fps)


def draw_foresight(
    folder: pathlib.Path,
    saved: SavedAgent,
    episode: int,
    seed: int,
    context: int = 20,
    most: int = 120,
) -> None:
    """An episode's end: V's and M's pictures beside the game's.

    The last ``most`` steps, so that the death is in it. M has seen all before
    and ``context`` of them, then dreams alone, with the actions taken.
    """
    latents, vision = Latents(saved.codes_of(0)), saved.vision()
    rows = latents.rows(episode)
    length = rows.stop - rows.start
    first = max(0, length - most)
    context = min(context, length - first - 1)
    seen = foresee(
        saved.model(),
        latents.mu[rows],
        latents.actions[rows],
        first + context,
        stream(seed, 'foresight'),
    )
    rollout = saved.at(0).store().read(episode)
    died = length - first - 1 if rollout.terminated[-1] else None
    plots.open_loop(
        folder / 'foresight.png',
        rollout.observations[first:],
        decoded(vision, seen.one_step[first:]),
        decoded(vision, seen.dreamed[first:]),
        context,
        reconstruction=decoded(vision, latents.mu[rows][first:]),
        done={'one-step': seen.p_done_one_step[first:], 'open-loop': seen.p_done_dreamed[first:]},
        died_at=died,
        first_step=first,
        title=f'M along held-out episode {episode}',
    )
