"""Finished runs of one experiment side by side, over their seeds.

Every experiment says in its ``results.json`` what is to be compared, in one form:

- ``evaluation``: the score that counts, ``{'mean', 'std', 'episodes', ...}``, and
  ``random_baseline``, what a random policy scores; ``solved``, if there is such a score.
- ``scores``: more of them by name, ``{'mean': number or None, ...}``; ``'lower_is_better': True``
  where that is so. None is what was never reached.
- ``baselines``: policy -> score -> the same, of what did not learn or learnt otherwise.
- ``curves``: name -> ``{'x', 'y', 'xlabel', 'ylabel'}``, and perhaps ``log``, ``floor``,
  ``log_x``, ``points``, ``marks`` (see ``plots.Panel``), ``references`` (name -> y), ``score`` (of
  the baselines to draw), ``hold`` (after the last x, y stays as it is).
- ``matrices``: name -> ``{'values', 'rows', 'columns'}``, and what ``plots.matrices`` takes.
- ``bars``: name -> ``{'labels', 'values', 'ylabel'}`` and perhaps ``references`` (name -> values);
  a value of None is nothing.
- ``task``: runs of different ones are not compared; ``inherited``: settings of another run whose
  models or episodes this one uses, which count like its own.

Runs belong to one group where they differ in nothing but the seed. What tells the groups apart is
found, and said.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainer_wm import files
from chainer_wm.runs.run_folder import RunError
from chainer_wm.seeds import stream

EVALUATION = 'evaluation'
PLACES = ('data', 'results', 'summary', 'out')
#: Settings that make no run another one: names, places, and how fast it goes.
FREE = {
    *PLACES,
    *(
        'run',
        'reuse',
        'base',
        'seed',
        'preset',
        'stages',
        'device',
        'workers',
        'cluster',
        'data',
        'debug',
        'memory_mb',
    ),
    *('kinds', 'cells', 'temperatures', 'mixed', 'sizes'),
}
MEMORY = ('memory_length', 'memory_width', 'read_heads', 'link_sparsity', 'test_memory_length')
KEPT = ('experiment', 'run', 'task', 'seed', 'config', 'versions', 'commits', 'seconds', 'solved')
SAID = ('scores', 'baselines', 'curves', 'matrices', 'bars', 'inherited')
LONGEST = 48  # letters of a group's label
DRAWS = 2000  # of the bootstrap
# Student's t, 97.5 %, by degrees of freedom.
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def curve(x: Any, y: Any, xlabel: str, ylabel: str, **more: Any) -> dict[str, Any]:
    """A curve as results.json holds it: what is not finite is None."""
    if 'references' in more:
        more['references'] = {name: _plain(each) for name, each in more['references'].items()}
    found = {'x': np.asarray(x).tolist(), 'y': _plain(y), 'xlabel': xlabel, 'ylabel': ylabel}
    return {**found, **more}


def _plain(values: Any) -> list[float | None]:
    return [float(each) if np.isfinite(each) else None for each in np.asarray(values, float)]


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run as its results tell it.

    Attributes:
        name: of the run.
        results: what ``results.json`` holds.
        settings: all that may make it another run than others, by name.
    """

    name: str
    results: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def seed(self) -> int:
        return self.results['seed']

    @property
    def scores(self) -> dict[str, Mapping[str, Any]]:
        """By name, the one that counts first."""
        first = {EVALUATION: self.results[EVALUATION]} if EVALUATION in self.results else {}
        return {**first, **self.results.get('scores', {})}

    @property
    def baselines(self) -> dict[str, Mapping[str, Any]]:
        """By policy and score, random first."""
        found = dict(self.results.get('baselines', {}))
        if 'random_baseline' in self.results:
            random = {EVALUATION: self.results['random_baseline'], **found.pop('random', {})}
            found = {'random': random, **found}
        return found


Groups = dict[str, list[Finished]]


