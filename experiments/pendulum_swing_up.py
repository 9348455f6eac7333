"""Pendulum from pixels by the World Models paper's iterative procedure.

Ha and Schmidhuber 2018, "Iterative Training Procedure": play, train V and M
(next frame, reward and end) on all episodes so far, evolve C in M, repeat.
With ``--curiosity`` the players of the next iteration are evolved for M's own
loss too. Every stage of every iteration is resumed and skipped on its own.
"""

from __future__ import annotations

import functools
import pathlib
import sys
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import dnc.runtime  # noqa: F401

from chainer_wm import files
from chainer_wm.agents import iteration as iterative
from chainer_wm.agents import policies
from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.iteration import Iteration
from chainer_wm.dream.population import evaluate_population
from chainer_wm.dream.simulator import Dream
from chainer_wm.envs.pendulum import Pendulum
from chainer_wm.envs.pendulum_planner import Planner
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.play import collection, evaluation
from chainer_wm.rollouts import RolloutStore
from chainer_wm.rollouts.sequences import LatentSequences
from chainer_wm.runs import run_folder
from chainer_wm.runs.command_line import main, parse, run_stages
from chainer_wm.seeds import derived_seed, stream
from chainer_wm.training import encode, evolution, mdn_rnn, vae
from chainer_wm.training.novelty import novelty
from experiments import pendulum_report
from experiments.pendulum_config import NAME, PRESETS, Config, new_model

GAME_STEPS = 200  # of gym's Pendulum-v1


def make_env(config: Config) -> Callable[[], Pendulum]:
    """A picklable maker of the game."""
    return functools.partial(Pendulum, 'pixels', config.frame_skip, GAME_STEPS)


def iteration(config: Config, run: run_folder.Run, number: int) -> Iteration:
    """The parts of an iteration, there or yet to come."""
    return Iteration(run.folder, number, config.features, config.hidden_units, config.device)


def store_of(run: run_folder.Run) -> RolloutStore:
    """All episodes of the run."""
    return RolloutStore(run.path('rollouts'))


def seed_of(config: Config, number: int) -> int:
    """The root of an iteration's streams."""
    return derived_seed(config.seed, 'iteration', number)


def collect(config: Config, run: run_folder.Run, number: int) -> None:
    """Play: at first at random, then candidates of the last search.

    A damaged episode is played again by whom it was played.
    """
    store = store_of(run)
    for each in range(1, number + 1):
        before = iteration(config, run, each).previous
        search = 'explorer' if config.curiosity else 'controller'
        collection.collect(
            store,
            make_env(config),
            before.explorer_maker(search, config.noise)
            if before
            else iterative.random_maker(config.hold),
            episodes_until(config, each),
            config.seed,
            config.workers,
            progress=each == number,
        )
    if before:
        new = range(episodes_until(config, number - 1), episodes_until(config, number))
        found = novelty(
            before.vision(), before.model(), [store.read(episode) for episode in new], config.seed
        )
        here = iteration(config, run, number).folder
        files.write_json(here / 'novelty.json', found)


def episodes_until(config: Config, number: int) -> int:
    return config.first_episodes + (number - 1) * config.episodes


def train_vision(config: Config, run: run_folder.Run, number: int) -> None:
    """V on all frames so far, from where the last iteration left it."""
    here, store = iteration(config, run, number), store_of(run)
    seen, held_out = iterative.split(store.episodes)
    if here.previous:
        network, epochs = here.previous.vision(), config.refine_epochs
    else:
        network, epochs = (ConvVAE(config.latent_size, seed=config.seed), config.vision_epochs)
        network.to_device(config.device)
        iterative.start_at_mean(network, store.read(seen[0]).observations)
    log = vae.train(
        here.folder / 'vision',
        store,
        network,
        episodes=seen,
        epochs=epochs,
        batch_size=config.vision_batch,
        learning_rate=config.vision_learning_rate,
        seed=seed_of(config, number),
        memory_mb=config.memory_mb,
        debug=config.debug,
        tick=run.tick,
    )
    vae.draw(here.folder / 'figures', log, network, store, held_out)


def encode_frames(config: Config, run: run_folder.Run, number: int) -> None:
    """The codes of all episodes so far by this iteration's V."""
    here = iteration(config, run, number)
    encode.encode(
        here.codes_path,
        store_of(run),
        here.vision(),
        here.vision_path,
        play_again=lambda: collect(config, run, number),
        tick=run.tick,
    )


