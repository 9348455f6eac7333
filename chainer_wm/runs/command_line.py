"""The command line that every experiment shares, and its loop over stages."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import operator
import pathlib
import re
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chainer_wm import devices, files
from chainer_wm.devices import DeviceError
from chainer_wm.functions.non_finite import NonFiniteError
from chainer_wm.links.recurrent import CORES
from chainer_wm.play.cluster import Cluster, ClusterError
from chainer_wm.play.engines import Workers
from chainer_wm.play.workers import WorkerError
from chainer_wm.runs import run_folder
from chainer_wm.runs.checks import check, flag_of
from chainer_wm.training import data_parallel
from chainer_wm.training.data_parallel import CommunicatorError, Ranks

#: What a preset takes, in the words of --help.
PRESETS = {'smoke': 'minutes', 'laptop': 'hours on 2 cores', 'paper': 'what the paper ran'}
#: Flags of earlier versions that named folders of comparisons.
FOLDERS = ('summary', 'results', 'out')


def opt(
    default: Any,
    help: str | None,
    choices: Sequence[str] | None = None,
    free: bool = False,
    extends: str | None = None,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> Any:
    """A Config field: its default, one line of help, and how it may change.

    A number is finite, and positive unless a lower bound says otherwise.

    Args:
        help: None if it is no flag: the script itself decides it.
        choices: of a text, or of each in a tuple.
        free: changes no number, so it may differ between two starts of a run.
        extends: a budget of this stage: changing it makes the stage go on.
        least, above, most, below: bounds of a number, or of each in a tuple; ``least`` and
            ``most`` may be met.
    """
    if least is None and above is None:
        above = 0
    metadata = {
        'help': help,
        'choices': choices,
        'free': free,
        'extends': extends,
        'bounds': {
            'at least': (least, operator.ge),
            'above': (above, operator.gt),
            'at most': (most, operator.le),
            'below': (below, operator.lt),
        },
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class CommonConfig:
    """What every experiment's command line offers.

    A script's ``Config`` derives from those of the classes below whose flags act in it.
    """

    preset: str = opt('smoke', 'a set of settings')
    run: str = opt('', 'name of the run folder (default: after the preset and what else matters)')
    stages: str = opt('all', 'comma-separated stages to run', free=True)
    seed: int = opt(0, 'root of every random stream', least=0)
    data: str = opt('data', 'folder of caches and runs', free=True)

    def default_run(self) -> str:
        """The name of a run that was given none."""
        return self.preset


@dataclasses.dataclass(frozen=True)
class DeviceConfig(CommonConfig):
    """Where networks are, and in which precision."""

    device: str = opt('@numpy', '@numpy or @cupy:0', free=True)
    dtype: str = opt('float32', 'floating point of all networks', ('float32', 'float64'))


@dataclasses.dataclass(frozen=True)
class TrainingConfig(DeviceConfig):
    """For scripts that train by gradients."""

    debug: bool = opt(False, 'stop at the first non-finite value', free=True)


@dataclasses.dataclass(frozen=True)
class ParallelConfig(TrainingConfig):
    """For scripts whose V and M may be trained by several processes, under ``mpiexec``."""

    communicator: str = opt(
        '',
        "ChainerMN's, under mpiexec -n N: N processes train V and M together",
        ('', *data_parallel.COMMUNICATORS),
        free=True,
    )

    @property
    def ranks(self) -> Ranks:
        """Who trains: this process, or those of its MPI job."""
        return data_parallel.join(self.communicator, self.device)


@dataclasses.dataclass(frozen=True)
class WorkersConfig(CommonConfig):
    """For scripts that play games in processes of their own."""

    workers: int = opt(2, 'processes that play games', free=True, least=0)
    cluster: str = opt(
        '', 'Ray cluster that plays them instead: auto, HOST:PORT of its head, or local', free=True
    )

    @property
    def pool(self) -> Workers:
        """Who plays: so many processes, or a cluster."""
        return Cluster(self.cluster) if self.cluster else self.workers


@dataclasses.dataclass(frozen=True)
class DreamingConfig(CommonConfig):
    """For scripts whose controller may be evolved in M's dream."""

    dream_dropout: float = opt(
        0.0, 'rate at which M loses z and h, other ones in every dream', least=0, below=1
    )
    # sums of another number of lanes round otherwise: it is a setting
    dream_shard: int = opt(
        0, 'candidates that a worker dreams together; 0: all of them, in this process', least=0
    )


