"""How many episodes a model needs until it knows the order of two keys.

A key is the next in the order or a mistake: only the colour of the door in the
first pictures says which. M (``--models``) learns from some episodes and is
asked about the first key of new ones; whoever learns episodes by heart is
right about half of them. The episodes go to either key, with 10, 50 or 100 %
random steps, like those of ``grid_navigation.py --env ordered_keys``.

``--usual`` too trains M as is common: Adam's beta2 at 0.999, the losses of
pictures and outcomes simply added.
"""

from __future__ import annotations

import copy
import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import dnc.runtime  # noqa: F401

# isort: split
import numpy as np

from chainer_wm import files
from chainer_wm.envs.grid import MOVES, Cell, shortest_path
from chainer_wm.envs.grid_navigation import OrderedKeys
from chainer_wm.links.pixel_model import PixelModel
from chainer_wm.plots import seed_curves
from chainer_wm.rollouts import Rollout
from chainer_wm.runs import run_folder
from chainer_wm.runs.command_line import CORES, CommonConfig, main, opt, parse, run_stages
from chainer_wm.seeds import stream
from chainer_wm.training import levels, lifelong
from experiments.grid_navigation import train_model
from experiments.grid_navigation_config import Config as AgentConfig
from experiments.grid_navigation_config import new_model

NAME = 'key_order'
USUAL: dict[str, Any] = {'model_beta2': 0.999, 'outcome_weight': 1.0}


@dataclasses.dataclass(frozen=True)
class Config(CommonConfig):
    """What M knows of the order of two keys, by how much it has seen."""

    models: tuple[str, ...] = opt(('dnc', 'lstm'), 'cores of M', CORES)
    usual: tuple[str, ...] = opt((), 'cores of M trained as is common', CORES)
    episodes: tuple[int, ...] = opt((30, 100, 300, 1000), 'to learn from')
    seeds: int = opt(3, 'how many, from --seed on')
    updates: int = opt(400, 'of M')
    held_out: int = opt(200, 'new episodes to be asked about')


# fmt: off
PRESETS = {
    'smoke': dict(episodes=(4, 8), seeds=1, updates=10, held_out=20),
    'laptop': {},
    'paper': {},
}
# fmt: on


@dataclasses.dataclass(frozen=True)
class Guide:
    """Goes to a key drawn for each episode, then where the keys left are.

    Attributes:
        envs: the games that it plays.
    """

    envs: Sequence[OrderedKeys]

    def start(self, rngs: Sequence[np.random.Generator]) -> list[Cell]:
        return [
            list(env.keys.values())[rng.integers(len(env.keys))]
            for env, rng in zip(self.envs, rngs)
        ]

    def act(self, observations: np.ndarray, wanted: list[Cell]) -> Any:
        actions = [towards(env, cell) for env, cell in zip(self.envs, wanted)]
        return np.array(actions), wanted


def towards(env: OrderedKeys, wanted: Cell) -> int:
    """The next move to the first key, around others; or the right way on."""
    if env.found:
        path = env.path()
    else:
        others = {*env.keys.values(), env.door} - {wanted}
        around = shortest_path(
            env.position,
            lambda cell: (
                there
                for action in range(len(MOVES))
                if (there := env.neighbour(cell, action)) not in others
            ),
            lambda cell: cell == wanted,
        )
        assert around is not None  # the maps have no dead ends
        path = around
    after = path[min(1, len(path) - 1)]
    moves = [env.neighbour(env.position, action) for action in range(len(MOVES))]
    return moves.index(after) if after in moves else 0


def played(config: AgentConfig, name: str, count: int) -> list[Rollout]:
    """Episodes of two keys."""
    envs = [
        OrderedKeys(1, resolution=config.resolution, max_steps=config.max_steps)
        for _ in range(count)
    ]
    return levels.play(
        envs, Guide(envs), [stream(config.seed, name, n) for n in range(count)], config.exploration
    )


