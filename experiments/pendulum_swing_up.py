"""Pendulum from pixels by the World Models paper's iterative procedure.

Ha and Schmidhuber 2018, "Iterative Training Procedure": play, train V and M (next frame, reward
and end) on all episodes so far, evolve C in M, repeat. With ``--curiosity`` the players of the
next iteration are evolved for M's own loss too. One function below for each arrow, in the order in
which they run; every stage of every iteration is resumed and skipped on its own. Iteration n is
round n - 1 of ``chainer_wm.training.rounds``.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chainer

from chainer_wm import files, plots
from chainer_wm.agents import policies
from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.controller import ControllerPolicy
from chainer_wm.agents.saved import SavedAgent
from chainer_wm.dream.foresight import foresee
from chainer_wm.dream.gym_envs import DreamEnv
from chainer_wm.dream.simulator import SEEABLE, Dream, evaluate_population
from chainer_wm.envs.pendulum import Pendulum
from chainer_wm.envs.pendulum_planner import Planner
from chainer_wm.links.conv_vae import ConvVAE, decoded, posteriors
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.play import evaluation
from chainer_wm.play.films import film
from chainer_wm.rollouts.splits import every_tenth
from chainer_wm.runs import figures, run_folder
from chainer_wm.runs.checks import check_features
from chainer_wm.runs.command_line import (
    MemoryConfig,
    ParallelConfig,
    WorkersConfig,
    main,
    opt,
    parse,
    run_stages,
)
from chainer_wm.runs.comparison import curve
from chainer_wm.seeds import stream
from chainer_wm.training import evolution, mdn_rnn, rounds, vae
from chainer_wm.training.novelty import novelty

NAME = 'pendulum_swing_up'
GAME_STEPS = 200  # of gym's Pendulum-v1, 0.05 s each
CONTEXT = 3  # frames that M sees in the figures before it goes on alone


@dataclasses.dataclass(frozen=True)
class Config(MemoryConfig, ParallelConfig, WorkersConfig):
    """Pendulum from pixels: play, train V and M, evolve C in M, repeat."""

    iterations: int = opt(5, 'rounds of the procedure', extends='report')
    first_episodes: int = opt(100, 'random episodes of the first iteration', least=10)
    episodes: int = opt(40, 'episodes that each later iteration adds')
    frame_skip: int = opt(4, 'game steps of 0.05 s per action')
    hold: tuple[int, ...] = opt((5,), 'longest hold of a random action')
    noise: float = opt(0.2, 'deviation of the noise on explored actions', least=0)
    curiosity: float = opt(0.0, "explorers' reward per nat of M's own loss", least=0)
    latent_size: int = opt(3, 'latents of V')
    vision_epochs: float = opt(3.0, 'passes of V in the first iteration')
    refine_epochs: float = opt(0.2, 'passes of V in each later one')
    vision_batch: int = opt(16, 'frames per update of V')
    vision_learning_rate: float = opt(1e-3, "V's Adam")
    memory_mb: int = opt(512, 'frames held in memory (MB)', free=True)
    hidden_size: int = opt(64, 'LSTM, or controller of the DNC')
    read_heads: int = opt(2, 'DNC: read heads R')
    reward_scale: float = opt(4.0, "unit of the reward's error in M's loss")
    model_epochs: float = opt(100.0, 'passes of M in each iteration')
    model_batch: int = opt(16, 'episodes side by side in an update of M')
    window: int = opt(25, 'steps per update of M')
    model_learning_rate: float = opt(3e-3, "M's Adam")
    features: tuple[str, ...] = opt(('z', 'h'), 'what C sees: z c h r', SEEABLE)
    hidden_units: int = opt(16, 'of C; 0 for a linear one', least=0)
    population: int = opt(64, 'candidates per generation', least=4)
    dreams: int = opt(16, 'dreams per candidate')
    generations: int = opt(120, 'of CMA-ES in each iteration')
    sigma: float = opt(0.5, 'first step size of CMA-ES')
    separable: bool = opt(True, 'CMA-ES with a diagonal covariance')
    test_episodes: int = opt(20, 'episodes of every score')

    def check(self) -> None:
        """See that C's features are there.

        Raises:
            runs.RunError: they are not.
        """
        check_features(self)


# fmt: off
PRESETS = {
    'smoke': dict(
        iterations=2, first_episodes=20, episodes=10, vision_epochs=1.0,
        refine_epochs=0.2, hidden_size=16, hidden_units=4, memory_length=4,
        memory_width=4, model_epochs=4.0, model_batch=4, population=8,
        dreams=2, generations=4, test_episodes=4),
    'laptop': {},
    'paper': dict(iterations=20, generations=200),
}
# fmt: on


def saved_agent(config: Config, run: run_folder.Run, round: int) -> SavedAgent:
    """The agent of a round, there or yet to come; a linear C has no bias."""
    return SavedAgent(
        run.folder,
        config.features,
        config.device,
        one_store=True,
        hidden_units=config.hidden_units,
        bias=config.hidden_units > 0,
        round=round,
    )


def make_env(config: Config, observation: str = 'pixels') -> Callable[[], Pendulum]:
    """A picklable maker of the game."""
    return functools.partial(Pendulum, observation, config.frame_skip, GAME_STEPS)


def watch(config: Config, run: run_folder.SavedRun) -> tuple[Pendulum, None]:
    """The game to be watched; its player is V, M and C of the run."""
    env = make_env(config)()
    env.render_mode = 'rgb_array'
    return env, None


def seed_of(config: Config, round: int) -> int:
    """The root of a round's streams."""
    return rounds.seed_of(config.seed, round + 1, 'iteration')


