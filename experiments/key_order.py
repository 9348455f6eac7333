"""How many episodes a model needs until it knows the order of two keys.

A key is the next in the order or a mistake: only the colour of the door in the first pictures says
which. M (``--models``) learns from some episodes and is asked about the first key of new ones;
whoever learns episodes by heart is right about half of them. The episodes go to either key, with
10, 50 or 100 % random steps, like those of ``grid_navigation.py --env ordered_keys``.

``--usual`` too trains M as is common: Adam's beta2 at 0.999, the losses of pictures and outcomes
simply added.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_wm import files, plots
from chainer_wm.envs.grid import MOVES, Cell, shortest_path
from chainer_wm.envs.grid_navigation import OrderedKeys
from chainer_wm.files.archives import load_link
from chainer_wm.links.pixel_model import PixelModel
from chainer_wm.links.recurrent import CORES
from chainer_wm.rollouts import Rollout
from chainer_wm.runs import lifelong_figures, run_folder
from chainer_wm.runs.command_line import TrainingConfig, main, opt, parse, run_stages
from chainer_wm.seeds import stream
from chainer_wm.training import levels, lifelong

NAME = 'key_order'
RESOLUTION, MAX_STEPS = 10, 50  # of the pictures; of an episode
EXPLORATION = (0.1, 0.5, 1.0)  # shares of random steps
MEMORY: dict[str, Any] = {'memory_length': 16, 'memory_width': 16, 'read_heads': 2}  # of the DNC
# how grid_navigation.py trains M, and what --usual has in the place of it
TRAINING: dict[str, Any] = {
    'lanes': 12,
    'steps': MAX_STEPS,
    'learning_rate': 4e-3,
    'beta2': 0.98,
    'outcome_weight': 10.0,
}
USUAL: dict[str, Any] = {'beta2': 0.999, 'outcome_weight': 1.0}


@dataclasses.dataclass(frozen=True)
class Config(TrainingConfig):
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


def played(seed: int, name: str, count: int) -> list[Rollout]:
    """Episodes of two keys, those of this name and seed."""
    envs = [OrderedKeys(1, resolution=RESOLUTION, max_steps=MAX_STEPS) for _ in range(count)]
    rngs = [stream(seed, name, n) for n in range(count)]
    return levels.play(envs, Guide(envs), rngs, EXPLORATION)


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

    M can only say what it met while it learnt: an outcome that comes in these episodes alone is
    never what it expects.
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


def new_model(core: str, seed: int) -> PixelModel:
    """M at its start, of the size that it has in grid_navigation.py."""
    memory = MEMORY if core == 'dnc' else {}
    return PixelModel(RESOLUTION, RESOLUTION, len(MOVES), core=core, seed=seed, **memory)


def learn(config: Config, run: run_folder.Run) -> None:
    """Every number of episodes, every M, every seed."""
    variants = [(core, core, TRAINING) for core in config.models] + [
        (f'{core}, trained as usual', core, TRAINING | USUAL) for core in config.usual
    ]
    rows = []
    for name, core, training in variants:
        for count in config.episodes:
            for seed in range(config.seed, config.seed + config.seeds):
                known, new = shares(config, run, name, core, training, count, seed)
                rows.append(dict(model=name, episodes=count, seed=seed, training=known, new=new))
                print(
                    f'{name}, {count} episodes, seed {seed}: right about '
                    f'{known:.2f} of the first keys learnt from, {new:.2f} '
                    'of new ones'
                )
    run.add_results(rows=rows)


def shares(config: Config, run, name, core, training, count, seed) -> list[float]:
    """One M: its shares on the episodes that it learnt from, and on new."""
    folder = run.path(f'{name.replace(", ", "-")}-{count}-{seed}')
    if (folder / 'shares.json').exists():
        return files.read_json(folder / 'shares.json', list)
    rollouts = played(seed, 'learnt from', count)
    model = new_model(core, seed)
    model.to_device(config.device)
    lifelong.train_model(
        folder,
        model,
        lifelong.episodes_of(rollouts, model),
        updates=config.updates,
        seed=seed,
        debug=config.debug,
        tick=run.tick,
        **training,
    )
    found = [
        right_about_order(model, part) for part in (rollouts, played(seed, 'new', config.held_out))
    ]
    files.write_json(folder / 'shares.json', found)
    return found


def figures(config: Config, run: run_folder.Run) -> None:
    """Shares by the number of episodes, and the memory of a DNC along new ones."""
    rows = run.results()['rows']
    places = np.array(config.episodes)

    def curves(part: str) -> dict[str, Any]:
        found = {}
        for name in dict.fromkeys(row['model'] for row in rows):
            values = [row[part] for row in rows if row['model'] == name]
            shape = len(config.episodes), config.seeds
            found[name] = places, np.reshape(values, shape).T
        return found

    labels = {'training': 'right, of episodes learnt from', 'new': 'right, of new episodes'}
    plots.curves(
        run.path('figures/key_order.png'),
        [
            plots.Panel(curves(part), 'episodes learnt from', label)
            for part, label in labels.items()
        ],
        'What M knows of the order of two keys (a guess: 0.5)',
    )
    for core in config.models:
        draw_memory(config, run, core)


def draw_memory(config: Config, run: run_folder.Run, core: str, count: int = 4) -> None:
    """M that has learnt from most episodes, along new ones."""
    most = run.path(f'{core}-{config.episodes[-1]}-{config.seed}')
    model = load_link(most / 'model.npz', PixelModel)
    model.to_device(config.device)
    rollouts = played(config.seed, 'new', count)
    ends = {number: 'in turn' if right else 'mistake' for number, _, right in first_keys(rollouts)}
    named = {f'{n}: {ends.get(n, "no key")}': rollout for n, rollout in enumerate(rollouts)}
    title = f'The memory of M along {count} new episodes, and how their first keys went'
    lifelong_figures.draw_memory(run.path('figures/memory.png'), model, named, title)


def script(argv: Sequence[str] | None = None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    run_stages(config, NAME, {'learn': learn, 'figures': figures}).close()


if __name__ == '__main__':
    main(script)
