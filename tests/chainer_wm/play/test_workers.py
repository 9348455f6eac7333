"""Workers that die, hang, raise, leak, and lose their parent."""

import faulthandler
import functools
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import chainer
import chainer.links as L
import numpy as np
import pytest
from worker_case import first_time

from chainer_wm.play.engines import run_tasks
from chainer_wm.play.workers import Worker, WorkerError, WorkerPool


def square(x):
    return x * x


def process_number(_):
    return os.getpid()


def threads(_):
    """Threads of this process after BLAS has worked, and its settings."""
    np.ones((300, 300)) @ np.ones((300, 300))
    names = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'NUMBA_NUM_THREADS')
    return (
        len(os.listdir('/proc/self/task')),
        [os.environ.get(name) for name in names],
        multiply_after_numba(),
    )


def multiply_after_numba():
    import numba

    return numba.get_num_threads()


def dtypes(made, _):
    """Of the link that was made at the start, and of one made in a task."""
    return made.W.dtype.name, L.Linear(1, 1).W.dtype.name


def die_once(folder, how, task):
    if task == 2 and first_time(pathlib.Path(folder, 'died')):
        os.kill(os.getpid(), how)
    return task, os.getpid()


def die(how, task):
    if task == 1:
        if how == 'segfault':
            faulthandler._sigsegv()
        os.kill(os.getpid(), how)
    return task


def raise_always(folder, task):
    pathlib.Path(folder, f'{task}.{time.monotonic_ns()}').touch()
    if task == 1:
        raise KeyError('the lost key')
    return task


def raise_once(folder, task):
    if first_time(pathlib.Path(folder, str(task))):
        raise OSError('the first time fails')
    return task


def sleep(task):
    time.sleep(task)
    return task


def hang_once(folder, task):
    if task == 1 and first_time(pathlib.Path(folder, 'hung')):
        time.sleep(60)
    return task


def unpicklable(_):
    return lambda: None


def setup(number):
    return {'number': number, 'process': os.getpid()}


def broken_setup():
    raise RuntimeError('no such network file')


def deadly_setup():
    os._exit(3)


def with_context(context, task):
    context['calls'] = context.get('calls', 0) + 1
    return context['number'] + task, context['process'], context['calls']


def alive(pid):
    path = pathlib.Path(f'/proc/{pid}/stat')
    return path.exists() and path.read_text().split()[2] != 'Z'


def wait_until_gone(pids, seconds=10):
    end = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < end, 'processes were left behind'
        time.sleep(0.05)


@pytest.mark.parametrize('workers', [0, 2])
def test_every_task_is_answered_once(workers):
    results = list(run_tasks(square, range(5), workers))
    assert sorted(results) == [(i, i * i) for i in range(5)]


def test_no_tasks_start_nothing():
    assert list(run_tasks(square, [], 2, setup=deadly_setup)) == []


def test_results_come_as_they_finish_from_several_processes():
    with WorkerPool(sleep, 2) as pool:
        list(pool.run([0.0, 0.0]))  # both are up
        assert next(iter(pool.run([1.0, 0.0]))) == (1, 0.0)


def test_setup_runs_once_per_worker_and_the_pool_keeps_them():
    with WorkerPool(with_context, 1, functools.partial(setup, 100)) as pool:
        first = dict(pool.run([1, 2]))
        second = dict(pool.run([3]))
    assert [first[0][0], first[1][0], second[0][0]] == [101, 102, 103]
    assert first[0][1] == second[0][1] != os.getpid()
    assert second[0][2] == 3


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_links_in_a_worker_have_the_dtype_of_the_run(dtype):
    make = functools.partial(L.Linear, 1, 1)
    with chainer.using_config('dtype', np.dtype(dtype)):
        results = list(run_tasks(dtypes, [0], 1, setup=make))
    assert results == [(0, (dtype, dtype))]


def test_setup_runs_once_inline():
    with WorkerPool(with_context, 0, functools.partial(setup, 1)) as pool:
        (one,) = pool.run([1])
        (two,) = pool.run([1])
    assert one == (0, (2, os.getpid(), 1)) and two == (0, (2, os.getpid(), 2))


@pytest.mark.skipif(sys.platform != 'linux', reason='needs /proc')
def test_a_worker_has_one_thread_and_the_parent_keeps_its_own(monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '7')
    monkeypatch.delenv('NUMBA_NUM_THREADS', raising=False)
    ((_, (count, values, numba_threads)),) = run_tasks(threads, [0], 1)
    assert count == 2  # the main thread, and the one that watches the parent
    assert values == ['1', '1', '1'] and numba_threads == 1
    assert os.environ['OMP_NUM_THREADS'] == '7'
    assert 'NUMBA_NUM_THREADS' not in os.environ


def test_the_task_of_a_dead_worker_is_run_again(tmp_path):
    function = functools.partial(die_once, str(tmp_path), signal.SIGKILL)
    results = dict(run_tasks(function, range(4), 1))
    assert [results[i][0] for i in range(4)] == [0, 1, 2, 3]
    assert results[1][1] != results[2][1]


def test_a_worker_that_dies_again_and_again_stops_the_run():
    function = functools.partial(die, signal.SIGKILL)
    with pytest.raises(WorkerError, match=r'(?s)task 1, 1, .* 3 time.*SIGKILL'):
        list(run_tasks(function, [0, 1], 1, retries=2))


def test_a_segmentation_fault_leaves_the_worker_s_trace():
    function = functools.partial(die, 'segfault')
    with pytest.raises(WorkerError, match=r'(?s)SIGSEGV.*in die') as caught:
        list(run_tasks(function, [0, 1], 1, retries=0))
    assert 'test_workers.py' in str(caught.value)


