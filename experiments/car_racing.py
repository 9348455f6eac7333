"""CarRacing: V and M from random driving, C evolved in the real game, or in the dream.

Ha and Schmidhuber 2018, "World Models", section 3. C is linear and sees z and h, M's hidden state
(``--controller zh``), z alone (``z``), or z through a hidden layer (``hidden``)::

    game --frame--> V --z--> M(z, a, state) --h--> C(z, h) --a--> game

By ``--learn-in dream`` M predicts reward and end too and takes the game's place in the evolution,
which the paper did for Take Cover alone. The game is gym's, or EnvPool's, which is three times
as fast (``--engine``); the last score is always taken in gym's game as well.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import dataclasses
import functools
import pathlib
import resource
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainer_wm import files, plots
from chainer_wm.agents import policies
from chainer_wm.agents.cma_es import CMAES
from chainer_wm.agents.controller import Controller, ControllerPolicy, driving_actions
from chainer_wm.agents.saved import CONTROLLERS, SavedAgent
from chainer_wm.dream.simulator import Dream
from chainer_wm.envs.car_racing import ENGINES, LOW, MAX_STEPS, CarRacing
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.runs import figures, report, run_folder
from chainer_wm.runs.checks import check_dropout, check_held_out, check_reuse
from chainer_wm.runs.command_line import (
    DreamingConfig,
    WorkersConfig,
    main,
    opt,
    parse,
    run_stages,
)
from chainer_wm.runs.comparison import curve
from chainer_wm.runs.matching import MatchConfig, as_large_as_dnc, check_match
from chainer_wm.runs.world_model_settings import WorldModelConfig
from chainer_wm.training import evolution, mdn_rnn, rounds, vae

NAME = 'car_racing'
SOLVED = 900  # mean return over 100 tracks
ACTIONS = len(LOW)
DONE_WEIGHT = 10.0  # of an end in M's loss, where it predicts ends
END_REWARD = -100.0  # of the step that leaves the field
REWARD_SCALE = 1.0  # unit of the reward's error in M's loss; a tile pays about 3
SCALE = 0.01  # largest scale of the random driver's weights
RENEW = 50  # batches of games after which a worker is replaced
UNIT = 'return of a track'


@dataclasses.dataclass(frozen=True)
class Config(MatchConfig, DreamingConfig, WorldModelConfig, WorkersConfig):
    """CarRacing: collect, train V and M, evolve C in the game or in the dream."""

    engine: str = opt('gym', 'game that is learnt in', ENGINES)
    episodes: int = opt(10_000, 'to learn from, driven at random', extends='collect', least=2)
    driver: str = opt('', 'run whose candidates drive half of them')
    max_steps: int = opt(MAX_STEPS, 'of an episode')
    latent_size: int = opt(32, 'latents of V')
    hidden_size: int = opt(256, 'LSTM, or controller of the DNC')
    controller: str = opt('zh', 'what C is and sees', tuple(CONTROLLERS))
    learn_in: str = opt('game', 'where C is evolved', ('game', 'dream'))
    temperature: float = opt(1.0, 'tau of the dream', above=0)
    population: int = opt(64, 'candidates per generation', least=4)
    tracks: int = opt(16, 'per candidate; the same for all of a generation')
    patience: int = opt(0, 'steps without a new tile that end an episode of the search', least=0)
    generations: int = opt(1800, 'of CMA-ES', extends='controller')
    sigma: float = opt(0.1, 'first step size of CMA-ES')
    separable: bool = opt(False, 'CMA-ES with a diagonal covariance')
    evaluate_every: int = opt(25, 'generations between scores on other tracks')
    evaluate_episodes: int = opt(100, 'tracks of such a score')
    test_episodes: int = opt(100, 'tracks of the last score', extends='evaluate')

    def default_run(self) -> str:
        """The name of a run that was given none."""
        parts = (
            super().default_run(),
            'driven' * bool(self.driver),
            'match' * self.match,
            'untrained' * self.untrained_model,
            self.controller,
            self.learn_in,
            f'{self.seed}',
        )
        return '-'.join(filter(None, parts))

    def check(self) -> None:
        """See that episodes are left to train on, that a DNC is not matched to itself and learns
        without dropout, that the run to reuse was split alike, and that a driver has a C.

        Raises:
            runs.RunError: something of it is not so.
            FileNotFoundError: the run to reuse has no codes.
        """
        check_match(self)
        check_dropout(self)
        check_held_out(self.held_out, '--episodes', self.episodes)
        folder = pathlib.Path(self.data, NAME, self.run)
        check_reuse(SavedAgent(folder, reuse=self.reuse), self.held_out)
        if self.driver and self.reuse:
            raise run_folder.RunError(
                f'--driver {self.driver} with --reuse {self.reuse}: nothing is driven, the '
                'episodes are those of the run to reuse'
            )
        if self.driver:
            driver_of(self)


# fmt: off
PRESETS: dict[str, dict] = {
    'smoke': dict(
        episodes=6, max_steps=40, vision_batch=16, vision_learning_rate=1e-3, latent_size=8,
        hidden_size=16, memory_length=8, memory_width=8, read_heads=2, model_epochs=4.0,
        model_batch=4, window=20, population=4, tracks=1, generations=2, evaluate_every=2,
        evaluate_episodes=2, test_episodes=2),
    'laptop': dict(
        engine='envpool', episodes=200, vision_epochs=1.0, vision_learning_rate=1e-3,
        vision_last_learning_rate=1e-5, model_epochs=10.0, model_batch=20, window=100,
        model_last_learning_rate=1e-5, population=24, tracks=2, patience=50, generations=25,
        evaluate_every=25, evaluate_episodes=8),
    'paper': {},
}
# fmt: on


class Driving(NamedTuple):
    """What a ``RandomDriver`` carries on, one lane per row."""

    weights: np.ndarray  # (B, 3, Z + 1), the bias last
    rngs: tuple[np.random.Generator, ...]


@dataclasses.dataclass(frozen=True)
class RandomDriver:
    """The driver that World Models collects with: V, M and C of small random weights.

    Of such V and M z is N(0, 1) and h is 0; C's weights are Cauchy, of a scale that every episode
    draws from U(0, 0.01). Most drive slowly straight on, some with the wheel turned.

    Attributes:
        latent_size: of z.
    """

    latent_size: int

    def start(self, rngs: policies.Generators) -> Driving:
        shape = ACTIONS, self.latent_size + 1
        weights = [rng.uniform(0, SCALE) * rng.standard_cauchy(shape) for rng in rngs]
        return Driving(np.stack(weights), tuple(rngs))

    def act(self, observations: np.ndarray, state: Driving) -> tuple[np.ndarray, Driving]:
        z = np.stack([rng.standard_normal(self.latent_size) for rng in state.rngs])
        ones = np.ones((len(z), 1))
        wanted = np.einsum('boi,bi->bo', state.weights, np.concatenate([z, ones], axis=1))
        return driving_actions(np.tanh(wanted)).astype(np.float32), state


def saved_agent(config: Config, run: run_folder.Run) -> SavedAgent:
    """Where V, M and C are."""
    settings = dataclasses.asdict(config)
    return SavedAgent.of_run(run.folder, settings, device=config.device, actions='driving')


def make_env(config: Config, engine: str = '', patience: int = 0) -> Callable[[], CarRacing]:
    """A picklable maker of the game."""
    return functools.partial(CarRacing, engine or config.engine, config.max_steps, patience)


def watch(config: Config, run: run_folder.SavedRun) -> tuple[CarRacing, None]:
    """Gym's game to be watched; its player is V, M and C of the run."""
    return CarRacing('gym', config.max_steps, render_mode='rgb_array'), None


