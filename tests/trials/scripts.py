"""Every script of ``experiments/`` that keeps a run, as small as it can be, run as users do."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

from tests.trials.processes import Started

CHANGING = ('seconds', 'config', 'run', 'commits', 'versions')  # from run to run


@dataclasses.dataclass(frozen=True)
class Script:
    """One script with the flags that make it small.

    Attributes:
        label: what it is called here.
        name: of the script.
        flags: its settings.
        experiment: under whose name its runs lie; '' for the script's own.
        base: the label of the script whose whole run it needs.
    """

    label: str
    name: str
    flags: tuple[str, ...]
    experiment: str = ''
    base: str = ''

    def start(self, data: pathlib.Path, run: str) -> Started:
        """Begin or go on with a run."""
        data.mkdir(exist_ok=True)
        flags = f'--data={data.resolve()}', f'--run={self.label}-{run}', *self.flags
        return Started(self.name, flags, self._output(data, run))

    def said(self, data: pathlib.Path, run: str) -> str:
        """What it printed since it was begun last."""
        return self._output(data, run).read_text(errors='replace')

    def folder(self, data: pathlib.Path, run: str) -> pathlib.Path:
        return data / (self.experiment or self.name) / f'{self.label}-{run}'

    def stages(self, data: pathlib.Path, run: str) -> dict[str, dict[str, Any]]:
        """Those begun so far, in order: whether done, and seconds."""
        path = self.folder(data, run) / 'stages.json'
        return json.loads(path.read_text()) if path.exists() else {}

    def results(self, data: pathlib.Path, run: str) -> dict[str, Any]:
        """What a run found, without what differs from one run to the next."""
        found = json.loads((self.folder(data, run) / 'results.json').read_text())
        return {name: value for name, value in found.items() if name not in CHANGING}

    def episodes(self, data: pathlib.Path, run: str) -> dict[str, str]:
        """The digest of every listed episode's file.

        Raises:
            AssertionError: the list tells another one, or there is no such file.
        """
        found = {}
        for path in sorted(self.folder(data, run).rglob('episodes.jsonl')):
            for line in map(json.loads, path.read_text().splitlines()):
                if 'sha256' in line:
                    file = path.parent / line['file']
                    assert file.exists(), f'{file} is listed, and lost'
                    digest = hashlib.sha256(file.read_bytes()).hexdigest()
                    assert digest == line['sha256'], f'{file} is not what is listed'
                    found[str(file.relative_to(self.folder(data, run)))] = digest
        return found

    def _output(self, data: pathlib.Path, run: str) -> pathlib.Path:
        return data / f'{self.label}-{run}.txt'


def _flags(**settings: Any) -> tuple[str, ...]:
    found: list[str] = []
    for name, value in settings.items():
        values = value if isinstance(value, tuple) else (value,)
        found += [f'--{name.replace("_", "-")}', *map(str, values)]
    return tuple(found)


# fmt: off
PPO = dict(updates=4, rollout_length=16, lanes=4, epochs=1, restart_every=2, test_episodes=3)
RND = dict(PPO, whitening_steps=8)
DNC = dict(model='dnc', memory_length=4, memory_width=4, read_heads=1, hidden_size=8)
SCRIPTS = {script.label: script for script in (
    Script('take_cover', 'doom_take_cover', _flags(
        settings='trial', episodes=6, held_out=0.25, min_length=40, vision_batch=64,
        vision_epochs=0.5, latent_size=4, hidden_size=8, model_batch=2, window=25,
        model_epochs=2, population=4, dreams=2, generations=3, evaluate_every=3,
        evaluate_episodes=1, max_steps=30, test_episodes=2, rounds=1, round_episodes=2,
        round_epochs=1, round_generations=1, workers=2)),
    Script('pendulum', 'pendulum_swing_up', _flags(
        **DNC, iterations=2, first_episodes=10, episodes=10, frame_skip=20, vision_epochs=0.1,
        refine_epochs=0.05, latent_size=3, hidden_units=2, model_batch=4, window=10,
        model_epochs=2, population=4, dreams=2, generations=2, test_episodes=2, workers=2)),
    Script('car_racing', 'car_racing', _flags(
        preset='smoke', episodes=3, max_steps=10, window=5, vision_epochs=0.5, test_episodes=1,
        evaluate_episodes=1, workers=2)),
    Script('controls', 'doom_take_cover_controls', _flags(
        preset='smoke', base='take_cover-whole', kinds=('temperature', 'z'), max_steps=30,
        test_episodes=1, workers=2), 'doom_take_cover', 'take_cover'),
    Script('addition', 'addition', _flags(
        preset='smoke', **DNC, batch=4, measure_every=5, held_out=8, lengths=(2, 3, 4),
        switch=40, sequences=240)),
    Script('dnc_tasks', 'dnc_tasks', _flags(
        preset='smoke', **DNC, task='repeat', updates=20, batch=4, measure_every=5, held_out=8,
        lengths=(4, 12, 20), test_lanes=4)),
    Script('key_corridor', 'key_corridor', _flags(preset='smoke', **RND, length=5)),
    Script('pixelcopter', 'pixelcopter_rnd', _flags(
        preset='smoke', **RND, max_steps=40, hidden=8, minibatches=2)),
    Script('pixelcopter_cma_es', 'pixelcopter_rnd', _flags(
        preset='smoke', learner='cma_es', max_steps=40, generations=3, population=4,
        search_episodes=1, test_episodes=2)),
    Script('ppo_check', 'ppo_check', _flags(preset='smoke', **PPO)),
    Script('grid_navigation', 'grid_navigation', _flags(
        preset='smoke', **DNC, episodes=3, max_steps=12, encoded=8, decoded=8, model_updates=6,
        policy_updates=2, lanes=4, rollout_length=8, real_limit=1000, score_episodes=2,
        report_episodes=3, probe_episodes=1)),
    Script('pommerman', 'pommerman', _flags(
        preset='smoke', **DNC, episodes=6, max_steps=30, batch=3, window=8, measure_every=4,
        horizon=4, held_out=0.3, epochs=3)),
    Script('dsprites_memory', 'dsprites_memory', _flags(
        preset='smoke', **DNC, shortest=16, longest=20, log_steps=16, longest_lag=6,
        permutations=4, some_cells=4)),
    Script('key_order', 'key_order', _flags(
        preset='smoke', models='dnc', usual='lstm', updates=2)),
    Script('cma_es_schaffer', 'cma_es_schaffer', _flags(
        preset='smoke', seeds=2, sigma=2, sigmas=5, evaluations=130)),
    Script('mdn_toy', 'mdn_toy', _flags(preset='smoke', epochs=20, points=50, hidden=8)),
    Script('running_statistics', 'running_statistics', _flags(
        preset='smoke', values=256, repeats=4)),
)}
# fmt: on
