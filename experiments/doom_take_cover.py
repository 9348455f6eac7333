"""ViZDoom Take Cover: V, M (LSTM or DNC) and C, which learns inside the dream.

Ha and Schmidhuber 2018, "World Models", section 4, with the recurrent core
chosen by ``--model``::

    game --frame--> V --z--> M(z, a, state) --h, c--> C(z, h, c) --a--> game
                             M alone --z', done--> dream (M as the game)

C is evolved by CMA-ES, as in the paper, or is the policy of PPO (``--learner``); its dreams begin
at first frames, or anywhere in recorded episodes (``--dream-starts``).

One function below for each arrow, in the order in which they run. Every stage reads and writes
only the run's folder, is skipped when it is complete and goes on where it was stopped. With
``--rounds`` the same functions run again on what the agents played.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from chainer_wm import files
from chainer_wm.agents import policies
from chainer_wm.agents.controller import ControllerPolicy
from chainer_wm.agents.saved import SavedAgent, load_teacher
from chainer_wm.envs.take_cover import SETTINGS, TakeCover
from chainer_wm.files.archives import save_link
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.runs import figures, report, run_folder
from chainer_wm.runs.checks import (
    check_agent,
    check_dropout,
    check_features,
    check_held_out,
    check_reuse,
    check_temperature,
    check_vision_rounds,
)
from chainer_wm.runs.command_line import WorkersConfig, main, opt, parse, run_stages
from chainer_wm.runs.comparison import curve
from chainer_wm.runs.dream_settings import (
    PPO_SETTINGS,
    DreamConfig,
    learning_dream,
    places_of,
    search_by_evolution,
    search_by_ppo,
)
from chainer_wm.runs.world_model_settings import WorldModelConfig
from chainer_wm.training import mdn_rnn, rounds, vae

NAME = 'doom_take_cover'
SOLVED = 750  # mean return over 100 episodes
DONE_WEIGHT = 10.0  # of a death in M's loss, as in World Models' code
AGES = (0, 150, 300, 500, 800, 1200, 2100)  # steps: bands in which deaths are counted

#: Settings of what --reuse takes from another run.
REUSED = (
    *('settings', 'episodes', 'hold', 'min_length', 'latent_size', 'latent_nats'),
    *('vision_epochs', 'vision_batch', 'vision_learning_rate', 'vision_last_learning_rate'),
)

#: Policies that the agent is held against. 'random' scores 209 +- 104 in the game, World
#: Models' random policy, which it does not describe, 210 +- 108.
FIXED: dict[str, Callable] = {
    'random': policies.Uniform,
    'held random': policies.HeldRandom,
    'no action': policies.NoAction,
    # to and fro at the pace that scores most of those tried (README)
    'pacing': functools.partial(policies.Pacing, 120),
}


@dataclasses.dataclass(frozen=True)
class Config(DreamConfig, WorldModelConfig, WorkersConfig):
    """ViZDoom Take Cover: collect, train V and M, let C learn in the dream."""

    learner: str = opt('cma_es', 'of C; laptop: ppo', ('cma_es', 'ppo'))
    agent: str = opt('', 'folder of a run or of packed agents whose V and M to use, untouched')
    settings: str = opt('paper', 'game settings', ('paper', 'blog', 'trial'))
    episodes: int = opt(10_000, 'random episodes', extends='collect', least=2)
    hold: tuple[int, ...] = opt((10,), 'longest hold of a random action; each episode draws one')
    min_length: int = opt(100, 'shorter random episodes are played again', least=0)
    paced_episodes: int = opt(0, 'more, to and fro with random legs, for dreams', least=0)
    paced_legs: tuple[int, ...] = opt((40, 160), 'fewest and most steps of such a leg')
    played_episodes: int = opt(0, 'more, of the agent of --agent, for dreams', least=0)
    learn_recordings: bool = opt(False, 'V and M learn from these, too')
    latent_nats: float = opt(
        0.0, 'latents that carry fewer are dropped once V is trained', least=0
    )
    patience: int = opt(0, 'held-out checks without progress; 0: no limit', least=0)
    rounds: int = opt(0, 'of the iterative procedure', extends='evaluate', least=0)
    round_episodes: int = opt(100, 'episodes that the agents play in a round', least=2)
    round_repeats: int = opt(3, 'M sees these so often for once a random one')
    round_epochs: float = opt(4.0, 'passes of M in a round', least=0)
    round_learning_rate: float = opt(3e-4, "M's Adam in a round")
    round_last_learning_rate: float = opt(1.0, "M's Adam then falls to this, if lower", least=0)
    vision_rounds: tuple[int, ...] = opt(
        (), 'rounds in which V too is trained on', extends='evaluate'
    )
    round_vision_epochs: float = opt(1.0, 'passes of V in such a round')
    round_vision_learning_rate: float = opt(3e-4, "V's Adam in such a round")
    round_generations: int = opt(10, 'CMA-ES: generations in a round')
    evaluate_every: int = opt(25, 'CMA-ES: generations between scores in the game')
    evaluate_episodes: int = opt(100, 'episodes of such a score')
    choose: str = opt('last', 'C that is kept', ('last', 'game'))
    test_episodes: int = opt(100, 'final episodes', extends='evaluate')

    def check(self) -> None:
        """See that temperatures are a range, that M has what C sees and learns as it can, that
        rounds and the run to reuse are as they were, that --agent leads to one, and that episodes
        are left to train on.

        Raises:
            runs.RunError: they are not.
            FileNotFoundError: the run to reuse has no codes.
        """
        super().check()
        check_temperature('--temperature', self.temperature)
        check_features(self)
        check_dropout(self)
        counts = {'--episodes': self.episodes}
        if self.rounds:
            counts['--round-episodes'] = self.round_episodes
        for flag, count in counts.items():
            check_held_out(self.held_out, flag, count)
        folder = pathlib.Path(self.data, NAME, self.run)
        check_vision_rounds(folder, self.vision_rounds)
        check_reuse(SavedAgent(folder, reuse=self.reuse), self.held_out)
        check_agent(self.agent, self.model)
        if self.played_episodes and not self.agent:
            raise run_folder.RunError(
                f'--played-episodes {self.played_episodes}: of whom? --agent says it'
            )
        if self.learn_recordings and not self.paced_episodes + self.played_episodes:
            raise run_folder.RunError(
                '--learn-recordings, but none are made: --paced-episodes or --played-episodes do'
            )
        try:
            policies.RandomPacing(self.paced_legs)
        except ValueError as error:
            raise run_folder.RunError(f'--paced-legs: {error}') from error


# fmt: off
PRESETS: dict[str, dict[str, Any]] = {
    'smoke': dict(
        episodes=10, vision_batch=32, vision_learning_rate=1e-3,
        latent_size=16, hidden_size=32, memory_length=8, memory_width=8,
        read_heads=2, model_epochs=6.0, model_batch=4, window=32,
        population=8, dreams=2, generations=4, max_steps=200,
        evaluate_every=4, evaluate_episodes=2, test_episodes=4),
    'laptop': dict(
        episodes=3000, hold=(10, 30, 100), vision_epochs=0.8,
        vision_learning_rate=1e-3, vision_last_learning_rate=1e-5,
        latent_nats=0.03, hidden_size=256, model_epochs=30.0, model_batch=25,
        window=50, model_last_learning_rate=1e-5, population=32,
        generations=20, round_generations=15, evaluate_every=5,
        evaluate_episodes=20),
    'paper': {},
}
# fmt: on


#: Of the laptop, where PPO learns: what its agents play becomes places to dream from, and it
#: learns once more; V and M stay.
AGAIN = {'rounds': 1, 'round_epochs': 0.0}


def presets(chosen: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By name, with those of the learner: on the laptop it is the one that scores best."""
    found = {}
    for name, settings in PRESETS.items():
        laptop = name == 'laptop'
        learner = chosen.get('learner') or ('ppo' if laptop else 'cma_es')
        more: dict[str, Any] = {'learner': learner}
        if learner == 'ppo':
            more |= PPO_SETTINGS | (AGAIN if laptop else {})
        found[name] = settings | more
    return found


