"""Pommerman: does an M with a DNC predict the next state better than one with an LSTM?

No controller: M reads the 372 integers that one agent observes, and an action, and predicts the
372 of the next step. Most of them never change or seldom do, so beside the share predicted exactly
stands that of the components that changed, and beside M what copies the last state and an M that
learnt nothing. ``--model lstm --match`` is an LSTM with as many parameters as the DNC::

    games of scripted agents --s, a--> M --s'--> compared, one step ahead and in M's own dream

The heads: 'mixture' is the blog post's, Gaussians rounded to integers; 'categorical' has one
distribution for each component. By ``--change`` the prediction starts from the last state. The
post tells neither sizes nor agents, games or epochs: all of them are ours.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import chainer
import numpy as np
import tqdm

from chainer_wm import plots
from chainer_wm.envs.pommerman_agents import KINDS
from chainer_wm.envs.pommerman_boards import GROUPS, N_FEATURES
from chainer_wm.envs.pommerman_games import MAX_STEPS, PommermanGames
from chainer_wm.envs.pommerman_pictures import draw_states
from chainer_wm.envs.pommerman_rules import ACTIONS, AGENTS, CELLS, FIRST_AGENT
from chainer_wm.files.archives import load_link
from chainer_wm.links.state_model import HEADS, StateModel
from chainer_wm.rollouts import Rollout, RolloutStore
from chainer_wm.rollouts.sequences import LatentSequences
from chainer_wm.rollouts.splits import split_episodes
from chainer_wm.rollouts.states import RecordedStates
from chainer_wm.runs import run_folder
from chainer_wm.runs.checks import check_held_out
from chainer_wm.runs.command_line import ParallelConfig, main, opt, parse, run_stages
from chainer_wm.runs.comparison import curve
from chainer_wm.runs.figures import draw_memory
from chainer_wm.runs.matching import MatchConfig, as_large_as_dnc, check_match
from chainer_wm.seeds import derived_seed, stream
from chainer_wm.training import recurrent, state_model

NAME = 'pommerman'
VALUES = FIRST_AGENT + AGENTS  # K: every component is one of 0 to 13
PLAYER = 0  # the agent that M looks through the eyes of
MIXED = 'mixed'
COPY, UNTRAINED = 'copy of the last state', 'untrained M'
PARTS = ('all', 'changed', 'unchanged')
CONTEXT = 20  # steps that M sees before the film of its dream
GAP = 4  # pixels between two boards
KEPT = 3  # held-out games that the inspector shows beside M's predictions


@dataclasses.dataclass(frozen=True)
class Config(MatchConfig, ParallelConfig):
    """Pommerman: what M predicts of the next state, with an LSTM or a DNC."""

    mode: str = opt('ffa', 'kind of game', ('ffa', 'team', 'radio'))
    agents: str = opt('hunter', 'who plays; mixed draws each of the four', (*KINDS, MIXED))
    episodes: int = opt(1000, 'games', extends='collect', least=2)
    max_steps: int = opt(MAX_STEPS, 'games are cut off after as many')
    held_out: float = opt(0.1, 'share of games that M never learns from', above=0, below=1)
    actions: str = opt('own', 'that M reads: of this agent, or of all four', ('own', 'all'))
    head: str = opt('mixture', 'of M', HEADS)
    planes: bool = opt(False, 'M reads each cell of the board as one of 14, not as a number')
    change: bool = opt(False, "M's prediction starts from the last state")
    epochs: float = opt(20.0, 'passes of M', extends='train')
    batch: int = opt(16, 'games side by side in an update')
    window: int = opt(32, 'steps per update')
    learning_rate: float = opt(1e-3, "M's Adam")
    last_learning_rate: float = opt(1e-4, "M's Adam falls to this in a line, if lower", least=0)
    measure_every: int = opt(200, 'updates between held-out scores')
    horizon: int = opt(20, 'steps that M dreams', extends='evaluate')
    every: int = opt(10, 'steps between the starts of two dreams', extends='evaluate')

    def default_run(self) -> str:
        """The name of a run that was given none."""
        parts = (super().default_run(), 'match' * self.match, self.head, f'{self.seed}')
        return '-'.join(filter(None, parts))

    def check(self) -> None:
        """See that there is something to learn from, and that a DNC is not matched to itself.

        Raises:
            runs.RunError: there is not, or it is.
        """
        check_match(self)
        check_held_out(self.held_out, '--episodes', self.episodes)


# fmt: off
PRESETS: dict[str, dict] = {
    'smoke': dict(
        episodes=12, max_steps=60, hidden_size=16, memory_length=8, memory_width=8,
        read_heads=1, epochs=2.0, batch=4, window=16, measure_every=10, horizon=5),
    'laptop': dict(
        episodes=400, max_steps=200, planes=True, change=True, hidden_size=128,
        epochs=6.0, batch=4, learning_rate=2e-3),
    'paper': {},
}
# fmt: on


def store_of(run: run_folder.Run) -> RolloutStore:
    """The games of a run."""
    return RolloutStore(run.path('rollouts'))


def collect(config: Config, run: run_folder.Run) -> None:
    """scripted agents -> games in the cache; only those that are missing are played."""
    games = PommermanGames(1, config.mode, config.max_steps)
    store = store_of(run)
    store.describe(
        game='Pommerman',
        settings={**games.settings, 'agents': config.agents, 'player': PLAYER},
        seed=config.seed,
        versions=games.versions,
    )
    store.verify()
    store.remove_unfinished()
    for episode in tqdm.tqdm(store.missing(config.episodes), 'collect', unit='game'):
        store.add(episode, play(games, config, episode))
    run.add_results(games=describe_games(store))


def play(games: PommermanGames, config: Config, episode: int) -> Rollout:
    """One game, as its player sees it; the actions are those of all four."""
    rng = stream(config.seed, 'agents', episode)
    kinds = np.full((1, AGENTS), KINDS.index(config.agents) if config.agents in KINDS else 0)
    if config.agents == MIXED:
        kinds = rng.integers(len(KINDS), size=kinds.shape)
    seed = derived_seed(config.seed, 'game', episode)
    games.reset([seed])
    seen, actions, rewards = [], [], []
    while not games.over[0]:
        seen.append(games.features(PLAYER)[0])
        actions.append(games.act(kinds)[0])
        rewards.append(games.step(actions[-1][None])[0][0, PLAYER])
    ends = np.zeros((2, len(seen)), np.bool_)
    late = games.steps[0] >= config.max_steps and not games.winners.any()
    ends[int(late), -1] = True
    return Rollout(
        np.stack(seen),
        np.array(actions, np.float32),
        np.array(rewards, np.float32),
        ends[0],
        ends[1],
        {'seed': seed, 'episode': episode, 'kinds': [KINDS[kind] for kind in kinds[0]]},
    )


def describe_games(store: RolloutStore) -> dict[str, Any]:
    """How many games and how long, for results.json."""
    lengths = store.lengths
    return {
        'games': len(store),
        'steps': int(lengths.sum()),
        'length': {'mean': float(lengths.mean()), 'std': float(lengths.std())},
    }


def recorded(config: Config, run: run_folder.Run) -> tuple[RecordedStates, RecordedStates]:
    """States and actions to learn from, and held-out ones."""
    store = store_of(run)

    def one_hot(stored: np.ndarray) -> np.ndarray:
        """(T, 4) actions as vectors of 0 and 1."""
        read = stored if config.actions == 'all' else stored[:, PLAYER : PLAYER + 1]
        return (read[..., None] == np.arange(ACTIONS)).reshape(len(read), -1).astype(np.float32)

    parts = split_episodes(store.episodes, config.held_out, config.seed)
    train, test = (RecordedStates(store, part, one_hot) for part in parts)
    return train, test


def windows(config: Config, states: RecordedStates) -> LatentSequences:
    """States as M's updates take them."""
    return LatentSequences(states, config.batch, config.window, config.seed, dtype=config.dtype)


