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

import numpy as np

from chainer_wm import agent, collection, evaluation, plots, policies, runs
from chainer_wm.cma_es import CMAES
from chainer_wm.controller import LinearController, load_controller
from chainer_wm.datasets import Latents, LatentSequences, split_episodes
from chainer_wm.dream import Dream
from chainer_wm.envs.take_cover import TakeCover
from chainer_wm.model import MDNRNN
from chainer_wm.rollouts import RolloutStore
from chainer_wm.stages import controller, encode, model, report, vision
from chainer_wm.vision import ConvVAE
from experiments.common import CommonConfig, main, opt, parse, run_stages

NAME = 'doom_take_cover'
SOLVED = 750


@dataclasses.dataclass(frozen=True)
class Config(CommonConfig):
    """ViZDoom Take Cover: collect, train V and M, evolve C in the dream."""

    reuse: str = opt('', 'run whose rollouts, V and codes to use (they do '
                     'not depend on the core)')
    settings: str = opt('paper', 'game settings', ('paper', 'blog'))
    episodes: int = opt(10_000, 'random episodes', extends='collect')
    min_length: int = opt(100, 'shorter random episodes are played again')
    held_out: float = opt(0.05, 'share of episodes that V and M never see')
    latent_size: int = opt(64, 'latents of V')
    vision_epochs: float = opt(1., 'passes of V over all frames',
                               extends='vision')
    vision_batch: int = opt(100, 'frames per update of V')
    vision_learning_rate: float = opt(1e-4, "V's Adam")
    memory_mb: int = opt(1024, 'frames held in memory at once (MB)',
                         free=True)
    hidden_size: int = opt(512, 'LSTM, or controller of the DNC')
    memory_length: int = opt(16, 'DNC: memory slots N')
    memory_width: int = opt(16, 'DNC: numbers per slot W')
    read_heads: int = opt(4, 'DNC: read heads R')
    link_sparsity: int = opt(0, 'DNC: K of the sparse link, 0 for dense')
    model_epochs: float = opt(20., 'passes of M over all codes',
                              extends='model')
    model_batch: int = opt(100, 'episodes side by side in an update of M')
    window: int = opt(500, 'steps per update of M')
    model_learning_rate: float = opt(1e-3, "M's Adam")
    patience: int = opt(0, 'measurements on held-out episodes without a new '
                        'best before M stops; 0 never stops')
    untrained_model: bool = opt(False, 'control: M keeps its initial weights')
    features: tuple[str, ...] = opt(('z', 'c', 'h'), 'what C sees, of z c h r')
    temperature: tuple[float, ...] = opt(
        (1.15,), 'tau of the dream; two numbers are a range, drawn per dream')
    population: int = opt(64, 'candidates per generation')
    dreams: int = opt(16, 'dreams per candidate')
    generations: int = opt(200, 'of CMA-ES', extends='controller')
    sigma: float = opt(0.1, 'first step size of CMA-ES')
    separable: bool = opt(False, 'CMA-ES with a diagonal covariance')
    max_steps: int = opt(2100, 'cap of a dream')
    evaluate_every: int = opt(25, 'generations between scores in the game')
    evaluate_episodes: int = opt(100, 'episodes of such a score')
    choose: str = opt('last', 'keep the last mean, or the one with the best '
                      'score in the game (on other seeds than the final '
                      'evaluation)', ('last', 'game'))
    test_episodes: int = opt(100, 'episodes of the final evaluation',
                             extends='evaluate')


PRESETS = {
    'smoke': dict(
        episodes=10, vision_epochs=1., vision_batch=32,
        vision_learning_rate=1e-3, hidden_size=32, latent_size=16,
        memory_length=8, memory_width=8, read_heads=2, model_epochs=6.,
        model_batch=4, window=32, population=8, dreams=2, generations=4,
        max_steps=200, evaluate_every=4, evaluate_episodes=2,
        test_episodes=4),
    'laptop': dict(
        episodes=1000, vision_epochs=1., vision_learning_rate=1e-3,
        model_epochs=20., model_batch=100, window=50, patience=5,
        population=32, dreams=16, generations=60, evaluate_every=10,
        evaluate_episodes=20),
    'paper': {},
}