def saved_agent(config: Config, run: run_folder.Run, round: int = 0) -> SavedAgent:
    """Where a round's V, M and C are; an evolved C has no biases."""
    settings = dataclasses.asdict(config)
    saved = SavedAgent.of_run(run.folder, settings, device=config.device, bias=False)
    return saved.at(round)


def make_env(config: Config) -> Callable[[], TakeCover]:
    """A picklable maker of the game."""
    return functools.partial(TakeCover, settings=config.settings)


def watch(config: Config, run: run_folder.SavedRun) -> tuple[TakeCover, None]:
    """The game to be watched; its player is V, M and C of the run."""
    env = make_env(config)()
    env.render_mode = 'rgb_array'
    return env, None


def split_of(config: Config, saved: SavedAgent) -> rounds.Split:
    """How episodes are held out: the same ones for V and for M."""
    return functools.partial(saved.split, held_out=config.held_out, seed=config.seed)


def collect(config: Config, run: run_folder.Run, round: int = 0) -> None:
    """game -> rollouts: at first at random, in a round by candidates of the last search.

    Beside the random ones those of whoever paces, or of another run's agent.
    """
    saved = saved_agent(config, run, round)
    if round or not config.reuse:
        rounds.collect(
            saved,
            make_env(config),
            functools.partial(policies.HeldRandom, config.hold),
            (config.episodes, config.round_episodes),
            config.seed,
            config.pool,
            config.min_length,
        )
    if not round:
        legs = functools.partial(policies.RandomPacing, config.paced_legs)
        players: dict[str, tuple] = {'paced': (legs, config.paced_episodes)}
        if config.agent:
            other = load_teacher(config.agent, config.model).make_agent
            players['played'] = other, config.played_episodes
        rounds.record(saved, players, make_env(config), config.seed, config.pool)


