"""The benchmark runs without peers, says so, and writes its JSON."""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(name, out, *flags):
    """What a benchmark prints, and the rows that it writes."""
    found = subprocess.run(
        [sys.executable, f'experiments/benchmark/{name}.py', *flags, '--json', str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout, json.loads(out.read_text())['rows']


def test_without_peers(tmp_path):
    none = '--repeats', '1', '--peers', str(tmp_path / 'none'), '--only', 'dream'
    said, rows = run('run', tmp_path / 'found.json', *none)
    assert '"make peers" installs them' in said
    assert [row['ratio'] for row in rows] == [None, None]
    assert all(row['seconds'][0] > 0 and row['flop'] > 1e9 for row in rows)


def test_workers_are_measured_beside_one_process(tmp_path):
    one = '--workers', '1', '--only', 'no work, 111'
    said, rows = run('workers', tmp_path / 'found.json', *one)
    assert [(row['engine'], row['workers']) for row in rows[:2]] == [
        ('processes', 0),
        ('processes', 1),
    ]
    assert all(row['units'] == 100 and row['seconds'] > row['worked'] for row in rows)
    # 100 tasks of 16 candidates of 867 numbers, and 16 numbers back
    assert 100 * 16 * 867 * 8 < rows[0]['sent'] < 1.01 * 100 * 16 * 867 * 8
    assert 100 * 16 * 8 < rows[0]['received'] < 100 * 16 * 20
    assert '1 processes' in said and 'bytes to workers' in said
