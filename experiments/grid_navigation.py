"""Grid Navigation: a policy that learns inside one model of all levels.

The Neural Computer Agent: act in the real level, store, train one global model
(DNC or LSTM, by ``--model``) on all data so far, train the policy by PPO
inside that model alone, return; then the next level. ``--env ordered_keys`` is
a second game from pixels, OURS, which needs memory: the post's second one is
not public.

One stage per level, then the baselines, the evaluation and the figures. What
many runs say together: ``--summary RUN RUN ...``.
"""

from __future__ import annotations

import functools
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import dnc.runtime  # noqa: F401

import gym
import numpy as np

from chainer_wm import files
from chainer_wm.agents.ppo.collect import Collector
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.agents.ppo.policy import NetworkPolicy
from chainer_wm.files.archives import load_link
from chainer_wm.links.pixel_model import PixelModel
from chainer_wm.play import evaluation
from chainer_wm.runs import lifelong_compare, lifelong_figures, lifelong_summary, run_folder
from chainer_wm.runs.command_line import main, parse, run_stages
from chainer_wm.seeds import derived_seed, stream
from chainer_wm.training import levels, lifelong, ppo
from chainer_wm.training.lifelong_baseline import RealPractice
from experiments.grid_navigation_config import (
    ACTIONS,
    Config,
    game,
    improve,
    new_model,
    new_policy,
    presets,
    scaled,
    store_of,
)

NAME = 'grid_navigation'


def folder_of(run: run_folder.Run, level: int, iteration: int) -> pathlib.Path:
    return lifelong_summary.folder_of(run.folder, level, iteration)


def last_of(run: run_folder.Run, level: int) -> pathlib.Path:
    """The folder of a level's last iteration."""
    row = lifelong_summary.after_levels(lifelong_summary.rows(run.folder))
    return folder_of(run, level, row[level]['iteration'])


def before(run: run_folder.Run, level: int, iteration: int) -> pathlib.Path | None:
    """The folder of the iteration before, or None."""
    if iteration:
        return folder_of(run, level, iteration - 1)
    return last_of(run, level - 1) if level else None


def learn_level(level: int, config: Config, run: run_folder.Run) -> None:
    """The loop on one level, until it and all before it are solved."""
    for iteration in range(config.iterations):
        folder = folder_of(run, level, iteration)
        if not (folder / 'scores.json').exists():
            iterate(config, run, level, iteration)
        row = files.read_json(folder / 'scores.json')
        score = row['scores'][level]
        print(
            f'level {level}, iteration {iteration}: {row["real_steps"]} real '
            f'steps so far, success {score["success"]:.2f}, steps '
            f'{score["steps"]} (shortest {score["shortest"]})'
        )
        known = row['scores'][: level + 1]
        if all(one['success'] >= config.solved for one in known):
            return


def iterate(config: Config, run: run_folder.Run, level: int, iteration: int) -> None:
    """Act, store, train M, train the policy inside M, score."""
    folder = folder_of(run, level, iteration)
    last = before(run, level, iteration)
    number = level * config.iterations + iteration
    seed = derived_seed(config.seed, 'iteration', number)
    network, model = new_policy(config), new_model(config)
    if last:
        ppo.load(last / 'policy', network)
        model = load_link(last / 'model/model.npz', PixelModel)
    model.to_device(config.device)
    store = store_of(config, run)
    levels.collect(
        store,
        game(config),
        level,
        NetworkPolicy(network, gym.spaces.Discrete(ACTIONS)),
        range(number * config.episodes, (number + 1) * config.episodes),
        config.seed,
        config.exploration,
    )
    rollouts = [store.read(episode) for episode in store.episodes]
    train_model(config, run, folder / 'model', model, rollouts, seed)
    practise(config, run, folder / 'policy', network, model, rollouts, seed)
    files.write_json(
        folder / 'scores.json',
        {
            'level': level,
            'iteration': iteration,
            'real_steps': int(store.lengths.sum()),
            'scores': levels.scores(game(config), network, config.score_episodes, config.seed),
            'probes': [
                lifelong.probe_level(model, game(config), old, config.probe_episodes, seed)
                for old in range(level + 1)
            ],
        },
    )


def train_model(config, run, folder, model, rollouts, seed) -> None:
    """M on all episodes so far."""
    lifelong.train_model(
        folder,
        model,
        lifelong.episodes_of(rollouts, model),
        updates=config.model_updates,
        lanes=config.model_lanes,
        steps=config.max_steps,
        learning_rate=config.model_learning_rate,
        outcome_weight=config.outcome_weight,
        beta2=config.model_beta2,
        seed=seed,
        debug=config.debug,
        tick=run.tick,
    )


