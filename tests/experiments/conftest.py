"""A run that several files of tests take up, and pictures drawn once."""

import fcntl
import pathlib
from unittest import mock

import pytest
from take_cover_case import run

from chainer_wm import files
from chainer_wm.plots import style


@pytest.fixture(scope='module', autouse=True)
def drawn_once():
    """A chart of a name, size and number of panels is drawn once in a file of tests.

    Later runs of the script make it, too, and get a copy of the first one's picture: to draw takes
    longer than most of what a tiny run does.
    """
    drawn = {}
    draw = style.save

    def save(path, chart, dpi=style.DPI):
        path = pathlib.Path(path)
        kind = path.name, len(chart.axes), tuple(chart.get_size_inches())
        if kind in drawn:
            with files.atomic_write(path) as file:
                file.write(drawn[kind])
        else:
            draw(path, chart, dpi)
            drawn[kind] = path.read_bytes()

    with mock.patch.object(style, 'save', save):
        yield


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
