"""Settings of ``grid_navigation.py``, and what is built from them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import gym
import numpy as np

from chainer_wm.agents.ppo.learner import PPO, Stream
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.envs.grid_navigation import KEY_LEVELS, LEVELS, GridNavigation, OrderedKeys
from chainer_wm.links.pixel_model import PixelModel
from chainer_wm.rollouts import RolloutStore
from chainer_wm.runs import run_folder
from chainer_wm.runs.checks import check_minibatches
from chainer_wm.runs.command_line import CommonConfig, opt
from chainer_wm.training.levels import Game

ENVS = {
    'navigation': (GridNavigation, len(LEVELS)),
    'ordered_keys': (OrderedKeys, len(KEY_LEVELS)),
}
REWARD_SCALE = 0.1  # returns of about 10 become about 1 for the policy
ACTIONS = 4


@dataclasses.dataclass(frozen=True)
class Config(CommonConfig):
    """Grid Navigation: learn level after level inside one global model."""

    summary: tuple[str, ...] = opt(
        (), 'compare these finished runs, and do nothing else', free=True
    )
    results: str = opt('', 'folder for --summary (default: experiments/results)', free=True)
    env: str = opt('navigation', 'game', tuple(ENVS))
    levels: int = opt(0, 'how many levels; 0: all', least=0)
    resolution: int = opt(20, 'height and width of the pictures')
    max_steps: int = opt(50, 'of an episode')
    iterations: int = opt(12, 'most rounds of the loop per level')
    episodes: int = opt(10, 'real episodes per iteration')
    exploration: tuple[float, ...] = opt(
        (0.1, 0.5, 1.0), 'share of random steps; each episode draws one', least=0, most=1
    )
    encoded: int = opt(64, 'numbers that M makes of a picture')
    decoded: int = opt(256, "numbers in each layer of M's decoder")
    hidden_size: int = opt(128, "M's LSTM, or controller of its DNC")
    memory_length: int = opt(16, 'DNC: memory slots N')
    memory_width: int = opt(16, 'DNC: numbers per slot W')
    read_heads: int = opt(2, 'DNC: read heads R')
    colours: int = opt(8, 'most colours, and most outcomes, of a game', least=2)
    model_updates: int = opt(120, 'of M per iteration')
    model_lanes: int = opt(12, 'episodes side by side in an update of M')
    model_learning_rate: float = opt(4e-3, "M's Adam")
    model_beta2: float = opt(0.98, "beta2 of M's Adam", least=0, below=1)
    outcome_weight: float = opt(10.0, "of rewards and ends in M's loss", least=0)
    newest: float = opt(0.5, 'share of dreams that begin in the new level', least=0, most=1)
    anywhere: float = opt(
        0.5, 'share of dreams that begin at any step of a real episode', least=0, most=1
    )
    surprise: float = opt(
        10.0,
        'reward in dreams of the newest level for what was never tried in '
        'the real game, until a real episode of it succeeds; 0: none',
        least=0,
    )
    policy_updates: int = opt(40, 'of the policy per iteration, in dreams')
    lanes: int = opt(64, 'dreams side by side')
    rollout_length: int = opt(16, 'steps of every dream per update')
    policy_hidden: tuple[int, ...] = opt((128,), 'layers of the policy')
    policy_core: int = opt(64, "units of the policy's LSTM in ordered_keys")
    learning_rate: float = opt(1e-3, "PPO's Adam")
    minibatches: int = opt(2, 'parts of a pass of PPO')
    entropy: float = opt(0.03, 'coefficient of the entropy', least=0)
    discount: float = opt(0.99, 'gamma', least=0, most=1)
    real_lanes: int = opt(8, 'baseline: real games side by side')
    real_length: int = opt(32, 'baseline: steps of every game per update')
    real_limit: int = opt(40_000, 'baseline: most real steps per level')
    solved: float = opt(0.9, 'share of successes that counts as solved', above=0, most=1)
    score_episodes: int = opt(20, 'episodes by which a level is left')
    report_episodes: int = opt(
        100, 'fresh episodes per level of what is reported', extends='baselines'
    )
    probe_episodes: int = opt(8, 'random episodes per level that judge M')

    def check(self) -> None:
        """See that there is something in every minibatch.

        Raises:
            runs.RunError: there is not.
        """
        memory = self.env == 'ordered_keys'
        for lanes, steps in (
            (self.lanes, self.rollout_length),
            (self.real_lanes, self.real_length),
        ):
            check_minibatches(self.minibatches, lanes, steps, memory)


# fmt: off
PRESETS: dict[str, dict] = {
    'smoke': dict(
        resolution=10, levels=2, iterations=1, episodes=6, encoded=24,
        hidden_size=32, memory_length=4, memory_width=8, model_updates=40,
        decoded=32, model_lanes=4, policy_updates=4, lanes=8,
        policy_hidden=(32,), real_limit=2000, score_episodes=4,
        report_episodes=8,
        probe_episodes=2),
    'laptop': dict(resolution=10),
    'paper': dict(
        episodes=50, model_updates=1000, model_lanes=24,
        policy_updates=200),
}
KEY_PRESETS = {
    'smoke': dict(PRESETS['smoke'], entropy=0.1),
    'laptop': dict(
        PRESETS['laptop'], entropy=0.1, levels=2, iterations=8, episodes=100,
        model_updates=150),
    'paper': dict(PRESETS['paper'], entropy=0.1),
}
# fmt: on


def game(config: Config) -> Game:
    """The real levels."""
    kind, levels = ENVS[config.env]
    return Game(
        config.env,
        functools.partial(kind, resolution=config.resolution, max_steps=config.max_steps),
        config.levels or levels,
    )


def new_policy(config: Config) -> ActorCritic:
    """A policy that has learnt nothing, on its device.

    It has a memory where the game asks for one.
    """
    memory = config.env == 'ordered_keys'
    network = ActorCritic(
        (config.resolution, config.resolution, 3),
        gym.spaces.Discrete(ACTIONS),
        hidden=config.policy_hidden,
        core='lstm' if memory else None,
        core_size=config.policy_core,
        seed=config.seed,
    )
    network.to_device(config.device)
    return network


def improve(config: Config, network: ActorCritic) -> PPO:
    """PPO for this policy, in dreams and in the real game alike."""
    return PPO(
        network,
        [Stream(discount=config.discount)],
        learning_rate=config.learning_rate,
        clip=0.2,
        minibatches=config.minibatches,
        entropy=config.entropy,
        normalize=True,
        max_gradient=0.5,
    )


def scaled(rewards: np.ndarray) -> np.ndarray:
    """The rewards that PPO learns from."""
    return rewards * REWARD_SCALE


def new_model(config: Config) -> PixelModel:
    """M at its start."""
    memory: dict[str, Any] = dict(
        memory_length=config.memory_length,
        memory_width=config.memory_width,
        read_heads=config.read_heads,
    )
    return PixelModel(
        config.resolution,
        config.resolution,
        ACTIONS,
        capacity=config.colours,
        encoded=config.encoded,
        hidden_size=config.hidden_size,
        decoded=config.decoded,
        core=config.model,
        seed=config.seed,
        **(memory if config.model == 'dnc' else {}),
    )


def store_of(config: Config, run: run_folder.Run) -> RolloutStore:
    """All real episodes that the agent learns from."""
    store = RolloutStore(run.path('rollouts'))
    real = game(config)
    env = real.make(0)
    store.describe(
        config.env,
        {
            'levels': real.levels,
            'resolution': config.resolution,
            'max_steps': config.max_steps,
            'exploration': config.exploration,
        },
        config.seed,
        env.versions,
    )
    return store


def presets(chosen: Mapping[str, Any]) -> dict[str, dict]:
    """Those of the game that was chosen."""
    return KEY_PRESETS if chosen.get('env') == 'ordered_keys' else PRESETS
