"""The same tasks on Ray as in processes: same numbers, whoever dies."""

import functools
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
from cluster_case import NoiseGame, first_ray, ray_environment
from worker_case import first_time

from chainer_wm.agents.controller import LinearController
from chainer_wm.agents.policies import HeldRandom
from chainer_wm.agents.world_model import WorldModelAgent
from chainer_wm.dream.simulator import Dream, evaluate_population
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.play import cluster, evaluation, ray_pool
from chainer_wm.play.cluster import Cluster, ClusterError, differences, versions
from chainer_wm.play.collection import collect
from chainer_wm.play.engines import make_pool, run_tasks
from chainer_wm.play.workers import WorkerError
from chainer_wm.rollouts import RolloutStore
from chainer_wm.seeds import stream
from chainer_wm.training import evolution

FEATURES = ('z', 'h')


@pytest.fixture(scope='module')
def local():
    """A Ray of two CPUs in processes of this machine."""
    ray = first_ray(__name__)
    with pytest.MonkeyPatch.context() as patch:
        ray_environment(patch)
        ray.init(
            address='local',
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level='error',
            object_store_memory=100 * 2**20,
        )
        yield Cluster('local')
        ray.shutdown()


class Game(NoiseGame):
    """Kills the process of whoever plays it first."""

    def __init__(self, crash_file=None):
        self._crash_file = crash_file

    def step(self, action):
        if self._crash_file and first_time(self._crash_file):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


def agent(theta=None):
    model = MDNRNN(4, 1, 4)
    controller = LinearController(8, 1, bias=False)
    controller.set_theta(np.linspace(-1, 1, 8) if theta is None else theta)
    return WorldModelAgent(ConvVAE(4), model, controller, FEATURES)


def square(task):
    return task * task


def environment(task):
    import numba

    return os.environ.get('OPENBLAS_NUM_THREADS'), numba.get_num_threads()


def raise_once(folder, task):
    if first_time(pathlib.Path(folder, str(task))):
        raise OSError('the first time fails')
    return task


def raise_always(task):
    raise KeyError('the lost key')


def die(task):
    os.kill(os.getpid(), signal.SIGKILL)


class Elsewhere:
    """Cannot be read by whoever gets it."""

    def __reduce__(self):
        return not_here, ()

    def __call__(self, task):
        return task


def not_here():
    raise ModuleNotFoundError("No module named 'of_the_driver_alone'")


def broken_setup():
    raise RuntimeError('no such network file')


def hang_once(folder, task):
    if task == 1 and first_time(pathlib.Path(folder, 'hung')):
        time.sleep(60)
    return task


def bytes_of(store):
    return {path.name: path.read_bytes() for path in store.path.glob('episodes/*')}


def test_nobody_at_the_address():  # before the fixture starts a Ray, which would be found
    script = (
        'from chainer_wm.play.cluster import Cluster, ClusterError\n'
        'try:\n    Cluster("auto").join()\n'
        'except ClusterError as error:\n    print(error)\n'
    )
    env = {**os.environ, 'RAY_TMPDIR': '/nowhere'}
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, env=env)
    assert '--cluster auto' in done.stdout and done.returncode == 0, done.stderr


@pytest.mark.slow  # every pool starts processes
def test_every_task_is_answered_once_by_workers_of_one_thread(local):
    assert sorted(run_tasks(square, range(5), local)) == [(i, i * i) for i in range(5)]
    assert list(run_tasks(environment, [0], local)) == [(0, ('1', 1))]


@pytest.mark.slow  # every pool starts processes
def test_a_task_that_raises_is_repeated_once(local, tmp_path):
    task = functools.partial(raise_once, str(tmp_path))
    assert sorted(run_tasks(task, range(3), local)) == [(i, i) for i in range(3)]
    with pytest.raises(WorkerError, match='failed 2 time') as caught:
        list(run_tasks(raise_always, [7], local))
    assert 'the lost key' in str(caught.value) and 'test_cluster.py' in str(caught.value)


@pytest.mark.slow  # every pool starts processes
def test_what_cannot_be_set_up_or_dies_again_and_again_stops_the_run(local):
    with pytest.raises(WorkerError, match='no such network file'):
        list(run_tasks(square, [1], local, setup=broken_setup))
    with pytest.raises(WorkerError, match='of_the_driver_alone'):
        list(run_tasks(Elsewhere(), [1], local))
    with pytest.raises(WorkerError, match='failed 2 time.*its worker died'):
        list(run_tasks(die, [1], local, retries=1))


@pytest.mark.slow  # every pool starts processes
def test_a_task_that_is_late_is_given_to_another(local, tmp_path):
    task = functools.partial(hang_once, str(tmp_path))
    found = run_tasks(task, range(3), local, timeout=5.0)
    assert sorted(found) == [(i, i) for i in range(3)]


@pytest.mark.slow  # every pool starts processes
def test_a_pool_goes_on_after_a_batch_that_was_left(local):
    with make_pool(square, local, tasks_per_worker=2) as pool:
        next(pool.run(range(4)))
        assert sorted(pool.run(range(4))) == [(i, i * i) for i in range(4)]


@pytest.mark.slow  # every pool starts processes
def test_pools_take_turns_on_the_same_cpus(local):
    with make_pool(square, local) as search:
        for _ in range(2):
            assert sorted(search.run(range(3))) == [(i, i * i) for i in range(3)]
            assert sorted(run_tasks(abs, [-1, -2], local)) == [(0, 1), (1, 2)]
        half = search.run(range(4))
        next(half)
        with pytest.raises(RuntimeError, match='another pool of this cluster is in the middle'):
            next(run_tasks(abs, [-1], local))
        half.close()
    assert local.join().pools == []