@dataclasses.dataclass(frozen=True)
class MemoryConfig(CommonConfig):
    """The recurrent core: an LSTM, or a DNC and its sizes."""

    model: str = opt('lstm', 'recurrent core', CORES)
    memory_length: int = opt(16, 'DNC: memory slots N')
    memory_width: int = opt(16, 'DNC: numbers per slot W')
    read_heads: int = opt(4, 'DNC: read heads R')
    link_sparsity: int = opt(0, 'DNC: K of the sparse link, 0 for dense', least=0)

    def default_run(self) -> str:
        """The name of a run that was given none."""
        return f'{self.preset}-{self.model}'

    def core_options(self) -> dict[str, Any]:
        """For ``links.recurrent.make_core``: sizes of the DNC, {} for an LSTM."""
        if self.model != 'dnc':
            return {}
        return {
            'memory_length': self.memory_length,
            'memory_width': self.memory_width,
            'read_heads': self.read_heads,
            'link_sparsity': self.link_sparsity or None,
        }


def parse(
    config_class: type,
    presets: Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping],
    experiment: str,
    argv: Sequence[str] | None = None,
) -> Any:
    """Read the command line into a ``config_class``.

    Flags win over the settings of an existing run of that name, which win
    over the preset's, which win over the defaults.

    Args:
        presets: by name, those that the script offers; or what gives them, from the settings that
            win over them.

    Raises:
        RunError: a setting with which a stage would fail, see ``check``.
    """
    offered = tuple(presets({}) if callable(presets) else presets)
    given = _read_flags(config_class, offered, argv)
    chosen = {**_saved_config(config_class, given, experiment), **given}
    preset = chosen.setdefault('preset', 'smoke')
    named = presets(chosen) if callable(presets) else presets
    config = config_class(**{**named[preset], **chosen})
    if not config.run:
        config = dataclasses.replace(config, run=config.default_run())
    check(config)
    return config


def _read_flags(config_class: type, presets: tuple[str, ...], argv: Sequence[str] | None) -> dict:
    summary = (config_class.__doc__ or '').strip().splitlines()[0]
    parser = argparse.ArgumentParser(description=summary, argument_default=argparse.SUPPRESS)
    kinds = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        if field.name == 'preset':
            text = ', '.join(f'{name}: {PRESETS.get(name, name)}' for name in presets)
            parser.add_argument('--preset', choices=presets, help=f'{text} (default: smoke)')
        elif field.metadata['help'] is not None:
            _add_flag(parser, field, kinds[field.name])
    return vars(parser.parse_args(argv))


def _add_flag(parser: argparse.ArgumentParser, field: dataclasses.Field, kind: Any) -> None:
    flag = flag_of(field)
    text = f'{field.metadata["help"]} (default: {field.default!r})'
    if kind is bool:
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
    elif typing.get_origin(kind) is tuple:
        parser.add_argument(
            flag,
            type=typing.get_args(kind)[0],
            nargs='+',
            action=_AsTuple,
            help=text,
            choices=field.metadata['choices'],
        )
    else:
        parser.add_argument(flag, type=kind, help=text, choices=field.metadata['choices'])


def defaults(config_class: type) -> dict[str, Any]:
    """The defaults as config.json has them.

    A setting that came in after a run has its default, which changes nothing.
    """
    return {
        field.name: list(field.default) if isinstance(field.default, tuple) else field.default
        for field in dataclasses.fields(config_class)
    }


class _AsTuple(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, tuple(values))


def _saved_config(config_class: type, given: dict, experiment: str) -> dict:
    folder = pathlib.Path(given.get('data', 'data'), experiment, given.get('run', ''))
    path = folder / 'config.json'
    if not given.get('run') or not path.exists():
        return {}
    free = {field.name for field in dataclasses.fields(config_class) if field.metadata['free']}
    saved = dataclasses.asdict(config_of(config_class, files.read_json(path)))
    return {name: value for name, value in saved.items() if name not in free}