def split_of(config: Config, saved: SavedAgent) -> rounds.Split:
    """How episodes are held out: the same ones for V and for M."""
    return functools.partial(saved.split, held_out=config.held_out, seed=config.seed)


def driver_of(config: Config) -> SavedAgent:
    """The agent of the run whose candidates drive.

    They are drawn from where its search stands: let it go on no further, or an episode that is
    damaged later will be driven again by others.

    Raises:
        runs.RunError: it has no C yet.
    """
    folder = pathlib.Path(config.data, NAME, config.driver)
    if not SavedAgent(folder).controller_path.exists():
        raise run_folder.RunError(
            f'--driver {config.driver}: {folder} has no evolved C; finish its controller stage '
            'first'
        )
    return SavedAgent.of_run(folder, files.read_json(folder / 'config.json'), actions='driving')


def drivers(config: Config) -> Callable[[], policies.Policy]:
    """A picklable maker of who drives what V and M learn from."""
    beginner = functools.partial(RandomDriver, config.latent_size)
    if not config.driver:
        return beginner
    return functools.partial(policies.OneOf, (beginner, driver_of(config).candidate_maker()))


def collect(config: Config, run: run_folder.Run, round: int = 0) -> None:
    """game -> rollouts of random drivers, or half of them of another run's candidates."""
    if config.reuse:
        return
    rounds.collect(
        saved_agent(config, run),
        make_env(config),
        drivers(config),
        (config.episodes, 0),
        config.seed,
        config.pool,
    )