@pytest.mark.slow  # every pool starts processes
def test_that_no_worker_starts_is_said_and_a_long_task_is_not_taken_for_it(
    local, monkeypatch, capfd
):
    import ray

    with make_pool(time.sleep, local) as pool:
        list(pool.run([0.0]))
        monkeypatch.setattr(ray_pool, '_PATIENCE', 1.0)
        list(pool.run([5.0]))
        assert 'no worker has started' not in capfd.readouterr().err
    holder = ray.remote(num_cpus=2)(NoiseGame).remote()
    threading.Timer(10.0, ray.kill, [holder]).start()
    assert list(run_tasks(square, [3], local)) == [(0, 9)]
    assert 'no worker has started' in capfd.readouterr().err


@pytest.mark.slow  # every pool starts processes
def test_collection_gives_the_same_bytes_and_an_actor_is_killed(local, tmp_path):
    stores = [RolloutStore(tmp_path / name) for name in ('processes', 'ray')]
    crash_file = tmp_path / 'crashed'
    options = dict(episodes=6, seed=3, min_length=3, progress=False)
    collect(stores[0], Game, HeldRandom, workers=2, **options)
    game = functools.partial(Game, str(crash_file))
    collect(stores[1], game, HeldRandom, workers=local, **options)
    assert crash_file.exists()
    assert len(bytes_of(stores[0])) == 6 and bytes_of(stores[0]) == bytes_of(stores[1])
    assert stores[0].episodes == stores[1].episodes
    assert [stores[0].entry(n) for n in range(6)] == [stores[1].entry(n) for n in range(6)]


@pytest.mark.slow  # every pool starts processes
def test_evaluation_gives_the_same_returns_and_an_actor_is_killed(local, tmp_path):
    crash_file = tmp_path / 'crashed'
    games = Game, functools.partial(Game, str(crash_file))
    two, ray = (
        evaluation.evaluate(game, {'agent': agent}, 6, seed=1, workers=workers)['agent']
        for game, workers in zip(games, (2, local))
    )
    assert crash_file.exists() and len(set(two)) > 1
    np.testing.assert_array_equal(two, ray)


@pytest.mark.slow  # every pool starts processes
def test_evolution_in_the_game_gives_the_same_fitness(local):
    candidates = np.random.default_rng(5).normal(size=(9, 8))
    found = []
    for workers in (2, local):
        with evolution.InGame(Game, agent, 4, seed=3, workers=workers) as fitness:
            said = []
            found.append([fitness(candidates, g, said.append) for g in (0, 1)])
    for two, ray in zip(*found):
        np.testing.assert_array_equal(two.fitness, ray.fitness)
        assert two.steps == ray.steps
    assert '1 node(s), 2 CPUs' in said[-1]


def dream():
    starts = np.random.default_rng(2).normal(size=(2, 7, 4))
    return Dream(MDNRNN(4, 1, 4, predict_done=True), starts, max_steps=20)


def dreamt(shard, workers, candidates):
    options = dict(episodes=5, seed=3, features=FEATURES)
    act = LinearController(8, 1, bias=False).act
    if not shard:
        return evolution.in_dream(dream(), act, **options)(candidates, 2, lambda text: None)
    with evolution.InShards(dream(), act, shard=shard, workers=workers, **options) as fitness:
        return fitness(candidates, 2, lambda text: None)


@pytest.mark.parametrize('shard', [1, 3, 7])
def test_a_generation_may_be_cut_anywhere_and_meets_the_same_dreams(shard):
    candidates = np.random.default_rng(5).normal(size=(7, 8))
    whole, cut = dreamt(0, 0, candidates), dreamt(shard, 0, candidates)
    assert len(set(whole.fitness)) > 1
    np.testing.assert_allclose(cut.fitness, whole.fitness, rtol=1e-5)


def test_a_dream_that_was_dreamt_travels_as_it_was_made():
    used, candidates = dream(), np.random.default_rng(5).normal(size=(2, 8))
    act = LinearController(8, 1, bias=False).act
    options = dict(episodes=5, features=FEATURES)
    first = evaluate_population(used, act, candidates, rng=stream(3, 'dream'), **options)
    came = ForkingPickler.loads(ForkingPickler.dumps(used))
    assert vars(came).keys() == vars(dream()).keys()
    again = evaluate_population(came, act, candidates, rng=stream(3, 'dream'), **options)
    np.testing.assert_array_equal(again, first)


@pytest.mark.slow  # every pool starts processes
def test_evolution_in_the_dream_gives_the_same_fitness(local):
    candidates = np.random.default_rng(5).normal(size=(7, 8))
    two, ray = (dreamt(3, workers, candidates) for workers in (2, local))
    np.testing.assert_array_equal(two.fitness, ray.fitness)


@pytest.mark.slow  # every pool starts processes
def test_nodes_that_differ_are_named(local, monkeypatch):
    ours = versions()
    assert differences(ours, ours) == []
    assert differences(ours, {**ours, 'numpy': '1.0'}) == [f'numpy 1.0, here {ours["numpy"]}']
    monkeypatch.setattr(cluster.platform, 'python_version', lambda: '2.7')
    with pytest.raises(ClusterError, match=r'is refused.*python 3\..*, here 2\.7'):
        cluster.Nodes().refresh(strict=True)


def test_nothing_imports_ray_unless_asked():
    script = (
        'import sys, experiments.car_racing, chainer_wm.play.workers\n'
        'print(sorted(name for name in sys.modules if name.split(".")[0] == "ray"))'
    )
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.stdout.strip() == '[]', done.stderr
