"""What the experiments with PPO share: settings, networks and learners built from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import gym

from chainer_wm.agents.ppo.learner import PPO, Stream
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.agents.rnd import RND
from chainer_wm.runs.checks import check_minibatches
from chainer_wm.runs.command_line import MemoryConfig, TrainingConfig, opt
from chainer_wm.seeds import derived_seed

REWARDS = ('extrinsic', 'intrinsic', 'both')


@dataclasses.dataclass(frozen=True)
class LearnerConfig(TrainingConfig):
    """How PPO learns from what was played, or dreamt."""

    learning_rate: float = opt(3e-4, "PPO's Adam")
    epochs: int = opt(4, 'PPO: passes over what was played')
    minibatches: int = opt(4, 'PPO: parts of a pass')
    clip: float = opt(0.2, 'PPO: of the ratio of probabilities')
    entropy: float = opt(0.0, 'PPO: coefficient of the entropy', least=0)
    discount: float = opt(0.99, 'PPO: gamma of the rewards of the game', least=0, most=1)
    decay: float = opt(0.95, 'PPO: lambda of the advantages', least=0, most=1)
    normalize: bool = opt(True, 'PPO: bring advantages to mean 0, deviation 1')
    max_gradient: float = opt(0.0, 'PPO: norm of a gradient; 0: no limit', least=0)


@dataclasses.dataclass(frozen=True)
class PPOConfig(MemoryConfig, LearnerConfig):
    """What every experiment with PPO offers on its command line."""

    recurrent: bool = opt(False, 'the policy has a memory, see --model')
    updates: int = opt(100, 'rounds of playing and learning', extends='train')
    lanes: int = opt(8, 'games side by side')
    rollout_length: int = opt(128, 'steps of every lane per update')
    restart_every: int = opt(50, 'updates between fresh starts of all lanes')
    hidden: tuple[int, ...] = opt((64, 64), 'layers of the policy')
    core_size: int = opt(64, 'with memory: LSTM, or controller of the DNC')
    memory_width: int = opt(8, 'DNC: numbers per slot W')
    read_heads: int = opt(2, 'DNC: read heads R')
    test_episodes: int = opt(100, 'episodes of a score', extends='evaluate')

    #: Settings that the name of a run tells.
    told: ClassVar[tuple[str, ...]] = ()

    def default_run(self) -> str:
        """The name of a run that was given none."""
        words = (str(getattr(self, name)) for name in self.told)
        core = self.model if self.recurrent else 'mlp'
        return '-'.join((self.preset, *words, core, str(self.seed)))

    def check(self) -> None:
        """See that there is something in every minibatch.

        Raises:
            RunError: there is not.
        """
        check_minibatches(self.minibatches, self.lanes, self.rollout_length, self.recurrent)


@dataclasses.dataclass(frozen=True)
class RNDConfig(PPOConfig):
    """What the experiments with Random Network Distillation offer."""

    rewards: str = opt('both', 'what is learned from', REWARDS)
    coefficient: float = opt(2.0, 'weight of extrinsic advantages in "both"', least=0)
    discount: float = opt(0.999, 'gamma of the rewards of the game', least=0, most=1)
    rnd_discount: float = opt(0.99, 'gamma of intrinsic rewards', least=0, below=1)
    rnd_learning_rate: float = opt(1e-4, "the predictor's Adam")
    rnd_keep: float = opt(1.0, 'chance of a step to teach the predictor', above=0, most=1)
    rnd_features: int = opt(64, 'outputs of target and predictor')
    rnd_layers: tuple[int, ...] = opt((64,), 'layers of both')
    rnd_hidden: tuple[int, ...] = opt((64,), 'more layers of the predictor')
    whitening_steps: int = opt(128, 'steps of every lane before training', least=0)


def streams(config: RNDConfig) -> tuple[Stream, ...]:
    """The kinds of reward, as in Random Network Distillation."""
    extrinsic = Stream('extrinsic', config.discount, config.coefficient, True)
    intrinsic = Stream('intrinsic', config.rnd_discount, 1.0, False)
    return {
        'extrinsic': (extrinsic._replace(coefficient=1.0),),
        'intrinsic': (intrinsic,),
        'both': (extrinsic, intrinsic),
    }[config.rewards]


def new_rnd(config: RNDConfig, env: gym.Env, **options: Any) -> RND:
    """Curiosity about this game's observations, on its device.

    Args:
        options: convolutions and frames, where observations are pictures.
    """
    options = {'convolutions': (), 'frames': None} | options
    assert env.observation_space.shape is not None
    rnd = RND(
        env.observation_space.shape,
        layers=config.rnd_layers,
        hidden=config.rnd_hidden,
        features=config.rnd_features,
        discount=config.rnd_discount,
        keep=config.rnd_keep,
        learning_rate=config.rnd_learning_rate,
        seed=derived_seed(config.seed, 'curiosity'),
        **options,
    )
    rnd.to_device(config.device)
    return rnd


def new_network(config: PPOConfig, env: gym.Env, **options: Any) -> ActorCritic:
    """A policy for this game, on its device."""
    if config.recurrent:
        options['core'] = config.model
        options['core_size'] = config.core_size
        options['core_options'] = config.core_options()
        options.pop('separate', None)
    assert env.observation_space.shape is not None
    network = ActorCritic(
        env.observation_space.shape,
        env.action_space,
        hidden=config.hidden,
        seed=config.seed,
        **options,
    )
    network.to_device(config.device)
    return network


def new_learner(config: LearnerConfig, network: ActorCritic, streams: Sequence[Stream]) -> PPO:
    """PPO with the settings of the command line."""
    return PPO(
        network,
        streams,
        learning_rate=config.learning_rate,
        epochs=config.epochs,
        minibatches=config.minibatches,
        clip=config.clip,
        entropy=config.entropy,
        decay=config.decay,
        normalize=config.normalize,
        max_gradient=config.max_gradient or None,
    )