def train_vision(config: Config, run: run_folder.Run, round: int = 0) -> None:
    """frames -> V; in a round on all frames so far, from the V before."""
    if config.reuse and not round:
        return
    saved = saved_agent(config, run, round)
    store, episodes, held_out = rounds.recorded(saved, split_of(config, saved))
    if config.agent and not round:
        vision = load_teacher(config.agent, config.model, config.device).vision
        save_link(saved.vision_path, vision)
        run.add_results(vision=vae.measure(vision, store, held_out))
        return
    if round:
        vision = saved.at(round - 1).vision()
        budget = config.round_vision_epochs, config.round_vision_learning_rate
    else:
        vision = ConvVAE(config.latent_size, seed=config.seed)
        vision.to_device(config.device)
        budget = config.vision_epochs, config.vision_learning_rate
    log = vae.train(
        saved.home / 'vision',
        store,
        vision,
        episodes=episodes,
        epochs=budget[0],
        batch_size=config.vision_batch,
        learning_rate=budget[1],
        last_learning_rate=config.vision_last_learning_rate,
        seed=rounds.seed_of(config.seed, round),
        # as many nats are free where some latents were dropped
        kl_tolerance=0.5 * config.latent_size / vision.latent_size,
        memory_mb=config.memory_mb,
        debug=config.debug,
        tick=run.tick,
        ranks=config.ranks,
    )
    if round:
        return
    if config.latent_nats:
        vision = vae.drop_inactive(vision, store, episodes, config.latent_nats)
        save_link(saved.vision_path, vision)
    run.add_results(vision=vae.measure(vision, store, held_out))
    figures.draw_vision(run.path('figures'), log, vision, store, held_out)


def encode_frames(config: Config, run: run_folder.Run, round: int = 0) -> None:
    """frames -> V -> z: the codes; damaged episodes are played again first."""
    saved = saved_agent(config, run, round)
    if not round and not config.reuse and saved.store().missing(config.episodes):
        collect(config, run)
    rounds.encode(saved, functools.partial(collect, config, run), run.tick)


def new_model(config: Config, latent_size: int) -> MDNRNN:
    """M at its start, on its device, for a V of so many latents; or another run's.

    Raises:
        run_folder.RunError: that one belongs to another V.
    """
    if config.agent:
        model = load_teacher(config.agent, config.model, config.device).model
        if model.latent_size != latent_size:
            raise run_folder.RunError(
                f'M of --agent {config.agent} takes {model.latent_size} latents, but V makes '
                f'{latent_size}: was it trained on another V than that of --reuse {config.reuse}?'
            )
        return model
    network = MDNRNN(
        latent_size,
        1,
        config.hidden_size,
        core=config.model,
        predict_done=True,
        seed=config.seed,
        **config.core_options(),
    )
    network.to_device(config.device)
    return network


