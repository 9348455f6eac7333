"""The PPO check, run tiny: files, both games, resumed, compared."""

import json

import numpy as np
import pytest
from compare_case import side_by_side
from ppo_script_case import check_picture, killed, numbers, start

from chainer_wm.runs.run_folder import RunError
from experiments import ppo_check

TINY = (
    *('--updates', 4, '--rollout-length', 32, '--lanes', 4),
    *('--restart-every', 2, '--test-episodes', 2, '--epochs', 2),
)


def test_files_and_numbers(tmp_path):
    found = start(ppo_check, tmp_path, 'a', *TINY)
    assert found['steps'] == 4 * 32 * 4
    assert found['solved'] == 475 and found['solved_after_steps'] is None
    for name in ('evaluation', 'drawn', 'random_baseline'):
        assert len(found[name]['returns']) == 2
        assert min(found[name]['returns']) >= 8, 'CartPole falls no faster'
    figures = tmp_path / 'ppo_check/a/figures'
    check_picture(figures / 'policy_return.png')


def test_killed_and_resumed_is_unbroken(tmp_path, monkeypatch):
    whole = start(ppo_check, tmp_path, 'whole', *TINY)
    killed(ppo_check, tmp_path, 'parts', monkeypatch, *TINY)
    parts = start(ppo_check, tmp_path, 'parts', *TINY)
    assert numbers(whole) == numbers(parts)
    logs = [
        (tmp_path / 'ppo_check' / run / 'policy/log.json').read_text()
        for run in ('whole', 'parts')
    ]
    assert logs[0] == logs[1]


def test_runs_without_a_name_do_not_meet():
    config = ppo_check.Config(seed=3)
    assert config.default_run() == 'smoke-cartpole-mlp-3'
    config = ppo_check.Config(env='pendulum', recurrent=True, model='dnc')
    assert config.default_run() == 'smoke-pendulum-dnc-0'


def test_pendulum_with_a_memory(tmp_path):
    flags = ('--env', 'pendulum', '--recurrent', '--model', 'dnc')
    small = ('--core-size', 8, '--hidden', 8, '--rollout-length', 8)
    cut = ('--minibatches', 2, '--epochs', 1, '--updates', 2)
    found = start(ppo_check, tmp_path, 'dnc', *TINY, *flags, *small, *cut)
    returns = np.array(found['evaluation']['returns'])
    # 200 steps, each between -16.3 and 0
    assert (returns < 0).all() and (returns > -200 * 16.3).all()
    assert found['config']['discount'] == 0.95, "the game's own settings"
    check_picture(tmp_path / 'ppo_check/dnc/figures/memory.png')


def test_seeds_side_by_side(tmp_path):
    for seed in (0, 1):
        start(ppo_check, tmp_path, f's{seed}', *TINY, '--seed', seed)
    table = side_by_side(tmp_path, 'ppo_check', 's0', 's1')
    group = table['groups']['MLP']
    row = group['scores']['evaluation']
    means = [
        json.loads((tmp_path / f'ppo_check/s{n}/results.json').read_text())['evaluation']['mean']
        for n in (0, 1)
    ]
    assert group['seeds'] == [0, 1] and row['values'] == means
    assert row['mean'] == pytest.approx(np.mean(means))
    assert row['std'] == pytest.approx(np.std(means, ddof=1))
    assert group['scores']['steps until solved']['values'] == [None, None]
    with pytest.raises(RunError, match='s7.* is not there'):
        side_by_side(tmp_path, 'ppo_check', 's7')
