"""Two nodes, one of which is lost or comes late: the same numbers as two processes."""

import contextlib
import functools
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from cluster_case import NoiseGame, first_ray, ray_environment

from chainer_wm.agents.controller import LinearController
from chainer_wm.agents.policies import HeldRandom
from chainer_wm.agents.world_model import WorldModelAgent
from chainer_wm.dream.simulator import Dream
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.play import evaluation
from chainer_wm.play.cluster import Cluster
from chainer_wm.play.collection import collect
from chainer_wm.rollouts import RolloutStore
from chainer_wm.training import evolution

pytestmark = pytest.mark.slow  # every test starts a node, and waits until a lost one is missed

FEATURES = ('z', 'h')
PATIENCE = 300.0  # seconds for a node to come; the machine may be busy
NODE = 'NODE_OF_THE_TESTS'  # an environment variable: which of the nodes a process belongs to


class Node:
    """A Ray node in processes of this machine, in a session of their own."""

    def __init__(self, name, *where):
        self._command = [
            *(sys.executable, '-m', 'ray.scripts.scripts', 'start', '--block', *where),
            *('--num-cpus', '1', '--object-store-memory', str(100 * 2**20)),
            *('--node-ip-address', '127.0.0.1', '--disable-usage-stats'),
        ]
        self._name = name
        self._start()

    def _start(self):
        self._process = subprocess.Popen(
            self._command,
            env={**os.environ, NODE: self._name},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def start_again(self):
        """If it has given up: Ray grants a node 30 s to begin, too few on a busy machine."""
        # not waited for yet: so its number still is nobody else's
        if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            self.kill()
            self._start()

    def kill(self):
        """SIGKILL for all of its processes at once: a machine without power."""
        for entry in pathlib.Path('/proc').glob('[0-9]*'):
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(int(entry.name)) == self._process.pid:
                    os.kill(int(entry.name), signal.SIGKILL)
        self._process.wait()


class Nodes:
    """The first node, to which this process belongs, and one more at a time."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = str(free.getsockname()[1])
        self.address = f'127.0.0.1:{port}'
        self._head = Node('first', '--head', '--port', port, '--include-dashboard', 'false')
        self._second = None

    def add(self):
        self._second = Node('second', '--address', self.address)

    def lose(self):
        if self._second:
            self._second.kill()
            self._second = None

    def joined(self, ray):
        """Whether this process belongs to the first node."""
        self._head.start_again()
        with contextlib.suppress(ConnectionError):
            ray.init(address=self.address, log_to_driver=False, logging_level='error')
        return ray.is_initialized()

    def second_began(self, stage):
        """Whether the second node has begun its last unit."""
        self._second.start_again()
        return stage.enough()

    def close(self):
        self.lose()
        self._head.kill()


def until(what, true):
    """Wait for something."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < PATIENCE, f'waited {PATIENCE} s for {what}'
        time.sleep(0.05)


@pytest.fixture(scope='module')
def nodes():
    ray = first_ray(__name__)
    with pytest.MonkeyPatch.context() as patch:
        ray_environment(patch)
        made = Nodes()
        try:
            until('the first node', functools.partial(made.joined, ray))
            yield made
            ray.shutdown()
        finally:
            made.close()


@contextlib.contextmanager
def meanwhile(action, *arguments):
    """Do something beside the body; what goes wrong there goes wrong here."""
    wrong = []

    def do():
        try:
            action(*arguments)
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=do)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not wrong, wrong


class Stage:
    """A folder in which players on two nodes say what they begin, and wait for each other.

    The first node plays nothing until the second has begun more than ``most`` units; the second
    does not end the last of them: it is lost in the middle of it.
    """

    def __init__(self, folder, most):
        self.folder, self.most = folder, most

    def count(self, node):
        return len(list(self.folder.glob(f'{node}-*')))

    def enough(self):
        return self.count('second') > self.most

    def begin(self):
        """Said by a player, before each of its units."""
        node = os.environ.get(NODE)
        (self.folder / f'{node}-{os.getpid()}-{time.monotonic_ns()}').touch()
        if node == 'first':
            until('the second node', self.enough)
        elif self.enough():
            time.sleep(2 * PATIENCE)


class Game(NoiseGame):
    """Says when an episode begins."""

    def __init__(self, stage=None):
        self._stage = stage

    def reset(self, *, seed=None, options=None):
        if self._stage:
            self._stage.begin()
        return super().reset(seed=seed)


def agent():
    controller = LinearController(8, 1, bias=False)
    controller.set_theta(np.linspace(-1, 1, 8))
    return WorldModelAgent(ConvVAE(4), MDNRNN(4, 1, 4), controller, FEATURES)


CANDIDATES = np.random.default_rng(5).normal(size=(9, 8))


def collected(workers, stage, folder):
    """Bytes of the episodes, their lines in the list, and how many there are of each."""
    store = RolloutStore(folder)
    game = functools.partial(Game, stage)
    collect(store, game, HeldRandom, 6, seed=3, workers=workers, progress=False)
    data = {path.name: path.read_bytes() for path in store.path.glob('episodes/*')}
    lines = (store.path / 'episodes.jsonl').read_text().splitlines()
    assert store.episodes == list(range(6)) and len(data) == len(lines) == 6
    return data, [store.entry(n) for n in range(6)]


def evaluated(workers, stage, folder):
    game = functools.partial(Game, stage)
    return evaluation.evaluate(game, {'agent': agent}, 70, seed=1, workers=workers)['agent']


def searched(workers, stage, folder):
    game = functools.partial(Game, stage)
    with evolution.InGame(game, agent, 8, seed=3, workers=workers) as fitness:
        return [fitness(CANDIDATES, generation, lambda text: None) for generation in (0, 1)]


class Act:
    """A controller that says when it acts."""

    def __init__(self, stage):
        self._stage = stage

    def __call__(self, features, theta):
        if self._stage:
            self._stage.begin()
        return LinearController(8, 1, bias=False).act(features, theta)


def dreamt(workers, stage, folder):
    starts = np.random.default_rng(2).normal(size=(2, 7, 4))
    dream = Dream(MDNRNN(4, 1, 4, predict_done=True), starts, max_steps=20)
    options = dict(episodes=5, seed=3, features=FEATURES, shard=1, workers=workers)
    with evolution.InShards(dream, Act(stage), **options) as fitness:
        return [fitness(CANDIDATES, generation, lambda text: None) for generation in (0, 1)]


def come_and_go(nodes, stage):
    """The second node joins once the first has begun, and is lost in the middle of a unit."""
    until('the first node', lambda: stage.count('first') > 0)
    nodes.add()
    until('the second node', functools.partial(nodes.second_began, stage))
    nodes.lose()


#: What is done, and how many units (episodes, or steps of a dream) the second node begins and ends
#: before it is lost in the next one: more than its first task has.
STAGES = {
    'collection': (collected, 2),
    'evaluation': (evaluated, 30),
    'evolution in the game': (searched, 17),
    'evolution in the dream': (dreamt, 30),
}


@pytest.mark.parametrize('stage', STAGES)
def test_a_node_that_comes_late_and_is_lost_changes_nothing(nodes, stage, tmp_path):
    do, most = STAGES[stage]
    (tmp_path / 'said').mkdir()
    said = Stage(tmp_path / 'said', most)
    with meanwhile(come_and_go, nodes, said):
        found = do(Cluster(nodes.address), said, tmp_path / 'ray')
    assert said.count('second') == most + 1, 'it was used, and lost'
    np.testing.assert_equal(found, do(2, None, tmp_path / 'processes'))
