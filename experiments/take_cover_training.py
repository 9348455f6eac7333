"""What Take Cover's stages share: its parts, how V, M and C are trained."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainer_wm import files
from chainer_wm.agents import policies
from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.saved import Parts
from chainer_wm.dream.simulator import Dream
from chainer_wm.envs.take_cover import TakeCover
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.play import collection
from chainer_wm.rollouts import JoinedStores, RolloutStore
from chainer_wm.runs import report, run_folder
from chainer_wm.training import evolution, mdn_rnn, rounds
from chainer_wm.training import vae as vision
from experiments.take_cover_config import Config


def parts(config: Config, run: run_folder.Run) -> Parts:
    """Where this run's V, M and C are; with --reuse, V is another run's."""
    return Parts.of(run.folder, config.reuse, config.features, config.device, config.vision_rounds)


def make_env(config: Config):
    """A picklable maker of the game."""
    return functools.partial(TakeCover, settings=config.settings)


def split(config: Config, found: Parts) -> tuple[list[int], list[int]]:
    """Random episodes to train V on, and held-out ones."""
    episodes = found.store().episodes
    return found.split(episodes, config.held_out, config.seed)


def check_reuse(config: Config, home: pathlib.Path) -> None:
    """See that the run to reuse is there, and was split alike.

    Args:
        home: the folder of all runs.

    Raises:
        runs.RunError: it has no codes yet, or holds out another share.
    """
    if not config.reuse:
        return
    found = Parts.of(home / config.run, config.reuse, config.features, config.device)
    share = files.read_json(found.source / 'config.json')['held_out']
    if share != config.held_out:
        raise run_folder.RunError(
            f'--held-out {config.held_out}, but V of run {config.reuse} was '
            f'trained with {share} held out, and M must hold out the same '
            'episodes: leave the flag out'
        )


def collect(config: Config, run: run_folder.Run) -> None:
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


def learn_vision(
    config: Config,
    found: Parts,
    vae: ConvVAE,
    store: RolloutStore | JoinedStores,
    episodes: Sequence[Any],
    epochs: float,
    learning_rate: float,
    tick: Callable[[], None],
) -> list[dict]:
    """Train V of a round: the log."""
    return vision.train(
        found.home / 'vision',
        store,
        vae,
        episodes=episodes,
        epochs=epochs,
        batch_size=config.vision_batch,
        learning_rate=learning_rate,
        last_learning_rate=config.vision_last_learning_rate,
        seed=rounds.seed_of(config.seed, found.round),
        # as many nats are free where some latents were dropped
        kl_tolerance=0.5 * config.latent_size / vae.latent_size,
        memory_mb=config.memory_mb,
        debug=config.debug,
        tick=tick,
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
    train, test = rounds.windows(
        found,
        config.model_batch,
        config.window,
        config.held_out,
        config.seed,
        config.round_repeats,
        config.dtype,
    )
    log = mdn_rnn.train(
        found.home / 'model',
        network,
        train,
        test,
        epochs=epochs,
        learning_rate=learning_rate,
        last_learning_rate=last_learning_rate,
        seed=rounds.seed_of(config.seed, found.round),
        patience=config.patience or None,
        debug=config.debug,
        tick=tick,
    )
    best = found.model()
    deaths = mdn_rnn.deaths(best, test, config.seed)
    deaths.save(found.home / 'model/deaths.npz')
    mdn_rnn.draw(found.home / 'figures', log)
    return {
        'latents': best.latent_size,
        **mdn_rnn.measure(best, test, config.seed),
        **deaths.detection(),
    }


def search(
    config: Config, found: Parts, dream: Dream, generations: int, tick: Callable[[], None]
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
    outcome = evolution.evolve(
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
