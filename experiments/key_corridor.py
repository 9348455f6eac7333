"""A sparse reward that needs curiosity: a corridor with a key and a door.

The agent begins in the middle, the key lies at one end, and nothing but the
door at the other end, opened with the key, is rewarded. PPO alone, curiosity
alone (Random Network Distillation) and both are given the same steps.

To compare runs: ``exploration.py --summary RUN RUN ...``.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import dnc.runtime  # noqa: F401

import numpy as np

from chainer_wm import plots
from chainer_wm.agents.ppo.collect import Collector
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.agents.ppo.policy import NetworkPolicy
from chainer_wm.agents.rnd import RND
from chainer_wm.envs.key_corridor import KeyCorridor
from chainer_wm.play.evaluation import summary
from chainer_wm.runs import policy_report, policy_runs, run_folder
from chainer_wm.runs.command_line import main, opt, parse, run_stages
from chainer_wm.runs.policy_runs import REWARDS, CuriousConfig, Finished
from chainer_wm.training import ppo
from chainer_wm.training.watches import Visits

NAME = 'exploration'
TITLES = {'extrinsic': 'PPO', 'intrinsic': 'curiosity alone', 'both': 'PPO with RND'}


@dataclasses.dataclass(frozen=True)
class Config(CuriousConfig):
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
    return policy_runs.new_network(
        config,
        make_env(config),
        values=len(policy_runs.streams(config)),
        value_scale=0.01,  # before the first reward, nothing is expected
        separate=True,
    )


def curiosity(config: Config) -> RND | None:
    """RND on the one-hot vector, where it is asked for."""
    if config.rewards == 'extrinsic':
        return None
    return policy_runs.new_rnd(config, make_env(config))


def train(config: Config, run: run_folder.Run) -> None:
    """PPO, RND or both."""
    made = network(config)
    env = make_env(config)
    visits = Visits(2 * env.walls.size)
    log = ppo.train(
        run.path('policy'),
        policy_runs.new_learner(config, made, policy_runs.streams(config)),
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
        solved_after_steps=policy_report.reached(log, 0.9),
        states=int((visits.counts > 0).sum()),
        visits=visits.counts.reshape(2, *env.walls.shape),
    )
    names = ['return', 'length', 'states']
    if config.rewards != 'extrinsic':
        names.append('bonus')
    figures = run.path('figures')
    title = TITLES[config.rewards]
    policy_report.draw(figures, log, title, names)
    draw_visits(figures / 'visits.png', env, {title: run.results()})


def first_reward(log: list[dict]) -> int | None:
    """Steps after which the door was first opened; None if it never was."""
    return next((row['steps'] for row in log if row['reward'] > 0), None)


def draw_visits(path, env: KeyCorridor, results: dict[str, dict]) -> None:
    """Where the training was, without and with the key, by name."""
    maps = {}
    for name, found in results.items():
        without, having = np.array(found['visits'])
        maps[f'{name}: without the key'] = without
        maps[f'{name}: with the key'] = having
    plots.visit_maps(
        path,
        maps,
        {'S': env.start, 'K': env.key, 'D': env.door},
        title='Visited cells (S start, K key, D door)',
    )


def evaluate(config: Config, run: run_folder.Run) -> None:
    """How often the door is opened, and a film of one attempt."""
    made = network(config)
    ppo.load(run.path('policy'), made)
    env = make_env(config, 'rgb_array')
    player = NetworkPolicy(made, env.action_space)
    for name, one in (
        ('evaluation', player),
        ('random_baseline', policy_report.RandomActions(env.action_space)),
    ):
        played = policy_report.play(
            one, functools.partial(make_env, config), config.test_episodes, config.seed
        )
        with_key = np.mean([info['has_key'] for info in played.lasts])
        found = {
            **summary(played.returns),
            'with_key': float(with_key),
            'steps': float(played.lengths.mean()),
        }
        run.add_results(**{name: found})
        print(
            f'{name.replace("_", " ")}: door opened in '
            f'{found["mean"]:.0%}, key fetched in {found["with_key"]:.0%} of '
            f'{found["episodes"]} episodes'
        )
    frames, _ = policy_report.film(player, env, config.seed)
    plots.gif(run.path('figures', 'film.gif'), frames, fps=20, scale=4)


def summarise(config: Config) -> None:
    """Both curves over the seeds, where they were, and a table."""
    found = policy_runs.finished_runs(config, NAME)
    groups = {
        TITLES[rewards]: [r for r in found if r.config['rewards'] == rewards]
        for rewards in REWARDS
    }
    groups = {name: group for name, group in groups.items() if group}
    folder = policy_runs.summary_folder(config, NAME)
    policy_runs.draw_seeds(
        folder / 'exploration.png',
        {
            'share of episodes that open the door': policy_runs.curves(groups, 'return'),
            'different states seen': policy_runs.curves(groups, 'states'),
        },
        'A corridor with a key and a door: one reward, at its end',
    )
    first = {name: group[0].results for name, group in groups.items()}
    draw_visits(folder / 'visits.png', KeyCorridor(found[0].config['length']), first)
    policy_runs.write_summary(
        folder, NAME, {name: _row(group) for name, group in groups.items()}, found
    )


def _row(group: list[Finished]) -> dict:
    results = [run.results for run in group]
    scores = {
        name: policy_runs.spread([r['evaluation'][name] for r in results])
        for name in ('mean', 'with_key')
    }
    return {
        'seeds': [run.config['seed'] for run in group],
        'steps': [r['steps'] for r in results],
        'first_reward_after_steps': [r['first_reward_after_steps'] for r in results],
        'solved_after_steps': [r['solved_after_steps'] for r in results],
        'states': [r['states'] for r in results],
        'opened': scores['mean'],
        'with_key': scores['with_key'],
        'minutes': policy_runs.minutes(group),
    }


STAGES = {'train': train, 'evaluate': evaluate}


def script(argv=None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    if config.summary:
        return summarise(config)
    config = policy_runs.named(config, config.rewards)
    run_stages(config, NAME, STAGES).close()


if __name__ == '__main__':
    main(script)
