"""PixelCopter by PPO: for its score, out of curiosity, or both.

Random Network Distillation (Burda et al., 2018) rewards what was rarely seen. A blog post found
that curiosity alone ends in "a few ups, then fall", and so did its CMA-ES; its advantages were
wrong (every action got the mean of all), so here the question is asked again with PPO that learns.

``--rewards extrinsic|intrinsic|both``, ``--observation state|pixels``, ``--recurrent --model
lstm|dnc`` for a policy with a memory, ``--learner cma_es`` for a linear controller on the seven
numbers, played by ``--workers`` or a ``--cluster``; ``--original`` for the original game where it
is installed.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gym
import numpy as np

from chainer_wm import plots
from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.controller import act_with, count_parameters
from chainer_wm.agents.policies import Policy, RandomActions
from chainer_wm.agents.ppo.experience import Experience
from chainer_wm.agents.ppo.networks import RND_CONVOLUTIONS, ActorCritic
from chainer_wm.agents.ppo.policy import NetworkPolicy
from chainer_wm.agents.rnd import CONVOLUTIONS, RND
from chainer_wm.envs import wrappers
from chainer_wm.envs.pixelcopter import PixelCopter
from chainer_wm.files.npz import read_array, write_array
from chainer_wm.play.collector import Collector
from chainer_wm.play.evaluation import episode_rngs, play_together, summary
from chainer_wm.play.films import film
from chainer_wm.play.lanes import Played
from chainer_wm.runs import figures, ppo_curves, ppo_settings, run_folder
from chainer_wm.runs.command_line import WorkersConfig, main, opt, parse, run_stages
from chainer_wm.runs.ppo_settings import RNDConfig
from chainer_wm.training import evolution, ppo

NAME = 'pixelcopter_rnd'
CENTRE = (24, 0, 12, 12, 16, 24, 24)  # of the seven numbers, in pixels
SCALE = (12, 2, 12, 12, 32, 12, 12)
BINS = 20  # of a curve, in each some updates: the first after a start has few episodes
FALL = 15  # frames (half a second) without a climb at the end: a fall
FILM_STEPS = 300
FILM_BYTES = 140_000
CELLS = 16  # pictures on the sheet of a flight
#: What flights are compared in, beside the return, by the name of the score.
SCORES = {
    'steps per episode': 'length',
    'blocks passed': 'blocks',
    'no block passed': 'without_block',
    'climbs': 'climbs',
    'just fell': 'fell',
}


@dataclasses.dataclass(frozen=True)
class Config(RNDConfig, WorkersConfig):
    """PixelCopter by PPO: for its score, out of curiosity, or both."""

    learner: str = opt('ppo', 'who learns', ('ppo', 'cma_es'))
    original: bool = opt(False, 'play the original game (package ple)')
    observation: str = opt('pixels', 'what is seen', ('state', 'pixels'))
    size: int = opt(84, 'of the pictures, in pixels')
    grey: bool = opt(True, 'pictures without colours')
    stack: int = opt(4, 'observations that the policy sees; RND sees the last')
    sticky: float = opt(0.25, 'chance that an action is repeated', least=0, below=1)
    frame_skip: int = opt(4, 'frames for which an action is held')
    reward_clip: float = opt(1.0, 'largest reward that PPO sees; 0: any', least=0)
    max_steps: int = opt(4500, 'of an episode: a time limit, not a death')
    residual: bool = opt(True, 'heads with a layer of their own')
    value_scale: float = opt(0.01, 'of the first weights of the value heads', least=0)
    activation: str = opt('relu', 'of the policy', ('relu', 'tanh'))
    hidden: tuple[int, ...] = opt((256, 448), 'layers of the policy')
    updates: int = opt(30_000, 'rounds of play and learning', extends='train')
    lanes: int = opt(128, 'games side by side')
    learning_rate: float = opt(1e-4, "PPO's Adam")
    clip: float = opt(0.1, 'of the ratio of probabilities')
    entropy: float = opt(0.001, 'coefficient of the entropy', least=0)
    normalize: bool = opt(False, 'bring advantages to mean 0, deviation 1')
    rnd_keep: float = opt(0.25, 'chance of a step to teach the predictor', above=0, most=1)
    rnd_features: int = opt(512, 'outputs of target and predictor')
    rnd_layers: tuple[int, ...] = opt((), 'layers of both')
    rnd_hidden: tuple[int, ...] = opt((512, 512), 'layers of the predictor')
    whitening_steps: int = opt(6400, 'steps of every lane before training', least=0)
    population: int = opt(32, 'CMA-ES: candidates per generation', least=4)
    generations: int = opt(60, 'CMA-ES: generations', extends='train')
    search_episodes: int = opt(8, 'CMA-ES: games per candidate')
    workers: int = opt(2, 'CMA-ES: processes that play', free=True, least=0)
    sigma: float = opt(0.5, 'CMA-ES: first step')

    told = ('learner', 'rewards', 'observation')

    def check(self) -> None:
        """See that PPO has something in every minibatch, and that C sees numbers.

        Raises:
            runs.RunError: it has not, or does not.
        """
        super().check()
        if self.learner == 'cma_es' and self.observation != 'state':
            raise run_folder.RunError(
                f'--learner cma_es --observation {self.observation}: the '
                'linear controller sees the seven numbers only (state)'
            )


# fmt: off
LAPTOP = dict(
    observation='state', stack=1, sticky=0.0, frame_skip=1, max_steps=2000,
    lanes=64, hidden=(64, 64), activation='tanh', residual=False, updates=60,
    learning_rate=1e-3, minibatches=8, max_gradient=0.5, clip=0.2,
    entropy=0.003, normalize=True, restart_every=30, rnd_layers=(128,),
    rnd_hidden=(128,), rnd_features=64, whitening_steps=128)
PRESETS = {
    'smoke': LAPTOP | dict(
        updates=4, lanes=8, rollout_length=64, restart_every=2, max_steps=300,
        test_episodes=8, generations=3, population=6, search_episodes=2),
    'laptop': LAPTOP,
    'paper': {},
}
# fmt: on


def make_env(config: Config, render_mode: str | None = None) -> gym.Env:
    """The game: sticky inside, cut after max_steps, scaled, stacked.

    Actions stick frame by frame, inside the frame skip, as in the paper.
    """
    size = config.size if config.observation == 'pixels' else 48
    try:
        env: gym.Env = PixelCopter(
            config.observation, size=size, original=config.original, render_mode=render_mode
        )
    except ImportError as error:
        raise run_folder.RunError(f'--original: {error}') from error
    env = wrappers.FlightLog(env)
    if config.sticky:
        env = wrappers.StickyActions(env, config.sticky)
    if config.frame_skip > 1:
        env = wrappers.FrameSkip(env, config.frame_skip)
    env = gym.wrappers.TimeLimit(env, config.max_steps)
    if config.observation == 'state':
        env = wrappers.Scaled(env, CENTRE, SCALE)
    elif config.grey:
        env = wrappers.Grey(env)
    return wrappers.FrameStack(env, config.stack) if config.stack > 1 else env


def _channels(config: Config) -> int:
    """Numbers of the newest observation on the last axis of a stack."""
    if config.observation == 'state':
        return len(CENTRE)
    return 1 if config.grey else 3


def _convolutions(config: Config, paper: tuple) -> tuple:
    return paper if config.observation == 'pixels' else ()


def network(config: Config) -> ActorCritic:
    """One value head per kind of reward."""
    return ppo_settings.new_network(
        config,
        make_env(config),
        values=len(ppo_settings.streams(config)),
        convolutions=_convolutions(config, RND_CONVOLUTIONS),
        activation=config.activation,
        residual=config.residual,
        value_scale=config.value_scale,
    )


def curiosity(config: Config) -> RND | None:
    """RND on the newest observation, where it is asked for."""
    if config.rewards == 'extrinsic':
        return None
    return ppo_settings.new_rnd(
        config,
        make_env(config),
        convolutions=_convolutions(config, CONVOLUTIONS),
        frames=_channels(config),
    )


def clipped(limit: float, rewards: np.ndarray) -> np.ndarray:
    """Rewards within -limit and limit; 0 leaves them as they are."""
    return np.clip(rewards, -limit, limit) if limit else rewards


class Blocks:
    """The mean number of blocks that episodes passed, as a column of the log.

    A ``ppo.Watch``.
    """

    def see(self, experience: Experience) -> dict[str, float | None]:
        """Over the episodes that ended; None where none did."""
        blocks = [episode.info['blocks'] for episode in experience.episodes]
        return {'episode_blocks': float(np.mean(blocks)) if blocks else None}

    def serialize(self, serializer: Any) -> None:
        """Nothing is kept from one update to the next."""


def train(config: Config, run: run_folder.Run) -> None:
    """PPO with its rewards, or CMA-ES."""
    if config.learner == 'cma_es':
        return evolve(config, run)
    made = network(config)
    log = ppo.train(
        run.path('policy'),
        ppo_settings.new_learner(config, made, ppo_settings.streams(config)),
        Collector(made, [make_env(config) for _ in range(config.lanes)]),
        updates=config.updates,
        rollout_length=config.rollout_length,
        seed=config.seed,
        rnd=curiosity(config),
        whitening_steps=config.whitening_steps,
        shape_rewards=functools.partial(clipped, config.reward_clip),
        restart_every=config.restart_every,
        watch=Blocks(),
        label=f'{config.rewards}, seed {config.seed}',
        debug=config.debug,
        tick=run.tick,
    )
    names = ['return', 'length', 'entropy', 'episode_blocks']
    if config.rewards != 'extrinsic':
        names.append('bonus')
    scores = {'length': 'steps per episode', 'episode_blocks': 'blocks passed'}
    curves = ppo_curves.curves(log, names, BINS, scores)
    run.add_results(steps=log[-1]['steps'], curves=curves)
    ppo_curves.draw(run.path('figures'), log, f'rewards: {config.rewards}', names)


class Climbing(NamedTuple):
    """What a ``LinearPolicy`` carries on, one lane per row."""

    theta: np.ndarray  # (B, F + 1); where CMA-ES searches, every lane has its own


@dataclasses.dataclass(frozen=True)
class LinearPolicy:
    """Climbs (action 1) where w x + b > 0.

    Attributes:
        theta: (F + 1,), of every lane at its start.
    """

    theta: np.ndarray

    def start(self, rngs: Sequence[np.random.Generator]) -> Climbing:
        """It draws nothing."""
        return Climbing(np.tile(self.theta, (len(rngs), 1)))

    def act(self, observations: np.ndarray, state: Climbing) -> tuple[Any, Climbing]:
        """(B,) integers for observations (B, F)."""
        features = np.asarray(observations, np.float64)
        wanted = act_with(features, state.theta, (features.shape[1], 1))
        return (wanted[:, 0] > 0).astype(np.int64), state


def judged(config: Config, size: int) -> evolution.InGame:
    """What judges candidates of so many weights, to be entered: games."""
    return evolution.InGame(
        functools.partial(make_env, config),
        functools.partial(LinearPolicy, np.zeros(size)),
        config.search_episodes,
        config.seed,
        config.pool,
    )


def evolve(config: Config, run: run_folder.Run) -> None:
    """CMA-ES on the weights of a linear controller."""
    seen = make_env(config).observation_space.shape
    assert seen is not None
    size = count_parameters((*seen, 1))
    with judged(config, size) as fitness:
        found = evolution.evolve(
            run.path('search'),
            CMAES(np.zeros(size), config.sigma, config.population, seed=config.seed),
            fitness,
            generations=config.generations,
            label=f'cma-es, seed {config.seed}',
            tick=run.tick,
        )
    write_array(run.path('search', 'theta.npy'), found.theta)
    run.add_results(steps=found.history[-1]['steps'])
    at = np.array([row['generation'] for row in found.history])
    plots.training_curves(
        run.path('figures', 'search.png'),
        {name: (at, np.array([row[name] for row in found.history])) for name in ('mean', 'max')},
        ylabel='return of the candidates',
        xlabel='generation',
        title='CMA-ES, linear controller',
    )


def player(config: Config, run: run_folder.SavedRun) -> Policy:
    """The trained policy, which draws its actions; or the controller found."""
    if config.learner == 'cma_es':
        return LinearPolicy(read_array(run.path('search', 'theta.npy')))
    made = network(config)
    ppo.load(run.path('policy'), made)
    return NetworkPolicy(made, make_env(config).action_space)


def watch(config: Config, run: run_folder.SavedRun) -> tuple[gym.Env, Policy]:
    """The game to be watched, and its player."""
    return make_env(config, 'rgb_array'), player(config, run)


@dataclasses.dataclass(frozen=True)
class Falling:
    """Never climbs."""

    def start(self, rngs: Sequence[np.random.Generator]) -> None:
        """It remembers nothing, and draws nothing."""

    def act(self, observations: np.ndarray, state: None) -> tuple[Any, None]:
        """(B,) zeros."""
        return np.zeros(len(observations), np.int64), None


def flights(played: Sequence[Played]) -> dict[str, Any]:
    """Lengths of episodes and blocks passed: means, and what is usual.

    'fell' is the share of flights that ended ``FALL`` frames or more after
    the last climb: of "a few ups, then fall".
    """
    blocks, climbs, sinking = (
        np.array([episode.info[name] for episode in played])
        for name in ('blocks', 'climbs', 'sinking')
    )
    lengths = np.array([episode.length for episode in played])
    return {
        'length': float(lengths.mean()),
        'length_median': float(np.median(lengths)),
        'lengths': lengths,
        'blocks': float(blocks.mean()),
        'without_block': float((blocks == 0).mean()),
        'climbs': float(climbs.mean()),
        'fell': float((sinking >= FALL).mean()),
    }


def draw_flight(config: Config, folder: pathlib.Path, player: Policy) -> None:
    """A film of the first flight, and a sheet of it."""
    (rng,) = episode_rngs(config.seed, [0])
    shown = functools.partial(make_env, config, 'rgb_array')
    frames, *_, total = film(shown, player, rng, FILM_STEPS, rendered=True)
    plots.gif(folder / 'flight.gif', frames, fps=30, scale=3, max_bytes=FILM_BYTES)
    last = len(frames) - 1
    shown = np.unique(np.linspace(0, last, CELLS).astype(int))
    plots.contact_sheet(
        folder / 'flight.png',
        frames[shown],
        [f'step {step}' for step in shown],
        marks=[''] * (len(shown) - 1) + [f'return {total:g}'],
        scale=2,
    )


def evaluate(config: Config, run: run_folder.Run) -> None:
    """Returns, lengths and blocks passed, and what it looks like."""
    trained = player(config, run)
    space = make_env(config).action_space
    players: dict[str, Policy] = {
        'evaluation': trained,
        'random_baseline': RandomActions(space),
        'falling_baseline': Falling(),
    }
    for name, one in players.items():
        rngs = episode_rngs(config.seed, range(config.test_episodes))
        played = play_together(functools.partial(make_env, config), one, rngs)
        found = {**summary(episode.total for episode in played), **flights(played)}
        run.add_results(**{name: found})
        print(
            f'{name.replace("_", " ")}: return {found["mean"]:.1f} ± '
            f'{found["std"]:.1f}, {found["length"]:.0f} steps, '
            f'{found["blocks"]:.1f} blocks, {found["fell"]:.0%} just fell'
        )
    run.add_results(**compared(run.results()))
    draw_flight(config, run.path('figures'), trained)
    (rng,) = episode_rngs(config.seed, [0])
    figures.draw_policy_memory(
        run.path('figures/memory.png'), trained, functools.partial(make_env, config), rng
    )


def compared(said: Mapping[str, Any]) -> dict[str, Any]:
    """What runs are compared in, beside the return."""

    def scores(player: str) -> dict[str, dict[str, Any]]:
        return {
            name: {'mean': said[player][key], 'lower_is_better': key in ('without_block', 'fell')}
            for name, key in SCORES.items()
        }

    falling = {'evaluation': {'mean': said['falling_baseline']['mean']}}
    return {
        'scores': scores('evaluation'),
        'baselines': {
            'random': scores('random_baseline'),
            'never climbs': falling | scores('falling_baseline'),
        },
    }


STAGES = {'train': train, 'evaluate': evaluate}


def script(argv=None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    run_stages(config, NAME, STAGES).close()


if __name__ == '__main__':
    main(script)