def new_model(config: Config) -> StateModel:
    """M at its start, on its device; a matched LSTM has the hidden size that fits the DNC."""

    def build(core: str, hidden: int, **memory: Any) -> StateModel:
        return StateModel(
            N_FEATURES,
            VALUES,
            ACTIONS * (AGENTS if config.actions == 'all' else 1),
            hidden,
            head=config.head,
            planes=CELLS if config.planes else 0,
            change=config.change,
            core=core,
            seed=config.seed,
            **memory,
        )

    hidden = as_large_as_dnc(config, build) if config.match else config.hidden_size
    model = build(config.model, hidden, **config.core_options())
    model.to_device(config.device)
    return model


def train(config: Config, run: run_folder.Run) -> None:
    """(s, a) -> M: the next s."""
    model = new_model(config)
    parts = [windows(config, states) for states in recorded(config, run)]
    log = state_model.train(
        run.path('model'),
        model,
        *parts,
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        last_learning_rate=config.last_learning_rate,
        measure_every=config.measure_every,
        seed=config.seed,
        debug=config.debug,
        tick=run.tick,
        ranks=config.ranks,
        label=f'M, {config.model.upper()}',
    )
    rows = [row for row in log if 'held_out/loss' in row]
    run.add_results(
        net={'parameters': model.count_params(), **model.config},
        curves={
            'M learns': curve(
                [row['iteration'] for row in rows],
                [row['held_out/loss'] for row in rows],
                'update',
                'nats per component, held-out games',
            )
        },
    )
    plots.training_curves(
        run.path('figures/training.png'),
        {
            name: (
                [row['iteration'] for row in log if key in row],
                [row[key] for row in log if key in row],
            )
            for name, key in (('train', 'main/loss'), ('held-out', 'held_out/loss'))
        },
        ylabel='nats per component',
        xlabel='update',
        title=f'M with {config.model.upper()}, {config.head}',
    )


