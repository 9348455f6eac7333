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

from experiments.common import CommonConfig, main, opt, parse, run_stages

from chainer_wm import collection, evaluation, policies, runs
from chainer_wm.controller import LinearController
from chainer_wm.envs.take_cover import TakeCover
from chainer_wm.model import MDNRNN
from chainer_wm.rollouts import RolloutStore
from chainer_wm.stages import controller, encode, model, report, vision
from chainer_wm.vision import ConvVAE

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
        episodes=10, vision_epochs=3., vision_batch=32,
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
    if not (folder / 'encode' / 'codes').exists():
        raise runs.RunError(f'--reuse {config.reuse}: {folder} has no codes '
                            'yet; finish its encode stage first')
    return folder


def collect(config: Config, run: runs.Run) -> None:
    """Random episodes of the game."""
    if not config.reuse:
        collection.collect(
            RolloutStore(run.path('rollouts')), make_env(config),
            policies.HeldRandom, config.episodes, config.seed,
            config.workers, config.min_length)


def train_vision(config: Config, run: runs.Run) -> None:
    """V on the frames of the rollouts."""
    if not config.reuse:
        vision.train(
            run.path('vision'), RolloutStore(run.path('rollouts')),
            ConvVAE(config.latent_size, seed=config.seed),
            epochs=config.vision_epochs, batch_size=config.vision_batch,
            learning_rate=config.vision_learning_rate, seed=config.seed,
            memory_mb=config.memory_mb, device=config.device,
            debug=config.debug, tick=run.tick)


