"""Controls on top of a finished run of doom_take_cover.py, a stage for each.

    doom_take_cover_controls.py --base RUN

lets C learn anew in the dream of that run's last M, by the run's own learner with a budget that
all controls share, and scores it in that dream, from first frames, and in the game: at other
temperatures, on z alone, on the DNC's read vectors too, on the memory of an M that was never
trained, and with separable CMA-ES; and, where --kinds asks for it, with dreams that begin or end
elsewhere, with or without hidden layers, without places in what agents played.
The control at the run's own temperature is what the others are held against. Before them, what
policies score that see nothing, and how long before a real death M's dreams show it.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_wm import files, plots
from chainer_wm.agents import policies
from chainer_wm.agents.controller import ControllerPolicy
from chainer_wm.agents.saved import SavedAgent
from chainer_wm.agents.world_model import WorldModelAgent
from chainer_wm.dream.foresight import ends_of, foreseen, stretches
from chainer_wm.dream.simulator import Dream
from chainer_wm.dream.variants import SecondModelDream
from chainer_wm.envs.take_cover import TakeCover
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.rollouts import RolloutStore
from chainer_wm.rollouts.latents import Latents
from chainer_wm.runs import figures, report, run_folder
from chainer_wm.runs.checks import check_temperature
from chainer_wm.runs.command_line import DeviceConfig, WorkersConfig, main, opt, parse, run_stages
from chainer_wm.runs.comparison import settings_of
from chainer_wm.runs.dream_settings import (
    DreamConfig,
    learning_dream,
    places_of,
    search_by_evolution,
    search_by_ppo,
)
from chainer_wm.seeds import stream
from chainer_wm.training import evolution

NAME = 'doom_take_cover'  # these runs lie beside those that they are about
#: World Models (Ha and Schmidhuber 2018), Take Cover: dream, game.
PAPER = (
    ('World Models, 0.10', '2086 ± 140', '193 ± 58'),
    ('World Models, 0.50', '2060 ± 277', '196 ± 50'),
    ('World Models, 1.00', '1145 ± 690', '868 ± 511'),
    ('World Models, 1.15', '918 ± 546', '1092 ± 556'),
    ('World Models, 1.30', '732 ± 269', '753 ± 139'),
)
KINDS = ('temperature', 'z', 'reads', 'untrained', 'separable')
MORE_KINDS = ('starts', 'threshold', 'hidden', 'agents')  # where --kinds asks for them
HIDDEN = (128, 128)  # layers of C in the control of a linear one
RANDOM: dict[str, Callable] = {'random': policies.Uniform}
#: To and fro, without looking.
PACING: dict[str, Callable] = {
    f'pacing {period}': functools.partial(policies.Pacing, period)
    for period in (45, 60, 90, 120, 150, 200)
}
HORIZONS = (0, 1, 2, 3, 5, 8, 12, 16, 20, 30, 40)  # steps before a death
LENGTH = 100  # steps of a stretch, with those that M only follows
PEACE = 60  # steps without a death after a stretch that nobody dies in


@dataclasses.dataclass(frozen=True)
class Config(DeviceConfig, WorkersConfig):
    """Controls of Take Cover: C learns anew with one thing changed."""

    model: str = opt('lstm', None)  # of the base, like dtype and seed
    dtype: str = opt('float32', None)
    base: str = opt('', 'the finished run: its V, M, core and seed are used')
    round: int = opt(-1, "whose M: a round of the base's; -1 is the last", least=-1)
    kinds: tuple[str, ...] = opt(KINDS, 'of controls to run', free=True)
    temperatures: tuple[float, ...] = opt(
        (0.1, 0.5, 1.0, 1.15, 1.3), 'a control for each', free=True
    )
    mixed: tuple[float, ...] = opt((1.0, 1.5), 'range of temperatures of one more', free=True)
    thresholds: tuple[float, ...] = opt(
        (0.5,), 'of P(done), a control for each', free=True, above=0, below=1
    )
    population: int = opt(32, 'CMA-ES: candidates per generation', least=4)
    dreams: int = opt(8, 'CMA-ES: dreams per candidate')
    generations: int = opt(20, 'CMA-ES: generations of every control', extends='baseline')
    sigma: float = opt(0.1, 'CMA-ES: first step size')
    updates: int = opt(500, 'PPO: updates of every control', extends='baseline')
    max_steps: int = opt(2100, 'cap of a dream')
    test_episodes: int = opt(100, 'of every score', extends='baseline')

    def default_run(self) -> str:
        """The name of a run that was given none."""
        return f'{self.base}-controls'

    def check(self) -> None:
        """See that the mixed temperatures are a range.

        Raises:
            runs.RunError: they are not.
        """
        check_temperature('--mixed', self.mixed)


# fmt: off
PRESETS = {
    'smoke': dict(population=4, dreams=2, generations=2, updates=2, max_steps=50,
                  temperatures=(1.15,), test_episodes=2),
    'laptop': {},
    'paper': dict(population=64, dreams=16, generations=200),
}
# fmt: on


@dataclasses.dataclass(frozen=True)
class Base:
    """The finished run, as its folder tells it."""

    config: dict[str, Any]
    saved: SavedAgent

    @property
    def settings(self) -> DreamConfig:
        """Of its dream and of its learner."""
        names = {field.name for field in dataclasses.fields(DreamConfig)}
        found = {name: value for name, value in self.config.items() if name in names}
        found = {n: tuple(v) if isinstance(v, list) else v for n, v in found.items()}
        return DreamConfig(**found)

    @property
    def game(self) -> functools.partial:
        """A picklable maker of its game."""
        return functools.partial(TakeCover, settings=self.config['settings'])


def base_of(config: Config) -> Base:
    """The base run, at the round asked for.

    Raises:
        runs.RunError: it is not there, or has not come so far.
    """
    folder = pathlib.Path(config.data, NAME, config.base)
    if not config.base or not (folder / 'config.json').exists():
        raise run_folder.RunError(
            f'--base {config.base!r}: {folder} holds no run; give the name of '
            'a finished run of doom_take_cover.py, and its --data'
        )
    saved = files.read_json(folder / 'config.json')
    agent = SavedAgent.of_run(folder, saved, device=config.device, bias=False)
    if config.round >= 0:
        agent = agent.at(config.round)
    if not agent.controller_path.exists():
        raise run_folder.RunError(
            f'--base {config.base}: {agent.controller_path} is not there; '
            f'let that run come to round {agent.round} first'
        )
    return Base(saved, agent)


@dataclasses.dataclass(frozen=True)
class Control:
    """One control.

    Attributes:
        name: of its stage and folder.
        temperature: of the dream: tau, or the two ends of a range.
        features: what C sees.
        separable: CMA-ES with a diagonal covariance.
        untrained: c, h and r come from an M with its first weights, in the dream (which stays the
            trained M's) and in the game.
        changed: other settings than the base's, by name.
    """

    name: str
    temperature: tuple[float, ...]
    features: tuple[str, ...]
    separable: bool = False
    untrained: bool = False
    changed: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def settings(self, base: DreamConfig, config: Config) -> DreamConfig:
        """The base's, with this control's change and the budget of all controls."""
        names = ('population', 'dreams', 'generations', 'sigma', 'updates', 'max_steps')
        return dataclasses.replace(
            base,
            temperature=self.temperature,
            features=self.features,
            separable=self.separable,
            seed=config.seed,
            device=config.device,
            **{name: getattr(config, name) for name in names},
            **self.changed,
        )


def controls_of(config: Config, base: Base) -> list[Control]:
    """The controls, in order; those that this core cannot have are left out."""
    tau = tuple(base.config['temperature'])
    usual = base.saved.features
    found = [
        Control('tau-' + '-'.join(f'{end:.2f}' for end in ends), ends, usual)
        for ends in (*((t,) for t in config.temperatures), config.mixed)
        if ends
    ]
    other = {
        'z': [Control('z', tau, ('z',))],
        'reads': [Control('reads', tau, ('z', 'c', 'h', 'r'))],
        'untrained': [Control('untrained', tau, usual, untrained=True)],
        'separable': [Control('separable', tau, usual, separable=True)],
    }
    for kind, each in changes(config, base.settings).items():
        other[kind] = [Control(name, tau, usual, changed=more) for name, more in each.items()]
    if base.config['model'] != 'dnc':
        other['reads'] = []
    if base.settings.learner == 'ppo':
        other['separable'] = []
    kinds = {'temperature': found, **other}
    unknown = [kind for kind in config.kinds if kind not in kinds]
    if unknown:
        there = ', '.join(KINDS + MORE_KINDS)
        raise run_folder.RunError(f'--kinds {" ".join(unknown)}: there are {there}')
    return [control for kind in config.kinds for control in kinds[kind]]


def changes(config: Config, base: DreamConfig) -> dict[str, dict[str, dict[str, Any]]]:
    """Settings that the kinds beyond the usual ones change: by kind and name of the control."""
    begin = 'first' if base.dream_starts == 'anywhere' else 'anywhere'
    hidden = () if base.hidden_units else HIDDEN
    return {
        'starts': {f'starts-{begin}': {'dream_starts': begin}},
        'threshold': {
            f'threshold-{threshold:.2f}': {'done_threshold': threshold}
            for threshold in config.thresholds
        },
        'hidden': {'hidden' if hidden else 'linear': {'hidden_units': hidden}},
        'agents': {'no-agents': {'place_agents': False}},
    }


def first_weights(network: MDNRNN) -> MDNRNN:
    """An M as this one was before its training, on the same device."""
    with chainer.using_config('dtype', network.dtype):
        fresh = MDNRNN(**network.config)
    fresh.to_device(network.device)
    return fresh


def seen_by(control: Control, saved: SavedAgent) -> SavedAgent:
    """The saved agent with the control's features, and its hidden layers if they are others."""
    hidden = control.changed.get('hidden_units', saved.hidden_units)
    return dataclasses.replace(saved, features=control.features, hidden_units=hidden)


def dream_of(control: Control, saved: SavedAgent, settings: DreamConfig) -> Dream:
    """The dream that a control's C learns in: the trained M's, with the control's features.

    Args:
        settings: the control's.
    """
    anywhere = settings.dream_starts == 'anywhere'
    places = places_of(settings, saved, saved.model()) if anywhere else None
    trained = learning_dream(settings, saved, places)
    if not control.untrained:
        return trained
    second = first_weights(trained.model)
    return SecondModelDream(
        trained.model,
        saved.latents().first(),
        second,
        places_of(settings, saved, second).state if anywhere else None,
        temperature=control.temperature,
        max_steps=trained.max_steps,
        done_threshold=settings.done_threshold,
        places=places,
        first_share=settings.first_share,
    )


def whole(settings: DreamConfig) -> DreamConfig:
    """The settings of dreams that are scored: from first frames up to the cap."""
    return dataclasses.replace(settings, dream_starts='first', dream_cut=0)


def learn(
    folder: pathlib.Path,
    control: Control,
    saved: SavedAgent,
    dream: Dream,
    settings: DreamConfig,
    tick: Callable[[], None] = lambda: None,
) -> evolution.Evolution:
    """Search C of a control in its dream, from the start; goes on where it was stopped."""
    controller = seen_by(control, saved).new_controller(dream.model)
    search = settings, folder, dream, controller
    if settings.learner != 'ppo':
        return search_by_evolution(*search, control.features, tick=tick)
    reader = dream.second if isinstance(dream, SecondModelDream) else dream.model
    places = dream.places if reader is dream.model else None
    places = places or places_of(settings, saved, reader)
    unit = places.deviations(reader, control.features)
    return search_by_ppo(*search, unit, control.features, settings.seed, tick=tick)


def agent_maker(
    control: Control, saved: SavedAgent, theta: np.ndarray
) -> Callable[[], WorldModelAgent]:
    """A picklable maker of the control's agent for the game, on the CPU."""
    on_cpu = dataclasses.replace(seen_by(control, saved), device='@numpy')
    return functools.partial(_load, on_cpu, theta, control.untrained)


def _load(saved: SavedAgent, theta: np.ndarray, untrained: bool) -> WorldModelAgent:
    agent = saved.agent_maker(theta)()
    if untrained:
        agent.model = first_weights(agent.model)
    return agent


def score(
    control: Control,
    saved: SavedAgent,
    dream: Dream,
    theta: np.ndarray,
    make_env: Callable,
    config: Config,
) -> dict[str, Any]:
    """C of a control in its dream, beside fixed policies, and in the game."""
    linear = seen_by(control, saved).new_controller(dream.model)
    dreamer = ControllerPolicy(linear.act, theta)
    players = {'agent': dreamer} | {name: make() for name, make in RANDOM.items()}
    episodes = config.test_episodes, config.seed
    game = report.score_in_game(
        {'agent': agent_maker(control, saved, theta)}, make_env, *episodes, config.pool
    )
    return {
        'dream': report.score_in_dream(players, dream, *episodes, control.features),
        'game': game['agent'],
    }


def work(control: Control, base: Base, config: Config, run: run_folder.Run) -> None:
    """Let C of one control learn, and score it."""
    saved, settings = base.saved, control.settings(base.settings, config)
    folder = run.path('controls', control.name)
    dream = dream_of(control, saved, settings)
    found = learn(folder, control, saved, dream, settings, run.tick)
    dream = dream_of(control, saved, whole(settings))
    row = {
        **dataclasses.asdict(control),
        'controller_parameters': len(found.theta),
        'evolved': found.history[-1]['mean'],
        **score(control, saved, dream, found.theta, base.game, config),
    }
    cells, scores = (run.results().get(key, {}) for key in ('cells', 'scores'))
    for where, one in (('game', row['game']), ('dream', row['dream']['agent'])):
        scores[f'{control.name}, {where}'] = {'mean': one['mean']}
    run.add_results(cells={**cells, control.name: row}, scores=scores)
    print(
        f'{control.name}: {report.mean_and_std(row["dream"]["agent"])} in its '
        f'dream, {report.mean_and_std(row["game"])} in the game'
    )


def baseline(base: Base, config: Config, run: run_folder.Run) -> None:
    """Policies that see nothing, over the same episodes."""
    game = report.score_in_game(
        RANDOM | PACING, base.game, config.test_episodes, config.seed, config.pool
    )
    random = game.pop('random')
    run.add_results(base=base.config, random_baseline=random, pacing=game)
    beside = {name: {'evaluation': {'mean': row['mean']}} for name, row in game.items()}
    run.add_results(baselines=beside, inherited=settings_of({'config': base.config}))
    for name, score in game.items():
        print(f'{name}: {report.mean_and_std(score)} in the game')


class Unseen(NamedTuple):
    """Episodes that an M never saw."""

    store: RolloutStore
    codes: Latents
    episodes: list[int]


def forewarn(base: Base, config: Config, run: run_folder.Run) -> None:
    """How long before a real death the dreams of M show it.

    A controller can only learn to dodge in the dream what the dream knows to come. Each real death
    is dreamt anew from k steps before it, with the actions that were taken, and so is a stretch of
    the same episode that nobody died in; by the M whose C then played on, if any.
    """
    saved = base.saved.at(max(0, base.saved.round - 1))
    tau = float(np.mean(base.config['temperature']))
    kinds = unseen(saved, base.config['held_out'], config.seed)
    found = forewarning(saved, kinds, tau, config.seed, config.test_episodes)
    run.add_results(forewarning=found)
    draw_forewarning(
        run.path('figures', 'forewarning.png'),
        found,
        f"Real deaths in {base.config['model'].upper()}'s dreams",
    )
    store, codes, episodes = kinds.get('agents', kinds['random'])
    rng = stream(config.seed, 'deaths')
    if ends := ends_of(codes, episodes, rng, LENGTH, PEACE)['death'][:3]:
        sheet = run.path('figures', 'deaths.png')
        figures.draw_deaths(sheet, saved, store, codes, ends, tau, config.seed)


def unseen(saved: SavedAgent, held_out: float, seed: int) -> dict[str, Unseen]:
    """What a round's M never saw, by kind.

    ``random``: held-out episodes. ``agents``, if there is a next round that
    has the same V: what its C played for that.

    Args:
        held_out, seed: the run's.
    """
    codes = Latents(saved.codes_of(0))
    kept = saved.split(codes.episodes, held_out, seed)[1]
    kinds = {'random': Unseen(saved.at(0).store(), codes, kept)}
    after = saved.at(saved.round + 1)
    path = after.codes_of(after.round)
    same = after.vision_round == saved.vision_round
    if same and (path / 'index.json').exists():
        codes = Latents(path)
        kinds['agents'] = Unseen(after.store(), codes, sorted(codes.episodes))
    return kinds


def forewarning(
    saved: SavedAgent, kinds: Mapping[str, Unseen], temperature: float, seed: int, most: int = 100
) -> dict[str, Any]:
    """Shares of dreams that end, over deaths that M never saw.

    Args:
        saved: at a round.
        kinds: what its M never saw, see ``unseen``.
        seed: the run's.
        most: episodes of either kind.

    Returns:
        ``round``, ``horizons``, and under ``kinds``, by kind, ``death`` and
        ``none``: how many ``stretches``, and the ``shares`` of dreams that end, by horizon. A kind
        without a long enough episode is left out.
    """
    found: dict[str, Any] = {}
    model = saved.model()
    for kind, (_, codes, episodes) in kinds.items():
        rng = stream(seed, 'forewarning', saved.round)
        for name, ends in ends_of(codes, episodes[:most], rng, LENGTH, PEACE).items():
            if not ends:
                continue
            shares = foreseen(
                model, stretches(codes, ends, LENGTH), HORIZONS, rng, temperature=temperature
            )
            found.setdefault(kind, {})[name] = {
                'stretches': shares.shape[1],
                'shares': shares.mean(axis=1).tolist(),
            }
    return {'round': saved.round, 'horizons': list(HORIZONS), 'kinds': found}


def draw_forewarning(path: pathlib.Path, found: dict[str, Any], title: str) -> None:
    """Shares of dreams that end, over how long before M dreamt on alone.

    Nothing is drawn where no episode was long enough.
    """
    series = {
        f'{kind}, {"death" if name == "death" else "no death"}': (
            np.array(found['horizons']),
            np.array(row['shares']),
        )
        for kind in ('agents', 'random')
        for name, row in found['kinds'].get(kind, {}).items()
    }
    if not series:
        return
    plots.training_curves(
        path,
        series,
        ylabel='share of dreams that end there',
        xlabel='steps before, from which M dreams alone',
        title=title,
    )


def draw(config: Config, run: run_folder.Run) -> None:
    """The paper's table of temperatures, below ours."""
    said, spread = run.results(), report.mean_and_std
    ours = [
        (name.removeprefix('tau-'), spread(row['dream']['agent']), spread(row['game']))
        for name, row in said.get('cells', {}).items()
        if name.startswith('tau-')
    ]
    if ours:
        random = spread(said['random_baseline']) if 'random_baseline' in said else 'not run'
        plots.table(
            run.path('figures', 'temperatures.png'),
            ('temperature', 'score in the dream', 'score in the game'),
            [ours, [('random policy', '-', random), *PAPER]],
            f'M with {config.model.upper()}, seed {config.seed}',
        )


def settled(config: Config, base: Base) -> Config:
    """The settings with what the base run decides.

    Raises:
        runs.RunError: another seed was asked for.
    """
    seed = base.config['seed']
    if config.seed not in (0, seed):
        raise run_folder.RunError(
            f'--seed {config.seed}, but run {config.base} has seed {seed}: '
            'its controls meet the same episodes; leave --seed out'
        )
    return dataclasses.replace(
        config, model=base.config['model'], dtype=base.config['dtype'], seed=seed
    )


def script(argv=None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    base = base_of(config)
    config = settled(config, base)
    stages = {
        'baseline': functools.partial(baseline, base),
        'forewarning': functools.partial(forewarn, base),
        **{
            control.name: functools.partial(work, control, base)
            for control in controls_of(config, base)
        },
    }
    run = run_stages(config, NAME, stages, ('vizdoom',))
    draw(config, run)  # anew after every call: controls may have been added
    run.close()


if __name__ == '__main__':
    main(script)
