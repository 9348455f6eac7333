"""Evolve a controller's parameters by CMA-ES, in a dream or in a game."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm

from chainer_wm import files
from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.policies import Policy
from chainer_wm.dream.simulator import Dream, evaluate_population
from chainer_wm.files.npz import read_array, write_array
from chainer_wm.play import lanes
from chainer_wm.play.engines import Workers, count_of, label_of, make_pool, portable
from chainer_wm.seeds import stream
from chainer_wm.training import loop


class Scored(NamedTuple):
    """What the candidates of a generation are worth."""

    fitness: np.ndarray  # (P,), higher is better
    steps: int | None = None  # of the game that this took


Fitness = Callable[[np.ndarray, int, Callable[[str], None]], Scored]
Evaluate = Callable[[np.ndarray, int], dict[str, Any]]

STATE, TABLE = 'cma_es.npz', 'history.json'
LANES = 16  # games that a worker plays together
TASK = 4 * LANES  # at most so many, one after the other: who ends early leaves no lane idle


class Evolution(NamedTuple):
    """What an evolution left."""

    theta: np.ndarray  # (n,) float64, the chosen parameters
    generation: int  # where they come from
    history: list[dict[str, float]]  # one row per generation
    evaluations: list[dict[str, Any]]  # in the real game, by generation


def evolve(
    folder: str | os.PathLike,
    es: CMAES,
    fitness: Fitness,
    *,
    generations: int,
    evaluate: Evaluate | None = None,
    evaluate_every: int = 10,
    choose: str = 'last',
    label: str = 'evolve',
    tick: Callable[[], None] = lambda: None,
) -> Evolution:
    """Run CMA-ES up to ``generations``, resuming from a save.

    Generations are counted over all searches that led here, see ``inherit``. The mean of the
    search distribution, not a lucky candidate, is what gets evaluated and kept.

    Args:
        folder: holds the whole state of the search after every generation.
        es: the search at its start; a saved one takes its place.
        fitness: ``(candidates (P, n), generation, show) -> Scored``, by its first two arguments
            alone; ``show`` takes a text about how far it is. For a dream see ``in_dream``.
        evaluate: scores a theta in the real game (``{'mean', 'std', 'episodes', ...}``) every
            ``evaluate_every`` generations, and at the last one.
        choose: 'last' keeps the last mean, which never uses the game's
            scores; 'game' keeps the mean with the best evaluation.

    Returns:
        The chosen mean, and the history: rows of 'generation', 'mean', 'std', 'min' and 'max' of
        the fitness, 'sigma', and 'steps' of the game so
        far where the fitness tells them.

    Raises:
        ValueError: ``choose`` is unknown, or 'game' without ``evaluate``.
    """
    if choose not in ('last', 'game') or (choose == 'game' and not evaluate):
        raise ValueError(
            f'choose is {choose!r} but must be last, or game with evaluations in the game'
        )
    search = _Generations(pathlib.Path(folder), es, fitness, evaluate)
    search.due = lambda count: count == generations or (count > 0 and count % evaluate_every == 0)
    loop.resumable(
        search.folder, search, generations, label, saves=search, save_seconds=0.0, tick=tick
    )
    search.judge()
    return search.outcome(choose)


def in_dream(
    dream: Dream, act: Callable, *, episodes: int, seed: int, features: Sequence[str]
) -> Fitness:
    """The mean return of every candidate in a dream.

    Args:
        act: ``(features (B, F), theta (B, n)) -> actions (B, A)``.
        episodes: dreams per candidate, shared by all of a generation.
        features: what ``act`` sees.
    """

    def fitness(candidates: np.ndarray, generation: int, show: Callable[[str], None]) -> Scored:
        def progress(steps: int, alive: int) -> None:
            if steps % 100 == 0:
                show(f'step {steps}, {alive} dreams alive')

        rng = stream(seed, 'dream', generation)
        returns = evaluate_population(
            dream, act, candidates, episodes, features=features, progress=progress, rng=rng
        )
        return Scored(returns.mean(axis=1))  # f(theta) = mean R, all in the same dreams

    return fitness


class _ByWorkers:
    """Workers that stay up from one generation to the next."""

    def __init__(
        self,
        function: Callable,
        workers: Workers,
        setup: Callable[[], Any],
        tasks_per_worker: int | None = None,
    ) -> None:
        self._workers = workers
        self._pool = make_pool(function, workers, setup, tasks_per_worker=tasks_per_worker)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.close()

    def _where(self) -> str:
        label = label_of(self._workers)
        return f', {label}' if label else ''


class InShards(_ByWorkers):
    """The mean return of every candidate in a dream that workers share; a ``Fitness``.

    The dreams of a candidate are those of ``in_dream``, wherever a generation is cut. Sums of
    another number of lanes round otherwise in their last bits, so the cut belongs to the settings
    of a run; the number of workers changes nothing.

    Args:
        dream, act, episodes, seed, features: see ``in_dream``; the first two are picklable.
        shard: candidates that are dreamt together.
        workers: processes, 0 for this one; or a cluster.
    """

    def __init__(
        self,
        dream: Dream,
        act: Callable,
        *,
        episodes: int,
        seed: int,
        features: Sequence[str],
        shard: int,
        workers: Workers,
    ) -> None:
        super().__init__(dream_shard, workers, functools.partial(dreams, dream, act))
        self.episodes, self.seed, self.features, self.shard = episodes, seed, features, shard

    def __call__(
        self, candidates: np.ndarray, generation: int, show: Callable[[str], None]
    ) -> Scored:
        starts = range(0, len(candidates), self.shard)
        tasks = [
            (candidates[at : at + self.shard], self.seed, generation, self.episodes, self.features)
            for at in starts
        ]
        returns = np.full((len(candidates), self.episodes), np.nan)
        for done, (index, found) in enumerate(self._pool.run(tasks), 1):
            returns[starts[index] : starts[index] + self.shard] = found
            show(f'{done} of {len(tasks)} shards{self._where()}')
        return Scored(returns.mean(axis=1))


def dreaming(
    dream: Dream, act: Callable, *, shard: int = 0, workers: Workers = 0, **options: Any
) -> contextlib.AbstractContextManager[Fitness]:
    """``in_dream`` where ``shard`` is 0, in this process; ``InShards`` else."""
    if shard:
        return InShards(dream, act, shard=shard, workers=workers, **options)
    return contextlib.nullcontext(in_dream(dream, act, **options))


def dreams(dream: Dream, act: Callable) -> tuple[Dream, Callable]:
    """What a worker of ``InShards`` holds."""
    return dream, act


def dream_shard(context: tuple[Dream, Callable], task: tuple) -> np.ndarray:
    """A task of ``InShards``: returns (P, E) of some candidates of a generation."""
    candidates, seed, generation, episodes, features = task
    rng = stream(seed, 'dream', generation)  # noise of E streams, however many candidates
    return evaluate_population(*context, candidates, episodes, features=features, rng=rng)


class InGame(_ByWorkers):
    """The mean return of every candidate in the real game; a ``Fitness``.

    Workers load V and M once and stay up from one generation to the next. What a candidate is
    worth depends neither on their number nor on who is played beside it.

    Args:
        make_env: a picklable maker of the game.
        make_agent: a picklable maker of the agent, whose state has in ``theta`` a C for each lane.
        episodes: per candidate, shared by all of a generation.
        workers: processes, 0 for this one; or a cluster.
        tasks_per_worker: replace a worker after so many batches of games, for games that leak.
    """

    def __init__(
        self,
        make_env: Callable,
        make_agent: Callable[[], Policy],
        episodes: int,
        seed: int,
        workers: Workers,
        tasks_per_worker: int | None = None,
    ) -> None:
        setup = functools.partial(games, make_env, portable(make_agent, workers))
        super().__init__(play_candidates, workers, setup, tasks_per_worker)
        self.episodes, self.seed = episodes, seed

    def __call__(
        self, candidates: np.ndarray, generation: int, show: Callable[[str], None]
    ) -> Scored:
        pairs = [(n, e) for e in range(self.episodes) for n in range(len(candidates))]
        # no more tasks than fill their lanes
        many = min(count_of(self._workers), -(-len(pairs) // LANES))
        batches = [
            [pairs[at] for at in group] for group in lanes.groups(range(len(pairs)), many, TASK)
        ]
        tasks = [
            (candidates[[n for n, _ in batch]], self.seed, generation, [e for _, e in batch])
            for batch in batches
        ]
        returns = np.full((len(candidates), self.episodes), np.nan)
        steps, done, start = 0, 0, time.perf_counter()
        for index, played in self._pool.run(tasks):
            for (n, e), (total, length) in zip(batches[index], played):
                returns[n, e] = total
                steps += length
            done += len(played)
            rate = steps / (time.perf_counter() - start)
            show(f'{done} of {len(pairs)} episodes, {rate:.0f} steps/s{self._where()}')
        return Scored(returns.mean(axis=1), steps)  # f(theta) = mean R, all on the same tracks


@dataclasses.dataclass
class _Candidates:
    """An agent that plays every episode with a C of its own; they begin in order."""

    policy: Policy
    thetas: np.ndarray  # (episodes, n)
    begun: int = 0
    lanes = LANES

    def start(self, rngs: Sequence[np.random.Generator]) -> Any:
        # a lane that rests has some C too
        rows = (self.begun + np.arange(len(rngs))) % len(self.thetas)
        self.begun += len(rngs)
        return self.policy.start(rngs)._replace(theta=self.thetas[rows])

    def act(self, observations: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        return self.policy.act(observations, state)


def games(make_env: Callable, make_agent: Callable[[], Policy]):
    """What a worker of ``InGame`` holds."""
    return lanes.Envs(make_env), make_agent()


def play_candidates(context, task) -> list[tuple[float, int]]:
    """A task of ``InGame``: return and length of an episode of every candidate."""
    envs, agent = context
    thetas, seed, generation, episodes = task
    rngs = [stream(seed, 'search', generation, episode) for episode in episodes]
    played = lanes.play(envs, _Candidates(agent, thetas), rngs)
    return [(one.total, one.length) for one in sorted(played, key=lambda one: one.number)]


def inherit(before: str | os.PathLike, folder: str | os.PathLike, anew: bool = False) -> None:
    """Let an evolution that has not begun go on from where another ended.

    Its means in the game stay behind: they belong to another dream. An evolution that is there
    already is left as it is.

    Args:
        anew: only the count of generations and the history go on; the search begins where
            ``evolve`` is told to.
    """
    before, folder = pathlib.Path(before), pathlib.Path(folder)
    if (folder / STATE).exists():
        return
    table = read_table(before / TABLE)
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
    features: Sequence[str],
) -> dict[str, float]:
    """Mean returns of a C and of one whose parameters are all 0.

    A search that ended in another dream may find itself where every candidate fails alike, for
    instance at a wall of which that dream knew no harm; from zero there is a way up.

    Returns:
        ``inherited`` and ``zero``, over the same dreams.
    """
    theta = np.asarray(theta)
    returns = evaluate_population(
        dream, act, np.stack([theta, np.zeros_like(theta)]), episodes, features=features, rng=rng
    ).mean(axis=1)
    return dict(zip(('inherited', 'zero'), map(float, returns)))


def read_table(path: pathlib.Path) -> dict[str, Any]:
    """What a search's ``history.json`` holds.

    Raises:
        FileError: it is damaged, or something else.
    """
    table = files.read_json(path)
    files.expect(path, table, {'generations': list, 'evaluations': list})
    for row in [*table['generations'], *table['evaluations']]:
        if not isinstance(row, dict):
            raise files.FileError(f'{path}: {row!r:.40} is no row of a history')
        files.expect(path, row, {'generation': int, 'mean': (int, float)})
    return table


def read_history(folder: str | os.PathLike) -> tuple[list[dict], list[dict]]:
    """Rows per generation, and evaluations in the game, of an evolution."""
    table = read_table(pathlib.Path(folder) / TABLE)
    return table['generations'], table['evaluations']


class _Generations(loop.Steps):
    """The search and its history, saved so that they agree.

    Attributes:
        due: whether the mean after so many generations is to be evaluated.
    """

    unit = 'generation'

    def __init__(
        self, folder: pathlib.Path, es: CMAES, fitness: Fitness, evaluate: Evaluate | None
    ):
        super().__init__()
        self.folder, self.es = folder, es
        self.fitness, self.evaluate = fitness, evaluate
        self.state, self.table = folder / STATE, folder / TABLE
        self.history: list[dict[str, float]] = []
        self.evaluations: list[dict[str, Any]] = []
        self.before = 0  # generations of the searches before this one
        self.due: Callable[[int], bool] = lambda count: False

    def step(self) -> None:
        self.judge()
        candidates = self.es.ask()  # theta_k ~ N(m, sigma^2 C)
        fitness, steps = self.fitness(candidates, self.iteration, self.show)
        self.es.tell(candidates, fitness)
        row = {
            'generation': self.iteration + 1,
            'mean': float(fitness.mean()),
            'std': float(fitness.std()),
            'min': float(fitness.min()),
            'max': float(fitness.max()),
            'sigma': float(self.es.sigma),
        }
        if steps is not None:
            row['steps'] = steps + (self.history[-1]['steps'] if self.history else 0)
        self.history.append(row)
        self.show(f'mean {row["mean"]:.4g}')

    def judge(self) -> None:
        """Evaluate the mean in the game, where that is due and not yet done."""
        count = self.iteration
        done = any(row['generation'] == count for row in self.evaluations)
        if self.evaluate is None or done or not self.due(count):
            return
        score = self.evaluate(self.es.mean, count)
        write_array(self._mean_path(count), self.es.mean)
        self.evaluations.append({'generation': count, **score})
        self._write_table()
        tqdm.tqdm.write(
            f'generation {count}: {score["mean"]:.0f} ± '
            f'{score["std"]:.0f} over {score["episodes"]} '
            'episodes of the game'
        )

    def save(self, trainer: Any) -> None:
        self._write_table()
        self.es.save(self.state)

    def resume(self, trainer: Any, usable: Callable[[int], bool]) -> pathlib.Path | None:
        if self.state.exists():
            self.es = CMAES.load(self.state)
            self.iteration = self.es.generation
        if not self.table.exists():
            return None
        table = read_table(self.table)
        self.before = table.get('before', 0)
        self.iteration = count = self.before + self.es.generation
        # the table is written first: rows past the saved state are redone
        self.history = table['generations'][:count]
        self.evaluations = [row for row in table['evaluations'] if row['generation'] <= count]
        return self.table if count else None

    def paths(self) -> list[pathlib.Path]:
        return [self.state] if self.state.exists() else []

    def outcome(self, choose: str) -> Evolution:
        theta, generation = self.es.mean, self.iteration  # m, no lucky candidate
        if choose == 'game':
            mine = [row for row in self.evaluations if self._mean_path(row['generation']).exists()]
            best = max(mine, key=lambda row: row['mean'])
            generation = best['generation']
            theta = read_array(self._mean_path(generation))
            if theta.shape != self.es.mean.shape or theta.dtype.kind != 'f':
                raise files.FileError(
                    f'{self._mean_path(generation)} holds {theta.dtype} {theta.shape}, the search '
                    f'has {self.es.mean.shape}: is it the file of something else?'
                )
        return Evolution(theta, generation, self.history, self.evaluations)

    def _mean_path(self, generation: int) -> pathlib.Path:
        return self.folder / 'means' / f'{generation:06d}.npy'

    def _write_table(self) -> None:
        files.write_json(
            self.table,
            {'generations': self.history, 'evaluations': self.evaluations, 'before': self.before},
        )