def source(config: Config, run: runs.Run) -> pathlib.Path:
    """The folder of rollouts, V and codes: this run's, or the reused one."""
    if not config.reuse:
        return run.folder
    folder = pathlib.Path(config.data, NAME, config.reuse)
    if not (folder / 'vision/codes/index.json').exists():
        raise runs.RunError(f'--reuse {config.reuse}: {folder} has no codes '
                            'yet; finish its encode stage first')
    return folder


def make_env(config: Config):
    """A picklable maker of the game."""
    return functools.partial(TakeCover, settings=config.settings)


def split(config: Config, run: runs.Run) -> tuple[list[int], list[int]]:
    """Episodes to train on, and held-out ones."""
    store = RolloutStore(source(config, run) / 'rollouts')
    return split_episodes(store.episodes, config.held_out, config.seed)


def collect(config: Config, run: runs.Run) -> None:
    """Random episodes of the game."""
    if config.reuse:
        return
    collection.collect(
        RolloutStore(run.path('rollouts')), make_env(config),
        policies.HeldRandom, config.episodes, config.seed, config.workers,
        config.min_length)


def train_vision(config: Config, run: runs.Run) -> None:
    """V on the frames."""
    if config.reuse:
        return
    store = RolloutStore(run.path('rollouts'))
    episodes, held_out = split(config, run)
    vae = ConvVAE(config.latent_size, seed=config.seed)
    vae.to_device(config.device)
    log = vision.train(
        run.path('vision'), store, vae, episodes=episodes, epochs=config.vision_epochs, batch_size=config.vision_batch,
        learning_rate=config.vision_learning_rate, seed=config.seed,
        memory_mb=config.memory_mb, debug=config.debug, tick=run.tick)
    run.add_results(vision=vision.measure(vae, store, held_out))
    vision.draw(run.path('figures'), log, vae, store, held_out)


def encode_frames(config: Config, run: runs.Run) -> None:
    """The codes of all frames."""
    if config.reuse:
        return
    path = run.path('vision/vision.npz')
    encode.encode(run.path('vision/codes'),
                  RolloutStore(run.path('rollouts')),
                  vision.load(path, config.device), path, run.tick)


def new_model(config: Config) -> MDNRNN:
    """M at its start, on its device."""
    memory = {} if config.model == 'lstm' else {
        'memory_length': config.memory_length,
        'memory_width': config.memory_width, 'read_heads': config.read_heads,
        'link_sparsity': config.link_sparsity or None}
    network = MDNRNN(config.latent_size, 1, config.hidden_size,
                     core=config.model, predict_done=True, seed=config.seed,
                     **memory)
    network.to_device(config.device)
    return network


def train_model(config: Config, run: runs.Run) -> None:
    """M on the codes."""
    latents = Latents(source(config, run) / 'vision/codes')
    episodes, held_out = split(config, run)
    network = new_model(config)
    sequences = LatentSequences(latents, config.model_batch, config.window,
                                config.seed, episodes, config.dtype)
    lanes = min(config.model_batch, len(held_out))
    test = LatentSequences(latents, lanes, config.window, config.seed,
                           held_out, config.dtype)
    log = model.train(
        run.path('model'), network, sequences, test,
        epochs=0. if config.untrained_model else config.model_epochs,
        learning_rate=config.model_learning_rate, seed=config.seed,
        patience=config.patience or None, debug=config.debug, tick=run.tick)
    model.draw(run.path('figures'), log)
    best = load_model(config, run)
    p_done, done = model.deaths(best, test, config.seed)
    run.add_results(model={**model.measure(best, test, config.seed),
                           **report.death_detection(p_done, done)})
    report.draw_foresight(
        run.path('figures/foresight.png'), best,
        vision.load(source(config, run) / 'vision/vision.npz'),
        RolloutStore(source(config, run) / 'rollouts'), latents, held_out[0],
        config.seed)


def load_model(config: Config, run: runs.Run) -> MDNRNN:
    return model.load(run.path('model/model.npz'), config.device)


def new_controller(network: MDNRNN, features: tuple[str, ...]
                   ) -> LinearController:
    return LinearController(agent.features_width(network, features), 1,
                            bias=False)