def collect(config: Config, run: run_folder.Run, round: int) -> None:
    """game -> rollouts: at first at random, then by candidates of the last search.

    Leaves how surprised the M of before is by the new episodes.
    """
    saved = saved_agent(config, run, round)
    rounds.collect(
        saved,
        make_env(config),
        functools.partial(policies.HeldRandom, config.hold),
        (config.first_episodes, config.episodes),
        config.seed,
        config.pool,
        search='explorer' if config.curiosity else 'controller',
        population=True,
        noise=config.noise,
    )
    if round:
        before, store = saved.at(round - 1), saved.store()
        last = config.first_episodes + round * config.episodes
        new = [store.read(episode) for episode in range(last - config.episodes, last)]
        found = novelty(before.vision(), before.model(), new, config.seed)
        files.write_json(saved.home / 'novelty.json', found)


def train_vision(config: Config, run: run_folder.Run, round: int) -> None:
    """frames -> V, on all so far, from where the last round left it."""
    saved = saved_agent(config, run, round)
    store, episodes, held_out = rounds.recorded(saved, every_tenth)
    if round:
        vision, epochs = saved.at(round - 1).vision(), config.refine_epochs
    else:
        vision, epochs = ConvVAE(config.latent_size, seed=config.seed), config.vision_epochs
        vision.to_device(config.device)
        vae.start_at_mean(vision, store.read(episodes[0]).observations)
    log = vae.train(
        saved.home / 'vision',
        store,
        vision,
        episodes=episodes,
        epochs=epochs,
        batch_size=config.vision_batch,
        learning_rate=config.vision_learning_rate,
        seed=seed_of(config, round),
        memory_mb=config.memory_mb,
        debug=config.debug,
        tick=run.tick,
        ranks=config.ranks,
    )
    figures.draw_vision(saved.home / 'figures', log, vision, store, held_out)


def encode_frames(config: Config, run: run_folder.Run, round: int) -> None:
    """frames -> V -> z: the codes of all episodes so far."""
    saved = saved_agent(config, run, round)
    rounds.encode(saved, functools.partial(collect, config, run), run.tick)


def new_model(config: Config) -> MDNRNN:
    """M at its start, on its device."""
    network = MDNRNN(
        config.latent_size,
        1,
        config.hidden_size,
        core=config.model,
        predict_done=True,
        predict_reward=True,
        reward_scale=config.reward_scale,
        seed=config.seed,
        **config.core_options(),
    )
    network.to_device(config.device)
    return network