def read(path: pathlib.Path) -> list[Finished]:
    """The runs at a path: a run's folder, its results, or a ``comparison.json``.

    Raises:
        RunError: nothing is there, or a run has nothing to compare.
    """
    if path.suffix != '.json':
        path = path / 'results.json'
    if not path.exists():
        raise RunError(f'{path} is not there: is it a finished run, or the JSON of one?')
    said = files.read_json(path)
    found = []
    for results in said['runs'] if isinstance(said.get('runs'), list) else [said]:
        run = Finished(results.get('run', path.stem), results, settings_of(results))
        if not (run.scores or results.get('curves')):
            raise RunError(
                f'{path} has neither scores nor curves: was run {run.name!r} interrupted? '
                'Repeat its command first'
            )
        found.append(run)
    return found


def settings_of(results: Mapping[str, Any]) -> dict[str, Any]:
    """What may make a run another one.

    What an LSTM has no use for, or a policy without a memory, is left out.
    """
    config = results['config']
    found = {k: v for k, v in config.items() if k not in FREE}
    if found.pop('recurrent', True) is False:
        found['model'] = 'mlp'
    if found.get('model', 'dnc') != 'dnc':
        found = {name: value for name, value in found.items() if name not in MEMORY}
    found |= {f'inherited {name}': value for name, value in results.get('inherited', {}).items()}
    return found


def differing(runs: Sequence[Finished], by: Sequence[str] | None = None) -> dict[str, list[Any]]:
    """Settings on which the runs that have them disagree, with the values.

    Args:
        by: the ones that may differ; None: any.

    Raises:
        RunError: other experiments or tasks, or a setting differs that may not.
    """
    first = runs[0]
    for run in runs[1:]:
        for key in ('experiment', 'task'):
            if run.results.get(key) != first.results.get(key):
                raise RunError(
                    f'runs cannot be compared: {key} is {first.results.get(key)!r} in '
                    f'{first.name} but {run.results.get(key)!r} in {run.name}'
                )
    found: dict[str, list[Any]] = {}
    for name in dict.fromkeys(name for run in runs for name in run.settings):
        having = {_json(run.settings[name]): run for run in runs if name in run.settings}
        own = name.removeprefix('inherited ')
        if len(having) == 1 or (own != name and _same(runs, name, own)):
            continue
        if by is not None and name not in by:
            one, two, *_ = having.values()
            raise RunError(
                f'runs cannot be compared: {name} is {one.settings[name]!r} in {one.name} but '
                f'{two.settings[name]!r} in {two.name}'
            )
        found[name] = [run.settings[name] for run in having.values()]
    return found


def _same(runs: Sequence[Finished], one: str, two: str) -> bool:
    """Whether two settings are one and the same in every run."""
    return all(run.settings.get(one) == run.settings.get(two) for run in runs)


def grouped(runs: Sequence[Finished], names: Sequence[str]) -> Groups:
    """Runs that agree in all ``names``, in order of seeds, by the group's label.

    A label that is too long for a figure becomes a number.

    Raises:
        RunError: a group has one seed twice.
    """
    every: Groups = {}
    for run in runs:
        every.setdefault(label(run, names), []).append(run)
    groups = {
        name if len(name) <= LONGEST else f'{name.split(",")[0]}, group {number}': members
        for number, (name, members) in enumerate(every.items(), 1)
    }
    for name, members in groups.items():
        members.sort(key=lambda run: run.seed)
        seeds = [run.seed for run in members]
        if len(set(seeds)) < len(seeds):
            raise RunError(
                f'{name}: seeds {seeds}: one seed twice counts as one run; name one of '
                f'{", ".join(run.name for run in members)}'
            )
    return groups


def label(run: Finished, names: Sequence[str]) -> str:
    """The core, and every setting that differs, unless it is switched off."""
    words = [str(run.settings['model']).upper()] if 'model' in names else []
    for name in names:
        value = run.settings.get(name)
        if name == 'model' or not value:
            continue
        said = ' '.join(map(str, value)) if isinstance(value, list) else str(value)
        words.append(name if value is True else f'{name} {said}'.replace('_', ' '))
    return ', '.join(words) or 'plain' if names else str(run.settings.get('model', 'runs')).upper()


