"""ViZDoom Take Cover: V, M (LSTM or DNC) and C evolved inside the dream.

Ha and Schmidhuber 2018, "World Models", section 4, with the recurrent core
chosen by ``--model``. Every stage reads and writes only the run's folder, is
skipped when it is complete and goes on where it was stopped.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import dnc.runtime  # noqa: F401

import numpy as np

from chainer_wm import collection, evaluation, policies, runs
from chainer_wm.cma_es import CMAES
from chainer_wm.datasets import LatentSequences, split_episodes
from chainer_wm.envs.take_cover import TakeCover
from chainer_wm.model import MDNRNN
from chainer_wm.rollouts import RolloutStore
from chainer_wm.stages import controller, encode, model, report, vision
from chainer_wm.stages.parts import Parts
from chainer_wm.vision import ConvVAE
from experiments.common import CommonConfig, main, opt, parse, run_stages

NAME = 'doom_take_cover'
SOLVED = 750


@dataclasses.dataclass(frozen=True)
class Config(CommonConfig):
    """ViZDoom Take Cover: collect, train V and M, evolve C in the dream."""

    reuse: str = opt('', 'run whose rollouts, V and codes to use')
    settings: str = opt('paper', 'game settings', ('paper', 'blog'))
    episodes: int = opt(10_000, 'random episodes', extends='collect')
    hold: tuple[int, ...] = opt(
        (10,), 'longest hold of a random action; episodes draw one of several'
    )
    min_length: int = opt(100, 'shorter random episodes are played again')
    held_out: float = opt(0.05, 'share of episodes that V and M never see')
    latent_size: int = opt(64, 'latents of V')
    vision_epochs: float = opt(1.0, 'passes of V', extends='vision')
    vision_batch: int = opt(100, 'frames per update of V')
    vision_learning_rate: float = opt(1e-4, "V's Adam")
    memory_mb: int = opt(1024, 'frames held in memory (MB)', free=True)
    hidden_size: int = opt(512, 'LSTM, or controller of the DNC')
    memory_length: int = opt(16, 'DNC: memory slots N')
    memory_width: int = opt(16, 'DNC: numbers per slot W')
    read_heads: int = opt(4, 'DNC: read heads R')
    link_sparsity: int = opt(0, 'DNC: K of the sparse link, 0 for dense')
    model_epochs: float = opt(20.0, 'passes of M', extends='model')
    model_batch: int = opt(100, 'episodes side by side in an update of M')
    window: int = opt(500, 'steps per update of M')
    model_learning_rate: float = opt(1e-3, "M's Adam")
    patience: int = opt(0, 'held-out checks without progress; 0: no limit')
    untrained_model: bool = opt(False, 'control: M keeps its first weights')
    features: tuple[str, ...] = opt(('z', 'c', 'h'), 'what C sees: z c h r')
    temperature: tuple[float, ...] = opt((1.15,), 'tau, or its range')
    population: int = opt(64, 'candidates per generation')
    dreams: int = opt(16, 'dreams per candidate')
    generations: int = opt(200, 'of CMA-ES', extends='controller')
    sigma: float = opt(0.1, 'first step size of CMA-ES')
    separable: bool = opt(False, 'CMA-ES with a diagonal covariance')
    max_steps: int = opt(2100, 'cap of a dream')
    evaluate_every: int = opt(25, 'generations between scores in the game')
    evaluate_episodes: int = opt(100, 'episodes of such a score')
    choose: str = opt('last', 'mean that is kept', ('last', 'game'))
    test_episodes: int = opt(100, 'final episodes', extends='evaluate')


# fmt: off
PRESETS = {
    'smoke': dict(
        episodes=10, vision_batch=32, vision_learning_rate=1e-3,
        latent_size=16, hidden_size=32, memory_length=8, memory_width=8,
        read_heads=2, model_epochs=6.0, model_batch=4, window=32,
        population=8, dreams=2, generations=4, max_steps=200,
        evaluate_every=4, evaluate_episodes=2, test_episodes=4),
    'laptop': dict(
        episodes=1000, hold=(10, 30, 100), vision_learning_rate=1e-3, window=50, patience=5,
        population=32, generations=60, evaluate_every=10,
        evaluate_episodes=20),
    'paper': {},
}
# fmt: on


def parts(config: Config, run: runs.Run) -> Parts:
    """Where this run's V, M and C are; with --reuse, V is another run's."""
    return Parts.of(run.folder, config.reuse, config.features, config.device)


def make_env(config: Config):
    """A picklable maker of the game."""
    return functools.partial(TakeCover, settings=config.settings)


def split(config: Config, store: RolloutStore) -> tuple[list[int], list[int]]:
    """Episodes to train on, and held-out ones."""
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


def new_model(config: Config) -> MDNRNN:
    """M at its start, on its device."""
    memory = {
        'memory_length': config.memory_length,
        'memory_width': config.memory_width,
        'read_heads': config.read_heads,
        'link_sparsity': config.link_sparsity or None,
    }
    network = MDNRNN(
        config.latent_size,
        1,
        config.hidden_size,
        core=config.model,
        predict_done=True,
        seed=config.seed,
        **(memory if config.model == 'dnc' else {}),  # type: ignore[arg-type]
    )
    network.to_device(config.device)
    return network


def train_model(config: Config, run: runs.Run) -> None:
    """M on the codes."""
    found = parts(config, run)
    latents = found.latents()
    seen, held_out = split(config, found.store())
    train, test = (
        LatentSequences(
            latents,
            min(config.model_batch, len(episodes)),
            config.window,
            config.seed,
            episodes,
            config.dtype,
        )
        for episodes in (seen, held_out)
    )
    log = model.train(
        run.path('model'),
        new_model(config),
        train,
        test,
        epochs=0.0 if config.untrained_model else config.model_epochs,
        learning_rate=config.model_learning_rate,
        seed=config.seed,
        patience=config.patience or None,
        debug=config.debug,
        tick=run.tick,
    )
    best = found.model()
    deaths = model.deaths(best, test, config.seed)
    deaths.save(run.path('model/deaths.npz'))
    run.add_results(
        model={**model.measure(best, test, config.seed), **deaths.detection()}
    )
    model.draw(run.path('figures'), log)
    report.draw_foresight(run.path('figures'), found, held_out[0], config.seed)


def evolve(config: Config, run: runs.Run) -> None:
    """C by CMA-ES, inside the dream."""
    found = parts(config, run)
    dream = found.dream(config.temperature, config.max_steps)
    linear = found.new_controller(dream.model)

    def score(theta: np.ndarray, generation: int) -> dict:
        returns = evaluation.evaluate(
            make_env(config),
            {'agent': found.agent_maker(theta)},
            config.evaluate_episodes,
            config.seed,
            'validate',
            config.workers,
            label=f'game, generation {generation}',
        )
        return evaluation.summary(returns['agent'])

    search = CMAES(
        np.zeros(linear.n_params),
        config.sigma,
        config.population,
        seed=config.seed,
        separable=config.separable,
    )
    outcome = controller.evolve(
        run.path('controller'),
        search,
        dream,
        linear.act,
        generations=config.generations,
        episodes=config.dreams,
        seed=config.seed,
        features=config.features,
        evaluate=score,
        evaluate_every=config.evaluate_every,
        choose=config.choose,
        tick=run.tick,
    )
    linear.set_theta(outcome.theta)
    linear.save(found.controller_path)
    run.add_results(
        controller={
            'generation': outcome.generation,
            'evaluations': outcome.evaluations,
        }
    )


def evaluate(config: Config, run: runs.Run) -> None:
    """The agent and fixed policies, in the game and in the dream."""
    found = parts(config, run)
    dream = found.dream(config.temperature, config.max_steps)
    fixed = {
        'random': policies.Uniform,
        'held random': policies.HeldRandom,
        'no action': policies.NoAction,
    }
    dreamer = report.DreamtController(
        found.new_controller(dream.model).act, found.theta()
    )
    game = report.score_in_game(
        {'agent': found.agent_maker(), **fixed},
        make_env(config),
        config.test_episodes,
        config.seed,
        config.workers,
    )
    inside = report.score_in_dream(
        {'agent': dreamer} | {name: make() for name, make in fixed.items()},
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


STAGES = {
    'collect': collect,
    'vision': train_vision,
    'encode': encode_frames,
    'model': train_model,
    'controller': evolve,
    'evaluate': evaluate,
}


def script(argv=None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    run_stages(config, NAME, STAGES, ('vizdoom',)).close()


if __name__ == '__main__':
    main(script)
