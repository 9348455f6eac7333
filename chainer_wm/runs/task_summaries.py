"""Several runs of one experiment as means and spreads over their seeds."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainer_wm import files
from chainer_wm.runs import run_folder


def read_runs(
    folder: str | os.PathLike, names: Sequence[str], needed: str
) -> list[dict[str, Any]]:
    """The ``results.json`` of each named run under ``folder``.

    Raises:
        runs.RunError: a run has none, or not the result called ``needed``.
    """
    found = []
    for name in names:
        path = pathlib.Path(folder, name, 'results.json')
        results = files.read_json(path) if path.exists() else {}
        if needed not in results:
            raise run_folder.RunError(f'{path} has no {needed!r}: is run {name!r} complete?')
        found.append(results)
    return found


def same_settings(
    results: Sequence[dict[str, Any]], may_differ: Collection[str]
) -> dict[str, Any]:
    """The settings that all these runs share, which can then be compared.

    Raises:
        runs.RunError: one that may not differ does (names both runs and
            values).
    """
    first = results[0]
    shared = {name: value for name, value in first['config'].items() if name not in may_differ}
    for other in results[1:]:
        for name, value in shared.items():
            if other['config'].get(name) != value:
                raise run_folder.RunError(
                    f'runs cannot be compared: {name} is {value!r} in '
                    f'{first["run"]} but {other["config"].get(name)!r} in '
                    f'{other["run"]}'
                )
    return shared


class Seeds(NamedTuple):
    """One curve of several seeds, each (seeds, n), over x (n,)."""

    x: np.ndarray
    ys: np.ndarray

    @classmethod
    def of(cls, curves: Sequence[tuple[Sequence, Sequence]]) -> Seeds:
        """Curves (x, y) of the same x.

        Raises:
            ValueError: their x differ.
        """
        xs = [np.asarray(x, float) for x, _ in curves]
        for x in xs[1:]:
            if not np.array_equal(x, xs[0]):
                raise ValueError(
                    f'curves of {len(xs[0])} and {len(x)} points over different x have no mean'
                )
        return cls(xs[0], np.array([y for _, y in curves], float))

    def rows(self) -> list[dict[str, Any]]:
        """Per x: 'x', 'mean', 'std' (n - 1), and 'values', one per seed."""
        ddof = min(1, len(self.ys) - 1)
        return [
            {
                'x': float(x),
                'mean': float(y.mean()),
                'std': float(y.std(ddof=ddof)),
                'values': y.tolist(),
            }
            for x, y in zip(self.x, self.ys.T)
        ]


def curve_seeds(results: Sequence[dict], name: str = 'error') -> Seeds:
    """A held-out score over updates, of runs of one model."""
    return Seeds.of([run['curves'][name] for run in results])


def length_seeds(results: Sequence[dict], name: str = 'error') -> Seeds:
    """A score over the length, of runs of one model."""
    return Seeds.of(
        [
            ([row['length'] for row in run['lengths']], [row[name] for row in run['lengths']])
            for run in results
        ]
    )


def by_model(results: Sequence[dict]) -> dict[str, list[dict]]:
    """Runs by what their model is called, plain LSTM and DNC first."""
    found: dict[str, list[dict]] = {}
    for run in results:
        found.setdefault(model_label(run['config']), []).append(run)
    return dict(sorted(found.items(), key=lambda item: len(item[0])))


def model_label(config: dict[str, Any]) -> str:
    """What a run's model is called in figures and tables."""
    if config['model'] == 'lstm':
        return 'LSTM, as many parameters' if config['match'] else 'LSTM'
    sparsity = config['link_sparsity']
    return f'sparse DNC (K {sparsity})' if sparsity else 'DNC'


def provenance(results: Sequence[dict]) -> dict[str, Any]:
    """Seeds, runs, sizes, versions and times of the runs of one model."""
    return {
        'seeds': [run['seed'] for run in results],
        'runs': [run['run'] for run in results],
        'net': results[0]['net'],
        'versions': results[0]['versions'],
        'training_seconds': [run['seconds']['train'] for run in results],
    }
