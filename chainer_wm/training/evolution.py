"""Evolve C inside the dream."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm

from chainer_wm import files
from chainer_wm.agents.cma_es import CMAES
from chainer_wm.dream.population import evaluate_population
from chainer_wm.dream.simulator import DOOM_FEATURES, Dream
from chainer_wm.seeds import stream

Evaluate = Callable[[np.ndarray, int], dict[str, Any]]

STATE, TABLE = 'cma_es.npz', 'history.json'


class Evolution(NamedTuple):
    """What an evolution left."""

    theta: np.ndarray  # (n,) float64, the chosen parameters
    generation: int  # where they come from
    history: list[dict[str, float]]  # one row per generation
    evaluations: list[dict[str, Any]]  # in the real game, by generation


def evolve(
    folder: str | os.PathLike,
    es: CMAES,
    dream: Dream,
    act: Callable,
    *,
    generations: int,
    episodes: int,
    seed: int,
    features: Sequence[str] = DOOM_FEATURES,
    evaluate: Evaluate | None = None,
    evaluate_every: int = 10,
    choose: str = 'last',
    tick: Callable[[], None] = lambda: None,
) -> Evolution:
    """Run CMA-ES in the dream up to ``generations``, resuming from a save.

    Generations are counted over all searches that led here, see ``inherit``.
    The mean of the search distribution, not a lucky candidate, is what gets
    evaluated and kept.

    Args:
        folder: holds the whole state of the search after every generation.
        es: the search at its start; a saved one takes its place.
        act: ``(features (B, F), theta (B, n)) -> actions (B, A)``.
        episodes: dreams per candidate, shared by all of a generation.
        evaluate: scores a theta in the real game (``{'mean', 'std',
            'episodes', ...}``) every ``evaluate_every`` generations, and at
            the last one.
        choose: 'last' keeps the last mean, which never uses the game's
            scores; 'game' keeps the mean with the best evaluation.

    Raises:
        ValueError: ``choose`` is unknown, or 'game' without ``evaluate``.
    """
    if choose not in ('last', 'game') or (choose == 'game' and not evaluate):
        raise ValueError(
            f'choose is {choose!r} but must be last, or game with evaluations in the game'
        )
    log = _Log(pathlib.Path(folder))
    es = log.resume(es)
    with tqdm.tqdm(
        total=generations,
        initial=log.count(es),
        desc='evolve',
        unit='generation',
        dynamic_ncols=True,
    ) as bar:
        while True:
            count = log.count(es)
            due = count == generations or (count and count % evaluate_every == 0)
            if evaluate and due and not log.evaluated(count):
                log.add_evaluation(es, evaluate(es.mean, count))
            if count >= generations:
                break
            rng = stream(seed, 'dream', count)
            returns = _generation(es, dream, act, episodes, rng, features, bar)
            log.add_generation(es, returns)
            tick()
    return log.outcome(es, choose)


def _generation(
    es: CMAES,
    dream: Dream,
    act: Callable,
    episodes: int,
    rng: np.random.Generator,
    features: Sequence[str],
    bar,
) -> np.ndarray:
    candidates = es.ask()

    def show(steps: int, alive: int) -> None:
        if steps % 100 == 0:
            bar.set_postfix_str(f'step {steps}, {alive} dreams alive')

    returns = evaluate_population(
        dream, act, candidates, episodes, features=features, progress=show, rng=rng
    )
    es.tell(candidates, returns.mean(axis=1))
    bar.update()
    bar.set_description(f'evolve (dream mean {returns.mean():.0f})')
    return returns


def inherit(before: str | os.PathLike, folder: str | os.PathLike, anew: bool = False) -> None:
    """Let an evolution that has not begun go on from where another ended.

    Its means in the game stay behind: they belong to another dream. An
    evolution that is there already is left as it is.

    Args:
        anew: only the count of generations and the history go on; the search
            begins where ``evolve`` is told to.
    """
    before, folder = pathlib.Path(before), pathlib.Path(folder)
    if (folder / STATE).exists():
        return
    table = files.read_json(before / TABLE)
    if anew:
        table['before'] = len(table['generations'])
    files.write_json(folder / TABLE, table)
    if not anew:
        data = (before / STATE).read_bytes()
        with files.atomic_write(folder / STATE) as file:
            file.write(data)


def against_zero(
    theta: np.ndarray,
    dream: Dream,
    act: Callable,
    episodes: int,
    rng: np.random.Generator,
    features: Sequence[str] = DOOM_FEATURES,
) -> dict[str, float]:
    """Mean returns of a C and of one whose parameters are all 0.

    A search that ended in another dream may find itself where every candidate
    fails alike, for instance at a wall of which that dream knew no harm; from
    zero there is a way up.

    Returns:
        ``inherited`` and ``zero``, over the same dreams.
    """
    theta = np.asarray(theta)
    returns = evaluate_population(
        dream, act, np.stack([theta, np.zeros_like(theta)]), episodes, features=features, rng=rng
    ).mean(axis=1)
    return dict(zip(('inherited', 'zero'), map(float, returns)))


def read_history(folder: str | os.PathLike) -> tuple[list[dict], list[dict]]:
    """Rows per generation, and evaluations in the game, of an evolution."""
    table = files.read_json(pathlib.Path(folder) / TABLE)
    return table['generations'], table['evaluations']


class _Log:
    """The search's state and its history, saved so that they agree."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.state, self.table = folder / STATE, folder / TABLE
        self.history: list[dict[str, float]] = []
        self.evaluations: list[dict[str, Any]] = []
        self.before = 0  # generations of the searches before this one

    def count(self, es: CMAES) -> int:
        """Generations so far, of this search and of those before it."""
        return self.before + es.generation

    def resume(self, es: CMAES) -> CMAES:
        if self.state.exists():
            es = CMAES.load(self.state)
        if not self.table.exists():
            return es
        table = files.read_json(self.table)
        self.before = table.get('before', 0)
        count = self.count(es)
        # the table is written first: rows past the saved state are redone
        self.history = table['generations'][:count]
        self.evaluations = [row for row in table['evaluations'] if row['generation'] <= count]
        if count:
            print(f'evolve: resumed at generation {count}')
        return es

    def add_generation(self, es: CMAES, returns: np.ndarray) -> None:
        fitness = returns.mean(axis=1)
        self.history.append(
            {
                'generation': self.count(es),
                'mean': float(fitness.mean()),
                'std': float(fitness.std()),
                'min': float(fitness.min()),
                'max': float(fitness.max()),
                'sigma': float(es.sigma),
            }
        )
        self._save()
        es.save(self.state)

    def evaluated(self, generation: int) -> bool:
        return any(row['generation'] == generation for row in self.evaluations)

    def add_evaluation(self, es: CMAES, score: dict[str, Any]) -> None:
        count = self.count(es)
        with files.atomic_write(self._mean_path(count)) as file:
            np.save(file, es.mean)
        self.evaluations.append({'generation': count, **score})
        self._save()
        tqdm.tqdm.write(
            f'generation {count}: {score["mean"]:.0f} ± '
            f'{score["std"]:.0f} over {score["episodes"]} '
            'episodes of the game'
        )

    def outcome(self, es: CMAES, choose: str) -> Evolution:
        theta, generation = es.mean, self.count(es)
        if choose == 'game':
            mine = [row for row in self.evaluations if self._mean_path(row['generation']).exists()]
            best = max(mine, key=lambda row: row['mean'])
            generation = best['generation']
            theta = np.load(self._mean_path(generation))
        return Evolution(theta, generation, self.history, self.evaluations)

    def _mean_path(self, generation: int) -> pathlib.Path:
        return self.folder / 'means' / f'{generation:06d}.npy'

    def _save(self) -> None:
        files.write_json(
            self.table,
            {'generations': self.history, 'evaluations': self.evaluations, 'before': self.before},
        )
