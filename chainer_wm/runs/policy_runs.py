"""What the experiments with PPO share: settings, networks, summaries."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import gym
import numpy as np

from chainer_wm import files, plots
from chainer_wm.agents.ppo.learner import PPO, Stream
from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.agents.rnd import RND
from chainer_wm.runs import policy_report
from chainer_wm.runs.checks import check_minibatches
from chainer_wm.runs.command_line import CommonConfig, opt, settings
from chainer_wm.seeds import derived_seed

REWARDS = ('extrinsic', 'intrinsic', 'both')
RESULTS = pathlib.Path(__file__).resolve().parent / 'results'


@dataclasses.dataclass(frozen=True)
class PolicyConfig(CommonConfig):
    """What every experiment with PPO offers on its command line."""

    summary: tuple[str, ...] = opt(
        (), 'compare these finished runs, and do nothing else', free=True
    )
    results: str = opt('', 'folder for --summary (default: experiments/results)', free=True)
    recurrent: bool = opt(False, 'the policy has a memory, see --model')
    updates: int = opt(100, 'rounds of playing and learning', extends='train')
    lanes: int = opt(8, 'games side by side')
    rollout_length: int = opt(128, 'steps of every lane per update')
    restart_every: int = opt(50, 'updates between fresh starts of all lanes')
    hidden: tuple[int, ...] = opt((64, 64), 'layers of the policy')
    core_size: int = opt(64, 'with memory: LSTM, or controller of the DNC')
    memory_length: int = opt(16, 'DNC: memory slots N')
    memory_width: int = opt(8, 'DNC: numbers per slot W')
    read_heads: int = opt(2, 'DNC: read heads R')
    learning_rate: float = opt(3e-4, "PPO's Adam")
    epochs: int = opt(4, 'passes over what was played')
    minibatches: int = opt(4, 'parts of a pass')
    clip: float = opt(0.2, 'of the ratio of probabilities')
    entropy: float = opt(0.0, 'coefficient of the entropy', least=0)
    discount: float = opt(0.99, 'gamma of the rewards of the game', least=0, most=1)
    decay: float = opt(0.95, 'lambda of the advantages', least=0, most=1)
    normalize: bool = opt(True, 'bring advantages to mean 0, deviation 1')
    max_gradient: float = opt(0.0, 'norm of a gradient; 0: no limit', least=0)
    test_episodes: int = opt(100, 'episodes of a score', extends='evaluate')

    def check(self) -> None:
        """See that there is something in every minibatch.

        Raises:
            runs.RunError: there is not.
        """
        check_minibatches(*(self.minibatches, self.lanes, self.rollout_length), self.recurrent)


@dataclasses.dataclass(frozen=True)
class CuriousConfig(PolicyConfig):
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


def streams(config: CuriousConfig) -> tuple[Stream, ...]:
    """The kinds of reward, as in Random Network Distillation."""
    extrinsic = Stream('extrinsic', config.discount, config.coefficient, True)
    intrinsic = Stream('intrinsic', config.rnd_discount, 1.0, False)
    return {
        'extrinsic': (extrinsic._replace(coefficient=1.0),),
        'intrinsic': (intrinsic,),
        'both': (extrinsic, intrinsic),
    }[config.rewards]


def new_rnd(config: CuriousConfig, env: gym.Env, **options: Any) -> RND:
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


def new_network(config: PolicyConfig, env: gym.Env, **options: Any) -> ActorCritic:
    """A policy for this game, on its device."""
    memory = {
        'memory_length': config.memory_length,
        'memory_width': config.memory_width,
        'read_heads': config.read_heads,
    }
    if config.recurrent:
        options['core'] = config.model
        options['core_size'] = config.core_size
        options['core_options'] = memory if config.model == 'dnc' else {}
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


def new_learner(config: PolicyConfig, network: ActorCritic, streams: Sequence[Stream]) -> PPO:
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


def named(config: Any, *words: str) -> Any:
    """The settings, where no --run was given with a name that tells them."""
    if config.run != f'{config.preset}-{config.model}':
        return config
    name = '-'.join((config.preset, *words, core_name(config)))
    return dataclasses.replace(config, run=f'{name}-{config.seed}')


def core_name(config: Any) -> str:
    """mlp, lstm or dnc; of a Config or of a saved one."""
    saved = config if isinstance(config, dict) else dataclasses.asdict(config)
    return saved['model'] if saved['recurrent'] else 'mlp'


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run as its folder tells it; no log where PPO did not learn."""

    name: str
    results: dict[str, Any]
    log: list[dict[str, Any]]
    folder: pathlib.Path

    @property
    def config(self) -> dict[str, Any]:
        """Its settings."""
        return self.results['config']


def finished_runs(config: PolicyConfig, experiment: str) -> list[Finished]:
    """The runs that --summary names.

    Raises:
        SystemExit: one of them is not there, or has not been evaluated.
    """
    found = []
    for name in config.summary:
        folder = pathlib.Path(config.data, experiment, name)
        results = folder / 'results.json'
        said = files.read_json(results) if results.exists() else {}
        if 'evaluation' not in said:
            raise SystemExit(
                f'--summary {name}: {folder} holds no evaluated run: was it '
                'interrupted? Repeat its command first'
            )
        table = folder / 'policy' / 'log.json'
        log = files.read_json(table) if table.exists() else []
        found.append(Finished(name, said, log, folder))
    return found


def grouped(runs: Sequence[Finished], label: Any) -> dict[str, list[Finished]]:
    """Runs by ``label(run)``, in the order in which they were named."""
    groups: dict[str, list[Finished]] = {}
    for run in runs:
        groups.setdefault(label(run), []).append(run)
    return groups


def curves(
    groups: dict[str, list[Finished]], name: str, bins: int = 60
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For ``plots.seed_curves``: a column of the log, by group.

    Runs of a group are cut to the shortest of them.
    """
    found = {}
    for group, runs in groups.items():
        rows = min(len(run.log) for run in runs)
        parts = [policy_report.binned(run.log[:rows], name, bins) for run in runs]
        found[group] = parts[0][0], np.stack([part[1] for part in parts])
    return found


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, deviation (n - 1), and the values themselves."""
    array = np.asarray(values, float)
    return {
        'mean': float(array.mean()),
        'std': float(array.std(ddof=1)) if len(array) > 1 else 0.0,
        'values': array.tolist(),
    }


def minutes(group: Sequence[Finished]) -> list[float]:
    """Wall minutes of each run."""
    return [round(sum(run.results['seconds'].values()) / 60, 1) for run in group]


def summary_folder(config: PolicyConfig, experiment: str) -> pathlib.Path:
    """Where --summary writes."""
    return pathlib.Path(config.results or RESULTS, experiment)


def write_summary(folder: pathlib.Path, name: str, table: dict[str, Any], runs) -> None:
    """The JSON table with the settings it rests on, and a few words."""
    path = folder / f'{name}.json'
    files.write_json(
        path,
        {
            'table': table,
            'runs': {
                run.name: {'config': settings(run.config), 'versions': run.results['versions']}
                for run in runs
            },
        },
    )
    print(f'table: {path}')


def draw_seeds(path: pathlib.Path, panels, title: str, levels=None) -> None:
    """Curves over the seeds; says where."""
    plots.seed_curves(path, panels, title=title, levels=levels)
    print(f'figure: {path}')