def train_model(config: Config, run: run_folder.Run, round: int) -> None:
    """(z, a) -> M: the next z and the reward, from where the last round left it."""
    saved = saved_agent(config, run, round)
    train, test = rounds.windows(
        saved,
        every_tenth,
        config.model_batch,
        config.window,
        seed_of(config, round),
        dtype=config.dtype,
        rewards=True,
    )
    log = mdn_rnn.train(
        saved.home / 'model',
        saved.at(round - 1).model() if round else new_model(config),
        train,
        test,
        epochs=config.model_epochs,
        learning_rate=config.model_learning_rate,
        seed=seed_of(config, round),
        debug=config.debug,
        tick=run.tick,
        ranks=config.ranks,
    )
    figures.draw_model(saved.home / 'figures', log)
    losses = mdn_rnn.measure(saved.model(), test, config.seed)
    files.write_json(saved.home / 'held_out.json', losses)


def dream_of(config: Config, saved: SavedAgent, curiosity: float = 0.0) -> Dream:
    return saved.dream(1.0, GAME_STEPS // config.frame_skip, curiosity)


def evolve(config: Config, run: run_folder.Run, round: int) -> None:
    """dream -> C by CMA-ES; with curiosity, also the explorers of the next round.

    A search goes on from where it was in the round before.
    """
    saved = saved_agent(config, run, round)
    controller = saved.new_controller(saved.model())
    searches = {'controller': 0.0}
    if config.curiosity:
        searches['explorer'] = config.curiosity
    for name, curiosity in searches.items():
        if round:
            evolution.inherit(saved.at(round - 1).home / name, saved.home / name)
        outcome = evolution.evolve(
            saved.home / name,
            CMAES(
                controller.get_theta(),  # explorers begin where C ended
                config.sigma,
                config.population,
                seed=config.seed,
                separable=config.separable,
            ),
            evolution.in_dream(
                dream_of(config, saved, curiosity),
                controller.act,
                episodes=config.dreams,
                seed=config.seed,
                features=config.features,
            ),
            generations=config.generations * (round + 1),
            tick=run.tick,
        )
        if name == 'controller':
            controller.set_theta(outcome.theta)
            controller.save(saved.controller_path)


def score(config: Config, run: run_folder.Run, round: int) -> None:
    """The agent in the game, and C in the dream."""
    saved = saved_agent(config, run, round)
    game = evaluation.evaluate(
        make_env(config),
        {'agent': saved.agent_maker()},
        config.test_episodes,
        config.seed,
        workers=config.pool,
        label=f'iteration {round + 1} in the game',
    )
    dreamt = evaluate_population(
        dream_of(config, saved),
        saved.new_controller(saved.model()).act,
        saved.theta()[None],
        config.test_episodes,
        rng=stream(config.seed, 'dreamt', round + 1),
        features=config.features,
    )
    found = {'game': evaluation.summary(game['agent']), 'dream': evaluation.summary(dreamt[0])}
    files.write_json(saved.home / 'score.json', found)
    means = [f'{name} {row["mean"]:.0f}' for name, row in found.items()]
    print(f'iteration {round + 1}: {", ".join(means)}')


def report(config: Config, run: run_folder.Run) -> None:
    """What to compare with, a table of all iterations, and the pictures."""
    fixed: dict[str, Callable] = {
        'random': functools.partial(policies.HeldRandom, (1,)),
        'no torque': policies.NoAction,
    }
    steps = GAME_STEPS // config.frame_skip
    planner = {'planner': functools.partial(Planner, config.frame_skip, steps)}
    episodes = config.test_episodes, config.seed
    returns = evaluation.evaluate(make_env(config), fixed, *episodes, workers=0)
    returns |= evaluation.evaluate(make_env(config, 'state'), planner, *episodes, workers=0)
    levels = {name: evaluation.summary(r) for name, r in returns.items()}
    agents = [saved_agent(config, run, round) for round in range(config.iterations)]
    rows = [table_row(saved) for saved in agents]
    run.add_results(
        evaluation=rows[-1]['game'],
        random_baseline=levels['random'],
        levels=levels,
        iterations=rows,
        **compared(rows, levels),
    )
    numbers = [row['iteration'] for row in rows]
    means = {
        name: (numbers, [row[where]['mean'] for row in rows])
        for name, where in (('agent in the game', 'game'), ('C in its dream', 'dream'))
    }
    fixed_means = {name: row['mean'] for name, row in levels.items()}
    words = ('iteration', 'return of an episode', 'Pendulum from pixels')
    panel = plots.Panel(means, *words, levels=fixed_means)
    plots.curves(run.path('figures', 'returns.png'), [panel])
    draw_rollouts(config, run.path('figures'), agents)


def compared(
    rows: Sequence[Mapping[str, Any]], levels: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What runs are compared in, beside the last return in the game.

    Args:
        rows: of ``table_row``; levels: scores of fixed policies.
    """
    numbers = [row['iteration'] for row in rows]

    def returns(where: str, **more: str) -> dict[str, Any]:
        means = [row[where]['mean'] for row in rows]
        return curve(numbers, means, 'iteration', f'return in the {where}', **more)

    errors = [row['held_out']['nll'] for row in rows]
    return {
        'scores': {'return in the dream': {'mean': rows[-1]['dream']['mean']}},
        'baselines': {
            name: {'evaluation': {'mean': score['mean']}}
            for name, score in levels.items()
            if name != 'random'
        },
        'curves': {
            'agent in the game': returns('game', score='evaluation'),
            'C in its dream': returns('dream'),
            'M on held-out episodes': curve(
                numbers, errors, 'iteration', 'nats per latent dimension'
            ),
        },
    }


def table_row(saved: SavedAgent) -> dict[str, Any]:
    """Scores of an iteration, M's held-out losses, and its novelty.

    'novelty' holds the losses of the M of before on the episodes that the iteration added; the
    first has none.
    """
    row = {'iteration': saved.round + 1, **files.read_json(saved.home / 'score.json')}
    row['held_out'] = files.read_json(saved.home / 'held_out.json')
    if saved.round:
        row['novelty'] = files.read_json(saved.home / 'novelty.json')
    return row


def draw_rollouts(config: Config, folder: pathlib.Path, agents: Sequence[SavedAgent]) -> None:
    """Generated rollouts beside real ones: strips and films."""
    seconds = 0.05 * config.frame_skip
    first, last = agents[0], agents[-1]
    real = film(make_env(config), last.agent_maker()(), stream(config.seed, 'evaluate', 0))
    strips = {f'game, agent of\niteration {last.round + 1}': real.frames}
    for saved in dict.fromkeys((first, last)):
        vision = saved.vision()
        mu, _ = posteriors(vision, real.frames[:-1])
        rng = stream(config.seed, 'foresight')
        seen = foresee(saved.model(), mu, real.actions, CONTEXT, rng)
        strips[f'M of iteration {saved.round + 1},\nthe same actions'] = decoded(
            vision, seen.dreamed
        )
    figures.draw_model_memory(
        folder / 'memory.png',
        last.model(),
        mu,
        real.actions,
        "The memory of M along an episode of the last iteration's agent",
        signals={'reward': real.rewards},
    )
    for saved in dict.fromkeys((first, last)):
        number, dream = saved.round + 1, dream_of(config, saved)
        with chainer.using_config('train', False):
            dreamer = ControllerPolicy(saved.new_controller(dream.model).act, saved.theta())
            inside = functools.partial(DreamEnv, dream, saved.features, saved.vision())
            alone = film(inside, dreamer, stream(config.seed, 'film'), rendered=True).frames
        real = film(make_env(config), saved.agent_maker()(), stream(config.seed, 'evaluate', 0))
        strips[f'C of iteration {number}\nin its dream'] = alone
        plots.side_by_side(
            folder / f'game_and_dream_{number:02d}.gif',
            real.frames,
            alone,
            (f'game, iteration {number}', 'dream'),
            fps=1 / seconds,
            scale=3,
        )
    plots.film_rows(
        folder / 'generated.png',
        strips,
        title='Rollouts: real, and generated by M',
        step=seconds,
        unit='seconds',
    )


def stages(config: Config) -> dict[str, Callable]:
    """One of each per iteration, then the report."""
    each = {
        'collect': collect,
        'vision': train_vision,
        'encode': encode_frames,
        'model': train_model,
        'controller': evolve,
        'score': score,
    }
    found: dict[str, Callable] = {
        f'{name}-{round + 1}': functools.partial(stage, round=round)
        for round in range(config.iterations)
        for name, stage in each.items()
    }
    return {**found, 'report': report}


def script(argv=None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    run_stages(config, NAME, stages(config)).close()


if __name__ == '__main__':
    main(script)