def best_model(config: Config, run: run_folder.Run) -> StateModel:
    """M with the least held-out loss."""
    return load_link(run.path('model', recurrent.BEST), StateModel, config.device)


def evaluate(config: Config, run: run_folder.Run) -> None:
    """Shares predicted exactly in held-out games: one step ahead, and in M's dream."""
    model, untrained = best_model(config, run), new_model(config)
    _, states = recorded(config, run)
    sequences = windows(config, states)
    tallies = state_model.one_step(model, sequences, config.seed)
    tallies = {
        'M': tallies['M'],
        'M, drawn': tallies['M, drawn'],
        COPY: tallies['copy'],
        UNTRAINED: state_model.one_step(untrained, sequences, config.seed)['M'],
    }
    dreams = state_model.open_loop(model, states, config.horizon, config.every)
    nats = state_model.measure(model, sequences, config.seed)['loss']
    shares = {who: by_group(tally) for who, tally in tallies.items()}
    dreamt = {'M': by_step(dreams['M']), COPY: by_step(dreams['copy'])}
    run.add_results(
        task=config.mode,
        exact=shares,
        dreamt=dreamt,
        static=[name for name, row in shares[COPY].items() if row['changed'] is None],
        **compared(shares, dreamt, nats),
    )
    kept = run.results()['curves']
    run.add_results(curves={**kept, **dream_curves(dreamt)})
    print(as_text(shares))


def by_group(tally: state_model.Tally) -> dict[str, dict[str, float | None]]:
    """Shares of every group of components, and of all of them together."""
    return {'every component': tally.shares(), **state_model.in_groups(tally, [*GROUPS.items()])}


def by_step(tally: state_model.Tally) -> dict[str, dict[str, list[float | None]]]:
    """Shares over the steps of a dream: part -> all components, or the board, -> by step."""
    steps = [state_model.Tally(*parts) for parts in zip(*tally)]
    chosen = {'every component': slice(None), 'board': slice(CELLS)}
    return {
        part: {name: [one.shares(at)[part] for one in steps] for name, at in chosen.items()}
        for part in PARTS
    }


