"""Grid Navigation: a policy that learns inside one model of all levels.

The Neural Computer Agent: act in the real level, store, train one global model (DNC or LSTM, by
``--model``) on all data so far, train the policy by PPO inside that model alone, return; then the
next level. ``--env ordered_keys`` is a second game from pixels, OURS, which needs memory: the
post's second one is not public.

One stage per level, then the baselines, the evaluation and the figures; with ``--state-episodes``
also linear probes of what M remembers of the order of the keys.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import gym
import numpy as np

from chainer_wm import files, plots
from chainer_wm.agents.policies import RandomActions
from chainer_wm.agents.ppo.learner import PPO, Stream
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.agents.ppo.policy import NetworkPolicy
from chainer_wm.envs.grid_navigation import KEY_LEVELS, LEVELS, GridNavigation, OrderedKeys
from chainer_wm.files.archives import load_link
from chainer_wm.links.pixel_model import PixelModel
from chainer_wm.play import evaluation
from chainer_wm.play.collector import Collector
from chainer_wm.rollouts import RolloutStore
from chainer_wm.runs import lifelong_figures, lifelong_summary, run_folder
from chainer_wm.runs.checks import check_minibatches
from chainer_wm.runs.command_line import MemoryConfig, TrainingConfig, main, opt, parse, run_stages
from chainer_wm.seeds import derived_seed, stream
from chainer_wm.tasks import key_states
from chainer_wm.training import levels, lifelong, ppo
from chainer_wm.training.levels import Game

NAME = 'grid_navigation'
ENVS = {
    'navigation': (GridNavigation, len(LEVELS)),
    'ordered_keys': (OrderedKeys, len(KEY_LEVELS)),
}
REWARD_SCALE = 0.1  # returns of about 10 become about 1 for the policy
ACTIONS = 4


@dataclasses.dataclass(frozen=True)
class Config(MemoryConfig, TrainingConfig):
    """Grid Navigation: learn level after level inside one global model."""

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
    state_episodes: int = opt(
        0,
        "ordered_keys: random episodes whose true state linear probes read off M's memory, and "
        'as many to score them; 0: none',
        extends='probe',
        least=0,
    )

    def check(self) -> None:
        """See that there is something in every minibatch, and an order to remember.

        Raises:
            RunError: there is not.
        """
        if self.state_episodes and (self.env != 'ordered_keys' or self.levels == 1):
            raise run_folder.RunError(
                f'--state-episodes {self.state_episodes} asks for the order of keys, but --env '
                f'{self.env} --levels {self.levels} has none: take --env ordered_keys and two '
                'levels or more'
            )
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
        report_episodes=8, probe_episodes=2),
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


def presets(chosen: Mapping[str, Any]) -> dict[str, dict]:
    """Those of the game that was chosen."""
    return KEY_PRESETS if chosen.get('env') == 'ordered_keys' else PRESETS


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
        **config.core_options(),
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


def folder_of(run: run_folder.SavedRun, level: int, iteration: int) -> pathlib.Path:
    return lifelong_summary.folder_of(run.folder, level, iteration)


def last_of(run: run_folder.SavedRun, level: int) -> pathlib.Path:
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
    dream = lifelong.dream_of(
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


def practice(config: Config, run: run_folder.Run, name: str) -> lifelong.RealPractice:
    """PPO in the real game, in a folder of this name."""
    return lifelong.RealPractice(
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
    real, dice = game(config), RandomActions(gym.spaces.Discrete(ACTIONS))
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


def policy_of(config: Config, run: run_folder.SavedRun, level: int) -> ActorCritic:
    """The policy as it is after a level."""
    network = new_policy(config)
    ppo.load(last_of(run, level) / 'policy', network)
    return network


def agent_of(config: Config, run: run_folder.SavedRun) -> NetworkPolicy:
    """The policy as it is after the last level, as a player."""
    network = policy_of(config, run, game(config).levels - 1)
    return NetworkPolicy(network, gym.spaces.Discrete(ACTIONS))


def watch(config: Config, run: run_folder.SavedRun) -> tuple[gym.Env, NetworkPolicy]:
    """The last level that was learnt, and who has learnt it.

    Raises:
        RunError: none was.
    """
    learnt = [row['level'] for row in lifelong_summary.rows(run.folder)]
    if not learnt:
        raise run_folder.RunError(f'{run.folder} has learnt no level yet: has it been trained?')
    network = policy_of(config, run, learnt[-1])
    return game(config).make(learnt[-1]), NetworkPolicy(network, gym.spaces.Discrete(ACTIONS))


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
        random_baseline=returns(config, RandomActions(gym.spaces.Discrete(ACTIONS))),
    )
    # runs whose scores were those that ended a level are of another task: compare.py refuses them
    task = f'{config.env}, scored by fresh episodes'
    run.add_results(task=task, **lifelong_summary.compared(run.results()))
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
    episodes = {
        f'level {level}': levels.play(
            [real.make(level)], player, [stream(config.seed, 'remembered', level)]
        )[0]
        for level in range(real.levels)
    }
    title = 'The memory of M, while the agent plays each level'
    lifelong_figures.draw_memory(folder / 'memory.png', model, episodes, title)


def probe(config: Config, run: run_folder.Run) -> None:
    """What linear probes read off the memory of M, if asked for: the order of the keys above all.

    On the last level, off M as it is at the end.
    """
    if not config.state_episodes:
        return
    real = game(config)
    last = real.levels - 1
    model = load_link(last_of(run, last) / 'model/model.npz', PixelModel, config.device)
    found = key_states.study(model, real.make(last), config.state_episodes, config.seed)
    print(key_states.as_text(found))
    run.add_results(state_probes=found)
    own, controls = key_states.curves(found)
    title = f'The order of the keys, read off M ({config.model.upper()}) until one is taken'
    labels = 'steps since the order was shown', 'right in new episodes'
    panel = plots.Panel(own, *labels, references=controls)
    plots.curves(run.path('figures/order.png'), [panel], title)


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
        'probe': probe,
    }


def script(argv=None) -> None:
    config = parse(Config, presets, NAME, argv)
    run_stages(config, NAME, stages(config)).close()


if __name__ == '__main__':
    main(script)
