"""Does PPO learn? CartPole-v1 and Pendulum-v1, with and without a memory.

CartPole counts as solved at a mean return of 475 over 100 episodes (gym's own
number). Pendulum has no official one: ours is -200 over 100 episodes, where a policy swings the
pole up once and holds it; random play earns about -1,200.

``--recurrent --model dnc`` gives the policy a memory.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import gym
import numpy as np

from chainer_wm.agents.policies import Policy, RandomActions
from chainer_wm.agents.ppo.learner import Stream
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.agents.ppo.policy import NetworkPolicy
from chainer_wm.envs.wrappers import Scaled
from chainer_wm.play.collector import Collector
from chainer_wm.play.evaluation import episode_rngs, play_together, summary
from chainer_wm.runs import figures, ppo_curves, ppo_settings, run_folder
from chainer_wm.runs.command_line import main, opt, parse, run_stages
from chainer_wm.runs.ppo_settings import PPOConfig
from chainer_wm.training import ppo

NAME = 'ppo_check'
GAMES = {'cartpole': 'CartPole-v1', 'pendulum': 'Pendulum-v1'}
SOLVED = {'cartpole': 475.0, 'pendulum': -200.0}
SPEED_SCALE = (1, 1, 4)  # cosine, sine, radians per second


@dataclasses.dataclass(frozen=True)
class Config(PPOConfig):
    """PPO on CartPole-v1 or Pendulum-v1."""

    env: str = opt('cartpole', 'game', tuple(GAMES))
    reward_scale: float = opt(1.0, 'rewards are multiplied by this')

    told = ('env',)


# fmt: off
BY_GAME: dict[str, dict] = {
    'cartpole': dict(updates=100, lanes=8, learning_rate=5e-4, epochs=10),
    'pendulum': dict(updates=100, lanes=8, rollout_length=200,
                     learning_rate=1e-3, epochs=10, minibatches=4,
                     discount=0.95, reward_scale=0.1, restart_every=10),
}
SMOKE: dict = dict(updates=6, test_episodes=8)
# fmt: on


def make_env(config: Config) -> gym.Env:
    """The game, as gym has it; the pendulum's speed (up to 8) is divided."""
    env = gym.make(GAMES[config.env])
    if config.env == 'pendulum':
        env = Scaled(env, 0, SPEED_SCALE)
    return env


def network(config: Config) -> ActorCritic:
    """Policy and values have a body each, unless they share a memory."""
    return ppo_settings.new_network(config, make_env(config), separate=True)


def train(config: Config, run: run_folder.Run) -> None:
    """PPO."""
    made = network(config)
    learner = ppo_settings.new_learner(config, made, [Stream(discount=config.discount)])
    log = ppo.train(
        run.path('policy'),
        learner,
        Collector(made, [make_env(config) for _ in range(config.lanes)]),
        updates=config.updates,
        rollout_length=config.rollout_length,
        seed=config.seed,
        shape_rewards=functools.partial(np.multiply, config.reward_scale),
        restart_every=config.restart_every,
        label=f'{config.env}, seed {config.seed}',
        debug=config.debug,
        tick=run.tick,
    )
    solved = SOLVED[config.env]
    run.add_results(
        steps=log[-1]['steps'],
        solved=solved,
        solved_after_steps=ppo_curves.reached(log, solved),
        task=config.env,
        curves=ppo_curves.curves(log, ('return', 'entropy')),
    )
    ppo_curves.draw(run.path('figures'), log, GAMES[config.env], ('return', 'entropy'))


def evaluate(config: Config, run: run_folder.Run) -> None:
    """The likeliest actions, drawn ones, and random ones."""
    made = network(config)
    ppo.load(run.path('policy'), made)
    space = make_env(config).action_space
    players: dict[str, Policy] = {
        'evaluation': NetworkPolicy(made, space, greedy=True),
        'drawn': NetworkPolicy(made, space),
        'random_baseline': RandomActions(space),
    }
    for name, player in players.items():
        rngs = episode_rngs(config.seed, range(config.test_episodes))
        played = play_together(functools.partial(make_env, config), player, rngs)
        found = summary(episode.total for episode in played)
        run.add_results(**{name: found})
        print(
            f'{name.replace("_", " ")}: {found["mean"]:.1f} ± '
            f'{found["std"]:.1f} over {found["episodes"]} episodes'
        )
    said = run.results()
    run.add_results(
        scores={
            'drawn actions': {'mean': said['drawn']['mean']},
            'steps until solved': {'mean': said['solved_after_steps'], 'lower_is_better': True},
        }
    )
    (rng,) = episode_rngs(config.seed, [0])
    figures.draw_policy_memory(
        run.path('figures/memory.png'),
        players['evaluation'],
        functools.partial(make_env, config),
        rng,
    )


STAGES = {'train': train, 'evaluate': evaluate}


def presets(chosen: Mapping[str, Any]) -> dict[str, dict]:
    """Those of the game that was chosen."""
    game = BY_GAME[chosen.get('env', 'cartpole')]
    return {'smoke': game | SMOKE, 'laptop': game}


def script(argv=None) -> None:
    config = parse(Config, presets, NAME, argv)
    run_stages(config, NAME, STAGES).close()


if __name__ == '__main__':
    main(script)
