"""CMA-ES in a game itself, saved after every generation."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tqdm

from chainer_wm import files
from chainer_wm.agents.cma_es import CMAES


class Scored(NamedTuple):
    """What the candidates of a generation are worth."""

    fitness: np.ndarray  # (P,), higher is better
    steps: int  # of the game that this took


Score = Callable[[np.ndarray, int], Scored]


class Found(NamedTuple):
    """What a search left."""

    theta: np.ndarray  # (n,) float64, mean of the search distribution
    log: list[dict[str, float]]  # one row per generation


def search(
    folder: str | os.PathLike,
    es: CMAES,
    score: Score,
    *,
    generations: int,
    label: str = 'cma-es',
    tick: Callable[[], None] = lambda: None,
) -> Found:
    """Run CMA-ES up to ``generations``, resuming from a save.

    Leaves ``log.json`` and ``cma_es.npz``, the state of the search, in
    ``folder``. A later call with more generations goes on.

    Args:
        es: the search at its start; a saved one takes its place.
        score: ``(candidates (P, n), generation) -> Scored``, a function of
            its arguments alone.

    Returns:
        The mean of the last distribution, and rows of 'generation', 'steps'
        (of the game, so far), 'mean', 'std', 'max' of the fitness and
        'sigma'.
    """
    folder = pathlib.Path(folder)
    state, table = folder / 'cma_es.npz', folder / 'log.json'
    log: list[dict[str, float]] = []
    if state.exists():
        es = CMAES.load(state)
        # the table is written first: rows past the saved state are redone
        log = files.read_json(table)[: es.generation]
        print(f'{label}: resumed at generation {es.generation}')
    with tqdm.tqdm(
        total=generations, initial=es.generation, desc=label, unit='generation', dynamic_ncols=True
    ) as bar:
        while es.generation < generations:
            candidates = es.ask()
            fitness, steps = score(candidates, es.generation)
            es.tell(candidates, fitness)
            before = log[-1]['steps'] if log else 0
            log.append(_row(es, fitness, before + steps))
            files.write_json(table, log)
            es.save(state)
            bar.set_postfix_str(f'mean {fitness.mean():.4g}', refresh=False)
            bar.update()
            tick()
    return Found(es.mean, log)


def _row(es: CMAES, fitness: np.ndarray, steps: float) -> dict[str, float]:
    return {
        'generation': es.generation,
        'steps': steps,
        'mean': float(fitness.mean()),
        'std': float(fitness.std()),
        'max': float(fitness.max()),
        'sigma': float(es.sigma),
    }