def compared(
    shares: Mapping[str, Mapping], dreamt: Mapping[str, Mapping], nats: float
) -> dict[str, Any]:
    """What runs are compared in; see ``runs.comparison``."""

    def scores(who: str) -> dict[str, dict[str, Any]]:
        rows = shares[who]
        found = {f'{part} components': rows['every component'][part] for part in PARTS}
        found |= {f'{name}, changed': row['changed'] for name, row in rows.items()}
        del found['every component, changed']  # is there already
        if who in dreamt:
            ends = {part: dreamt[who][part]['every component'] for part in ('all', 'changed')}
            found |= {
                f'{part} components, {len(steps)} steps dreamt': steps[-1]
                for part, steps in ends.items()
            }
        # a group that never changes in these games is no score
        known = {name for name, row in shares[COPY].items() if row['changed'] is not None}
        return {
            name: {'mean': value}
            for name, value in found.items()
            if name.removesuffix(', changed') in known or not name.endswith(', changed')
        }

    names = list(GROUPS)
    drawn = shares['M, drawn']['every component']
    bars = {
        f'{part} components predicted exactly': {
            'labels': names,
            'values': [shares['M'][name][part] for name in names],
            'references': {
                who: [shares[who][name][part] for name in names] for who in (COPY, UNTRAINED)
            },
            'ylabel': 'share predicted exactly',
        }
        for part in ('all', 'changed')
    }
    return {
        'scores': {
            **scores('M'),
            'all components, drawn': {'mean': drawn['all']},
            'changed components, drawn': {'mean': drawn['changed']},
            'nats per component': {'mean': nats, 'lower_is_better': True},
        },
        'baselines': {COPY: scores(COPY), UNTRAINED: scores(UNTRAINED)},
        'bars': bars,
    }


def dream_curves(dreamt: Mapping[str, Mapping]) -> dict[str, dict[str, Any]]:
    """Shares over the steps of a dream, beside the copy of the last state seen."""
    found = {}
    for part, what in (
        ('all', 'every component'),
        ('changed', 'every component'),
        ('changed', 'board'),
    ):
        values = [np.nan if v is None else v for v in dreamt['M'][part][what]]
        copies = [np.nan if v is None else v for v in dreamt[COPY][part][what]]
        found[f'dreamt: {what}, {part}'] = curve(
            range(1, len(values) + 1),
            values,
            'steps that M dreamt',
            'share predicted exactly',
            references={COPY: copies},
        )
    return found


