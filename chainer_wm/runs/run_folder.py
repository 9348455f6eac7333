"""The run's folder: settings, stages done, log and results.

``data/<experiment>/<run>/`` holds all that a run reads and writes: ``config.json``,
``stages.json``, ``log.jsonl``, ``results.json`` and a folder per stage.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import platform
import subprocess
import time
import weakref
from collections.abc import Collection, Iterator, Mapping
from importlib import metadata
from typing import Any

from chainer_wm import files

_FOREIGN = {'preset', 'format', 'generations', 'collect'}  # what other files of a run begin with
_RESULTS = {'experiment': str, 'run': str, 'config': dict, 'seed': int, 'commits': list}


class RunError(files.FileError):
    """A run's folder does not fit what is asked of it."""


class SavedRun:
    """A run's folder, to be read.

    Args:
        folder: where it is.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = pathlib.Path(folder)

    def path(self, *parts: str) -> pathlib.Path:
        """A path inside the run's folder."""
        return self.folder.joinpath(*parts)

    def done(self, stage: str) -> bool:
        """Whether ``stage`` is complete."""
        return bool(self._stage_table().get(stage, {}).get('done'))

    def seconds(self) -> dict[str, float]:
        """Wall seconds of every stage, interrupted attempts included."""
        return {stage: row['seconds'] for stage, row in self._stage_table().items()}

    def results(self) -> dict[str, Any]:
        """What ``results.json`` holds; empty before the first result."""
        path = self.path('results.json')
        found = files.read_json(path) if path.exists() else {}
        files.expect(path, found, {name: kind for name, kind in _RESULTS.items() if name in found})
        foreign = found.keys() & _FOREIGN
        if foreign and 'experiment' not in found:
            raise files.FileError(f'{path} has {min(foreign)}: is it a copy of another file?')
        return found

    def _stage_table(self) -> dict[str, dict]:
        path = self.path('stages.json')
        table = files.read_json(path) if path.exists() else {}
        for stage in table:
            files.expect(path, table, {stage: dict})
            files.expect(path, table[stage], {'done': bool, 'seconds': (int, float)})
        return table


class Run(SavedRun):
    """One run's folder, held by one process at a time.

    What killed processes left half written in it is removed.

    Args:
        folder: made if it is not there.
        config: the run's settings, as plain values.
        free: names of settings that change no number (devices, workers) and may differ from one
            start to the next.
        extensions: ``{setting: stage}``, the budgets that may be changed later; that stage and the
            ones after it then go on.
        stages: all stages in order.
        defaults: of settings that a folder made before they came in lacks,
            as JSON has them.
        idle: names of settings that a folder may have beyond ``config``, because they do nothing.

    Raises:
        RunError: the folder was made with other settings (names each with
            both values) or with settings that there are none of, or another process works on it.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        config: dict[str, Any],
        free: tuple[str, ...] = (),
        extensions: dict[str, str] | None = None,
        stages: tuple[str, ...] = (),
        defaults: Mapping[str, Any] | None = None,
        idle: Collection[str] = (),
    ):
        super().__init__(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._release = weakref.finalize(self, os.close, _lock(self.folder))
        self.stages = stages
        self._timer: tuple[str, float, float] | None = None
        self._refuse_unknown(config, idle)
        self._reopen_changed(config, free, extensions or {}, defaults or {})
        self.config = config
        files.write_json(self.path('config.json'), config)
        files.remove_unfinished(self.folder)

    def close(self) -> None:
        """Let another process work on this run."""
        self._release()

    @contextlib.contextmanager
    def working_on(self, stage: str) -> Iterator[None]:
        """Count the stage's wall time; mark it done when the block ends."""
        spent = self._stage_table().get(stage, {}).get('seconds', 0.0)
        self._timer = (stage, spent, time.monotonic())
        self.log(event='start', stage=stage)
        try:
            yield
        except BaseException:
            self._note_time(done=False)
            raise
        self._note_time(done=True)
        self.log(event='done', stage=stage, seconds=self.seconds()[stage])
        self._timer = None

    def tick(self) -> None:
        """Note the stage's wall time so far: a killed run loses little."""
        self._note_time(done=False)

    def log(self, **values: Any) -> None:
        """Append one line to ``log.jsonl``."""
        line = json.dumps({'time': round(time.time(), 3), **values}, default=files.to_plain)
        with open(self.path('log.jsonl'), 'a') as file:
            file.write(line + '\n')

    def add_results(self, **values: Any) -> None:
        """Add to (or replace in) ``results.json``."""
        files.write_json(self.path('results.json'), {**self.results(), **values})

    def _note_time(self, done: bool) -> None:
        if self._timer is None:
            return
        stage, spent, start = self._timer
        table = self._stage_table()
        table[stage] = {'done': done, 'seconds': round(spent + time.monotonic() - start, 2)}
        files.write_json(self.path('stages.json'), table)

    def _refuse_unknown(self, config: dict, idle: Collection[str]) -> None:
        path = self.path('config.json')
        old = files.read_json(path) if path.exists() else {}
        gone = [f'{name} = {old[name]!r}' for name in old if name not in {*config, *idle}]
        if gone:
            raise RunError(
                f'{path} has {"; ".join(gone)}, which this script does not have: '
                'was the run made by another version of it? Give another --run'
            )

    def _reopen_changed(
        self,
        config: dict,
        free: tuple[str, ...],
        extensions: dict[str, str],
        defaults: Mapping[str, Any],
    ) -> None:
        path = self.path('config.json')
        if not path.exists():
            return
        old = {**defaults, **files.read_json(path)}
        new = json.loads(json.dumps(config, default=files.to_plain))
        changed = [name for name in new if name not in free and old.get(name) != new[name]]
        fixed = [name for name in changed if name not in extensions]
        if fixed:
            said = '; '.join(f'{name} was {old.get(name)!r}, now {new[name]!r}' for name in fixed)
            raise RunError(
                f'{self.folder} was made with other settings ({said}): give '
                'another --run, or repeat the old settings to resume it'
            )
        for name in changed:
            self._forget_from(extensions[name])

    def _forget_from(self, stage: str) -> None:
        table = self._stage_table()
        for later in self.stages[self.stages.index(stage) :]:
            if later in table:
                table[later]['done'] = False
        files.write_json(self.path('stages.json'), table)


def _lock(folder: pathlib.Path) -> int:
    descriptor = os.open(folder / '.lock', os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 20).decode() or 'unknown'
        os.close(descriptor)
        raise RunError(
            f'{folder} is in use by process {holder}: wait for it, stop it, or give another --run'
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python, the named packages, and this project's own."""
    names = ('numpy', 'chainer', 'numba', 'gym', *packages)
    return {'python': platform.python_version(), **{name: _version(name) for name in names}}


def commit() -> str:
    """The commit of this project's files; '+' where they were changed."""
    git = ['git', '-C', str(pathlib.Path(__file__).parent)]
    try:
        said = subprocess.run(
            [*git, 'describe', '--always', '--abbrev=7', '--dirty=+'],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'
    return said.stdout.strip()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return 'not installed'