def config_of(config_class: type, saved: Mapping[str, Any]) -> Any:
    """A Config of what config.json holds; of a setting that is not there, the default."""
    known = {field.name for field in dataclasses.fields(config_class)}
    return config_class(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in saved.items()
            if name in known
        }
    )


def open_run(config: Any, experiment: str, stages: Sequence[str]) -> run_folder.Run:
    """The run's folder, made or resumed, with its settings checked."""
    fields = dataclasses.fields(config)
    return run_folder.Run(
        pathlib.Path(config.data, experiment, config.run),
        dataclasses.asdict(config),
        free=tuple(f.name for f in fields if f.metadata['free']),
        extensions={f.name: f.metadata['extends'] for f in fields if f.metadata['extends']},
        idle=_idle(),
        stages=tuple(stages),
        defaults=defaults(type(config)),
    )


def _idle() -> frozenset[str]:
    """Settings that do nothing in the scripts that do not offer them."""
    kinds = (ParallelConfig, WorkersConfig, MemoryConfig)
    return frozenset(FOLDERS).union(f.name for kind in kinds for f in dataclasses.fields(kind))


Stage = Callable[[Any, run_folder.Run], None]


def run_stages(
    config: Any, experiment: str, stages: Mapping[str, Stage], packages: Sequence[str] = ()
) -> run_folder.Run:
    """Run the stages asked for, in order, skipping those already complete.

    Under ``--communicator`` the first rank runs them; the others train with it, and leave.

    ``results.json`` says what was run, at which commits, with which versions (those of
    ``packages`` too) and how long each stage took, beside what they add.
    """
    wanted = _wanted(config.stages, tuple(stages))
    if isinstance(config, DeviceConfig):
        devices.use(config.device, config.dtype)
    ranks = config.ranks if isinstance(config, ParallelConfig) else data_parallel.ALONE
    if not ranks.leads:
        ranks.follow()
        sys.exit()
    commit = run_folder.commit()
    run = open_run(config, experiment, tuple(stages))
    core = f', model {config.model}' if hasattr(config, 'model') else ''
    print(
        f'{experiment}: run {config.run} in {run.folder} '
        f'(preset {config.preset}{core}, seed {config.seed})'
    )
    run.add_results(
        experiment=experiment,
        run=config.run,
        config=dataclasses.asdict(config),
        seed=config.seed,
        versions=run_folder.versions(*packages),
    )
    for name, stage in stages.items():
        if name not in wanted:
            continue
        if run.done(name):
            print(f'{name}: complete, skipped')
            continue
        with run.working_on(name):
            stage(config, run)
        print(f'{name}: done in {run.seconds()[name]:.0f} s')
        commits = dict.fromkeys([*run.results().get('commits', []), commit])
        run.add_results(seconds=run.seconds(), commits=list(commits))
    ranks.dismiss()
    return run


def _wanted(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    if text == 'all':
        return known
    wanted = tuple(part.strip() for part in text.split(',') if part.strip())
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise SystemExit(
            f'--stages {text}: {", ".join(unknown) or "nothing"} '
            f'is not a stage; choose from {", ".join(known)}'
        )
    return wanted


EXPECTED = (
    *(files.FileError, DeviceError, NonFiniteError, FileNotFoundError),
    *(ClusterError, CommunicatorError),
)
#: What a disk says: it is full, or does not let one write.
_DISK = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
)
_REPEAT = ': make room or give the rights, then repeat the command'


def main(script: Callable[[], Any]) -> None:
    """Run an experiment; expected errors are one line, not a traceback."""
    try:
        script()
    except EXPECTED as error:
        data_parallel.stop(f'error: {error}')
    except OSError as error:
        if error.errno not in _DISK:
            raise
        data_parallel.stop(f'error: {error}{_REPEAT}')
    except WorkerError as error:  # its text ends with what the worker raised
        last = str(error).strip().splitlines()[-1]
        said = re.search(r'Error: (\[Errno (\d+)\].*)', last)
        if said is None or int(said[2]) not in _DISK:
            raise
        data_parallel.stop(f'error: {said[1]}{_REPEAT}')
    except KeyboardInterrupt:
        data_parallel.stop('\ninterrupted: repeat the command to go on from here')
