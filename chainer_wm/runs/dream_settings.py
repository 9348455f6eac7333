"""Where a dream begins and ends, who learns in it, and dreams and learners built from that."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import gym
import numpy as np

from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.controller import CHOICES, Controller
from chainer_wm.agents.ppo.learner import Stream
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.agents.saved import SavedAgent
from chainer_wm.dream.gym_envs import ChoiceVectorEnv
from chainer_wm.dream.places import Places
from chainer_wm.dream.simulator import SEEABLE, Dream
from chainer_wm.play.engines import Workers
from chainer_wm.runs import run_folder
from chainer_wm.runs.checks import check_minibatches
from chainer_wm.runs.command_line import DreamingConfig, MemoryConfig, opt
from chainer_wm.runs.ppo_settings import LearnerConfig, new_learner
from chainer_wm.training import dream_policy, evolution

REWARDS = {'death': (0.0, -1.0), 'survival': (1.0, 0.0)}  # of a step, and what a death adds

#: What PPO is given where no flag says otherwise, whatever the preset: dreams that begin anywhere,
#: end early and are as hard as M believes the game to be.
PPO_SETTINGS = {
    'temperature': (1.0,),
    'done_threshold': 0.2,
    'dream_starts': 'anywhere',
    'dream_cut': 400,
    'paced_episodes': 150,
}


@dataclasses.dataclass(frozen=True)
class DreamConfig(DreamingConfig, MemoryConfig, LearnerConfig):
    """What an experiment offers whose controller learns in M's dream, by CMA-ES or by PPO."""

    learner: str = opt('cma_es', 'of C', ('cma_es', 'ppo'))
    features: tuple[str, ...] = opt(('z', 'c', 'h'), 'what C sees: z c h r', SEEABLE)
    hidden_units: tuple[int, ...] = opt((), "C's hidden layers; none: linear")
    temperature: tuple[float, ...] = opt((1.15,), 'tau, or its range')
    max_steps: int = opt(2100, 'cap of a dream')
    done_threshold: float = opt(0.5, 'a dream ends where P(done) exceeds it', above=0, below=1)
    dream_starts: str = opt(
        'first', 'where C learns in dreams: from first frames, or anywhere', ('first', 'anywhere')
    )
    dream_cut: int = opt(0, 'steps after which those are cut; 0: --max-steps', least=0)
    first_share: float = opt(0.1, 'anywhere: share that begins at first frames', least=0, most=1)
    place_every: int = opt(8, 'anywhere: steps of an episode from one place to the next')
    place_episodes: int = opt(200, 'anywhere: random episodes that have places; 0: all', least=0)
    place_agents: bool = opt(True, 'anywhere: in what agents played, too')
    most_places: int = opt(30_000, 'anywhere: a random choice of more places')
    population: int = opt(64, 'CMA-ES: candidates per generation', least=4)
    dreams: int = opt(16, 'CMA-ES: dreams per candidate')
    generations: int = opt(200, 'CMA-ES: generations', extends='controller')
    sigma: float = opt(0.1, 'CMA-ES: first step size')
    separable: bool = opt(False, 'CMA-ES: a diagonal covariance')
    reward: str = opt('death', 'PPO: -1 for a death, or 1 for a step', tuple(REWARDS))
    updates: int = opt(500, 'PPO: rounds of dreaming and learning', extends='controller')
    lanes: int = opt(128, 'PPO: dreams side by side')
    rollout_length: int = opt(64, 'PPO: steps of every dream per update')
    restart_every: int = opt(50, 'PPO: updates between fresh starts of all dreams')
    value_hidden: tuple[int, ...] = opt((128, 128), 'PPO: layers of the value function')
    learning_rate: float = opt(5e-4, "PPO's Adam")
    minibatches: int = opt(8, 'PPO: parts of a pass')
    entropy: float = opt(0.005, 'PPO: coefficient of the entropy', least=0)
    discount: float = opt(0.98, 'PPO: gamma', least=0, most=1)
    evaluate_updates: int = opt(250, 'PPO: updates between scores in the game')

    def check(self) -> None:
        """See that PPO has something in every minibatch, and is scored where it may be cut.

        Raises:
            runs.RunError: it has not, or is not.
        """
        check_minibatches(self.minibatches, self.lanes, self.rollout_length, False)
        if self.learner == 'ppo' and self.evaluate_updates % self.restart_every:
            raise run_folder.RunError(
                f'--evaluate-updates {self.evaluate_updates}: expected a multiple of '
                f'--restart-every {self.restart_every}, where a training can be taken up again'
            )


def places_of(config: DreamConfig, saved: SavedAgent, model: Any) -> Places:
    """Moments of recorded episodes, with what ``model`` remembers there."""
    return saved.places(
        model,
        config.seed,
        config.place_episodes,
        config.place_agents,
        every=config.place_every,
        most=config.most_places,
    )


def learning_dream(config: DreamConfig, saved: SavedAgent, places: Places | None) -> Dream:
    """The dream that C learns in.

    Args:
        places: where it begins, if not at first frames.
    """
    return saved.dream(
        config.temperature,
        min(config.dream_cut or config.max_steps, config.max_steps),
        done_threshold=config.done_threshold,
        places=places if config.dream_starts == 'anywhere' else None,
        first_share=config.first_share,
        dropout=config.dream_dropout,
    )


def search_by_evolution(
    config: DreamConfig,
    folder: pathlib.Path,
    dream: Dream,
    controller: Controller,
    features: tuple[str, ...],
    more: int = 0,
    workers: Workers = 0,
    **options: Any,
) -> evolution.Evolution:
    """CMA-ES, from a C of zeros or from where the folder's search is.

    Args:
        controller: C at its start.
        more: generations beyond those of the settings.
        workers: who dreams, where the settings cut a generation into shards.
        options: see ``evolution.evolve``.
    """
    es = CMAES(
        np.zeros(controller.n_params),
        config.sigma,
        config.population,
        seed=config.seed,
        separable=config.separable,
    )
    with evolution.dreaming(
        dream,
        controller.act,
        shard=config.dream_shard,
        workers=workers,
        episodes=config.dreams,
        seed=config.seed,
        features=features,
    ) as fitness:
        return evolution.evolve(
            folder, es, fitness, generations=config.generations + more, **options
        )


def search_by_ppo(
    config: DreamConfig,
    folder: pathlib.Path,
    dream: Dream,
    controller: Controller,
    unit: np.ndarray,
    features: tuple[str, ...],
    seed: int,
    **options: Any,
) -> evolution.Evolution:
    """PPO, from a policy that is nearly uniform or from where the folder's training is.

    Args:
        controller: C at its start.
        unit: (F,) of the features, see ``Places.deviations``.
        options: see ``dream_policy.train``.
    """
    env = ChoiceVectorEnv(dream, config.lanes, features, CHOICES, unit, *REWARDS[config.reward])
    network = ActorCritic(
        (len(unit),),
        gym.spaces.Discrete(len(CHOICES)),
        hidden=config.hidden_units,
        separate=True,
        value_hidden=config.value_hidden,
        seed=seed,
    )
    network.to_device(config.device)
    learner = new_learner(config, network, (Stream('extrinsic', config.discount),))
    return dream_policy.train(
        folder,
        learner,
        env,
        controller,
        unit,
        updates=config.updates,
        evaluate_every=config.evaluate_updates,
        rollout_length=config.rollout_length,
        restart_every=config.restart_every,
        seed=seed,
        label='ppo in the dream',
        **options,
    )
