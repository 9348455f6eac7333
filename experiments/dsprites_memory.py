"""What the memory of a world model holds: sprites predicted by an LSTM or a DNC, and probed.

A study of the blog's: the network sees rollouts of random sprites (dSprites) and predicts the next
image from this one and the action. Linear probes then ask its memory for the factors of this and
of earlier sprites (test 1), and the mutual information of every cell with the position is measured
while nothing but the position changes (test 2). The controls are ours: held-out rollouts, networks
that were never trained, the raw input, noise, and null distributions.
"""

from __future__ import annotations

import dnc.runtime  # noqa: F401

import dataclasses
import functools
import importlib.util
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from chainer import optimizer_hooks

from chainer_wm import plots
from chainer_wm.files.archives import load_link, read_archive, save_link, write_archive
from chainer_wm.functions.adam import Adam
from chainer_wm.runs import run_folder
from chainer_wm.runs.command_line import MemoryConfig, TrainingConfig, main, opt, parse, run_stages
from chainer_wm.runs.comparison import curve
from chainer_wm.runs.comparison_figures import panel
from chainer_wm.runs.figures import draw_memory
from chainer_wm.seeds import stream
from chainer_wm.tasks import information, probes
from chainer_wm.tasks.sprite_model import SpriteModel, last_image, mean_image, measure, record
from chainer_wm.tasks.sprite_samples import NUMBERS, LoggedRollouts, only_lags
from chainer_wm.tasks.sprite_sequences import ACTIONS, MOTIONS, SpriteRollouts, SpriteWindows
from chainer_wm.tasks.sprites import COUNTS, FACTORS, SHAPES, Sprites, index_of, values_of
from chainer_wm.training import loop

NAME = 'dsprites_memory'
SIZES: dict[str, dict[str, int]] = {
    'A': dict(memory_length=256, memory_width=64, read_heads=4),
    'B': dict(memory_length=16, memory_width=16, read_heads=4),
}
LAGS = (0, 5, 10)
#: The post's table, t-0, on the rollouts that the probe was fitted on: share of wrong shapes, and
#: mean squared errors.
PUBLISHED = {
    'random input': (0.6673, 0.03059, 3.4783, 0.09114, 0.09130),
    'A: read vectors': (0.5730, 0.02988, 3.4547, 0.02671, 0.01284),
    'B: full memory': (0.6396, 0.02892, 3.3985, 0.08952, 0.08841),
}
#: What guessing the mean, or any shape, costs over the whole data set.
FLOOR = (1 - 1 / len(SHAPES), *(values_of(np.indices(COUNTS).reshape(5, -1).T).var(axis=0)[1:]))
WORDS = {'hidden': 'hidden state', 'reads': 'read vectors', 'memory': 'full memory'}
KINDS = ('train', 'held-out')  # of rollouts whose internals are probed
SCORES = {'loss': 'loss of the next image', 'wrong': 'wrong pixels of the next image'}


