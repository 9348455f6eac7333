"""ViZDoom Take Cover: V, M (LSTM or DNC) and C evolved inside the dream.

Ha and Schmidhuber 2018, "World Models", section 4, with the recurrent core
chosen by ``--model``. Every stage reads and writes only the run's folder, is
skipped when it is complete and goes on where it was stopped. ``--summary RUN
RUN ...`` compares finished runs, and lists their controls.
"""

from __future__ import annotations

import functools
import pathlib
import sys
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import dnc.runtime  # noqa: F401

import numpy as np

from chainer_wm import collection, policies, runs
from chainer_wm.cma_es import CMAES
from chainer_wm.datasets import split_episodes
from chainer_wm.dream import Dream
from chainer_wm.envs.take_cover import TakeCover
from chainer_wm.model import MDNRNN
from chainer_wm.rollouts import RolloutStore
from chainer_wm.stages import (
    controller,
    encode,
    model,
    practice,
    report,
    vision,
)
from chainer_wm.stages.parts import Parts
from chainer_wm.vision import ConvVAE
from experiments import take_cover_summary
from experiments.common import main, parse, run_stages
from experiments.take_cover_config import FIXED, PRESETS, Config, new_model

NAME = 'doom_take_cover'
SOLVED = 750


def parts(config: Config, run: runs.Run) -> Parts:
    """Where this run's V, M and C are; with --reuse, V is another run's."""
    return Parts.of(run.folder, config.reuse, config.features, config.device)


def make_env(config: Config):
    """A picklable maker of the game."""
    return functools.partial(TakeCover, settings=config.settings)


def split(config: Config, store: RolloutStore) -> tuple[list[int], list[int]]:
    """Episodes to train V on, and held-out ones."""
    return split_episodes(store.episodes, config.held_out, config.seed)


def collect(config: Config, run: runs.Run) -> None:
    """Random episodes of the game."""
    if config.reuse:
        return
    collection.collect(
        parts(config, run).store(),
        make_env(config),
        functools.partial(policies.HeldRandom, config.hold),
        config.episodes,
        config.seed,
        config.workers,
        config.min_length,
    )


def train_vision(config: Config, run: runs.Run) -> None:
    """V on the frames."""
    if config.reuse:
        return
    store = parts(config, run).store()
    episodes, held_out = split(config, store)
    vae = ConvVAE(config.latent_size, seed=config.seed)
    vae.to_device(config.device)
    log = vision.train(
        run.path('vision'),
        store,
        vae,
        episodes=episodes,
        epochs=config.vision_epochs,
        batch_size=config.vision_batch,
        learning_rate=config.vision_learning_rate,
        last_learning_rate=config.vision_last_learning_rate,
        seed=config.seed,
        memory_mb=config.memory_mb,
        debug=config.debug,
        tick=run.tick,
    )
    run.add_results(vision=vision.measure(vae, store, held_out))
    vision.draw(run.path('figures'), log, vae, store, held_out)


def encode_frames(config: Config, run: runs.Run) -> None:
    """The codes of all frames; damaged episodes are played again first."""
    if config.reuse:
        return
    found = parts(config, run)
    store = found.store()
    if store.missing(config.episodes):
        collect(config, run)
    encode.encode(
        found.codes_path,
        store,
        found.vision(),
        found.vision_path,
        play_again=lambda: collect(config, run),
        tick=run.tick,
    )


def learn(
    config: Config,
    found: Parts,
    network: MDNRNN,
    epochs: float,
    learning_rate: float,
    last_learning_rate: float,
    tick: Callable[[], None],
) -> dict:
    """Train M of a round: its measures on held-out episodes."""
    train, test = practice.windows(
        found,
        config.model_batch,
        config.window,
        config.held_out,
        config.seed,
        config.round_repeats,
        config.dtype,
    )
    log = model.train(
        found.home / 'model',
        network,
        train,
        test,
        epochs=epochs,
        learning_rate=learning_rate,
        last_learning_rate=last_learning_rate,
        seed=practice.seed_of(config.seed, found.round),
        patience=config.patience or None,
        debug=config.debug,
        tick=tick,
    )
    best = found.model()
    deaths = model.deaths(best, test, config.seed)
    deaths.save(found.home / 'model/deaths.npz')
    model.draw(found.home / 'figures', log)
    return {**model.measure(best, test, config.seed), **deaths.detection()}


