"""Take Cover's runs as rows: what each scored, and which belong together."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainer_wm import files
from chainer_wm.runs import run_folder
from chainer_wm.runs.command_line import defaults
from chainer_wm.training import rounds
from experiments.doom_take_cover import PRESETS, Config, new_model

Results = dict[str, Any]

#: Settings of what --reuse takes from another run.
REUSED = (
    *('settings', 'episodes', 'hold', 'min_length'),
    *('latent_size', 'latent_nats'),
    *('vision_epochs', 'vision_batch', 'vision_learning_rate'),
    'vision_last_learning_rate',
)
#: The defaults, which runs have that know no such setting yet.
USUAL = defaults(Config)
#: Settings in which runs that are pooled may differ.
NAMES = ('run', 'reuse', 'seed', 'preset')
# Student's t, 97.5 %, by degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run as its results tell it.

    Attributes:
        settings: every setting that decides a number, V's and the episodes'
            from the run whose they are; None where that run is not there.
    """

    name: str
    results: Results
    settings: dict[str, Any]

    @property
    def core(self) -> str:
        return self.results['config']['model']


def read(folder: pathlib.Path, name: str) -> Finished:
    """A run by its name below a folder, or by the path of its JSON.

    Raises:
        runs.RunError: it is not there, or was not evaluated.
    """
    path = pathlib.Path(name)
    if path.suffix != '.json':
        path = folder / name / 'results.json'
    results = files.read_json(path) if path.exists() else {}
    if not {'evaluation', 'cells'} & set(results):
        raise run_folder.RunError(
            f'--summary {name}: {path} holds no evaluated run: was it '
            'interrupted? Repeat its command first'
        )
    config = results.get('base', results['config'])
    return Finished(name, results, _settings(config, path))


def _settings(config: Mapping[str, Any], path: pathlib.Path) -> dict[str, Any]:
    usual = {
        field.name: USUAL[field.name]
        for field in dataclasses.fields(Config)
        if not field.metadata['free'] and field.name not in NAMES
    }
    found = {name: config.get(name, old) for name, old in usual.items()}
    if config['reuse']:
        source = _source(config['reuse'], path)
        found.update({name: source.get(name, usual[name]) if source else None for name in REUSED})
    return found


def _source(name: str, path: pathlib.Path) -> Mapping[str, Any]:
    """Settings of the run that one reuses; empty if it is not there."""
    beside = path.with_name(f'{name}.json')
    if path.name != 'results.json' and beside.exists():
        return files.read_json(beside)['config']
    config = path.parent.parent / name / 'config.json'
    return files.read_json(config) if config.exists() else {}


def by_group(found: Sequence[Finished]) -> dict[str, list[Finished]]:
    """Runs that differ in nothing but the seed, by the name of their group.

    A group is called by its core, and by the settings in which the runs at
    hand differ: cores with other budgets are told apart in plain sight.

    Raises:
        runs.RunError: a group has the same seed twice.
    """
    groups: dict[str, list[Finished]] = {}
    for run in found:
        words = [run.core.upper()]
        for name, value in run.settings.items():
            if name == 'model':
                continue
            if any(other.settings[name] != value for other in found):
                words.append(f'{name} {_shown(value)}')
        groups.setdefault(', '.join(words), []).append(run)
    for name, members in groups.items():
        seeds = [run.results['seed'] for run in members]
        if len(set(seeds)) < len(seeds):
            raise run_folder.RunError(
                f'{name}: seeds {seeds}: one seed twice counts as one run; '
                f'name one of {", ".join(run.name for run in members)}'
            )
    return groups


def _shown(value: Any) -> str:
    if value is None:
        return 'unknown'
    if isinstance(value, list):
        return ' '.join(map(str, value))
    return str(value)


def seeds_of(values: Sequence[float]) -> dict[str, Any]:
    """Mean over seeds; its 95 % interval (Student's t), None for one seed."""
    array = np.asarray(values, float)
    mean, interval, spread = float(array.mean()), None, 0.0
    if len(array) > 1:
        spread = float(array.std(ddof=1))
        degrees = len(array) - 2
        t = _T[degrees] if degrees < len(_T) else 1.96
        half = t * spread / len(array) ** 0.5
        interval = [mean - half, mean + half]
    return {'mean': mean, 'std': spread, 'interval': interval, 'values': array.tolist()}


