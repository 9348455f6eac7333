"""What the tests of Take Cover's script share: tiny runs, also killed ones."""

import contextlib
import io
import json
import pathlib
import signal
import subprocess
import sys
import time
from unittest import mock

import pytest

from chainer_wm.runs import figures
from chainer_wm.runs.command_line import main
from experiments import doom_take_cover

ROOT = pathlib.Path(__file__).resolve().parents[2]
# fmt: off
SETTINGS = dict(
    settings='trial', episodes=4, held_out=0.25, min_length=40, vision_batch=64,
    vision_epochs=0.5, latent_size=4, hidden_size=8, memory_length=4,
    memory_width=4, read_heads=1, model_batch=2, window=25, model_epochs=2,
    population=4, dreams=2, generations=3, evaluate_every=3,
    evaluate_episodes=1, max_steps=30, test_episodes=2, rounds=1,
    round_episodes=2, round_epochs=1, round_generations=1,
    round_vision_epochs=0.5, workers=0)
# fmt: on
TINY = [f'--{name.replace("_", "-")}={value}' for name, value in SETTINGS.items()]
STAGES = (*('collect', 'vision', 'encode', 'model', 'controller', 'round-01'), 'evaluate')


def flags(data, name, *more):
    return ['--data', str(data), '--run', name, *TINY, *map(str, more)]


def run(data, name, *more, pictures=False):
    """In this process, to its end; what it printed.

    Without ``pictures`` it draws no scores and no films, which takes longer than the rest.
    """
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        for drawn in (
            () if pictures else ('draw_vision', 'draw_model', 'draw_scores', 'draw_films')
        ):
            stack.enter_context(mock.patch.object(figures, drawn))
        doom_take_cover.script(flags(data, name, *more))
    return output.getvalue()


def refused(data, name, *more):
    """The one line of a run that does not begin."""
    with pytest.raises(SystemExit) as caught:
        main(lambda: run(data, name, *more))
    return str(caught.value)


def start(data, name, *more):
    """In a process of its own."""
    return subprocess.Popen(
        [sys.executable, 'experiments/doom_take_cover.py', *flags(data, name, *more)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def folder(data, run):
    return data / 'doom_take_cover' / run


def started(data, run):
    log = folder(data, run) / 'log.jsonl'
    if not log.exists():
        return []
    return [
        line['stage']
        for line in map(json.loads, log.read_text().splitlines())
        if line['event'] == 'start'
    ]


def kill_in(stage, data, run, delay, *more):
    before = started(data, run).count(stage)
    process = start(data, run, *more)
    while started(data, run).count(stage) == before:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def results(data, run):
    found = json.loads((folder(data, run) / 'results.json').read_text())
    for changing in ('seconds', 'config', 'run'):
        found.pop(changing)
    return found