def make_agent(config: Config, run: runs.Run, theta: np.ndarray):
    """A picklable maker of the agent with these controller parameters."""
    return functools.partial(
        load_agent, source(config, run) / 'vision/vision.npz',
        run.path('model/model.npz'), theta, config.features)


def load_agent(vision_path, model_path, theta, features):
    network = model.load(model_path)
    linear = new_controller(network, features)
    linear.set_theta(theta)
    return agent.WorldModelAgent(vision.load(vision_path), network, linear,
                                 features)


def make_dream(config: Config, run: runs.Run, temperature=None) -> Dream:
    """M as the game, beginning at recorded first frames."""
    latents = Latents(source(config, run) / 'vision/codes')
    tau = temperature or config.temperature
    return Dream(load_model(config, run), latents.first(),
                 temperature=tau[0] if len(tau) == 1 else tau,
                 max_steps=config.max_steps)


def evolve(config: Config, run: runs.Run) -> None:
    """C by CMA-ES, inside the dream."""
    dream = make_dream(config, run)
    linear = new_controller(dream.model, config.features)

    def score(theta: np.ndarray, generation: int) -> dict:
        returns = evaluation.evaluate(
            make_env(config), {'agent': make_agent(config, run, theta)},
            config.evaluate_episodes, config.seed, 'validate',
            config.workers, label=f'game, generation {generation}')
        return evaluation.summary(returns['agent'])

    search = CMAES(np.zeros(linear.n_params), config.sigma,
                   config.population, seed=config.seed,
                   separable=config.separable)
    found = controller.evolve(
        run.path('controller'), search, dream, linear.act,
        generations=config.generations, episodes=config.dreams,
        seed=config.seed, features=config.features, evaluate=score,
        evaluate_every=config.evaluate_every, choose=config.choose,
        tick=run.tick)
    linear.set_theta(found.theta)
    linear.save(run.path('controller/controller.npz'))
    run.add_results(controller={'generation': found.generation,
                                'evaluations': found.evaluations})


def evaluate(config: Config, run: runs.Run) -> None:
    """The agent and fixed policies, in the game and in the dream."""
    dream = make_dream(config, run)
    theta = load_controller(run.path('controller/controller.npz')).get_theta()
    act = new_controller(dream.model, config.features).act
    made = {'agent': make_agent(config, run, theta),
            'random': policies.Uniform, 'held random': policies.HeldRandom,
            'no action': policies.NoAction}
    dreamt = {'agent': report.DreamtController(act, theta),
              **{name: make() for name, make in made.items()
                 if name != 'agent'}}
    game = report.score_in_game(made, make_env(config), config.test_episodes,
                                config.seed, config.workers)
    inside = report.score_in_dream(dreamt, dream, config.test_episodes,
                                   config.seed, config.features)
    run.add_results(
        experiment=NAME, run=config.run, config=dataclasses.asdict(config),
        seed=config.seed, versions=runs.versions('vizdoom'),
        evaluation=game['agent'], random_baseline=game['random'],
        game=game, dream=inside)
    draw(config, run, game, inside, dream, made, dreamt)
    print(report.compare(game, inside))


def draw(config, run, game, inside, dream, made, dreamt) -> None:
    """Figures and films of the finished run."""
    figures = run.path('figures')
    history = controller.read_history(run.path('controller'))
    plots.evolution(figures / 'evolution.png', *history, game['random'],
                    SOLVED, f'C in the dream of an M with {config.model}')
    report.draw_scores(figures, game, inside, SOLVED)
    film = report.film_game(make_env(config), made['agent'], config.seed, 0)
    vae = vision.load(source(config, run) / 'vision/vision.npz')
    dreamed = report.film_dream(dream, dreamt['agent'], vae, config.seed,
                                config.features)
    plots.gif(figures / 'game.gif', film.frames)
    plots.gif(figures / 'dream.gif', dreamed)
    plots.side_by_side(figures / 'game_and_dream.gif', film.frames, dreamed)


STAGES = {'collect': collect, 'vision': train_vision, 'encode': encode_frames,
          'model': train_model, 'controller': evolve, 'evaluate': evaluate}


def script(argv=None) -> None:
    run = run_stages(parse(Config, PRESETS, NAME, argv), NAME, STAGES)
    run.add_results(seconds=run.seconds())
    run.close()


if __name__ == '__main__':
    main(script)
