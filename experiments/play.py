"""Watch a trained agent of Take Cover or CarRacing in the game and in its dream.

Needs no training: the weights lie in ``results/GAME/agents``. Writes a GIF of both side by side,
and prints how the agent did.

    play.py --model dnc --score 100
    play.py --game car_racing
    play.py --pack data/doom_take_cover/RUN    # packs V, M, C, then plays

A packed run lands in the folder of its core; cores of one V share it.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import argparse
import functools
import pathlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from chainer_wm import files, plots
from chainer_wm.agents.controller import ControllerPolicy
from chainer_wm.agents.saved import PackedAgent, SavedAgent
from chainer_wm.dream.gym_envs import DreamEnv
from chainer_wm.envs.car_racing import MAX_STEPS, CarRacing
from chainer_wm.envs.take_cover import SETTINGS, TakeCover
from chainer_wm.play import evaluation
from chainer_wm.play.films import film
from chainer_wm.seeds import stream

RESULTS = pathlib.Path(__file__).parent / 'results'


class Game(NamedTuple):
    """What is played, and what its script calls its agents.

    Fields:
        make: the game.
        max_steps: cap of a dream.
        unit: of a return.
        options: of the saved agent, which the run's settings do not tell.
    """

    make: Callable[[], Any]
    max_steps: int
    unit: str
    options: dict[str, Any]


GAMES = {
    'doom_take_cover': Game(TakeCover, SETTINGS['paper'].timeout, 'steps', {}),
    'car_racing': Game(CarRacing, MAX_STEPS, 'return', {'actions': 'driving'}),
}


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or '').splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('--game', choices=tuple(GAMES), default='doom_take_cover', help='that of --pack wins')
    add('--model', choices=('lstm', 'dnc'), default='lstm', help='core of M')
    add('--agents', type=pathlib.Path, help='the weights (default: results/GAME/agents)')
    add('--seed', type=int, default=0, help='of the game and of the dream')
    add('--episode', type=int, default=0, help='which one of that seed')
    add('--out', type=pathlib.Path, default='play.gif', help='the film')
    add('--steps', type=int, help='its most steps')
    add('--scale', type=int, default=4, help='its pixels for one of the game')
    add('--mb', type=float, default=8.0, help='its most megabytes: frames are left out evenly')
    add('--score', type=int, default=0, help='also play so many episodes')
    add('--workers', type=int, default=2, help='processes that play them')
    add('--pack', type=pathlib.Path, help='first pack this run into --agents')
    given = parser.parse_args(argv)
    if given.pack:
        given.game = files.read_json(given.pack / 'results.json')['experiment']
        if given.game not in GAMES:
            parser.error(f'{given.pack} is a run of {given.game}, not of {", ".join(GAMES)}')
    given.agents = given.agents or RESULTS / given.game / 'agents'
    return given


def pack(run: pathlib.Path, agents: pathlib.Path) -> str:
    """Pack a finished run; its core's name."""
    results = files.read_json(run / 'results.json')
    config = results['config']
    saved = SavedAgent.of_run(run, config, **GAMES[results['experiment']].options)
    origin = {
        'commits': results.get('commits', ['unknown']),
        'run': config['run'],
        'seed': config['seed'],
        'game': {name: results['evaluation'][name] for name in ('episodes', 'mean', 'std')},
    }
    saved.pack(
        agents,
        config['model'],
        tuple(np.atleast_1d(config['temperature']).tolist()),
        origin,
        done_threshold=config.get('done_threshold', 0.5),
        dropout=config.get('dream_dropout', 0.0),
    )
    size = sum(path.stat().st_size for path in agents.rglob('*.npz'))
    print(f'{agents}: {size / 1e6:.1f} MB')
    return config['model']


def make_policy(agents: pathlib.Path, core: str):
    """The packed agent, as a worker makes it."""
    return PackedAgent.load(agents, core).agent()


def script(argv: list[str] | None = None) -> None:
    given = arguments(argv)
    game = GAMES[given.game]
    core = pack(given.pack, given.agents) if given.pack else given.model
    agent = PackedAgent.load(given.agents, core)
    maker = functools.partial(make_policy, given.agents, core)
    seed = stream(given.seed, 'evaluate', given.episode)
    real = film(game.make, maker(), seed, max_steps=given.steps)
    print(f'game: {len(real.actions)} steps, return {real.total:.0f}')
    dream = agent.dream(given.steps or game.max_steps)
    dreamt = film(
        functools.partial(DreamEnv, dream, agent.settings['features'], agent.vision),
        ControllerPolicy(agent.controller.act, agent.controller.get_theta()),
        stream(given.seed, 'film'),
        rendered=True,
    )
    print(f'dream: {len(dreamt.actions)} steps')
    fps = game.make.metadata['render_fps']  # type: ignore[attr-defined]
    size: dict[str, int] = dict(scale=given.scale, max_bytes=int(given.mb * 2**20))
    plots.side_by_side(given.out, real.frames, dreamt.frames, fps=fps, **size)
    print(f'film: {given.out}')
    if given.score:
        returns = evaluation.evaluate(
            game.make, {'agent': maker}, given.score, given.seed, workers=given.workers
        )
        found = evaluation.summary(returns['agent'])
        print(
            f'game: {found["mean"]:.0f} ± {found["std"]:.0f} ({game.unit}) over '
            f'{found["episodes"]} episodes'
        )


def main() -> None:
    """Run the script; an agent that is not there is one line."""
    try:
        script()
    except FileNotFoundError as error:
        sys.exit(
            f'error: {error.filename} is not there; train an agent with the script of the game, '
            'then repeat this with --pack RUN_FOLDER'
        )


if __name__ == '__main__':
    main()
