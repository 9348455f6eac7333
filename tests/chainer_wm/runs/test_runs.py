"""The run's folder: settings checked, stages counted, one process only."""

import json
import os
import subprocess
import sys

import pytest

from chainer_wm import files
from chainer_wm.runs import run_folder

STAGES = ('collect', 'train', 'evaluate')


def open_run(folder, **config):
    return run_folder.Run(
        folder,
        {'size': 3, 'updates': 10, 'workers': 2, **config},
        free=('workers',),
        extensions={'updates': 'train'},
        stages=STAGES,
    )


def finish(run, *stages):
    for stage in stages:
        with run.working_on(stage):
            pass


def test_other_settings_are_refused_with_both_values(tmp_path):
    open_run(tmp_path).close()
    with pytest.raises(run_folder.RunError, match='size was 3, now 4'):
        open_run(tmp_path, size=4)
    assert files.read_json(tmp_path / 'config.json')['size'] == 3


def test_free_settings_may_differ(tmp_path):
    open_run(tmp_path).close()
    open_run(tmp_path, workers=7).close()
    assert files.read_json(tmp_path / 'config.json')['workers'] == 7


def test_larger_budget_reopens_its_stage_and_the_later_ones(tmp_path):
    run = open_run(tmp_path)
    finish(run, *STAGES)
    run.close()
    run = open_run(tmp_path, updates=20)
    assert [run.done(stage) for stage in STAGES] == [True, False, False]


def test_stage_that_fails_is_not_done_and_its_time_is_kept(tmp_path):
    run = open_run(tmp_path)
    with pytest.raises(ZeroDivisionError), run.working_on('train'):
        raise ZeroDivisionError
    assert not run.done('train')
    before = run.seconds()['train']
    finish(run, 'train')
    assert run.done('train') and run.seconds()['train'] >= before


def test_results_are_merged(tmp_path):
    run = open_run(tmp_path)
    run.add_results(a=1, b=2)
    run.add_results(b=3)
    assert run.results() == {'a': 1, 'b': 3}


def test_log_has_one_json_object_per_line(tmp_path):
    run = open_run(tmp_path)
    run.log(event='x', value=1)
    lines = (tmp_path / 'log.jsonl').read_text().splitlines()
    assert json.loads(lines[-1])['value'] == 1


def test_second_process_is_told_who_holds_the_run(tmp_path):
    run = open_run(tmp_path)
    program = f'from chainer_wm.runs.run_folder import Run; Run({str(tmp_path)!r}, {{"size": 3}})'
    other = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert other.returncode == 1
    assert f'in use by process {os.getpid()}' in other.stderr
    run.close()


def test_broken_json_is_named(tmp_path):
    open_run(tmp_path).close()
    (tmp_path / 'config.json').write_text('{"size": 3')
    with pytest.raises(ValueError, match='config.json is not valid JSON'):
        open_run(tmp_path)


def test_atomic_write_leaves_the_old_file_when_the_disk_is_full(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'old')
    with pytest.raises(OSError, match='No space'), files.atomic_write(path) as file:
        file.write(b'half')
        raise OSError(28, 'No space left on device')
    assert path.read_bytes() == b'old'
    assert [p.name for p in tmp_path.iterdir()] == ['file']


def test_what_killed_processes_left_half_written_is_removed(tmp_path):
    open_run(tmp_path).close()
    names = ('log.jsonl', 'figures/.memory.png.12.tmp', 'figures/kept.tmp', '.kept.tmp')
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'half')
    open_run(tmp_path).close()
    assert [(tmp_path / name).exists() for name in names] == [True, False, True, True]
