"""Every script of ``experiments/`` as small as it can be, run as a user runs it."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHANGING = ('seconds', 'config', 'run', 'commits', 'versions')  # from one run to the next


@dataclasses.dataclass(frozen=True)
class Script:
    """One script with the flags that make it small."""

    name: str
    flags: tuple[str, ...]

    def start(self, data: pathlib.Path, run: str, **options: Any) -> subprocess.Popen:
        """Begin or go on with a run, in a session (process group) of its own."""
        command = [sys.executable, f'experiments/{self.name}.py', '--data', str(data)]
        environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'MPLBACKEND': 'Agg'}
        return subprocess.Popen(
            [*command, '--run', run, *self.flags],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )

    def folder(self, data: pathlib.Path, run: str) -> pathlib.Path:
        return data / self.name / run

    def results(self, data: pathlib.Path, run: str) -> dict[str, Any]:
        """What a run found, without what differs from one run to the next."""
        found = json.loads((self.folder(data, run) / 'results.json').read_text())
        return {name: value for name, value in found.items() if name not in CHANGING}

    def episodes(self, data: pathlib.Path, run: str) -> dict[str, str]:
        """The digest of every listed episode, by its file."""
        found = {}
        for path in sorted(self.folder(data, run).rglob('episodes.jsonl')):
            for line in map(json.loads, path.read_text().splitlines()):
                if 'sha256' in line:
                    name = path.parent.relative_to(self.folder(data, run)) / line['file']
                    found[str(name)] = line['sha256']
        return found


def _flags(**settings: Any) -> tuple[str, ...]:
    return tuple(f'--{name.replace("_", "-")}={value}' for name, value in settings.items())


TAKE_COVER = Script(
    'doom_take_cover',
    _flags(
        settings='trial',
        episodes=6,
        held_out=0.25,
        min_length=40,
        vision_batch=64,
        vision_epochs=0.5,
        latent_size=4,
        hidden_size=8,
        model_batch=2,
        window=25,
        model_epochs=2,
        population=4,
        dreams=2,
        generations=3,
        evaluate_every=3,
        evaluate_episodes=1,
        max_steps=30,
        test_episodes=2,
        rounds=1,
        round_episodes=2,
        round_epochs=1,
        round_generations=1,
        workers=2,
    ),
)
SMOKE = tuple(
    Script(name, ('--preset=smoke',))
    for name in (
        'cma_es_schaffer',
        'mdn_toy',
        'running_statistics',
        'ppo_check',
        'addition',
        'dnc_tasks',
        'key_corridor',
        'pixelcopter_rnd',
        'grid_navigation',
        'pendulum_swing_up',
        'pommerman',
        'dsprites_memory',
        'car_racing',
        'key_order',
    )
)
SCRIPTS = {script.name: script for script in (TAKE_COVER, *SMOKE)}
