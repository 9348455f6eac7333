"""Pictures in a run's folder: what V and M learnt, what C scored, what all of them see."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chainer
import numpy as np

from chainer_wm import plots
from chainer_wm.agents.controller import ControllerPolicy
from chainer_wm.agents.saved import SavedAgent
from chainer_wm.dream.foresight import foresee
from chainer_wm.dream.gym_envs import DreamEnv
from chainer_wm.dream.simulator import Dream
from chainer_wm.links.conv_vae import ConvVAE, decoded, to_input
from chainer_wm.play.films import film
from chainer_wm.rollouts import JoinedStores, RolloutStore
from chainer_wm.rollouts.latents import Latents
from chainer_wm.runs import report
from chainer_wm.seeds import stream
from chainer_wm.training.evolution import read_history
from chainer_wm.training.mdn_rnn import Deaths


def draw_vision(
    folder: pathlib.Path,
    log: list[dict],
    vision: ConvVAE,
    store: RolloutStore | JoinedStores,
    episodes: Sequence[Any],
    count: int = 16,
) -> None:
    """The learning curve, and held-out frames beside what V makes of them."""
    plots.training_curves(
        folder / 'vision_training.png',
        {
            'train': (
                np.array([row['iteration'] for row in log]),
                np.array([row['main/loss'] for row in log]),
            )
        },
        ylabel='loss (squared error + KL, nats)',
        xlabel='update',
        title='V: ConvVAE',
    )
    frames = np.stack([_middle(store, episodes, k, count) for k in range(count)])
    with chainer.no_backprop_mode():
        x = to_input(frames, vision.xp, vision.dtype.type)
        rebuilt = chainer.get_device('@numpy').send(vision.reconstruct(x).array)
    plots.reconstructions(folder / 'reconstructions.png', frames, rebuilt, title='held-out frames')


def _middle(
    store: RolloutStore | JoinedStores, episodes: Sequence[Any], k: int, count: int
) -> np.ndarray:
    """Picture k of ``count``: another episode and another moment each."""
    frames = store.read(episodes[k % len(episodes)]).observations
    return frames[(k + 1) * len(frames) // (count + 1)]


def draw_model(folder: pathlib.Path, log: list[dict]) -> None:
    """Training and held-out loss of the mixtures, over updates, if any."""
    if not log:
        return
    curves = {'train': _curve(log, 'main/nll'), 'held-out': _curve(log, 'held_out/nll')}
    plots.training_curves(
        folder / 'model_training.png',
        {name: curve for name, curve in curves.items() if len(curve[0])},
        ylabel='nats per latent dimension',
        xlabel='update',
        title='M: negative log-likelihood of the next z',
    )


def _curve(log: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    rows = [row for row in log if name in row]
    return (np.array([row['iteration'] for row in rows]), np.array([row[name] for row in rows]))


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
        f'score ({report.UNIT})',
    )
    plots.returns_histogram(
        folder / 'returns.png',
        {name: score['returns'] for name, score in game.items()},
        solved=solved,
        xlabel=f'return of an episode ({report.UNIT})',
    )
    deaths = Deaths.load(saved.home / 'model/deaths.npz')
    plots.calibration(
        folder / 'calibration.png',
        report.in_both(game, dream),
        deaths,
        done_weight,
        unit=report.UNIT,
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

    The last ``most`` steps, so that the death is in it. M has seen all before and ``context`` of
    them, then dreams alone, with the actions taken.
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


def draw_deaths(
    path: pathlib.Path,
    saved: SavedAgent,
    store: RolloutStore,
    codes: Latents,
    ends: Sequence[tuple[int, int]],
    temperature: float,
    seed: int,
    steps: int = 12,
) -> None:
    """The last steps before some deaths: the game, V, and two dreams.

    Under the frames of a dream stands its P(done).

    Args:
        store, codes: where the episodes are.
        ends: (episode, its length), at least one, see ``foresight.ends_of``.
    """
    model, vision = saved.model(), saved.vision()
    rng = stream(seed, 'forewarning film', saved.round)
    frames, captions, notes = [], [], []
    for episode, length in ends:
        rows, last = codes.rows(episode), slice(length - steps - 1, length)
        z, actions = np.array(codes.mu[rows]), np.array(codes.actions[rows])
        frames += [store.read(episode).observations[last]]
        frames += [decoded(vision, z[last])]
        notes += [str(k) for k in range(-steps, 1)] + [''] * (steps + 1)
        for _ in range(2):
            seen = foresee(model, z, actions, length - steps, rng, temperature)
            frames.append(decoded(vision, seen.dreamed[last]))
            notes += [f'{p:.2f}' for p in seen.p_done_dreamed[last]]
        for word in ('game', 'V', 'dream', 'dream'):
            captions += [word] + [''] * steps
    plots.contact_sheet(
        path,
        np.concatenate(frames),
        captions,
        notes,
        columns=steps + 1,
        scale=1,
        title=f'Deaths, and M dreaming from {steps} steps before them',
    )
