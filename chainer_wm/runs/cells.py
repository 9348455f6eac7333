"""Controls on top of a trained M: C evolved anew, with one thing changed.

Every cell starts its own search at zero, in the dream of the same M, with the
same small budget and the same dreams; its C is then scored in the dream that
it grew up in and in the game.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import chainer
import numpy as np

from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.saved import Parts
from chainer_wm.agents.world_model import WorldModelAgent, features_width
from chainer_wm.dream.beside import BesideDream
from chainer_wm.dream.simulator import Dream
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.runs import report
from chainer_wm.training import evolution


@dataclasses.dataclass(frozen=True)
class Cell:
    """One control.

    Attributes:
        name: of its stage and folder.
        temperature: of the dream: tau, or the two ends of a range.
        features: what C sees.
        separable: CMA-ES with a diagonal covariance.
        untrained: c, h and r come from an M with its first weights, in the
            dream (which stays the trained M's) and in the game.
    """

    name: str
    temperature: tuple[float, ...]
    features: tuple[str, ...]
    separable: bool = False
    untrained: bool = False


@dataclasses.dataclass(frozen=True)
class Budget:
    """Of the search of every cell."""

    generations: int
    population: int
    dreams: int
    sigma: float
    max_steps: int


def first_weights(network: MDNRNN) -> MDNRNN:
    """An M as this one was before its training, on the same device."""
    with chainer.using_config('dtype', network.dtype):
        fresh = MDNRNN(**network.config)
    fresh.to_device(network.device)
    return fresh


def dream_of(cell: Cell, parts: Parts, max_steps: int) -> Dream:
    """The dream of a cell: the trained M's, with the cell's features."""
    trained = parts.dream(cell.temperature, max_steps)
    if not cell.untrained:
        return trained
    low, *high = cell.temperature
    return BesideDream(
        trained.model,
        parts.latents().first(),
        first_weights(trained.model),
        temperature=(low, *high) if high else low,
        max_steps=max_steps,
    )


def evolve(
    folder: pathlib.Path,
    cell: Cell,
    parts: Parts,
    dream: Dream,
    budget: Budget,
    seed: int,
    tick: Callable[[], None] = lambda: None,
) -> evolution.Evolution:
    """Search C of a cell in its dream; goes on where it was stopped."""
    linear = seen_by(cell, parts).new_controller(dream.model)
    start = CMAES(
        np.zeros(linear.n_params),
        budget.sigma,
        budget.population,
        seed=seed,
        separable=cell.separable,
    )
    return evolution.evolve(
        folder,
        start,
        evolution.in_dream(
            dream, linear.act, episodes=budget.dreams, seed=seed, features=cell.features
        ),
        generations=budget.generations,
        tick=tick,
    )


def agent_maker(cell: Cell, parts: Parts, theta: np.ndarray) -> Callable[[], WorldModelAgent]:
    """A picklable maker of the cell's agent for the game, on the CPU."""
    on_cpu = dataclasses.replace(seen_by(cell, parts), device='@numpy')
    return functools.partial(_load, on_cpu, theta, cell.untrained)


def score(
    cell: Cell,
    parts: Parts,
    dream: Dream,
    theta: np.ndarray,
    make_env: Callable,
    fixed: Mapping[str, Callable],
    episodes: int,
    seed: int,
    workers: int,
) -> dict[str, Any]:
    """C of a cell in its dream, beside fixed policies, and in the game."""
    linear = seen_by(cell, parts).new_controller(dream.model)
    dreamer = report.DreamtController(linear.act, theta)
    players = {'agent': dreamer} | {name: make() for name, make in fixed.items()}
    game = report.score_in_game(
        {'agent': agent_maker(cell, parts, theta)}, make_env, episodes, seed, workers
    )
    return {
        'dream': report.score_in_dream(players, dream, episodes, seed, cell.features),
        'game': game['agent'],
    }


def seen_by(cell: Cell, parts: Parts) -> Parts:
    """The parts with the cell's features."""
    return dataclasses.replace(parts, features=cell.features)


def describe(cell: Cell, parts: Parts) -> dict[str, Any]:
    """A cell's settings and the parameters of its C, JSON-able."""
    width = features_width(parts.model(), cell.features)
    return {**dataclasses.asdict(cell), 'controller_parameters': width}


def _load(parts: Parts, theta: np.ndarray, untrained: bool) -> WorldModelAgent:
    network = parts.model()
    if untrained:
        network = first_weights(network)
    linear = parts.new_controller(network)
    linear.set_theta(theta)
    return WorldModelAgent(parts.vision(), network, linear, parts.features)