@dataclasses.dataclass(frozen=True)
class Config(MemoryConfig, TrainingConfig):
    """What the memory of a world model of dSprites holds: an LSTM or a DNC, probed."""

    sizes: str = opt('B', "DNC: the post's model A (N256 W64 R4) or B (N16 W16 R4)", tuple(SIZES))
    hidden_size: int = opt(256, 'LSTM, or controller of the DNC')
    code_size: int = opt(
        0, 'rectified units before and after the core, 0: it reads pixels', least=0
    )
    dsprites: str = opt('', 'the original .npz; without it the images are drawn')
    actions: str = opt('next', 'point to the next sprite, or come from the last', ACTIONS)
    motion: str = opt('random', 'sprites are drawn anew, or walk', MOTIONS)
    moving: tuple[str, ...] = opt(FACTORS, 'factors that change within a rollout', FACTORS)
    rollouts: int = opt(10_000, 'to train on')
    shortest: int = opt(500, 'of the lengths of rollouts', least=2)
    longest: int = opt(1000, 'of the lengths of rollouts', least=2)
    epochs: float = opt(5.0, 'passes over the rollouts', extends='train')
    lanes: int = opt(16, 'rollouts side by side')
    window: int = opt(25, 'steps between two updates')
    learning_rate: float = opt(1e-3, 'of Adam')
    clip: float = opt(10.0, 'largest norm of the gradient, 0 for no limit', least=0)
    tell_weight: float = opt(0.0, 'of the loss that makes the memory tell the factors', least=0)
    tell_lag: int = opt(0, 'steps since what it is to tell', least=0)
    measure_every: int = opt(500, 'updates between held-out scores')
    measure_windows: int = opt(40, 'windows of such a score')
    log_rollouts: int = opt(64, 'whose internals are probed, of either kind', extends='log')
    log_steps: int = opt(500, 'of each of them', extends='log', least=2)
    longest_lag: int = opt(12, 'steps that the probes look back', extends='probe', least=0)
    probe_epochs: int = opt(1, 'of the probes that Adam fits', extends='probe')
    probe_rate: float = opt(1e-3, 'of that Adam', extends='probe')
    watched: str = opt('x', 'factor that alone moves in test 2', FACTORS, extends='inform')
    sequences: int = opt(50, 'of test 2', extends='inform')
    bins: int = opt(8, 'of the numbers of a cell', extends='inform', least=2, most=256)
    permutations: int = opt(100, 'of the null distribution', extends='inform')
    neighbours: int = opt(3, 'k of the other estimator, 0: none', extends='inform', least=0)
    some_cells: int = opt(64, 'cells for the slow estimators', extends='inform')
    some_permutations: int = opt(19, 'of their null distribution', extends='inform')

    def default_run(self) -> str:
        """The name of a run that was given none."""
        core = f'dnc-{self.sizes.lower()}' if self.model == 'dnc' else self.model
        return f'{self.preset}-{core}'

    def check(self) -> None:
        """See that the lengths fit, and that what test 2 needs is installed.

        Raises:
            runs.RunError: they do not, or it is not.
        """
        lengths = (self.longest_lag + 2, self.log_steps, self.shortest, self.longest)
        if list(lengths) != sorted(lengths):
            raise run_folder.RunError(
                f'--longest-lag {self.longest_lag}, --log-steps {self.log_steps}, --shortest '
                f'{self.shortest}, --longest {self.longest}: each must leave room for the one '
                'before it'
            )
        if self.tell_weight and self.tell_lag >= self.window:
            raise run_folder.RunError(
                f'--tell-lag {self.tell_lag} is not below --window {self.window}: nothing would '
                'ever be asked'
            )
        if self.neighbours and importlib.util.find_spec('sklearn') is None:
            raise run_folder.RunError(
                f'--neighbours {self.neighbours} needs scikit-learn, which is not installed: pip '
                'install scikit-learn, or give --neighbours 0'
            )