def test_an_exception_that_repeats_carries_the_worker_s_traceback(tmp_path):
    function = functools.partial(raise_always, str(tmp_path))
    with pytest.raises(WorkerError) as caught:
        list(run_tasks(function, [0, 1], 1))
    text = str(caught.value)
    assert 'task 1, 1, failed 2 time' in text
    assert 'in raise_always' in text and "KeyError: 'the lost key'" in text
    assert len(list(tmp_path.glob('1.*'))) == 2


def test_an_exception_that_does_not_repeat_is_forgotten(tmp_path):
    function = functools.partial(raise_once, str(tmp_path))
    assert list(run_tasks(function, ['a'], 1)) == [(0, 'a')]


def test_an_inline_exception_is_raised_as_such():
    with pytest.raises(WorkerError, match='lost key') as caught:
        list(run_tasks(raise_key_error, [1], 0))
    assert isinstance(caught.value.__cause__, KeyError)


def raise_key_error(_):
    raise KeyError('the lost key')


def test_a_result_that_cannot_be_sent_is_an_error():
    with pytest.raises(WorkerError, match=r'[Pp]ickle'):
        list(run_tasks(unpicklable, [1], 1, retries=0))


def test_a_task_that_hangs_is_stopped_and_run_again(tmp_path):
    function = functools.partial(hang_once, str(tmp_path))
    start = time.monotonic()
    results = sorted(run_tasks(function, [0, 1], 1, timeout=0.5))
    assert results == [(0, 0), (1, 1)]
    assert time.monotonic() - start < 30


def test_a_task_that_hangs_always_stops_the_run():
    with pytest.raises(WorkerError, match=r'too late\ntook more than 0.2 s'):
        list(run_tasks(sleep, [60.0], 1, timeout=0.2, retries=0))


def test_a_slow_consumer_is_not_taken_for_a_slow_worker():
    with WorkerPool(sleep, 2, timeout=0.3, retries=0) as pool:
        results = []
        for result in pool.run([0.0, 0.1, 0.1, 0.0]):
            results.append(result)
            time.sleep(0.4)
    assert sorted(results) == [(0, 0.0), (1, 0.1), (2, 0.1), (3, 0.0)]


def test_a_setup_that_raises_shows_its_traceback():
    with pytest.raises(WorkerError, match=r'(?s)set up.*no such network'):
        list(run_tasks(with_context, [1], 1, setup=broken_setup))


def test_a_setup_that_dies_names_the_usual_cause():
    with pytest.raises(WorkerError, match=r'exit status 3.*__main__'):
        list(run_tasks(with_context, [1], 1, setup=deadly_setup, retries=0))


def test_workers_are_replaced_after_so_many_tasks():
    results = dict(run_tasks(process_number, range(4), 1, tasks_per_worker=2))
    assert results[0] == results[1] != results[2] == results[3]
    wait_until_gone(results.values())


def test_a_loop_that_is_left_early_leaves_no_process():
    with WorkerPool(process_number, 1) as pool:
        _, pid = next(iter(pool.run(range(100))))
        assert pid != os.getpid()
    wait_until_gone([pid])


def test_a_worker_whose_folder_an_elder_one_removed_says_nothing(tmp_path, capfd):
    worker = Worker(square, None, tmp_path / 'gone' / '1.txt')
    worker._process.join(60)
    assert worker.kill() == 'exit status 0'
    assert capfd.readouterr().err == ''


def test_a_negative_number_of_workers():
    with pytest.raises(ValueError, match='-1'):
        WorkerPool(square, -1)


def test_the_main_script_is_loaded_only_for_what_it_defines(tmp_path):
    path = tmp_path / 'script.py'
    path.write_text(
        textwrap.dedent("""
        import operator, os
        from chainer_wm.play.engines import run_tasks

        print(__name__)

        class Task(int):
            pass

        def double(task):
            return 2 * task

        if __name__ == '__main__':
            for function, tasks in (operator.neg, [1]), (double, [1]), (operator.neg, [Task(1)]):
                print(list(run_tasks(function, tasks, 1)), flush=True)
    """)
    )
    said = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert said == [
        *('__main__', '[(0, -1)]'),
        *('__mp_main__', '[(0, 2)]'),
        *('__mp_main__', '[(0, -1)]'),
    ]


def parent_program(tmp_path):
    """A parent with two busy workers, each with a child of its own."""
    path = tmp_path / 'parent.py'
    path.write_text(
        textwrap.dedent("""
        import os, pathlib, signal, subprocess, time
        from chainer_wm.play.engines import run_tasks

        def work(task):
            child = subprocess.Popen(['sleep', '60'])
            print(os.getpid(), child.pid, flush=True)
            time.sleep(60)

        if __name__ == '__main__':
            # a shell's background jobs start with SIGINT ignored
            signal.signal(signal.SIGINT, signal.default_int_handler)
            list(run_tasks(work, [1, 2], 2))
    """)
    )
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, 'TMPDIR': str(tmp_path)},
    )


@pytest.mark.skipif(sys.platform != 'linux', reason='needs /proc')
@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT])
def test_workers_do_not_outlive_their_parent(tmp_path, how):
    with parent_program(tmp_path) as parent:
        lines = [parent.stdout.readline() for _ in range(2)]
        pids = [int(word) for line in lines for word in line.split()]
        assert len(pids) == 4 and all(alive(pid) for pid in pids)
        parent.send_signal(how)
        parent.wait(10)
    wait_until_gone(pids)
    assert [path.name for path in tmp_path.iterdir()] == ['parent.py']
