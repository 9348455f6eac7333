"""Several processes train one network: ChainerMN, ``mpiexec -n N python SCRIPT --communicator``.

Every rank has the whole network and a share of every batch; gradients are averaged, and all take
the same step. What a batch is, and its noise, do not depend on the number of ranks, so N of them
give the update of one to rounding. A loss is a mean over what is known (steps that another one
follows, rewards), of which ranks may have different numbers: each weighs its own, see ``scale``.

The first rank runs the script, writes all files and reads its share of the cache as the others do;
these wait for the trainings that it begins (``together``, ``follow``). An error on one rank ends
all.

MPI and ChainerMN are imported here alone, and only when a communicator is asked for.
"""

from __future__ import annotations

import functools
import inspect
import os
import pathlib
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, ParamSpec, TypeVar

import chainer
import numpy as np

from chainer_wm import devices

#: Of ChainerMN: 'naive' averages on the CPU or a GPU through MPI, 'pure_nccl' between GPUs.
COMMUNICATORS = ('naive', 'pure_nccl')
_WAIT = 0.02  # seconds between looks for a training to take part in
P = ParamSpec('P')
R = TypeVar('R')


class CommunicatorError(RuntimeError):
    """There is no MPI, no ChainerMN or no NCCL for the communicator that was asked for."""


class Ranks:
    """One process that trains alone: the interface, and what it does by default.

    Attributes:
        rank, size: which one of how many this process is.
    """

    rank = 0
    size = 1

    @property
    def leads(self) -> bool:
        """Whether this is the first rank: it writes files and shows progress."""
        return self.rank == 0

    def lanes(self, count: int) -> slice:
        """The share of this rank in ``count`` things side by side."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def check_lanes(self, count: int, name: str) -> None:
        """See that each rank has a share.

        Raises:
            ValueError: there are more ranks.
        """
        if count < self.size:
            raise ValueError(
                f'{name} is {count}, too small for {self.size} ranks: give a larger one, or fewer '
                'ranks'
            )

    def first(self, function: Callable[[], R]) -> R:
        """What ``function`` gives on the first rank, on all."""
        return function()

    def gather(self, value: Any) -> list[Any]:
        """A value of every rank, in order, on all."""
        return [value]

    def exchange(self, values: Sequence[Any]) -> list[Any]:
        """A value for every rank; returns those of all for this one."""
        return list(values)

    def scale(self, counts: Sequence[int]) -> list[float]:
        """By what means over so many things here must be multiplied.

        The average over the ranks is then the mean over the things of all.
        """
        mine, total = np.array(counts, float), np.sum(self.gather(list(counts)), axis=0)
        return (self.size * mine / np.maximum(total, 1)).tolist()

    def average(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Means over the ranks of what each reports; what one lacks is 0 there."""
        return dict(values)

    def mean_gradients(self, link: chainer.Link) -> None:
        """Let every rank have the average of the gradients."""

    def begin(self, function: Callable, args: tuple, options: dict[str, Any]) -> None:
        """Have the other ranks call ``function``, too."""

    def dismiss(self) -> None:
        """The other ranks may leave: no training is to come."""

    def follow(self) -> None:
        """Take part in every training that the first rank begins, until it dismisses all."""


ALONE = Ranks()


class MPIRanks(Ranks):
    """The ranks of an MPI job.

    Args:
        communicator: of ChainerMN.
        device: where networks of this rank are.
    """

    def __init__(self, communicator: Any, device: chainer.backend.Device) -> None:
        self._communicator, self._device = communicator, device
        self._mpi = communicator.mpi_comm
        self.rank, self.size = communicator.rank, communicator.size

    def first(self, function: Callable[[], R]) -> R:
        return self._mpi.bcast(function() if self.leads else None)

    def gather(self, value: Any) -> list[Any]:
        return self._mpi.allgather(value)

    def exchange(self, values: Sequence[Any]) -> list[Any]:
        return self._mpi.alltoall(list(values))

    def average(self, values: Mapping[str, Any]) -> dict[str, Any]:
        mine = {
            name: float(devices.to_cpu(value)) if hasattr(value, 'dtype') else float(value)
            for name, value in values.items()
        }
        every = self.gather(mine)
        names = dict.fromkeys(name for one in every for name in one)
        return {name: sum(one.get(name, 0.0) for one in every) / self.size for name in names}

    def mean_gradients(self, link: chainer.Link) -> None:
        for parameter in link.params():
            if parameter.grad is not None:  # ChainerMN averages a copy of what is not contiguous
                parameter.grad = parameter.xp.ascontiguousarray(parameter.grad)
        self._communicator.multi_node_mean_grad(link, zero_fill=True)

    def begin(self, function: Callable, args: tuple, options: dict[str, Any]) -> None:
        packed = [_pack(value) for value in args], {k: _pack(v) for k, v in options.items()}
        for rank in range(1, self.size):
            self._mpi.send((function, *packed), rank)

    def dismiss(self) -> None:
        for rank in range(1, self.size) if self.leads else ():
            self._mpi.send(None, rank)

    def follow(self) -> None:
        while True:
            while not self._mpi.iprobe(0):
                time.sleep(_WAIT)  # a receive would keep a core busy
            task = self._mpi.recv(source=0)
            if task is None:
                return
            function, args, options = task
            options = {name: self._unpack(value) for name, value in options.items()}
            function(*map(self._unpack, args), **options, ranks=self)

    def _unpack(self, value: Any) -> Any:
        return value.unpack(self._device) if isinstance(value, _Packed) else value