def as_text(shares: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> str:
    """A table for the terminal: exact shares of all and of changed components."""
    lines = [f'{"exact, all / changed":<20}' + ''.join(f'{who:>24}' for who in shares)]
    for name in next(iter(shares.values())):
        cells = []
        for rows in shares.values():
            row = rows[name]
            changed = 'static' if row['changed'] is None else f'{row["changed"]:.3f}'
            cells.append(f'{row["all"]:.4f} / {changed}')
        lines.append(f'{name:<20}' + ''.join(f'{cell:>24}' for cell in cells))
    return '\n'.join(lines)


def figures(config: Config, run: run_folder.Run) -> None:
    """The post's bars, shares over the steps of a dream, and true boards beside M's."""
    results = run.results()
    core = f'M, {config.model.upper()}'
    for part, said in zip(('all', 'changed'), results['bars'].values()):
        series = {core: said['values'], **said['references']}
        numbers = {n: [np.nan if v is None else v for v in row] for n, row in series.items()}
        title = f'{config.mode}: share of {part} components predicted exactly, one step ahead'
        plots.bars(run.path(f'figures/exact_{part}.png'), said['labels'], numbers, '', title)
    panels = []
    for name, said in results['curves'].items():
        if name.startswith('dreamt'):
            x, y = said['x'], [np.nan if v is None else v for v in said['y']]
            other = {
                n: (x, [np.nan if v is None else v for v in each])
                for n, each in said['references'].items()
            }
            panels.append(
                plots.Panel({core: (x, y)}, said['xlabel'], said['ylabel'], name, references=other)
            )
    plots.curves(run.path('figures/dreamt.png'), panels, f'{config.mode}: M alone')
    _, states = recorded(config, run)
    model = best_model(config, run)
    film(config, run, model, states)
    keep_predictions(config, run, model, states)


def predicted(model: StateModel, truth: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """What M predicts one step ahead along a game: of s_{t+1} for each s_t, (T, 372) integers."""
    s, a = (model.device.send(x[:, None].astype(model.dtype)) for x in (truth, actions))
    with chainer.no_backprop_mode():
        ys, _ = model.sequence(s, a, model.initial_state(1))
        found = model.predict(s, ys.array)
    return state_model.to_integers(found)[:, 0]


def film(config: Config, run: run_folder.Run, model: StateModel, states: RecordedStates) -> None:
    """True boards, beside what M predicts one step ahead and dreams; wrong cells are framed."""
    longest = int(states.episodes[states.lengths.argmax()])
    rows = states.rows(longest)
    truth, actions = states.mu[rows], states.actions[rows]
    context = min(CONTEXT, len(truth) // 2)
    steps = min(len(truth) - 1 - context, 3 * config.horizon)
    state = model.initial_state(1)
    for t in range(context):
        state = state_model.follow(model, truth[t : t + 1], actions[t : t + 1], state)
    shown = slice(context, context + steps)
    first = truth[context : context + 1]
    dreamt = state_model.dream(model, first, actions[shown, None], state)
    true = truth[context + 1 : context + steps + 1].astype(np.int64)
    pictures = [
        draw_states(true),
        draw_states(predicted(model, truth, actions)[shown], true),
        draw_states(dreamt[:, 0], true),
    ]
    words = ('true', 'one step ahead', 'dreamt')
    at = [t for t in (1, 2, 3, 5, 8, 12, 16, 20) if t <= steps]
    plots.contact_sheet(
        run.path('figures/boards.png'),
        np.concatenate([row[np.array(at) - 1] for row in pictures]),
        [word if t == at[0] else '' for word in words for t in at],
        [f'+{t}' for _ in words for t in at],
        columns=len(at),
        scale=1,
        title=f'{config.model.upper()}, game {longest} from step {context} on: wrong cells framed',
    )
    draw_memory(
        run.path('figures/memory.png'),
        model.core,
        model.inputs(
            model.device.send(truth.astype(model.dtype)),
            model.device.send(actions.astype(model.dtype)),
        ),
        f'The memory of M along held-out game {longest}',
    )
    plots.side_by_side(
        run.path('figures/dream.gif'), pictures[0], pictures[2], ('game', 'dream'), 4.0, 2
    )


def keep_predictions(
    config: Config, run: run_folder.Run, model: StateModel, states: RecordedStates
) -> None:
    """Held-out games for the inspector: the true board, and beside it what M had predicted."""
    games = store_of(run)
    kept = RolloutStore(run.path('predictions'))
    kept.describe(
        game='Pommerman beside its prediction',
        settings={'model': config.model, 'head': config.head, 'shown': 'one step ahead'},
        seed=config.seed,
        versions=run_folder.versions(),
    )
    kept.remove_unfinished()
    for episode in map(int, states.episodes[:KEPT]):
        if episode in kept:
            continue
        rows = states.rows(episode)
        truth = states.mu[rows].astype(np.int64)
        before = predicted(model, truth, states.actions[rows])[:-1]
        expected = np.concatenate([truth[:1], before])
        left, right = draw_states(truth), draw_states(expected, truth)
        gap = np.zeros_like(left[:, :, :GAP])
        pictures = np.concatenate([left, gap, right], axis=2)
        kept.add(episode, dataclasses.replace(games.read(episode), observations=pictures))


STAGES = {'collect': collect, 'train': train, 'evaluate': evaluate, 'figures': figures}


def script(argv: Sequence[str] | None = None) -> None:
    config = parse(Config, PRESETS, NAME, argv)
    run_stages(config, NAME, STAGES).close()


if __name__ == '__main__':
    main(script)