def first_keys(rollouts: Sequence[Rollout]) -> np.ndarray:
    """(n, 3): episode, step of its first key, and whether it was in turn."""
    found = []
    for number, one in enumerate(rollouts):
        touched = (one.rewards > 0) | (one.rewards < -1)
        if touched.any():
            step = int(touched.argmax())
            found.append((number, step, one.rewards[step] > 0))
    return np.array(found, int).reshape(-1, 3)


def right_about_order(model: PixelModel, rollouts: Sequence[Rollout]) -> float:
    """Share of first keys that M thinks likelier in turn, or not, rightly.

    M can only say what it met while it learnt: an outcome that comes in these
    episodes alone is never what it expects.
    """
    rewards, ends = model.outcomes.decode(np.arange(len(model.outcomes.known)))
    # a copy numbers what the model never saw: these numbers are not asked
    copied = copy.deepcopy(model)
    episodes = lifelong.episodes_of(rollouts, copied)
    scores = lifelong.predicted(copied, episodes)[1].outcome
    number, step, in_turn = first_keys(rollouts).T
    asked = scores[step, number][:, : len(rewards)]
    good, bad = (
        asked[:, kind].max(axis=1, initial=-np.inf)
        for kind in ((rewards > 0) & ~ends, (rewards < 0) & ends)
    )
    return float(np.where(in_turn, good > bad, bad > good).mean())


def variants(config: Config) -> dict[str, AgentConfig]:
    """Settings of M by the name of a curve."""
    base: dict[str, Any] = dict(resolution=10, model_updates=config.updates)
    return {
        **{core: AgentConfig(**base, model=core) for core in config.models},
        **{
            f'{core}, trained as usual': AgentConfig(**base, **USUAL, model=core)
            for core in config.usual
        },
    }


def learn(config: Config, run: run_folder.Run) -> None:
    """Every number of episodes, every M, every seed."""
    rows = []
    for name, agent in variants(config).items():
        for count in config.episodes:
            for seed in range(config.seed, config.seed + config.seeds):
                one = dataclasses.replace(agent, seed=seed)
                known, new = cell(config, run, name, one, count)
                rows.append(
                    dict(model=name, episodes=count, seed=seed) | dict(training=known, new=new)
                )
                print(
                    f'{name}, {count} episodes, seed {seed}: right about '
                    f'{known:.2f} of the first keys learnt from, {new:.2f} '
                    'of new ones'
                )
    run.add_results(rows=rows)


def cell(
    config: Config, run: run_folder.Run, name: str, agent: AgentConfig, count: int
) -> list[float]:
    """One M: its shares on the episodes that it learnt from, and on new."""
    folder = run.path(f'{name.replace(", ", "-")}-{count}-{agent.seed}')
    if (folder / 'shares.json').exists():
        return files.read_json(folder / 'shares.json')
    rollouts = played(agent, 'learnt from', count)
    model = new_model(agent)
    train_model(agent, run, folder, model, rollouts, agent.seed)
    shares = [
        right_about_order(model, part)
        for part in (rollouts, played(agent, 'new', config.held_out))
    ]
    files.write_json(folder / 'shares.json', shares)
    return shares


def figures(config: Config, run: run_folder.Run) -> None:
    """Shares by the number of episodes."""
    rows = run.results()['rows']
    places = np.array(config.episodes)

    def curves(part: str) -> dict[str, Any]:
        found = {}
        for name in dict.fromkeys(row['model'] for row in rows):
            values = [row[part] for row in rows if row['model'] == name]
            shape = len(config.episodes), config.seeds
            found[name] = places, np.reshape(values, shape).T
        return found

    folder = run.path('figures')
    folder.mkdir(exist_ok=True)
    seed_curves(
        folder / 'key_order.png',
        {
            'right, of episodes learnt from': curves('training'),
            'right, of new episodes': curves('new'),
        },
        xlabel='episodes learnt from',
        title='What M knows of the order of two keys (a guess: 0.5)',
    )


def script(argv: Sequence[str] | None = None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    run_stages(config, NAME, {'learn': learn, 'figures': figures}).close()


if __name__ == '__main__':
    main(script)
