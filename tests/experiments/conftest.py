"""A run that several files of tests take up."""

import fcntl

import pytest
from take_cover_case import run


@pytest.fixture(scope='session')
def whole(tmp_path_factory, worker_id):
    """The data folder that holds Take Cover's finished tiny run 'whole'.

    All processes of the tests share it: each test gives its own runs other names, and one file
    alone touches 'whole' itself.
    """
    root = tmp_path_factory.getbasetemp()
    data = (root if worker_id == 'master' else root.parent) / 'take-cover'
    with open(data.with_suffix('.lock'), 'a+') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if not lock.read():
            run(data, 'whole', pictures=True)
            lock.write('made')
    return data