def stages_of(results: Results) -> list[dict[str, Any]]:
    """A row for the first evolution and one for each round after it.

    Fields: 'round', 'agents_episodes' (played so far by agents, beside the
    random ones), 'played' (their mean score in that round), 'generation',
    'dream' (mean of the last population), 'game' (``evaluation.summary``
    without returns, or None), 'anew' (whether C began anew in that round),
    and 'caught' and 'false_alarms' of M's deaths.
    """
    played, rows = 0, []
    names = [name for name in results if name.startswith('round-')]
    for number, name in enumerate(['', *sorted(names)]):
        said = results if number == 0 else results[name]
        mine = said.get('played')
        played += mine['episodes'] if mine else 0
        c, m = said.get('controller'), said['model']
        if c is None:
            continue
        scores = [row for row in c['evaluations'] if row['generation'] == c['generation']]
        rows.append(
            {
                'round': number,
                'anew': 'begin' in said and rounds.begins_anew(said['begin']),
                'agents_episodes': played,
                'played': mine['mean'] if mine else None,
                'generation': c['generation'],
                'dream': c['dream'],
                'game': _short(scores[-1]) if scores else None,
                'nll': m.get('nll'),
                'caught': m.get('caught'),
                'false_alarms': m.get('false_alarms'),
            }
        )
    return rows


def curve(results: Results) -> dict[int, float]:
    """Scores in the game along the evolution: generation -> mean."""
    found: dict[int, float] = {}
    names = [name for name in results if name.startswith('round-')]
    for said in (results, *(results[name] for name in sorted(names))):
        for row in said.get('controller', {}).get('evaluations', ()):
            found.setdefault(row['generation'], row['mean'])
    return dict(sorted(found.items()))


def curve_rows(members: Sequence[Finished]) -> list[dict[str, Any]]:
    """Scores over generations where all the seeds of a group have one."""
    curves = [curve(run.results) for run in members]
    shared = set(curves[0]).intersection(*curves[1:])
    return [
        {'generation': at, **seeds_of([curve[at] for curve in curves])} for at in sorted(shared)
    ]


def run_row(run: Finished) -> dict[str, Any]:
    """All that the table says of one run."""
    results = run.results
    seconds = results['seconds']
    return {
        'core': run.core,
        'seed': results['seed'],
        'game': _short(results['evaluation']),
        'dream': _short(results['dream']['agent']),
        'random': _short(results['random_baseline']),
        'rounds': stages_of(results),
        'curve': curve(results),
        'parameters': parameters(results),
        'seconds': seconds,
        'minutes': round(sum(seconds.values()) / 60, 1),
        'command': command(results['config']),
        'commits': results.get('commits', ['unknown']),
        'versions': results['versions'],
    }


def _short(score: Mapping[str, Any]) -> dict[str, Any]:
    names = ('episodes', 'mean', 'std', 'standard_error')
    return {name: score[name] for name in names}


def parameters(results: Results) -> dict[str, int]:
    """Numbers in M and in a linear C of a run."""
    config = results['config']
    # runs that could not drop any do not tell
    latents = results['model'].get('latents', config['latent_size'])
    names = {field.name for field in dataclasses.fields(Config)}
    known: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in config.items()
        if name in names
    }
    network = new_model(Config(**{**known, 'device': '@numpy'}), latents)
    return {
        'M': int(sum(p.size for p in network.params())),
        'C': sum(network.feature_sizes[name] for name in known['features']),
    }


def command(config: Mapping[str, Any]) -> str:
    """The command line that gives these settings today."""
    preset = config['preset']
    words = ['doom_take_cover.py', '--preset', preset]
    chosen = json.loads(json.dumps(PRESETS[preset]))
    for field in dataclasses.fields(Config):
        value = config.get(field.name, USUAL[field.name])
        changes = not field.metadata['free'] and field.name != 'preset'
        if changes and value != chosen.get(field.name, USUAL[field.name]):
            flag = '--' + field.name.replace('_', '-')
            if isinstance(value, bool):
                words.append(flag if value else '--no-' + flag[2:])
            else:
                words += [flag, _shown(value)]
    return ' '.join(words)


def pooled(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over the episodes of all seeds together."""
    returns = list(itertools.chain(*(score['returns'] for score in scores)))
    spread = float(np.std(returns, ddof=1)) if len(returns) > 1 else 0.0
    return {'episodes': len(returns), 'mean': float(np.mean(returns)), 'std': spread}
