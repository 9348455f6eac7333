"""Two ranks that train one network: the update of one process, and what is left after an error."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from parallel_case import KINDS, make_caches, run

from chainer_wm import devices

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
WEIGHTS = {'vision': 'vision.npz'}


@pytest.fixture(scope='module')
def mpiexec():
    pytest.importorskip('mpi4py', reason="no MPI here: the extra 'parallel' brings it")
    found = shutil.which('mpiexec', path=f'{pathlib.Path(sys.executable).parent}:{os.defpath}')
    if found is None:
        pytest.skip("no mpiexec here: the extra 'parallel' brings it")
    return found


@pytest.fixture
def caches(tmp_path):
    make_caches(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def own_precision():
    yield
    devices.use()


def ranks(mpiexec, *args, count=2):
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    command = [mpiexec, '-n', str(count), sys.executable, HERE / 'parallel_case.py', *args]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env)


def left(folder, kind):
    """The last weights and the log of a training."""
    snapshot = max((folder / kind / 'snapshots').glob('update-*.npz'))
    with np.load(snapshot) as archive:
        saved = {name: archive[name] for name in archive.files if 'updater' in name}
    kept = folder / kind / WEIGHTS.get(kind, 'model.npz')
    with np.load(kept) as archive:
        saved |= {f'kept {name}': archive[name] for name in archive.files if '_json' not in name}
    log = json.loads((folder / kind / 'log.json').read_text())
    return saved, [{k: v for k, v in row.items() if k != 'elapsed_time'} for row in log]


def assert_equal(ours, theirs, rtol=0.0, exact=True):
    assert ours[0].keys() == theirs[0].keys()
    for name, array in ours[0].items():
        if exact or array.dtype.kind != 'f':
            np.testing.assert_array_equal(array, theirs[0][name], err_msg=name)
        else:
            np.testing.assert_allclose(array, theirs[0][name], rtol, 1e-12, err_msg=name)
    for mine, other in zip(ours[1], theirs[1], strict=True):
        assert mine.keys() == other.keys()
        for name in mine:
            if 'active' not in name:
                assert mine[name] == pytest.approx(other[name], rel=1e-9), name


@pytest.mark.slow  # every job starts processes
@pytest.mark.parametrize('kind', KINDS)
def test_two_ranks_give_the_updates_of_one_process(kind, mpiexec, caches):
    run(kind, caches)
    alone = left(caches, kind)
    shutil.rmtree(caches / kind)
    done = ranks(mpiexec, kind, caches)
    assert done.returncode == 0, done.stderr
    assert_equal(left(caches, kind), alone, rtol=1e-9, exact=False)


@pytest.mark.slow  # every job starts processes
@pytest.mark.parametrize(('kind', 'rank'), [('lstm', 1), ('dnc', 0), ('vision', 1)])
def test_an_error_on_one_rank_ends_all_and_they_go_on_from_one_save(kind, rank, mpiexec, caches):
    assert ranks(mpiexec, kind, caches).returncode == 0
    unbroken = left(caches, kind)
    shutil.rmtree(caches / kind)
    done = ranks(mpiexec, kind, caches, 3, rank)
    assert done.returncode != 0
    assert 'the lost key' in done.stderr and f'on rank {rank}' in done.stderr
    again = ranks(mpiexec, kind, caches)
    assert again.returncode == 0, again.stderr
    assert re.search('resumed at update [23],', again.stdout)  # the other may not have saved yet
    assert_equal(left(caches, kind), unbroken)
