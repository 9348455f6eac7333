"""A sparse reward that needs curiosity: a corridor with a key and a door.

The agent begins in the middle, the key lies at one end, and nothing but the door at the other end,
opened with the key, is rewarded. PPO alone, curiosity alone (Random Network Distillation) and both
are given the same steps.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from chainer_wm import plots
from chainer_wm.agents.policies import RandomActions
from chainer_wm.agents.ppo.experience import Experience
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.agents.ppo.policy import NetworkPolicy
from chainer_wm.agents.rnd import RND
from chainer_wm.envs.key_corridor import KeyCorridor
from chainer_wm.play.collector import Collector
from chainer_wm.play.evaluation import episode_rngs, play_together, summary
from chainer_wm.play.films import film
from chainer_wm.runs import figures, ppo_curves, ppo_settings, run_folder
from chainer_wm.runs.command_line import main, opt, parse, run_stages
from chainer_wm.runs.ppo_settings import RNDConfig
from chainer_wm.training import ppo

NAME = 'key_corridor'
#: How a map of visits is drawn.
MAP: dict[str, Any] = {'label': 'visits', 'limits': None, 'log': True}
TITLES = {'extrinsic': 'PPO', 'intrinsic': 'curiosity alone', 'both': 'PPO with RND'}


@dataclasses.dataclass(frozen=True)
class Config(RNDConfig):
    """PPO with and without curiosity in a corridor with a key and a door."""

    length: int = opt(31, 'columns of the corridor', least=3)
    updates: int = opt(120, 'rounds of playing and learning', extends='train')
    lanes: int = opt(16, 'games side by side')
    discount: float = opt(0.99, 'gamma of the reward; 0.999 lets it dawdle', least=0, most=1)
    learning_rate: float = opt(1e-3, "PPO's Adam")
    epochs: int = opt(8, 'passes over what was played')
    entropy: float = opt(0.001, 'coefficient of the entropy', least=0)
    max_gradient: float = opt(0.5, 'norm of a gradient; 0: no limit', least=0)
    rnd_learning_rate: float = opt(1e-3, "the predictor's Adam")
    restart_every: int = opt(20, 'updates between fresh starts of all lanes')

    told = ('rewards',)


# fmt: off
PRESETS: dict[str, dict] = {
    'smoke': dict(length=9, updates=6, lanes=8, restart_every=3,
                  test_episodes=8, rnd_features=32, rnd_hidden=(32,)),
    'laptop': {},
    # of Random Network Distillation, where they apply to a one-hot vector
    'paper': dict(
        updates=30_000, lanes=128, discount=0.999, learning_rate=1e-4,
        epochs=4, clip=0.1, max_gradient=0.0, normalize=False,
        rnd_learning_rate=1e-4, rnd_keep=0.25, rnd_features=512,
        rnd_layers=(512,), rnd_hidden=(512, 512), whitening_steps=6400),
}
# fmt: on


def make_env(config: Config, render_mode: str | None = None) -> KeyCorridor:
    """The corridor, seen as a one-hot vector."""
    return KeyCorridor(config.length, render_mode=render_mode)


def network(config: Config) -> ActorCritic:
    """One value head per kind of reward."""
    return ppo_settings.new_network(
        config,
        make_env(config),
        values=len(ppo_settings.streams(config)),
        value_scale=0.01,  # before the first reward, nothing is expected
        separate=True,
    )


def curiosity(config: Config) -> RND | None:
    """RND on the one-hot vector, where it is asked for."""
    if config.rewards == 'extrinsic':
        return None
    return ppo_settings.new_rnd(config, make_env(config))


class Visits:
    """Counts the states that steps led to: observations are one-hot vectors.

    A ``ppo.Watch``.

    Args:
        states: length of an observation.

    Attributes:
        counts: (states,) int64.
    """

    def __init__(self, states: int) -> None:
        self.counts = np.zeros(states, np.int64)

    def see(self, experience: Experience) -> dict[str, float | None]:
        """Count; says how many different 'states' were seen so far."""
        self.counts += experience.following().sum(axis=(0, 1)).astype(np.int64)
        return {'states': float((self.counts > 0).sum())}

    def serialize(self, serializer: Any) -> None:
        """Save or load the counts."""
        self.counts = serializer('counts', self.counts)


def train(config: Config, run: run_folder.Run) -> None:
    """PPO, RND or both."""
    made = network(config)
    env = make_env(config)
    visits = Visits(2 * env.walls.size)
    log = ppo.train(
        run.path('policy'),
        ppo_settings.new_learner(config, made, ppo_settings.streams(config)),
        Collector(made, [make_env(config) for _ in range(config.lanes)]),
        updates=config.updates,
        rollout_length=config.rollout_length,
        seed=config.seed,
        rnd=curiosity(config),
        whitening_steps=config.whitening_steps,
        restart_every=config.restart_every,
        watch=visits,
        label=f'{TITLES[config.rewards]}, seed {config.seed}',
        debug=config.debug,
        tick=run.tick,
    )
    run.add_results(
        steps=log[-1]['steps'],
        first_reward_after_steps=first_reward(log),
        solved_after_steps=ppo_curves.reached(log, 0.9),
        states=int((visits.counts > 0).sum()),
        visits=visits.counts.reshape(2, *env.walls.shape),
        curves=ppo_curves.curves(log, ('return', 'states')),
        matrices=visit_maps(env, visits.counts.reshape(2, *env.walls.shape)),
    )
    names = ['return', 'length', 'states']
    if config.rewards != 'extrinsic':
        names.append('bonus')
    folder = run.path('figures')
    title = TITLES[config.rewards]
    ppo_curves.draw(folder, log, title, names)
    maps = run.results()['matrices']
    plots.matrices(
        folder / 'visits.png',
        {name: each['values'] for name, each in maps.items()},
        title=f'{title}: where it was (S start, K key, D door)',
        marks=marks(env),
        **MAP,
    )


def first_reward(log: list[dict]) -> int | None:
    """Steps after which the door was first opened; None if it never was."""
    return next((row['steps'] for row in log if row['reward'] > 0), None)


def visit_maps(env: KeyCorridor, counts: np.ndarray) -> dict[str, dict[str, Any]]:
    """How often every cell was visited, without and with the key: counts (2, H, W)."""
    names = ('visits without the key', 'visits with the key')
    return {
        name: {'values': each.tolist(), 'marks': marks(env), **MAP}
        for name, each in zip(names, counts)
    }


def marks(env: KeyCorridor) -> dict[str, tuple[int, int]]:
    """Start, key and door, as a map shows them."""
    return {'S': env.start, 'K': env.key, 'D': env.door}


def player_of(config: Config, run: run_folder.SavedRun) -> NetworkPolicy:
    """The trained policy, which draws its actions."""
    made = network(config)
    ppo.load(run.path('policy'), made)
    return NetworkPolicy(made, make_env(config).action_space)


def watch(config: Config, run: run_folder.SavedRun) -> tuple[KeyCorridor, NetworkPolicy]:
    """The game to be watched, and its player."""
    return make_env(config, 'rgb_array'), player_of(config, run)


def evaluate(config: Config, run: run_folder.Run) -> None:
    """How often the door is opened, and a film of one attempt."""
    player = player_of(config, run)
    space = player.action_space
    for name, one in (('evaluation', player), ('random_baseline', RandomActions(space))):
        rngs = episode_rngs(config.seed, range(config.test_episodes))
        played = play_together(functools.partial(make_env, config), one, rngs)
        found = {
            **summary(episode.total for episode in played),
            'with_key': float(np.mean([episode.info['has_key'] for episode in played])),
            'steps': float(np.mean([episode.length for episode in played])),
        }
        run.add_results(**{name: found})
        print(
            f'{name.replace("_", " ")}: door opened in '
            f'{found["mean"]:.0%}, key fetched in {found["with_key"]:.0%} of '
            f'{found["episodes"]} episodes'
        )
    run.add_results(**compared(run.results()))
    (rng,) = episode_rngs(config.seed, [0])
    shown = functools.partial(make_env, config, 'rgb_array')
    plots.gif(
        run.path('figures', 'film.gif'),
        film(shown, player, rng, rendered=True).frames,
        fps=20,
        scale=4,
    )
    (rng,) = episode_rngs(config.seed, [0])
    figures.draw_policy_memory(
        run.path('figures/memory.png'), player, functools.partial(make_env, config), rng
    )


def compared(said: Mapping[str, Any]) -> dict[str, Any]:
    """What runs are compared in, beside how often the door is opened."""
    until = {
        'steps until the first reward': said['first_reward_after_steps'],
        'steps until solved': said['solved_after_steps'],
    }
    return {
        'scores': {
            'key fetched': {'mean': said['evaluation']['with_key']},
            'different states seen': {'mean': said['states']},
            **{name: {'mean': at, 'lower_is_better': True} for name, at in until.items()},
        },
        'baselines': {'random': {'key fetched': {'mean': said['random_baseline']['with_key']}}},
    }


STAGES = {'train': train, 'evaluate': evaluate}


def script(argv=None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    run_stages(config, NAME, STAGES).close()


if __name__ == '__main__':
    main(script)