def train_vision(config: Config, run: run_folder.Run) -> None:
    """frames -> V."""
    if config.reuse:
        return
    saved = saved_agent(config, run)
    store, episodes, held_out = rounds.recorded(saved, split_of(config, saved))
    vision = ConvVAE(config.latent_size, seed=config.seed)
    vision.to_device(config.device)
    log = vae.train(
        saved.home / 'vision',
        store,
        vision,
        episodes=episodes,
        epochs=config.vision_epochs,
        batch_size=config.vision_batch,
        learning_rate=config.vision_learning_rate,
        last_learning_rate=config.vision_last_learning_rate,
        seed=config.seed,
        memory_mb=config.memory_mb,
        debug=config.debug,
        tick=run.tick,
        ranks=config.ranks,
    )
    run.add_results(vision=vae.measure(vision, store, held_out))
    figures.draw_vision(run.path('figures'), log, vision, store, held_out)


def encode_frames(config: Config, run: run_folder.Run) -> None:
    """frames -> V -> z: the codes; damaged episodes are played again first."""
    saved = saved_agent(config, run)
    if not config.reuse and saved.store().missing(config.episodes):
        collect(config, run)
    rounds.encode(saved, functools.partial(collect, config, run), run.tick)


def new_model(config: Config) -> MDNRNN:
    """M at its start, on its device; a matched LSTM has the hidden size that fits the DNC."""
    dreams = config.learn_in == 'dream'

    def build(core: str, hidden: int, **memory: Any) -> MDNRNN:
        return MDNRNN(
            config.latent_size,
            ACTIONS,
            hidden,
            core=core,
            predict_done=dreams,
            predict_reward=dreams,
            reward_scale=REWARD_SCALE,
            end_reward=END_REWARD if dreams else None,
            seed=config.seed,
            **memory,
        )

    hidden = as_large_as_dnc(config, build) if config.match else config.hidden_size
    model = build(config.model, hidden, **config.core_options())
    model.to_device(config.device)
    return model


def train_model(config: Config, run: run_folder.Run) -> None:
    """(z, a) -> M: the next z, and in order to dream the reward and the end."""
    saved, model = saved_agent(config, run), new_model(config)
    train, test = rounds.windows(
        saved,
        split_of(config, saved),
        config.model_batch,
        config.window,
        config.seed,
        dtype=config.dtype,
        rewards=config.learn_in == 'dream',
        end_rewards=model.end_reward is None,
    )
    log = mdn_rnn.train(
        saved.home / 'model',
        model,
        train,
        test,
        epochs=0.0 if config.untrained_model else config.model_epochs,
        learning_rate=config.model_learning_rate,
        last_learning_rate=config.model_last_learning_rate,
        seed=config.seed,
        done_weight=DONE_WEIGHT,
        dropout=config.model_dropout,
        debug=config.debug,
        tick=run.tick,
        ranks=config.ranks,
    )
    best = saved.model()
    measures = mdn_rnn.measure(best, test, config.seed, DONE_WEIGHT)
    run.add_results(model={'parameters': best.count_params(), **measures})
    figures.draw_model(saved.home / 'figures', log)
    store = saved.store()
    _, held_out = split_of(config, saved)(store.episodes)
    best_drive = max(held_out, key=lambda n: store.entry(n)['return'])  # most end on the grass
    figures.draw_foresight(run.path('figures'), saved, best_drive, config.seed)


