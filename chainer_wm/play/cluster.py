"""A Ray cluster: who belongs to it, who may play, and whose turn it is.

Numbers are the same wherever they are computed only if the nodes are alike: versions, sources and
the processor's kernels are compared, and a node that differs is refused. A node that joins is used
as soon as there is work for it.

Ray is imported by the functions that need it: it is there only where a cluster is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

import llvmlite.binding

import dnc
from dnc import runtime

#: Distributions that must be the same on all nodes, games too; one may be absent from all.
PACKAGES = (
    *('ray', 'numpy', 'numba', 'chainer', 'gym'),
    *('vizdoom', 'envpool', 'box2d', 'pygame', 'pygame-ce'),
)
LOOK = 2.0  # seconds between looks for nodes that joined
_ANSWER = 120.0  # seconds that a node may take to tell its versions
_KERNELS = ('OPENBLAS_CORETYPE', 'NUMBA_CPU_NAME')


class ClusterError(RuntimeError):
    """The cluster cannot be used: no Ray, nobody at that address, or nodes that differ."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A Ray cluster, in the place of a number of processes.

    Attributes:
        address: ``auto`` for the one that this machine belongs to, ``HOST:PORT`` of its head, or
            ``local`` to start one here.
    """

    address: str

    def join(self) -> Nodes:
        """Connect, unless this process has, and compare the nodes.

        Raises:
            ClusterError: see there.
        """
        try:
            import ray
        except ImportError as error:
            raise ClusterError(
                f"--cluster {self.address} needs Ray, the extra 'cluster': "
                'EXTRAS=dev,cluster sh setup.sh'
            ) from error
        if not ray.is_initialized():
            options: dict[str, Any] = {'logging_level': 'warning', 'log_to_driver': False}
            if self.address == 'local':
                options['include_dashboard'] = False
            try:
                ray.init(address=self.address, **options)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise ClusterError(
                    f'--cluster {self.address}: no Ray cluster answers there ({error}); '
                    '`ray start --head` begins one'
                ) from error
        here = ray.get_runtime_context()
        return _nodes(here.gcs_address, here.get_job_id())


@functools.lru_cache(maxsize=1)
def _nodes(address: str, job: str) -> Nodes:
    nodes = Nodes()
    nodes.refresh(strict=True)
    print(nodes.table(), file=sys.stderr)
    return nodes


def versions() -> dict[str, str]:
    """What must be the same for the same numbers, on this machine."""
    found = {'python': platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = 'absent'
    found['sources'] = _sources()
    found['kernels'] = os.environ.get(_KERNELS[0], 'chosen by OpenBLAS')
    found['processor'] = os.environ.get(_KERNELS[1]) or llvmlite.binding.get_host_cpu_name()
    return found


def _sources() -> str:
    """A digest of this project's sources."""
    digest = hashlib.sha256()
    for package in (pathlib.Path(__file__).parents[1], pathlib.Path(dnc.__file__).parent):
        for path in sorted(package.rglob('*.py')):
            digest.update(f'{path.relative_to(package.parent)}\n'.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Texts such as ``numpy 1.26.4, here 1.26.3``; none where both are alike."""
    names = dict.fromkeys([*ours, *theirs])
    return [
        f'{name} {theirs.get(name, "unknown")}, here {ours.get(name, "unknown")}'
        for name in names
        if ours.get(name) != theirs.get(name)
    ]


@dataclasses.dataclass
class Node:
    """One machine of the cluster."""

    name: str
    cpus: int


class Pool(Protocol):
    """Workers on the nodes' CPUs."""

    @property
    def busy(self) -> bool:
        """A worker has a task in its hands."""
        ...

    def rest(self) -> None:
        """Leave the CPUs to others until there are tasks again."""
        ...


class Nodes:
    """The machines that play, all that are alive and like this one, and the pools on them."""

    def __init__(self) -> None:
        self.ours = versions()
        self.used: dict[str, Node] = {}
        self.refused: set[str] = set()
        self.pools: list[Pool] = []  # that are open, and share the CPUs
        self._asked: dict[str, Any] = {}  # answers to come, of nodes that joined
        self._looked = 0.0

    @property
    def cpus(self) -> int:
        """Of all nodes in use."""
        return sum(node.cpus for node in self.used.values())

    def refresh(self, strict: bool = False) -> None:
        """See who has joined, and who is gone; at most every few seconds.

        A node that joined is asked for its versions, and used or refused once it has answered.

        Args:
            strict: wait for the answers, and refuse by an exception, not by a line on stderr.
        """
        now = time.monotonic()
        if now - self._looked < LOOK and not strict:
            return
        self._looked = now
        alive = alive_nodes()
        for lost in self.used.keys() - alive.keys():
            print(f'node {self.used[lost].name} is lost, others do its tasks', file=sys.stderr)
        self.used = {key: node for key, node in self.used.items() if key in alive}
        self._asked = {key: answer for key, answer in self._asked.items() if key in alive}
        for key in alive:
            if key not in self.used and key not in self.refused and key not in self._asked:
                self._asked[key] = _ask(key)
        bad = []
        for key, wrong in self._answers(_ANSWER if strict else 0.0):
            if not wrong:
                self.used[key] = alive[key]
            else:
                self.refused.add(key)
                name = alive[key].name
                bad.append(f'node {name} is refused, its numbers could differ: {wrong}')
        if strict and (bad or self._asked):
            silent = [f'node {alive[key].name}: no answer in {_ANSWER} s' for key in self._asked]
            raise ClusterError('\n'.join(bad + silent))
        for line in bad:
            print(line, file=sys.stderr)

    def _answers(self, patience: float) -> list[tuple[str, str]]:
        """(Node, why it is refused, or ''), of those that answered."""
        import ray

        if not self._asked:
            return []
        asked = {answer: key for key, answer in self._asked.items()}
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=patience)
        found = []
        for answer in ready:
            del self._asked[asked[answer]]
            try:
                wrong = '; '.join(differences(self.ours, ray.get(answer)))
            except ray.exceptions.RayError as error:
                wrong = str(error).strip().splitlines()[-1]
            found.append((asked[answer], wrong))
        return found

    def take_over(self, pool: Pool) -> None:
        """Free the CPUs for one pool: the others rest.

        Raises:
            RuntimeError: another pool is in the middle of its tasks.
        """
        for other in self.pools:
            if other is pool:
                continue
            if other.busy:
                raise RuntimeError(
                    'another pool of this cluster is in the middle of its tasks: take all of its '
                    'results before the next pool begins'
                )
            other.rest()

    def table(self) -> str:
        """Nodes, CPUs and versions, for the terminal."""
        rows = [f'  {node.name}: {node.cpus} CPUs' for node in self.used.values()]
        alike = ', '.join(f'{k} {v}' for k, v in self.ours.items() if v != 'absent')
        return '\n'.join([f'cluster: {self}', *rows, f'  on each: {alike}'])

    def __str__(self) -> str:
        return f'{len(self.used)} node(s), {self.cpus} CPUs'


def alive_nodes() -> dict[str, Node]:
    """Nodes that have CPUs and are not known to be lost."""
    import ray

    found = {}
    for row in ray.nodes():
        cpus = int(row.get('Resources', {}).get('CPU', 0))
        if row['Alive'] and cpus:
            name = f'{row["NodeManagerHostname"]} ({row["NodeManagerAddress"]})'
            found[row['NodeID']] = Node(name, cpus)
    return found


def _ask(node: str) -> Any:
    """A node's ``versions``, to come."""
    import ray

    return ray.remote(num_cpus=0, max_retries=0, **on_node(node))(versions).remote()


def on_node(node: str) -> dict[str, Any]:
    """Options of a task or actor: on this node, with this process's environment for numbers."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    names = (*runtime.CHOICES, *_KERNELS)
    chosen = {name: os.environ[name] for name in names if name in os.environ}
    chosen.update(dict.fromkeys(runtime.SINGLE_THREAD, '1'))
    return {
        'scheduling_strategy': NodeAffinitySchedulingStrategy(node, soft=False),
        'runtime_env': {'env_vars': chosen},
    }
