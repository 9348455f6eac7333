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


def test_workers_are_measured_beside_one_process(tmp_path):
    found = subprocess.run(
        [
            *(sys.executable, 'experiments/benchmark/workers.py', '--workers', '1'),
            *('--only', 'no work, 111', '--json', str(tmp_path / 'found.json')),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = json.loads((tmp_path / 'found.json').read_text())['rows']
    assert [(row['engine'], row['workers']) for row in rows[:2]] == [
        ('processes', 0),
        ('processes', 1),
    ]
    assert all(row['units'] == 100 and row['seconds'] > row['worked'] for row in rows)
    # 100 tasks of 16 candidates of 867 numbers, and 16 numbers back
    assert 100 * 16 * 867 * 8 < rows[0]['sent'] < 1.01 * 100 * 16 * 867 * 8
    assert 100 * 16 * 8 < rows[0]['received'] < 100 * 16 * 20
    assert '1 processes' in found.stdout and 'bytes to workers' in found.stdout