def presets(chosen: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings by preset; the sizes of the memory are those of the model asked for."""
    memory = SIZES[chosen.get('sizes', 'B')]
    # fmt: off
    found: dict[str, dict[str, Any]] = {
        'smoke': dict(
            memory, hidden_size=32, rollouts=6, shortest=40, longest=60, epochs=1.0, lanes=4,
            window=10, measure_every=4, measure_windows=2, log_rollouts=3, log_steps=40,
            longest_lag=11, sequences=2, permutations=9, neighbours=0, some_cells=16,
            some_permutations=3),
        'laptop': dict(
            memory, rollouts=1000, epochs=1.0, measure_every=250, probe_epochs=20, sequences=10),
        'paper': dict(memory, log_rollouts=10_000),
    }
    # fmt: on
    return found


@functools.lru_cache(maxsize=1)
def images(path: str) -> Sprites:
    """The data set, read once in a process."""
    return Sprites(path)


def rollouts(config: Config, purpose: str, **other: Any) -> SpriteRollouts:
    """Those of one purpose: 'train', 'validate', 'held-out', 'information'."""
    options = dict(
        shortest=config.shortest,
        longest=config.longest,
        motion=config.motion,
        moving=config.moving,
    )
    return SpriteRollouts(config.seed, purpose, **{**options, **other})


def windows(config: Config, source: SpriteRollouts, count: int, lanes: int) -> SpriteWindows:
    """Their windows, as the network is trained on them."""
    return SpriteWindows(
        source, count, lanes, config.window, images(config.dsprites), config.actions
    )


def new_model(config: Config) -> SpriteModel:
    """The network at its start, on its device."""
    model = SpriteModel(
        config.hidden_size,
        config.model,
        config.seed,
        code_size=config.code_size,
        tells=config.tell_weight > 0,
        **config.core_options(),
    )
    model.to_device(config.device)
    return model


def trained_model(config: Config, run: run_folder.Run) -> SpriteModel:
    """The best weights."""
    return load_link(run.path('model/best.npz'), SpriteModel, config.device)


# ---------------------------------------------------------------------- train


def learn(config: Config, run: run_folder.Run) -> None:
    """Train on windows whose state is carried on, with scores on held-out rollouts."""
    model = new_model(config)
    optimizer = Adam(alpha=config.learning_rate).setup(model)
    if config.clip:
        optimizer.add_hook(optimizer_hooks.GradientClipping(config.clip))
    train = windows(config, rollouts(config, 'train'), config.rollouts, config.lanes)
    held_out = windows(config, rollouts(config, 'validate'), config.rollouts, config.lanes)

    def loss(number: int, state: Any) -> tuple[Any, Any]:
        return model.loss(train.batch(number), state, config.tell_weight, config.tell_lag)

    updates = math.ceil(config.epochs * train.steps / (config.lanes * config.window))
    updater = loop.NumberedUpdater(
        optimizer, loss, model.initial_state(config.lanes), updates / config.epochs, config.debug
    )
    every = config.measure_every
    start = measure(model, held_out, config.measure_windows)
    trainer = loop.fit(
        run.path('model'),
        updater,
        updates,
        f'sprites, {config.model.upper()}',
        loop.HeldOut(
            lambda: measure(model, held_out, config.measure_windows),
            'loss',
            run.path('model/best.npz'),
        ),
        measure_every=every,
        log_every=min(50, every),
        tick=run.tick,
    )
    save_link(run.path('model/last.npz'), model)
    report_training(config, run, loop.history(trainer), start)


def report_training(
    config: Config, run: run_folder.Run, log: list[dict], start: dict[str, float]
) -> None:
    """What training says in results.json, beside what learnt nothing, and its figure."""
    source = rollouts(config, 'validate', cut=100)
    classes = np.concatenate([source.classes(number) for number in range(50)])
    seen = images(config.dsprites).images(index_of(classes))
    mean = mean_image(seen)
    rows = [row for row in log if 'held_out/loss' in row]
    best = min(rows, key=lambda row: row['held_out/loss'])
    x = [row['iteration'] for row in rows]
    curves = {}
    for name, label in (('loss', 'nats per image'), ('wrong', 'wrong pixels per image')):
        references = {'mean image': [mean[name]] * len(x)}
        y = [row[f'held_out/{name}'] for row in rows]
        curves[SCORES[name]] = curve(x, y, 'update', label, references=references)
    model = new_model(config)
    run.add_results(
        net={'parameters': model.count_params(), **model.config},
        scores={score: _lower(best[f'held_out/{name}']) for name, score in SCORES.items()},
        baselines={
            'mean image': {score: _lower(mean[name]) for name, score in SCORES.items()},
            'last image': {SCORES['wrong']: _lower(last_image(seen))},
            'untrained': {score: _lower(start[name]) for name, score in SCORES.items()},
        },
        told=best.get('held_out/told'),
        curves=curves,
    )
    losses = {
        'train': ([row['iteration'] for row in log], [row['main/image'] for row in log]),
        'held-out': (x, curves[SCORES['loss']]['y']),
        'mean image': (x, [mean['loss']] * len(x)),
    }
    path, title = run.path('figures/training.png'), f'dSprites: {config.model.upper()}'
    plots.training_curves(path, losses, 'nats per image', 'update', title)


def _lower(value: float) -> dict[str, Any]:
    return {'mean': float(value), 'lower_is_better': True}


# ------------------------------------------------------------------------ log


def log(config: Config, run: run_folder.Run) -> None:
    """Keep what the network, trained and untrained, holds in rollouts of either kind."""
    for net, model in (('trained', trained_model(config, run)), ('untrained', new_model(config))):
        for kind in KINDS:
            these = logged(config, kind)
            strides = {name: these.stride(width) for name, width in widths(config).items()}
            found = record(model, these.windows(config.window), strides)
            write_archive(run.path('internals', f'{net}-{kind}.npz'), 'internals/1', {}, found)
            run.tick()


def logged(config: Config, kind: str) -> LoggedRollouts:
    """The rollouts of a kind whose internals are kept."""
    count = config.log_rollouts if kind != 'train' else min(config.log_rollouts, config.rollouts)
    source = rollouts(config, kind, cut=config.log_steps)
    return LoggedRollouts(source, count, images(config.dsprites), config.actions)


def widths(config: Config) -> dict[str, int]:
    """How many numbers of each kind a network holds, the main features last."""
    if config.model != 'dnc':
        return {'hidden': config.hidden_size}
    return {
        'hidden': config.hidden_size,
        'memory': config.memory_length * config.memory_width,
        'reads': config.read_heads * config.memory_width,
    }


# ---------------------------------------------------------------------- probe


def probe(config: Config, run: run_folder.Run) -> None:
    """Test 1: what linear probes read off the memory, and off the controls."""
    found: dict[str, Any] = {}
    few = [lag for lag in LAGS if lag <= config.longest_lag]
    options: dict[str, Any] = dict(epochs=config.probe_epochs, learning_rate=config.probe_rate)
    for name, features in every_features(config, run).items():
        train, other = (
            logged(config, kind).samples(features(kind), config.longest_lag) for kind in KINDS
        )
        fewer = only_lags(train, few), {'held-out': only_lags(other, few)}
        rng = stream(config.seed, f'probe {name}')
        found[name] = {
            'samples': len(train.features),
            'features': train.features.shape[1],
            'ridge': probes.probe(train, {'held-out': other}, 'ridge', rng),
            'adam': probes.probe(*fewer, 'adam', rng, **options),
        }
        told = found[name]['ridge']['held-out']
        print(f'  {name}: ' + ', '.join(f'{f} {told[f"{f}@0"]["r2"]:.2f}' for f in NUMBERS))
        run.tick()
    alone = {'train': probes.constant(train, train), 'held-out': probes.constant(train, other)}
    found['mean predictor'] = {'ridge': alone}
    said = run.results()
    run.add_results(
        probes=_known(found),
        published={'table': PUBLISHED, 'floor': FLOOR, 'columns': FACTORS},
        scores={**said['scores'], **probe_scores(found[main_features(config)])},
        baselines=with_controls(said['baselines'], config, found),
        curves={**said['curves'], **lag_curves(config, found)},
    )


def _known(value: Any) -> Any:
    """The same without NaN, which JSON has no word for: None."""
    if isinstance(value, dict):
        return {name: _known(each) for name, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def every_features(config: Config, run: run_folder.Run) -> dict[str, Callable[[str], np.ndarray]]:
    """Name -> (kind of rollouts -> features (rollouts, steps, D))."""

    def held(net: str, name: str, kind: str) -> np.ndarray:
        path = run.path('internals', f'{net}-{kind}.npz')
        return read_archive(path, 'internals/1')[1][name]

    def noise(kind: str) -> np.ndarray:
        width = list(widths(config).values())[-1]
        return logged(config, kind).noise(width, stream(config.seed, f'random input {kind}'))

    found: dict[str, Any] = {}
    for net, before in (('trained', ''), ('untrained', 'untrained: ')):
        for name in reversed(widths(config)):
            found[before + WORDS[name]] = functools.partial(held, net, name)
    found['raw input'] = lambda kind: logged(config, kind).raw_input()
    return {**found, 'random input': noise}


def main_features(config: Config) -> str:
    """What a model remembers with: read vectors of a DNC, the hidden state of an LSTM."""
    return WORDS['reads' if config.model == 'dnc' else 'hidden']


def probe_scores(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What runs are compared in: ridge probes on held-out rollouts."""
    told = found['ridge']['held-out']
    scores = {'wrong shapes, t-0': _lower(told['shape@0']['error'])}
    asked = [(factor, 0) for factor in NUMBERS] + [('x', 5), ('y', 5)]
    for factor, lag in asked:
        if f'{factor}@{lag}' in told:
            r2 = told[f'{factor}@{lag}']['r2']
            scores[f'R2 of {factor}, t-{lag}'] = {'mean': r2 if math.isfinite(r2) else None}
    return scores


def controls_of(config: Config) -> dict[str, str]:
    """What stands beside the main features: its short name, and its name among the features."""
    own = {'untrained': f'untrained: {main_features(config)}'}
    if config.model == 'dnc':
        own |= {WORDS[name]: WORDS[name] for name in ('memory', 'hidden')}
    return {**own, 'raw input': 'raw input', 'random input': 'random input'}


def with_controls(
    before: Mapping[str, Any], config: Config, found: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Baselines with what probes read off the controls."""
    own = {short: probe_scores(found[name]) for short, name in controls_of(config).items()}
    return {name: {**before.get(name, {}), **own.get(name, {})} for name in {**before, **own}}


def lag_curves(config: Config, found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What ridge probes tell of earlier sprites in held-out rollouts."""
    lags = range(config.longest_lag + 1)
    curves = {}
    for factor in FACTORS:
        key, label = ('error', 'wrong shapes') if factor == 'shape' else ('r2', f'R2 of {factor}')

        def over(name: str, factor: str = factor, key: str = key) -> list[float]:
            told = found[name]['ridge']['held-out']
            return [told[f'{factor}@{lag}'][key] for lag in lags]

        references = {short: over(name) for short, name in controls_of(config).items()}
        curves[f'{label} over lag'] = curve(
            lags, over(main_features(config)), 'steps before', label, references=references
        )
    return curves


# --------------------------------------------------------------------- inform


def inform(config: Config, run: run_folder.Run) -> None:
    """Test 2: what each cell tells of a factor while nothing else moves."""
    found: dict[str, Any] = {}
    matrix: dict[str, np.ndarray] = {}
    for net, model in (('trained', trained_model(config, run)), ('untrained', new_model(config))):
        test = information.CellInformation(
            'shuffle' if config.motion == 'random' else 'shift',
            bins=config.bins,
            permutations=config.permutations,
            neighbours=config.neighbours if net == 'trained' else 0,
            some_cells=config.some_cells,
            some_permutations=config.some_permutations,
        )
        for number, cells, labels, control in watched(config, model):
            test.add(cells, labels, control, stream(config.seed, 'null', number))
            run.tick()
        found[net] = test.summary()
        matrix[net] = test.excess().reshape(cells_shape(config)).round(5)
        said = found[net]['binned']
        print(
            f'  {net}: {said["corrected"]:.0%} of {said["cells"]} cells tell of {config.watched} '
            f'(another sequence: {said["control_corrected"]:.0%}), at the most '
            f'{said["largest"]:.3f} nats of {found[net]["entropy"]:.3f}'
        )
    run.add_results(information=found, matrices=information_matrices(config, matrix))


def watched(
    config: Config, model: SpriteModel
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Number, cells (T, C), the moving factor (T,) and another such sequence (T,)."""
    name = 'memory' if config.model == 'dnc' else 'hidden'
    length, column = config.log_steps, FACTORS.index(config.watched)
    for first in range(0, config.sequences, 4):
        count = min(4, config.sequences - first)
        alone = dict(shortest=length, longest=length, moving=(config.watched,))
        source = rollouts(config, f'information {first}', **alone)
        other = rollouts(config, f'information control {first}', **alone)
        cells = record(model, windows(config, source, count, count), {name: 1})[name]
        for lane in range(count):
            labels, control = (each.classes(lane)[:, column] for each in (source, other))
            yield first + lane, cells[lane], labels, control


def cells_shape(config: Config) -> tuple[int, int]:
    """Slots and numbers per slot; an LSTM's units as one slot."""
    if config.model == 'dnc':
        return config.memory_length, config.memory_width
    return 1, config.hidden_size


def information_matrices(config: Config, found: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The information of every cell beyond the mean of its null distribution.

    Their names tell the sizes: memories of different ones have no common picture.
    """
    slots, numbers = cells_shape(config)
    top = max(float(each.max()) for each in found.values())
    look = dict(rows='slot', columns='cell', label='nats', limits=(0, max(top, 1e-3)))
    return {
        f'{config.watched} in {slots} x {numbers} cells, {net}': {'values': each, **look}
        for net, each in found.items()
    }


# -------------------------------------------------------------------- figures


def figures(config: Config, run: run_folder.Run) -> None:
    """The post's table beside ours, the probes over the lag, the cells, and images predicted."""
    said, core = run.results(), config.model.upper()
    curves = {name: each for name, each in said['curves'].items() if 'over lag' in name}
    panels = [panel(name, {core: [each]}) for name, each in curves.items()]
    plots.curves(run.path('figures/lags.png'), panels, f'Told by the memory of the {core}')
    draw_table(run, said['probes'])
    matrices = said['matrices']
    look = {k: v for k, v in next(iter(matrices.values())).items() if k != 'values'}
    plots.matrices(
        run.path('figures/information.png'),
        {name: each['values'] for name, each in matrices.items()},
        title='Mutual information beyond chance, of every cell',
        **look,
    )
    model = trained_model(config, run)
    source = dataclasses.replace(config, window=min(50, config.shortest - 1))
    window = windows(source, rollouts(config, 'held-out'), 1, 1).batch(0)
    predicted, _ = model.predictions(window, model.initial_state(1))
    shown = {
        'shown': window.images[:-1, 0],
        'comes next': window.images[1:, 0],
        'predicted': predicted[:, 0],
    }
    films = {name: _grey(each) for name, each in shown.items()}
    plots.film_rows(run.path('figures/predictions.png'), films, title=f'dSprites: {core}')
    draw_memory(
        run.path('figures/memory.png'),
        model.core,
        model.inputs(window)[:, 0],
        f'dSprites: {core}',
        signals=dict(zip(FACTORS, values_of(window.classes[:, 0]).T)),
    )


def _grey(images: np.ndarray) -> np.ndarray:
    """(T, 64, 64) of 0 to 1 -> (T, 64, 64, 3)."""
    return np.repeat(np.asarray(images, np.float64)[..., None], 3, axis=3)


def draw_table(run: run_folder.Run, found: Mapping[str, Any]) -> None:
    """The errors of probes at t-0: published, and ours as published and on held-out rollouts."""

    def cells(name: str, errors: Iterable[float]) -> list[str]:
        return [name, *(f'{error:.4f}' for error in errors)]

    def block(kind: str, method: str) -> list[list[str]]:
        rows = []
        for name, each in found.items():
            told = each.get(method, each['ridge'])[kind]
            numbers = (told[f'{factor}@0']['mse'] for factor in NUMBERS)
            rows.append(cells(f'{name}, {kind}', (told['shape@0']['error'], *numbers)))
        return rows

    post = [cells(f'post, {name}', row) for name, row in PUBLISHED.items()]
    plots.table(
        run.path('figures/table.png'),
        ['', 'wrong shapes', *NUMBERS],
        [[cells('guess', FLOOR), *post], block('train', 'adam'), block('held-out', 'ridge')],
        'Linear probes at t-0, mean squared errors: Adam on train, ridge on held-out',
    )


STAGES = {'train': learn, 'log': log, 'probe': probe, 'inform': inform, 'figures': figures}


def script(argv=None) -> None:
    config = parse(Config, presets, NAME, argv)
    run_stages(config, NAME, STAGES, packages=('scikit-learn',)).close()


if __name__ == '__main__':
    main(script)