def train_model(config: Config, run: run_folder.Run, round: int = 0) -> dict[str, float]:
    """(z, a) -> M: the next z, and whether the episode ends; measures on held-out episodes.

    In a round M goes on from before, and where it has to read a new V's codes for as long as in
    the beginning.
    """
    saved = saved_agent(config, run, round)
    if round:
        model = saved.at(round - 1).model()
    else:
        model = new_model(config, saved.latents().latent_size)
    first = (config.model_epochs, config.model_learning_rate, config.model_last_learning_rate)
    later = (config.round_epochs, config.round_learning_rate, config.round_last_learning_rate)
    epochs, rate, last_rate = first if saved.vision_round == round else later
    train, test = rounds.windows(
        saved,
        split_of(config, saved),
        config.model_batch,
        config.window,
        rounds.seed_of(config.seed, round),
        config.round_repeats,
        config.dtype,
    )
    log = mdn_rnn.train(
        saved.home / 'model',
        model,
        train,
        test,
        epochs=0.0 if (config.untrained_model or config.agent) and not round else epochs,
        learning_rate=rate,
        last_learning_rate=last_rate,
        seed=rounds.seed_of(config.seed, round),
        patience=config.patience or None,
        done_weight=DONE_WEIGHT,
        dropout=config.model_dropout,
        debug=config.debug,
        tick=run.tick,
        ranks=config.ranks,
    )
    figures.draw_model(saved.home / 'figures', log)
    best = saved.model()
    deaths = mdn_rnn.deaths(best, test, config.seed)
    deaths.save(saved.home / 'model/deaths.npz')
    measures = {
        'latents': best.latent_size,
        **mdn_rnn.measure(best, test, config.seed, DONE_WEIGHT),
        **deaths.detection(),
    }
    if not round:
        run.add_results(model=measures)
        _, held_out = split_of(config, saved)(saved.store().episodes)
        figures.draw_foresight(run.path('figures'), saved, held_out[0], config.seed)
    return measures


def train_controller(config: Config, run: run_folder.Run, round: int = 0) -> dict[str, Any]:
    """dream -> C, by CMA-ES or by PPO: where the search ended, and scores in the game.

    In a round CMA-ES goes on, or begins anew where it does worse in the new dream than a C of
    zeros; PPO begins anew.
    """
    saved = saved_agent(config, run, round)
    ppo, places = config.learner == 'ppo', None
    if ppo or config.dream_starts == 'anywhere':
        places = places_of(config, saved, saved.model())
        print(f'dreams: {len(places.first)} places in recorded episodes')
    dream = learning_dream(config, saved, places)
    controller = saved.new_controller(dream.model)
    game = report.validation(
        saved, make_env(config), config.evaluate_episodes, config.seed, config.pool
    )
    options: dict[str, Any] = dict(evaluate=game, choose=config.choose, tick=run.tick)
    search = config, saved.home / 'controller', dream, controller
    row: dict[str, Any] = {}
    if places is not None and ppo:
        unit = places.deviations(dream.model, saved.features)
        outcome = search_by_ppo(
            *search,
            unit,
            saved.features,
            seed=rounds.seed_of(config.seed, round),
            debug=config.debug,
            **options,
        )
    else:
        if round:
            row['begin'] = rounds.hand_on(saved, dream, config.population, config.seed)
        more = round * config.round_generations
        options['evaluate_every'] = config.evaluate_every
        outcome = search_by_evolution(*search, saved.features, more, config.pool, **options)
    controller.set_theta(outcome.theta)
    controller.save(saved.controller_path)
    before = round * config.updates if ppo else 0
    row['controller'] = {
        'generation': outcome.generation + before,
        'dream': outcome.history[-1]['mean'],
        'evaluations': [
            {**one, 'generation': one['generation'] + before} for one in outcome.evaluations
        ],
    }
    if not round:
        run.add_results(**row)
    return row


def play_and_refine(round: int, config: Config, run: run_folder.Run) -> None:
    """A round: the agents play, V (in some rounds) and M learn from it, C goes on."""
    saved = saved_agent(config, run, round)
    collect(config, run, round)
    row = rounds.played(saved)
    if saved.vision_round == round:
        train_vision(config, run, round)
    encode_frames(config, run, round)
    store = saved.store()
    row['vision'] = vae.measure(saved.vision(), store, store.episodes, 1000)
    row['model'] = train_model(config, run, round)
    row |= train_controller(config, run, round)
    run.add_results(**{f'round-{round:02d}': row})


