"""What the short experiments share: their settings and where they write."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from typing import Any

from chainer_wm import files
from chainer_wm.runs import run_folder
from chainer_wm.runs.command_line import opt


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    """The command line of every toy."""

    preset: str = opt('smoke', 'smoke: seconds, laptop: as published', ('smoke', 'laptop'))
    run: str = opt('', 'name of the run folder (default: the preset)')
    seed: int = opt(0, 'root of every random stream', least=0)
    data: str = opt('data', 'folder of caches and runs', free=True)


class ToyRun:
    """``DATA/NAME/RUN/``: config.json, figures and results.json.

    Args:
        name: of the experiment.
        config: a ToyConfig. A run of the same name is written over.
    """

    def __init__(self, name: str, config: ToyConfig):
        self.name, self.config = name, dataclasses.asdict(config)
        self.folder = pathlib.Path(config.data, name, config.run)
        self._start = time.monotonic()
        files.write_json(self.folder / 'config.json', self.config)

    def figure(self, file_name: str) -> pathlib.Path:
        """Where a figure goes; says so."""
        path = self.folder / 'figures' / file_name
        print(f'figure: {path}')
        return path

    def finish(self, **results: Any) -> None:
        """Write results.json with the settings and versions, and say so."""
        path = self.folder / 'results.json'
        seconds = round(time.monotonic() - self._start, 2)
        files.write_json(
            path,
            {
                'experiment': self.name,
                'run': self.config['run'],
                'config': self.config,
                'seed': self.config['seed'],
                'versions': run_folder.versions('matplotlib'),
                'seconds': {'all': seconds},
                **results,
            },
        )
        print(f'results: {path} ({seconds:.1f} s)')
