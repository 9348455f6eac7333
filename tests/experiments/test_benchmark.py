"""The benchmark runs without peers, says so, and writes its JSON."""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_without_peers(tmp_path):
    found = subprocess.run(
        [
            *(sys.executable, 'experiments/benchmark/run.py', '--repeats', '1'),
            *('--peers', str(tmp_path / 'none'), '--only', 'dream'),
            *('--json', str(tmp_path / 'found.json')),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"make peers" installs them' in found.stdout
    rows = json.loads((tmp_path / 'found.json').read_text())['rows']
    assert [row['ratio'] for row in rows] == [None, None]
    assert all(row['seconds'][0] > 0 and row['flop'] > 1e9 for row in rows)