def over_seeds(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean over seeds, with its 95 % interval (Student's t), None for one seed.

    Of the seeds that have a value; without any the mean is None.
    """
    known = np.array([value for value in values if value is not None], float)
    found: dict[str, Any] = {'values': list(values), 'mean': None, 'std': 0.0, 'interval': None}
    if len(known):
        found['mean'] = float(known.mean())
    if len(known) > 1:
        found['std'] = float(known.std(ddof=1))
        half = student(len(known) - 1) * found['std'] / len(known) ** 0.5
        found['interval'] = [found['mean'] - half, found['mean'] + half]
    return found


def student(degrees: int) -> float:
    """The 97.5 % point of Student's t."""
    if degrees <= len(T):
        return T[degrees - 1]
    z = 1.959964  # Cornish and Fisher's expansion, right to 1e-3 from here on
    terms = [(z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96]
    terms.append((3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384)
    return z + sum(term / degrees**n for n, term in enumerate(terms, 1))


def improvement(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Probability that a run of ours beats one of theirs.

    P(X > Y) over all pairs, a tie counts half (Agarwal et al. 2021, section 4.3), with the 95 %
    interval of a bootstrap over the runs of each.
    """
    x, y = np.asarray(ours, float), np.asarray(theirs, float)
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)  # (N, M)
    rng = stream(0, 'bootstrap')
    rows = rng.integers(len(x), size=(DRAWS, len(x), 1))
    drawn = wins[rows, rng.integers(len(y), size=(DRAWS, 1, len(y)))].mean(axis=(1, 2))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {'probability': float(wins.mean()), 'interval': [float(low), float(high)]}


def pair(ours: Mapping[int, float], theirs: Mapping[int, float], lower: bool) -> dict[str, Any]:
    """One group against another in one score, each by its seeds.

    Returns:
        'seeds' that both have; 'difference', ours minus theirs on the same seed, ``over_seeds``;
        'ratio', its geometric mean, where all are positive; 'improvement'.
    """
    seeds = sorted(set(ours) & set(theirs))
    values = [(ours[seed], theirs[seed]) for seed in seeds]
    found: dict[str, Any] = {'seeds': seeds, 'difference': None, 'ratio': None}
    if seeds:
        found['difference'] = over_seeds([one - two for one, two in values])
        if min(map(min, values)) > 0:
            found['ratio'] = float(np.exp(np.mean([np.log(one / two) for one, two in values])))
    sign = -1 if lower else 1
    found['improvement'] = improvement(
        [sign * value for value in ours.values()], [sign * value for value in theirs.values()]
    )
    return found


def compare(runs: Sequence[Finished], by: Sequence[str] | None = None) -> dict[str, Any]:
    """All that is to be said of these runs, JSON-able.

    Returns:
        'experiment'; 'compared', the settings that differ; 'groups' with their runs, seeds,
        minutes, what sets them apart, and every score over the seeds; 'pairs', every two groups in
        every score; 'baselines' by score; and 'runs', which ``read`` takes again.

    Raises:
        RunError: see ``differing`` and ``grouped``.
    """
    compared = differing(runs, by)
    groups = grouped(runs, list(compared))
    names = list(dict.fromkeys(name for run in runs for name in run.scores))
    return {
        'experiment': runs[0].results.get('experiment'),
        'compared': compared,
        'groups': {
            name: {
                'runs': [run.name for run in members],
                'seeds': [run.seed for run in members],
                'minutes': [_minutes(run) for run in members],
                'settings': {each: members[0].settings.get(each) for each in compared},
                'scores': {
                    score: over_seeds([_mean(run.scores, score) for run in members])
                    for score in names
                    if any(score in run.scores for run in members)
                },
            }
            for name, members in groups.items()
        },
        'pairs': [
            {'score': score, 'of': ours, 'over': theirs, **found}
            for score in names
            for theirs, ours in itertools.combinations(groups, 2)
            if (found := _pair(groups, ours, theirs, score))
        ],
        'baselines': baselines(runs),
        'runs': [kept(run) for run in runs],
    }


def baselines(runs: Sequence[Finished]) -> dict[str, dict[str, Any]]:
    """Score -> policy -> over all runs; what is the same in runs of one seed counts once."""
    found: dict[str, dict[str, dict[tuple, Any]]] = {}
    for run in runs:
        for policy, scores in run.baselines.items():
            for score in scores:
                value = _mean(scores, score)
                found.setdefault(score, {}).setdefault(policy, {})[run.seed, value] = value
    return {
        score: {policy: over_seeds(list(each.values())) for policy, each in policies.items()}
        for score, policies in found.items()
    }


def kept(run: Finished) -> dict[str, Any]:
    """A run's results without single episodes, and without what nobody compares."""
    found = {key: run.results[key] for key in KEPT if key in run.results}
    for key in (EVALUATION, 'random_baseline'):
        if key in run.results:
            found[key] = {k: v for k, v in run.results[key].items() if not isinstance(v, list)}
    found['config'] = {k: v for k, v in run.results['config'].items() if k not in PLACES}
    found |= {key: run.results[key] for key in SAID if key in run.results}
    return found


def _pair(groups: Groups, ours: str, theirs: str, score: str) -> dict[str, Any] | None:
    known = [
        {
            run.seed: value
            for run in groups[name]
            if (value := _mean(run.scores, score)) is not None
        }
        for name in (ours, theirs)
    ]
    if not all(known):
        return None
    one, two = known
    lower = any(
        run.scores.get(score, {}).get('lower_is_better')
        for run in (*groups[ours], *groups[theirs])
    )
    return pair(one, two, lower)


def _mean(scores: Mapping[str, Any], name: str) -> float | None:
    return scores[name]['mean'] if name in scores else None


def _minutes(run: Finished) -> float:
    return round(sum(run.results.get('seconds', {}).values()) / 60, 1)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=files.to_plain)


# -- for people ---------------------------------------------------------------------------------


def as_text(found: Mapping[str, Any]) -> str:
    """What was compared, each group's scores, and one group against another.

    Of more than two groups only in the score that counts.
    """
    compared = '; '.join(
        f'{name}: {", ".join(map(str, values))}' for name, values in found['compared'].items()
    )
    lines = [f'{found["experiment"]}, compared by {compared or "nothing but the seed"}']
    for name, group in found['groups'].items():
        minutes = ' '.join(f'{each:g}' for each in group['minutes'])
        lines.append(f'{name}: seeds {" ".join(map(str, group["seeds"]))}, minutes {minutes}')
        if ', group ' in name:
            lines.append(f'  {", ".join(f"{k} {v}" for k, v in group["settings"].items())}')
        for score, row in group['scores'].items():
            every = ' '.join(map(_number, row['values']))
            lines.append(f'  {score}: {_spread(row)}  [{every}]')
    for score, policies in found['baselines'].items():
        for policy, row in policies.items():
            lines.append(f'{policy}, {score}: {_spread(row)}')
    first = next((row['score'] for row in found['pairs']), None)
    for row in found['pairs']:
        if len(found['groups']) > 2 and row['score'] != first:
            continue
        lines.append(f'{row["of"]} over {row["over"]}, {row["score"]}: {_against(row)}')
    return '\n'.join(lines)


def _against(row: Mapping[str, Any]) -> str:
    words = []
    if row['difference']:
        seeds = len(row['seeds'])
        words.append(f'difference {_spread(row["difference"])} on {seeds} common seeds')
    if row['ratio']:
        words.append(f'{row["ratio"]:.3g} times')
    low, high = row['improvement']['interval']
    share = row['improvement']['probability']
    return ', '.join([*words, f'better with probability {share:.2f} ({low:.2f} to {high:.2f})'])


def _spread(row: Mapping[str, Any]) -> str:
    """A mean over seeds, with its interval where there is one."""
    said = _number(row['mean'])
    if row['interval'] is None:
        return said
    low, high = map(_number, row['interval'])
    return f'{said} (95 %: {low} to {high})'


def _number(value: float | None) -> str:
    """'-' for nothing, and as many digits as tell something."""
    if value is None:
        return '-'
    return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}'