def practise(config, run, folder, network, model, rollouts, seed) -> None:
    """The policy, inside M alone."""
    dream = lifelong.simulation(
        model,
        rollouts,
        lanes=config.lanes,
        max_steps=config.max_steps,
        newest=config.newest,
        # who has a memory must see how an episode begins
        anywhere=0.0 if network.recurrent else config.anywhere,
        surprise=config.surprise,
        rng=stream(seed, 'starts'),
    )
    ppo.train(
        folder,
        improve(config, network),
        Collector(network, dream),
        updates=config.policy_updates,
        rollout_length=config.rollout_length,
        seed=seed,
        shape_rewards=scaled,
        restart_every=max(1, config.policy_updates // 4),
        label='policy, in dreams',
        debug=config.debug,
        tick=run.tick,
    )


def practice(config: Config, run: run_folder.Run, name: str) -> RealPractice:
    """PPO in the real game, in a folder of this name."""
    return RealPractice(
        run.path(name),
        game(config),
        functools.partial(new_policy, config),
        functools.partial(improve, config),
        lanes=config.real_lanes,
        rollout_length=config.real_length,
        shape_rewards=scaled,
        episodes=config.score_episodes,
        report_episodes=config.report_episodes,
        seed=config.seed,
        tick=run.tick,
    )


def baselines(config: Config, run: run_folder.Run) -> None:
    """Random, and PPO on the real levels alone."""
    rows = lifelong_summary.after_levels(lifelong_summary.rows(run.folder))
    steps = [row['real_steps'] for row in rows]
    real, dice = game(config), levels.RandomPolicy(ACTIONS)
    run.add_results(
        random=[
            levels.score(
                *(real, level, dice, config.report_episodes, config.seed), purpose='report'
            )
            for level in range(real.levels)
        ],
        same_budget=practice(config, run, 'same_budget').same_budget(
            np.diff(steps, prepend=0).tolist()
        ),
        until_solved=practice(config, run, 'until_solved').until_solved(
            config.solved, config.real_limit
        ),
    )


def policy_of(config: Config, run: run_folder.Run, level: int) -> ActorCritic:
    """The policy as it is after a level."""
    network = new_policy(config)
    ppo.load(last_of(run, level) / 'policy', network)
    return network


def agent_of(config: Config, run: run_folder.Run) -> NetworkPolicy:
    """The policy as it is after the last level, as a player."""
    network = policy_of(config, run, game(config).levels - 1)
    return NetworkPolicy(network, gym.spaces.Discrete(ACTIONS))


def returns(config: Config, player: Any) -> dict[str, Any]:
    """Returns of episodes on all levels, one level after the other."""
    real = game(config)
    rollouts = [
        rollout
        for level in range(real.levels)
        for rollout in levels.play(
            [real.make(level) for _ in range(config.score_episodes)],
            player,
            [stream(config.seed, 'evaluate', level, n) for n in range(config.score_episodes)],
        )
    ]
    return evaluation.summary(float(r.rewards.sum()) for r in rollouts)


def evaluate(config: Config, run: run_folder.Run) -> None:
    """The tables of this run, from episodes that decided nothing."""
    real = game(config)
    for level in range(real.levels):
        network = policy_of(config, run, level)
        found = levels.scores(
            *(real, network, config.report_episodes, config.seed), purpose='report'
        )
        files.write_json(last_of(run, level) / 'reported.json', found)
    run.add_results(
        passing_by_chance=lifelong_summary.by_chance(config.score_episodes, config.solved),
        **lifelong_summary.tables(run.folder, config.solved),
        evaluation=returns(config, agent_of(config, run)),
        random_baseline=returns(config, levels.RandomPolicy(ACTIONS)),
    )
    print(lifelong_summary.as_text(run.results()))


def figures(config: Config, run: run_folder.Run) -> None:
    """What M predicts, what it dreams, what is kept, and the agent."""
    real = game(config)
    model = load_link(last_of(run, real.levels - 1) / 'model/model.npz', PixelModel)
    model.to_device(config.device)
    folder = run.path('figures')
    folder.mkdir(exist_ok=True)
    lifelong_figures.draw_predictions(folder / 'predictions.png', real, model, config.seed)
    player = agent_of(config, run)
    lifelong_figures.draw_films(folder, real, model, player, config.seed, config.max_steps)
    lifelong_figures.draw_retention(folder / 'retention.png', run.results())


def stages(config: Config) -> dict:
    """In order: one per level, then the rest."""
    return {
        **{
            f'level-{level}': functools.partial(learn_level, level)
            for level in range(game(config).levels)
        },
        'baselines': baselines,
        'evaluate': evaluate,
        'figures': figures,
    }


def script(argv=None) -> None:
    config = parse(Config, presets, NAME, argv)
    if config.summary:
        lifelong_compare.compare(
            pathlib.Path(config.data, NAME),
            config.summary,
            config.results or pathlib.Path(__file__).parent / 'results' / NAME,
        )
        return
    run_stages(config, NAME, stages(config)).close()


if __name__ == '__main__':
    main(script)