def dream_of(config: Config, saved: SavedAgent) -> Dream:
    """M in the place of the game."""
    return saved.dream((config.temperature,), config.max_steps, dropout=config.dream_dropout)


def peak_memory() -> dict[str, float]:
    """MB that this process and the largest of the workers that left have held at most."""
    kinds = {'mb': resource.RUSAGE_SELF, 'workers_mb': resource.RUSAGE_CHILDREN}
    return {name: resource.getrusage(kind).ru_maxrss / 1024 for name, kind in kinds.items()}


def judged(config: Config, saved: SavedAgent, controller: Controller) -> Any:
    """What judges candidates, to be entered: tracks of the game, or dreams."""
    options: dict[str, Any] = dict(episodes=config.tracks, seed=config.seed, workers=config.pool)
    if config.learn_in == 'dream':
        cut: dict[str, Any] = dict(shard=config.dream_shard, features=saved.features)
        return evolution.dreaming(dream_of(config, saved), controller.act, **cut, **options)
    game = make_env(config, patience=config.patience)
    agent = saved.agent_maker(np.zeros(controller.n_params))
    return evolution.InGame(game, agent, tasks_per_worker=RENEW, **options)


def evolve(config: Config, run: run_folder.Run) -> None:
    """C by CMA-ES, in the game or in the dream: where the search ended, and scores on the way."""
    saved = saved_agent(config, run)
    controller = saved.new_controller(saved.model())

    def tick() -> None:
        run.tick()
        run.log(event='memory', stage='controller', **peak_memory())

    with judged(config, saved, controller) as fitness:
        outcome = evolution.evolve(
            saved.home / 'controller',
            CMAES(
                np.zeros(controller.n_params),
                config.sigma,
                config.population,
                seed=config.seed,
                separable=config.separable,
            ),
            fitness,
            generations=config.generations,
            evaluate=report.validation(
                saved, make_env(config), config.evaluate_episodes, config.seed, config.pool
            ),
            evaluate_every=config.evaluate_every,
            tick=tick,
        )
    controller.set_theta(outcome.theta)
    controller.save(saved.controller_path)
    run.add_results(
        controller={
            'generation': outcome.generation,
            'steps': outcome.history[-1].get('steps', 0),
            'search': outcome.history[-1]['mean'],
            'evaluations': outcome.evaluations,
        }
    )


def evaluate(config: Config, run: run_folder.Run) -> None:
    """The agent on fresh tracks of gym's game; it and fixed drivers in the one learnt in."""
    saved = saved_agent(config, run)
    agent: dict[str, Callable] = {'agent': saved.agent_maker()}

    def score(engine: str, who: dict[str, Callable]) -> dict[str, dict]:
        episodes = config.test_episodes, config.seed, config.pool
        return report.score_in_game(who, make_env(config, engine), *episodes)

    known = known_drivers(config, saved)
    scores = score(config.engine, agent if known else agent | fixed_drivers(config)) | known
    engines = {config.engine: scores['agent']}
    if config.engine != 'gym':  # so that nobody has to trust the faster one
        engines['gym'] = scores['agent'] = score('gym', agent)['agent']
    run.add_results(
        evaluation=scores['agent'],
        random_baseline=scores['random'],
        solved=SOLVED,
        game=scores,
        engines=engines,
        parameters={'M': saved.model().count_params(), 'C': len(saved.theta())},
        **compared(saved, scores, engines),
    )
    in_engines = {f'agent in {name}': found for name, found in engines.items()}
    for name, found in (in_engines | without_agent(scores)).items():
        print(f'{name:<18}{report.mean_and_std(found):>14}')
    draw(config, run, saved, scores, engines)


