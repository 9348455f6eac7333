"""Whole scripts with ``--cluster local``: the results and files of ``--workers 2``."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from take_cover_case import TINY

# each test starts Ray, and plays, trains and draws twice
pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = {
    'doom_take_cover': (*TINY, '--dream-shard=2'),
    'pixelcopter_rnd': (
        *('--learner=cma_es', '--generations=2', '--population=6', '--search-episodes=4'),
        *('--max-steps=40', '--test-episodes=3'),
    ),
}
#: Files that hold what was played and found, and neither times nor settings.
KEPT = ('**/episodes/*.npz', '**/episodes.jsonl', '**/history.json', '**/theta.npy', '**/means/*')


def run(script, data, *flags):
    """In a process of its own: the run's folder."""
    env = {**os.environ, 'RAY_AUTH_MODE': 'disabled', 'RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO': '0'}
    done = subprocess.run(
        [sys.executable, f'experiments/{script}.py', '--data', data, '--run', 'one', *flags],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return data / script / 'one', done.stderr


def results(folder):
    found = json.loads((folder / 'results.json').read_text())
    return {name: value for name, value in found.items() if name not in ('seconds', 'config')}


def kept(folder):
    found = {}
    for pattern in KEPT:
        for path in folder.glob(pattern):
            text = path.read_bytes()
            # episodes are listed in the order in which they ended
            lines = sorted(text.splitlines()) if path.name == 'episodes.jsonl' else text
            found[str(path.relative_to(folder))] = lines
    return found


@pytest.mark.parametrize('script', SCRIPTS)
def test_a_cluster_gives_the_results_and_files_of_two_processes(script, tmp_path):
    pytest.importorskip('ray', reason="Ray is not installed: the extra 'cluster' brings it")
    if script == 'doom_take_cover':
        pytest.importorskip('vizdoom')
    flags = SCRIPTS[script]
    two, _ = run(script, tmp_path / 'two', *flags, '--workers', '2')
    ray, said = run(script, tmp_path / 'ray', *flags, '--cluster', 'local')
    assert 'cluster: 1 node(s)' in said
    assert results(two) == results(ray)
    assert kept(two) == kept(ray) and len(kept(two)) >= 2