def train_model(config: Config, run: runs.Run) -> None:
    """M on the codes."""
    found = parts(config, run)
    measures = learn(
        config,
        found,
        new_model(config),
        0.0 if config.untrained_model else config.model_epochs,
        config.model_learning_rate,
        config.model_last_learning_rate,
        run.tick,
    )
    run.add_results(model=measures)
    held_out = split(config, found.store())[1]
    report.draw_foresight(run.path('figures'), found, held_out[0], config.seed)


def search(
    config: Config,
    found: Parts,
    dream: Dream,
    generations: int,
    tick: Callable[[], None],
) -> dict:
    """Evolve C inside a round's dream: where it ended, scores in the game."""
    linear = found.new_controller(dream.model)

    def score(theta: np.ndarray, generation: int) -> dict:
        return report.score_in_game(
            {'agent': found.agent_maker(theta)},
            make_env(config),
            config.evaluate_episodes,
            config.seed,
            config.workers,
            purpose='validate',
        )['agent']

    start = CMAES(
        np.zeros(linear.n_params),
        config.sigma,
        config.population,
        seed=config.seed,
        separable=config.separable,
    )
    outcome = controller.evolve(
        found.home / 'controller',
        start,
        dream,
        linear.act,
        generations=generations,
        episodes=config.dreams,
        seed=config.seed,
        features=config.features,
        evaluate=score,
        evaluate_every=config.evaluate_every,
        choose=config.choose,
        tick=tick,
    )
    linear.set_theta(outcome.theta)
    linear.save(found.controller_path)
    return {
        'generation': outcome.generation,
        'dream': outcome.history[-1]['mean'],
        'evaluations': outcome.evaluations,
    }


def evolve(config: Config, run: runs.Run) -> None:
    """C by CMA-ES, inside the dream."""
    found = parts(config, run)
    dream = found.dream(config.temperature, config.max_steps)
    run.add_results(
        controller=search(config, found, dream, config.generations, run.tick)
    )


def play_and_refine(number: int, config: Config, run: runs.Run) -> None:
    """A round: the agents play, M learns from it, C goes on evolving.

    C begins anew where it does worse in the new dream than one of zeros.
    """
    before, found = (parts(config, run).at(n) for n in (number - 1, number))
    row = practice.play(
        found,
        make_env(config),
        config.round_episodes,
        config.seed,
        config.workers,
        run.tick,
    )
    row['model'] = learn(
        config,
        found,
        before.model(),
        config.round_epochs,
        config.round_learning_rate,
        config.round_learning_rate,
        run.tick,
    )
    dream = found.dream(config.temperature, config.max_steps)
    row['begin'] = practice.hand_on(
        before, found, dream, config.population, config.seed
    )
    generations = config.generations + number * config.round_generations
    row['controller'] = search(config, found, dream, generations, run.tick)
    run.add_results(**{f'round-{number:02d}': row})


def evaluate(config: Config, run: runs.Run) -> None:
    """The agent and fixed policies, in the game and in the dream."""
    found = parts(config, run).at(config.rounds)
    dream = found.dream(config.temperature, config.max_steps)
    dreamer = report.DreamtController(
        found.new_controller(dream.model).act, found.theta()
    )
    game = report.score_in_game(
        {'agent': found.agent_maker(), **FIXED},
        make_env(config),
        config.test_episodes,
        config.seed,
        config.workers,
    )
    inside = report.score_in_dream(
        {'agent': dreamer} | {name: make() for name, make in FIXED.items()},
        dream,
        config.test_episodes,
        config.seed,
        config.features,
    )
    run.add_results(
        evaluation=game['agent'],
        random_baseline=game['random'],
        game=game,
        dream=inside,
    )
    print(report.compare(game, inside))
    figures = run.path('figures')
    report.draw_scores(figures, found, game, inside, SOLVED, config.model)
    report.draw_films(
        figures, found, make_env(config), dream, dreamer, config.seed
    )


def stages(config: Config) -> dict:
    """The stages in order, with one per round."""
    rounds = {
        f'round-{number:02d}': functools.partial(play_and_refine, number)
        for number in range(1, config.rounds + 1)
    }
    return {
        'collect': collect,
        'vision': train_vision,
        'encode': encode_frames,
        'model': train_model,
        'controller': evolve,
        **rounds,
        'evaluate': evaluate,
    }


def script(argv=None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    if config.summary:
        take_cover_summary.summarise(config, NAME, SOLVED)
        return
    run_stages(config, NAME, stages(config), ('vizdoom',)).close()


if __name__ == '__main__':
    main(script)