def fixed_drivers(config: Config) -> dict[str, Callable]:
    """Who drives without having learnt anything, by name."""
    space = make_env(config)().action_space
    return {
        'random driver': functools.partial(RandomDriver, config.latent_size),
        'random': functools.partial(policies.RandomActions, space),
        'no action': functools.partial(policies.NoAction, ACTIONS),
    }


def known_drivers(config: Config, saved: SavedAgent) -> dict[str, dict]:
    """Scores of the fixed drivers where the run to reuse has them, on the same tracks."""
    path = saved.source / 'results.json'
    if not config.reuse or not path.exists():
        return {}
    found = files.read_json(path)
    tracks = ('engine', 'max_steps', 'test_episodes', 'seed', 'latent_size')
    same = all(found['config'].get(name) == getattr(config, name) for name in tracks)
    return without_agent(found.get('game', {})) if same else {}


def without_agent(scores: dict[str, dict]) -> dict[str, dict]:
    """Of the fixed drivers alone."""
    return {name: found for name, found in scores.items() if name != 'agent'}


def compared(
    saved: SavedAgent, scores: dict[str, dict], engines: dict[str, dict]
) -> dict[str, Any]:
    """What runs are compared in, beside the score in gym's game."""
    searched, evaluated = (
        ([row['generation'] for row in rows], [row['mean'] for row in rows])
        for rows in evolution.read_history(saved.home / 'controller')
    )
    return {
        'scores': {
            f'in {name}': {'mean': found['mean']}
            for name, found in engines.items()
            if name != 'gym'
        },
        'baselines': {
            name: {'evaluation': {'mean': found['mean']}}
            for name, found in without_agent(scores).items()
            if name != 'random'
        },
        'curves': {
            'C evolves': curve(
                *evaluated, 'generation', f'{UNIT}, other tracks', score='evaluation'
            ),
            'the search': curve(*searched, 'generation', f'{UNIT}, mean of the candidates'),
        },
    }


def draw(
    config: Config,
    run: run_folder.Run,
    saved: SavedAgent,
    scores: dict[str, dict],
    engines: dict[str, dict],
) -> None:
    """C over the generations, returns of all tracks, and films."""
    folder = run.path('figures')
    plots.evolution(
        folder / 'evolution.png',
        *evolution.read_history(saved.home / 'controller'),
        scores['random'],
        SOLVED,
        f'C in the {config.learn_in}, M with {config.model.upper()}',
        f'score ({UNIT})',
        'dream' if config.learn_in == 'dream' else 'search',
    )
    plots.returns_histogram(
        folder / 'returns.png',
        {name: found['returns'] for name, found in scores.items()},
        solved=SOLVED,
        xlabel=UNIT,
    )
    drivers = {name: found['returns'] for name, found in without_agent(scores).items()}
    plots.returns_by_episode(
        folder / 'tracks.png',
        {
            name: {'agent': found['returns']} | (drivers if name == config.engine else {})
            for name, found in engines.items()
        },
        solved=SOLVED,
        xlabel="track, from the agent's worst to its best",
        ylabel=UNIT,
    )
    dream = dream_of(config, saved)
    dreamer = ControllerPolicy(saved.new_controller(dream.model).act, saved.theta())
    figures.draw_films(folder, saved, make_env(config), dream, dreamer, config.seed, fps=50)


STAGES = {
    'collect': collect,
    'vision': train_vision,
    'encode': encode_frames,
    'model': train_model,
    'controller': evolve,
    'evaluate': evaluate,
}


def script(argv: Sequence[str] | None = None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    run_stages(config, NAME, STAGES, packages=('box2d', 'pygame-ce', 'envpool')).close()


if __name__ == '__main__':
    main(script)