class _Packed:
    """A link on its way to another rank."""

    def __init__(self, link: Any) -> None:
        serializer = chainer.serializers.DictionarySerializer()
        serializer.save(link)
        self.kind, self.config, self.arrays = type(link), link.config, serializer.target

    def unpack(self, device: chainer.backend.Device) -> chainer.Link:
        link = self.kind(**self.config)
        chainer.serializers.NpzDeserializer(self.arrays).load(link)
        link.to_device(device)
        return link


def _pack(value: Any) -> Any:
    return _Packed(value) if isinstance(value, chainer.Link) else value


def together(train: Callable[P, R]) -> Callable[P, R]:
    """A training that takes ``ranks``: all of them are called with the first one's arguments.

    Links travel with their weights. ``tick`` and files are the first rank's alone.
    """
    signature = inspect.signature(train)

    @functools.wraps(train)
    def call(*args: P.args, **options: P.kwargs) -> R:
        ranks: Any = options.get('ranks', ALONE)
        if ranks.leads and ranks.size > 1:
            signature.bind(*args, **options)
            sent = {k: v for k, v in options.items() if k not in ('ranks', 'tick')}
            ranks.begin(call, args, sent)
        return train(*args, **options)

    return call


def scaled(loss: chainer.Variable, scale: float) -> chainer.Variable:
    """The loss times its rank's scale, like all that was reported with it."""
    seen = chainer.reporter.get_current_reporter().observation
    for name, value in seen.items():
        seen[name] = value * scale
    return loss * scale


class SharedSaves:
    """Saves of a loop that all ranks run: the first one writes, all go on from the same.

    A save holds the state of all lanes, as one process would write it: another number of ranks
    may go on.

    Args:
        saves: of the first rank.
    """

    def __init__(self, saves: Any, ranks: Ranks) -> None:
        self._saves, self._ranks = saves, ranks

    def paths(self) -> list[pathlib.Path]:
        return self._saves.paths()

    def save(self, trainer: Any) -> None:
        steps = trainer.updater
        own = steps.state
        steps.state = self._whole(own)
        if self._ranks.leads:
            self._saves.save(trainer)
        steps.state = own

    def resume(self, trainer: Any, usable: Callable[[int], bool]) -> pathlib.Path | None:
        steps = trainer.updater
        steps.state = self._whole(steps.state)
        path = self._ranks.first(lambda: self._saves.resume(trainer, usable))
        if path is not None and not self._ranks.leads:
            chainer.serializers.load_npz(os.fspath(path), trainer)
        if steps.state is not None:
            lanes = self._ranks.lanes(len(steps.state[0]))
            steps.state = type(steps.state)(*(field[lanes] for field in steps.state))
        return path

    def _whole(self, state: Any) -> Any:
        """The state of all lanes, on the device that it is on here."""
        if state is None:
            return None
        device = chainer.backend.get_device_from_array(state[0])
        every = self._ranks.gather([devices.to_cpu(field) for field in state])
        return type(state)(*(device.send(np.concatenate(parts)) for parts in zip(*every)))


@functools.lru_cache(maxsize=1)
def join(communicator: str, device: str = '@numpy') -> Ranks:
    """This process's place in the MPI job; ``ALONE`` where no communicator is named.

    Args:
        communicator: one of ``COMMUNICATORS``, or ''.
        device: of the run. '@cupy:N' gives the ranks of one machine one GPU each, from N on.

    Raises:
        CommunicatorError: it is not to be had here.
    """
    if not communicator:
        return ALONE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            import chainermn
            import mpi4py.MPI  # noqa: F401
        made = chainermn.create_communicator(communicator)
    except (ImportError, RuntimeError) as error:
        raise CommunicatorError(
            f'--communicator {communicator} cannot be used here ({error}): the extra '
            "'parallel' brings MPI (EXTRAS=dev,parallel sh setup.sh)"
            + (', pure_nccl needs NCCL, too' if communicator == 'pure_nccl' else '')
        ) from error
    chainermn.global_except_hook.add_hook()
    if device != '@numpy':
        name, _, number = device.partition(':')
        device = f'{name}:{int(number) + made.intra_rank}'
    own = devices.get_device(device)
    own.use()
    return MPIRanks(made, own)


def stop(message: str) -> NoReturn:
    """End this process with one line, and so all ranks, if there are any."""
    if 'mpi4py.MPI' in sys.modules:
        print(message, file=sys.stderr, flush=True)
        sys.modules['mpi4py.MPI'].COMM_WORLD.Abort(1)
    sys.exit(message)
