"""A policy that PPO trains in M's dream, folded into a controller that acts in the game."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tqdm

from chainer_wm import files
from chainer_wm.agents.controller import Controller
from chainer_wm.agents.ppo.learner import PPO
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.devices import to_cpu
from chainer_wm.dream.gym_envs import ChoiceVectorEnv
from chainer_wm.files.npz import read_array, write_array
from chainer_wm.play.collector import Collector
from chainer_wm.training import ppo
from chainer_wm.training.evolution import TABLE, Evaluate, Evolution, read_table


def folded(network: ActorCritic, unit: np.ndarray) -> np.ndarray:
    """The policy of a network as the parameters of a ``Controller`` of 'likeliest' actions.

    Args:
        network: with tanh layers, or none, before its outputs; without memory.
        unit: (F,), what each feature was divided by: W (x / unit) = (W / unit) x.

    Returns:
        theta (n,) float64: layer by layer the weights, row by row, then the biases.

    Raises:
        ValueError: the network is of another kind.
    """
    if network.recurrent or network.policy_layer is not None or len(network.body.convolutions):
        raise ValueError(
            'only a policy of linear layers can be folded into a controller: this one has a '
            'memory, convolutions or residual heads'
        )
    parts: list[np.ndarray] = []
    for layer in (*network.body.layers, network.policy_head):
        weights, biases = (to_cpu(p.array).astype(np.float64) for p in (layer.W, layer.b))
        parts += [(weights if parts else weights / unit).ravel(), biases]
    return np.concatenate(parts)


def train(
    folder: str | os.PathLike,
    learner: PPO,
    env: ChoiceVectorEnv,
    controller: Controller,
    unit: np.ndarray,
    *,
    updates: int,
    evaluate: Evaluate | None = None,
    evaluate_every: int = 250,
    choose: str = 'last',
    restart_every: int = 50,
    **options: Any,
) -> Evolution:
    """Improve a policy in a dream up to ``updates`` updates, resuming from a save.

    Args:
        folder: gets what ``ppo.train`` leaves, ``history.json`` and the thetas that were scored.
        learner: its network sees the features in their units.
        env: the dream.
        controller: of the network's layers and 'likeliest' actions; it checks the theta.
        unit: of each feature, (F,).
        evaluate: scores a theta in the real game every ``evaluate_every`` updates, and at the end.
        choose: see ``evolution.evolve``.
        restart_every, options: see ``ppo.train``.

    Returns:
        As of an evolution, updates in the place of generations; the history is of ``lasting``.

    Raises:
        ValueError: ``choose`` is unknown, or 'game' without ``evaluate``.
    """
    if choose not in ('last', 'game') or (choose == 'game' and not evaluate):
        raise ValueError(
            f'choose is {choose!r} but must be last, or game with evaluations in the game'
        )
    folder = pathlib.Path(folder)
    table = folder / TABLE
    rows = read_table(table)['evaluations'] if table.exists() else []
    collector = Collector(learner.network, env)
    log: list[dict[str, Any]] = []
    for stop in [*range(evaluate_every, updates, evaluate_every), updates]:
        if stop < updates and (not evaluate or any(row['generation'] == stop for row in rows)):
            continue
        log = ppo.train(
            *(folder, learner, collector), updates=stop, restart_every=restart_every, **options
        )
        theta = folded(learner.network, unit)
        controller.set_theta(theta)
        if evaluate and not any(row['generation'] == stop for row in rows):
            rows.append({'generation': stop, **_score(folder, evaluate, theta, stop)})
        history = lasting(log, restart_every)
        files.write_json(table, {'generations': history, 'evaluations': rows, 'before': 0})
    found = Evolution(theta, updates, history, rows)
    if choose == 'game':
        best = max(rows, key=lambda row: row['mean'])['generation']
        found = found._replace(theta=read_array(_theta_path(folder, best)), generation=best)
    return found


def lasting(log: Sequence[Mapping[str, Any]], restart_every: int) -> list[dict[str, Any]]:
    """How long dreams last while the policy learns.

    All begin anew together at every restart, and soon after only short ones have ended: so it is
    the mean over all that ended in the last ``restart_every`` updates, from the first of them on.

    Args:
        log: of ``ppo.train``.

    Returns:
        Per update 'generation' (its number) and 'mean', in steps; none where no dream ended.
    """
    ended = np.array([row['episodes'] for row in log], float)
    steps = np.array([(row['length'] or 0) * row['episodes'] for row in log])
    found = []
    for n, row in enumerate(log):
        window = slice(max(0, n + 1 - restart_every), n + 1)
        if ended[window].any():
            mean = steps[window].sum() / ended[window].sum()
            found.append({'generation': row['update'], 'mean': float(mean)})
    return found


def _score(
    folder: pathlib.Path, evaluate: Callable, theta: np.ndarray, update: int
) -> dict[str, Any]:
    """Of a theta in the game; it is kept."""
    score = evaluate(theta, update)
    write_array(_theta_path(folder, update), theta)
    tqdm.tqdm.write(
        f'update {update}: {score["mean"]:.0f} ± {score["std"]:.0f} over {score["episodes"]} '
        'episodes of the game'
    )
    return score


def _theta_path(folder: pathlib.Path, update: int) -> pathlib.Path:
    return folder / 'means' / f'{update:06d}.npy'