def train_model(config: Config, run: run_folder.Run, number: int) -> None:
    """M on all codes so far, from where the last iteration left it."""
    here, store = iteration(config, run, number), store_of(run)
    latents = here.latents()
    rewards = iterative.rewards(store, latents)
    train, test = (
        LatentSequences(
            latents,
            min(config.model_batch, len(episodes)),
            config.window,
            seed_of(config, number),
            episodes,
            config.dtype,
            rewards,
        )
        for episodes in iterative.split(store.episodes)
    )
    log = mdn_rnn.train(
        here.folder / 'model',
        here.previous.model() if here.previous else new_model(config),
        train,
        test,
        epochs=config.model_epochs,
        learning_rate=config.model_learning_rate,
        seed=seed_of(config, number),
        debug=config.debug,
        tick=run.tick,
    )
    mdn_rnn.draw(here.folder / 'figures', log)
    losses = mdn_rnn.measure(here.model(), test, config.seed)
    files.write_json(here.folder / 'held_out.json', losses)


def dream_of(config: Config, here: Iteration, curiosity: float = 0) -> Dream:
    return here.dream(GAME_STEPS // config.frame_skip, curiosity)


def evolve(config: Config, run: run_folder.Run, number: int) -> None:
    """C in M; with curiosity, also the explorers of the next iteration.

    A search goes on from where it was in the iteration before.
    """
    here = iteration(config, run, number)
    agent = here.new_controller(here.model())
    searches = {'controller': 0.0}
    if config.curiosity:
        searches['explorer'] = config.curiosity
    for name, curiosity in searches.items():
        if here.previous:
            evolution.inherit(here.previous.folder / name, here.folder / name)
        search = CMAES(
            agent.get_theta(),
            config.sigma,
            config.population,
            seed=config.seed,
            separable=config.separable,
        )
        outcome = evolution.evolve(
            here.folder / name,
            search,
            dream_of(config, here, curiosity),
            agent.act,
            generations=config.generations * number,
            episodes=config.dreams,
            seed=config.seed,
            features=config.features,
            tick=run.tick,
        )
        if name == 'controller':
            agent.set_theta(outcome.theta)
            agent.save(here.controller_path)


def score(config: Config, run: run_folder.Run, number: int) -> None:
    """The agent in the game, and C in the dream."""
    here = iteration(config, run, number)
    game = evaluation.evaluate(
        make_env(config),
        {'agent': here.agent_maker()},
        config.test_episodes,
        config.seed,
        workers=config.workers,
        label=f'iteration {number} in the game',
    )
    dreamt = evaluate_population(
        dream_of(config, here),
        here.new_controller(here.model()).act,
        here.theta()[None],
        config.test_episodes,
        rng=stream(config.seed, 'dreamt', number),
        features=config.features,
    )
    found = {'game': evaluation.summary(game['agent']), 'dream': evaluation.summary(dreamt[0])}
    files.write_json(here.folder / 'score.json', found)
    means = [f'{name} {row["mean"]:.0f}' for name, row in found.items()]
    print(f'iteration {number}: {", ".join(means)}')


def report(config: Config, run: run_folder.Run) -> None:
    """What to compare with, a table of all iterations, and the pictures."""
    fixed: dict[str, Callable] = {
        'random': functools.partial(policies.HeldRandom, (1,)),
        'no torque': policies.NoAction,
    }
    known = functools.partial(Pendulum, 'state', config.frame_skip, GAME_STEPS)
    steps = GAME_STEPS // config.frame_skip
    planner = functools.partial(Planner, config.frame_skip, steps)
    returns = evaluation.evaluate(
        make_env(config), fixed, config.test_episodes, config.seed, workers=0
    ) | evaluation.evaluate(
        known, {'planner': planner}, config.test_episodes, config.seed, workers=0
    )
    levels = {name: evaluation.summary(r) for name, r in returns.items()}
    ones = [iteration(config, run, number + 1) for number in range(config.iterations)]
    rows = pendulum_report.table(ones)
    run.add_results(
        evaluation=rows[-1]['game'],
        random_baseline=levels['random'],
        levels=levels,
        iterations=rows,
    )
    pendulum_report.draw(
        run.path('figures'),
        ones,
        make_env(config),
        functools.partial(dream_of, config),
        levels,
        config.seed,
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
        f'{name}-{number + 1}': functools.partial(stage, number=number + 1)
        for number in range(config.iterations)
        for name, stage in each.items()
    }
    return {**found, 'report': report}


def script(argv=None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    if config.summary:
        pendulum_report.summarise(
            pathlib.Path(config.data, NAME), config.summary, pathlib.Path(config.results)
        )
        return
    run_stages(config, NAME, stages(config)).close()


if __name__ == '__main__':
    main(script)
