"""Controls on top of a finished run of doom_take_cover.py, a stage for each.

    take_cover_controls.py --base RUN

evolves C anew in the dream of that run's last M, with a small budget that all
cells share, and scores it in the dream it grew up in and in the game: at other
temperatures, on z alone, on the DNC's read vectors too, on the memory of an M
that was never trained, and with separable CMA-ES. The cell at the run's own
temperature is what the others are held against. ``doom_take_cover.py
--summary`` lists the cells of several runs. Before them, what policies score
that see nothing, and how long before a real death M's dreams show it.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import sys
from collections.abc import Callable
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import dnc.runtime  # noqa: F401

import numpy as np

from chainer_wm import files
from chainer_wm.agents import policies
from chainer_wm.agents.saved import Parts
from chainer_wm.envs.take_cover import TakeCover
from chainer_wm.runs import cells, forewarning, report, run_folder
from chainer_wm.runs.cells import Budget, Cell
from chainer_wm.runs.command_line import CommonConfig, main, opt, parse, run_stages
from experiments.doom_take_cover import NAME
from experiments.take_cover_config import check_temperature
from experiments.take_cover_summary import control_rows, draw_temperatures
from experiments.take_cover_table import read

KINDS = ('temperature', 'z', 'reads', 'untrained', 'separable')
RANDOM: dict[str, Callable] = {'random': policies.Uniform}
#: To and fro, without looking.
PACING: dict[str, Callable] = {
    f'pacing {period}': functools.partial(policies.Pacing, period)
    for period in (45, 60, 90, 120, 150, 200)
}


@dataclasses.dataclass(frozen=True)
class Config(CommonConfig):
    """Controls of Take Cover: C evolved anew with one thing changed."""

    base: str = opt('', 'the finished run: its V, M, core and seed are used')
    round: int = opt(-1, "whose M: a round of the base's; -1 is the last", least=-1)
    cells: tuple[str, ...] = opt(KINDS, 'kinds of cells to run', free=True)
    temperatures: tuple[float, ...] = opt((0.1, 0.5, 1.0, 1.15, 1.3), 'a cell for each', free=True)
    mixed: tuple[float, ...] = opt((1.0, 1.5), 'range of temperatures of one more cell', free=True)
    population: int = opt(32, 'candidates per generation', least=4)
    dreams: int = opt(8, 'dreams per candidate')
    generations: int = opt(20, 'of CMA-ES in every cell', extends='baseline')
    sigma: float = opt(0.1, 'first step size of CMA-ES')
    max_steps: int = opt(2100, 'cap of a dream')
    test_episodes: int = opt(100, 'of every score', extends='baseline')

    def check(self) -> None:
        """See that the mixed temperatures are a range.

        Raises:
            runs.RunError: they are not.
        """
        check_temperature('--mixed', self.mixed)


# fmt: off
PRESETS = {
    'smoke': dict(population=4, dreams=2, generations=2, max_steps=50,
                  temperatures=(1.15,), test_episodes=2),
    'laptop': {},
    'paper': dict(population=64, dreams=16, generations=200),
}
# fmt: on


@dataclasses.dataclass(frozen=True)
class Base:
    """The finished run, as its folder tells it."""

    config: dict[str, Any]
    parts: Parts

    @property
    def game(self) -> functools.partial:
        """A picklable maker of its game."""
        return functools.partial(TakeCover, settings=self.config['settings'])


def base_of(config: Config) -> Base:
    """The base run, at the round asked for.

    Raises:
        runs.RunError: it is not there, or has not come so far.
    """
    folder = pathlib.Path(config.data, NAME, config.base)
    if not config.base or not (folder / 'config.json').exists():
        raise run_folder.RunError(
            f'--base {config.base!r}: {folder} holds no run; give the name of '
            'a finished run of doom_take_cover.py, and its --data'
        )
    saved = files.read_json(folder / 'config.json')
    parts = Parts.saved(folder, saved, config.device)
    if config.round >= 0:
        parts = parts.at(config.round)
    if not parts.controller_path.exists():
        raise run_folder.RunError(
            f'--base {config.base}: {parts.controller_path} is not there; '
            f'let that run come to round {parts.round} first'
        )
    return Base(saved, parts)


def cells_of(config: Config, base: Base) -> list[Cell]:
    """The cells, in order; those that this core cannot have are left out."""
    tau = tuple(base.config['temperature'])
    usual = base.parts.features
    found = [
        Cell('tau-' + '-'.join(f'{end:.2f}' for end in ends), ends, usual)
        for ends in (*((t,) for t in config.temperatures), config.mixed)
        if ends
    ]
    other = {
        'z': [Cell('z', tau, ('z',))],
        'reads': [Cell('reads', tau, ('z', 'c', 'h', 'r'))],
        'untrained': [Cell('untrained', tau, usual, untrained=True)],
        'separable': [Cell('separable', tau, usual, separable=True)],
    }
    if base.config['model'] != 'dnc':
        other['reads'] = []
    kinds = {'temperature': found, **other}
    unknown = [kind for kind in config.cells if kind not in kinds]
    if unknown:
        raise run_folder.RunError(f'--cells {" ".join(unknown)}: there are {", ".join(KINDS)}')
    return [cell for kind in config.cells for cell in kinds[kind]]


def baseline(base: Base, config: Config, run: run_folder.Run) -> None:
    """Policies that see nothing, over the same episodes."""
    game = report.score_in_game(
        RANDOM | PACING, base.game, config.test_episodes, config.seed, config.workers
    )
    random = game.pop('random')
    run.add_results(base=base.config, random_baseline=random, pacing=game)
    for name, score in game.items():
        print(f'{name}: {report.mean_and_std(score)} in the game')


def forewarn(base: Base, config: Config, run: run_folder.Run) -> None:
    """Real deaths dreamt anew, by the M whose C then played on, if any."""
    parts = base.parts.at(max(0, base.parts.round - 1))
    tau = float(np.mean(base.config['temperature']))
    kinds = forewarning.unseen(parts, base.config['held_out'], config.seed)
    found = forewarning.measure(parts, kinds, tau, config.seed, config.test_episodes)
    run.add_results(forewarning=found)
    forewarning.draw(
        run.path('figures', 'forewarning.png'),
        found,
        f"Real deaths in {base.config['model'].upper()}'s dreams",
    )
    forewarning.draw_deaths(
        run.path('figures', 'deaths.png'),
        parts,
        kinds.get('agents', kinds['random']),
        tau,
        config.seed,
    )


def work(cell: Cell, base: Base, config: Config, run: run_folder.Run) -> None:
    """Evolve and score one cell."""
    names = [field.name for field in dataclasses.fields(Budget)]
    budget = Budget(**{name: getattr(config, name) for name in names})
    dream = cells.dream_of(cell, base.parts, config.max_steps)
    found = cells.evolve(
        run.path('cells', cell.name), cell, base.parts, dream, budget, config.seed, run.tick
    )
    scores = cells.score(
        cell,
        base.parts,
        dream,
        found.theta,
        base.game,
        RANDOM,
        config.test_episodes,
        config.seed,
        config.workers,
    )
    row = {**cells.describe(cell, base.parts), 'evolved': found.history[-1]['mean'], **scores}
    known = run.results().get('cells', {})
    run.add_results(cells={**known, cell.name: row})
    print(
        f'{cell.name}: {report.mean_and_std(row["dream"]["agent"])} in its '
        f'dream, {report.mean_and_std(row["game"])} in the game'
    )


def draw(config: Config, run: run_folder.Run) -> None:
    """The paper's table of temperatures, below ours."""
    if run.results().get('cells'):
        found = read(run.folder.parent, config.run)
        draw_temperatures(
            run.path('figures', 'temperatures.png'),
            control_rows([found]),
            f'M with {found.core.upper()}',
        )


def settled(config: Config, base: Base) -> Config:
    """The settings with what the base run decides.

    Raises:
        runs.RunError: another seed was asked for.
    """
    seed = base.config['seed']
    if config.seed not in (0, seed):
        raise run_folder.RunError(
            f'--seed {config.seed}, but run {config.base} has seed {seed}: '
            'its controls meet the same episodes; leave --seed out'
        )
    name = config.run
    if name == f'{config.preset}-{config.model}':
        name = f'{config.base}-controls'
    return dataclasses.replace(
        config, run=name, model=base.config['model'], dtype=base.config['dtype'], seed=seed
    )


def script(argv=None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    base = base_of(config)
    config = settled(config, base)
    stages = {
        'baseline': functools.partial(baseline, base),
        'forewarning': functools.partial(forewarn, base),
        **{cell.name: functools.partial(work, cell, base) for cell in cells_of(config, base)},
    }
    run = run_stages(config, NAME, stages, ('vizdoom',))
    draw(config, run)  # anew after every call: cells may have been added
    run.close()


if __name__ == '__main__':
    main(script)
