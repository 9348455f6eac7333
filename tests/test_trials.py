"""Each kind of file is damaged in each way once, and what the trials count is counted right."""

import numpy as np
import pytest

from tests.trials import damage, kill, soak, tiny_run


@pytest.fixture(scope='module')
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp('trials') / 'whole'
    tiny_run.make(folder)
    return folder


@pytest.mark.parametrize('name', tiny_run.KINDS)
def test_no_damaged_file_is_used(name, template, tmp_path):
    kinds = list(tiny_run.KINDS)
    wholes = {name: damage.whole_of(template, tmp_path / 'a', tiny_run.KINDS[name])}
    for number in range(len(damage.DAMAGES)):
        at = kinds.index(name) + number * len(kinds)
        _, what, how = damage.trial(template, tmp_path / 'a', at, 0, wholes)
        assert not how.startswith('FAILED'), f'{what}: {how}'


def test_kills_count_once_their_run_was_equal_also_after_a_stop(tmp_path):
    tally = kill.Tally(tmp_path / 'tally.jsonl')
    for run, ends in (('0-0', {'equal': True}), ('0-1', {'equal': False}), ('0-2', None)):
        for who in (kill.DRIVER, kill.WORKER, kill.WORKER):
            tally.add(script='pendulum', run=run, who=who, stage='collect')
        if ends:
            tally.add(script='pendulum', run=run, **ends)
    with open(tally.path, 'a') as file:
        file.write('{"script": "pendulum", "run": "0-2", "eq')  # the trial was stopped
    again = kill.Tally(tally.path)
    assert again.counts() == {
        ('pendulum', 'collect', kill.DRIVER): 1,
        ('pendulum', 'collect', kill.WORKER): 2,
    }
    assert again.failed == 1 and again.ended('pendulum', '0-2') is None
    again.add(script='pendulum', run='0-2', equal=True)
    assert kill.Tally(tally.path).ended('pendulum', '0-2')['equal']


def test_slope_and_its_error_are_those_of_a_line_with_noise():
    rng = np.random.default_rng(0)
    hours = np.linspace(0, 2, 600)
    found = [soak.slope(hours, 3 + 5 * hours + rng.standard_normal(600)) for _ in range(200)]
    slopes, errors = np.array(found).T
    assert slopes.mean() == pytest.approx(5, abs=0.02)
    assert errors.mean() == pytest.approx(slopes.std(), rel=0.15)