def evaluate(config: Config, run: run_folder.Run) -> None:
    """The agent and fixed policies, in the game and in the dream."""
    saved = saved_agent(config, run, config.rounds)
    dream = saved.dream(
        config.temperature,
        config.max_steps,
        done_threshold=config.done_threshold,
        dropout=config.dream_dropout,
    )
    dreamer = ControllerPolicy(saved.new_controller(dream.model).act, saved.theta())
    game = report.score_in_game(
        {'agent': saved.agent_maker(), **FIXED},
        make_env(config),
        config.test_episodes,
        config.seed,
        config.pool,
    )
    inside = report.score_in_dream(
        {'agent': dreamer} | {name: make() for name, make in FIXED.items()},
        dream,
        config.test_episodes,
        config.seed,
        config.features,
    )
    scores = {'game': game, 'dream': inside}
    run.add_results(
        evaluation=game['agent'],
        random_baseline=game['random'],
        solved=SOLVED,
        parameters={'M': saved.model().count_params(), 'C': len(saved.theta())},
        inherited=inherited(config),
        **scores,
        **compared(run.results() | scores),
    )
    print(report.compare(game, inside))
    limits = (SETTINGS[config.settings].timeout or math.inf, config.max_steps)
    ages = report.ages(game, inside, limits, AGES)
    print('deaths per 1,000 steps, game / dream')
    print(report.compare_ages(ages))
    folder = run.path('figures')
    figures.draw_scores(folder, saved, game, inside, SOLVED, config.model, DONE_WEIGHT, ages)
    figures.draw_films(folder, saved, make_env(config), dream, dreamer, config.seed, fps=35)


def inherited(config: Config) -> dict[str, Any]:
    """Settings of the run whose episodes and V are used."""
    if not config.reuse:
        return {}
    source = files.read_json(pathlib.Path(config.data, NAME, config.reuse, 'config.json'))
    return {name: source[name] for name in REUSED if name in source}


def compared(results: Mapping[str, Any]) -> dict[str, Any]:
    """What runs are compared in, beside the score in the game."""
    game, dream, dreamt = results['game'], results['dream'], 'score in the dream'
    rounds = list(steps_of(results))
    last = rounds[-1]['model']
    scores = {
        dreamt: {'mean': dream['agent']['mean']},
        'M: deaths caught': {'mean': last['caught']},
        'M: false alarms': {'mean': last['false_alarms'], 'lower_is_better': True},
        'M: nats per latent': {'mean': last['nll'], 'lower_is_better': True},
    }
    baselines = {
        name: {'evaluation': {'mean': game[name]['mean']}, dreamt: {'mean': dream[name]['mean']}}
        for name in game
        if name != 'agent'
    }
    return {'scores': scores, 'baselines': baselines, 'curves': curves(rounds)}


def steps_of(results: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The first evolution, then each round after it, of those that were reached."""
    for name in ('', *sorted(name for name in results if name.startswith('round-'))):
        said = results[name] if name else results
        if 'controller' in said:
            yield said


def curves(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Scores over the generations, the dream against the game, and M's deaths by round."""
    every = {
        row['generation']: row['mean'] for r in rounds for row in r['controller']['evaluations']
    }
    at = sorted(every)
    ends = [r['controller'] for r in rounds if r['controller']['generation'] in every]
    found = {
        'C evolves in the dream': curve(
            *(at, [every[n] for n in at], 'generation', 'score in the game'), score='evaluation'
        ),
        'after every round': curve(
            *([c['dream'] for c in ends], [every[c['generation']] for c in ends]),
            *('score in the dream', 'score in the game'),
            points=True,
        ),
    }
    if len(rounds) > 1:
        words, caught = ('round', 'share of deaths caught'), [r['model']['caught'] for r in rounds]
        found['M learns from its agents'] = curve(range(len(rounds)), caught, *words)
    return {name: each for name, each in found.items() if each['x']}


def stages(config: Config) -> dict[str, Callable]:
    """The stages in order, with one per round."""
    later = {
        f'round-{number:02d}': functools.partial(play_and_refine, number)
        for number in range(1, config.rounds + 1)
    }
    return {
        'collect': collect,
        'vision': train_vision,
        'encode': encode_frames,
        'model': train_model,
        'controller': train_controller,
        **later,
        'evaluate': evaluate,
    }


def script(argv=None) -> None:
    config = parse(Config, presets, NAME, argv)
    run_stages(config, NAME, stages(config), ('vizdoom',)).close()


if __name__ == '__main__':
    main(script)
