"""Bad settings end in one line, before anything is made or played."""

import dataclasses
import typing

import pytest

from chainer_wm import files
from chainer_wm.runs import run_folder
from chainer_wm.runs.checks import check
from chainer_wm.runs.command_line import DeviceConfig, WorkersConfig, main, opt, parse
from experiments import (
    addition,
    cma_es_schaffer,
    dnc_tasks,
    doom_take_cover,
    doom_take_cover_controls,
    grid_navigation,
    key_corridor,
    key_order,
    mdn_toy,
    pendulum_swing_up,
    pixelcopter_rnd,
    ppo_check,
    running_statistics,
)

SCRIPTS = (
    *(addition, cma_es_schaffer, dnc_tasks, doom_take_cover, key_corridor),
    *(grid_navigation, key_order, mdn_toy, pendulum_swing_up),
    *(pixelcopter_rnd, ppo_check, running_statistics, doom_take_cover_controls),
)
FREE_BELOW = {'target', 'mean', 'round'}  # numbers that may be negative


def name_of(script):
    return script.__name__.split('.')[-1]


def presets_of(script):
    """By name, or what gives them."""
    return getattr(script, 'PRESETS', None) or script.presets


def numbers(config_class):
    """Flags that take a number, or several."""
    hints = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        kinds = typing.get_args(hints[field.name]) or (hints[field.name],)
        if {int, float} & set(kinds):
            yield field.name


@pytest.mark.parametrize('script', SCRIPTS, ids=name_of)
def test_presets_are_good_and_negative_numbers_are_not(script, tmp_path):
    names = list(numbers(script.Config))
    assert 'seed' in names and len(names) > 3
    presets = presets_of(script)
    for preset in presets({}) if callable(presets) else presets:
        flags = ['--preset', preset, '--data', str(tmp_path)]
        config = parse(script.Config, presets, 'x', flags)
        assert config.preset == preset
        for name in set(names) - FREE_BELOW:
            old = getattr(config, name)
            bad = (-1,) if isinstance(old, tuple) else -1
            with pytest.raises(run_folder.RunError) as caught:
                check(dataclasses.replace(config, **{name: bad}))
            said = str(caught.value)
            assert said.startswith(f'--{name.replace("_", "-")} -1: expected')
            assert '\n' not in said
    assert list(tmp_path.iterdir()) == []


@dataclasses.dataclass(frozen=True)
class Config(WorkersConfig, DeviceConfig):
    """Bounds of every kind."""

    share: float = opt(0.5, 'a share', above=0, below=1)
    chance: float = opt(1.0, 'a chance', least=0, most=1)
    several: tuple[int, ...] = opt((1, 2), 'some')
    letters: tuple[str, ...] = opt(('a',), 'of two', ('a', 'b'))


@pytest.mark.parametrize(
    ('flag', 'words'),
    [
        ('--share 1', '--share 1.0: expected a number above 0 and below 1'),
        ('--share 0', 'above 0 and below 1 (a share)'),
        ('--chance 1.01', '--chance 1.01: expected a number at least 0 and'),
        ('--chance nan', '--chance nan'),
        ('--several 3 0', '--several 0: expected a number above 0'),
        ('--seed -1', '--seed -1: expected a number at least 0'),
        ('--device gpu', "--device: unknown device 'gpu'"),
    ],
)
def test_what_is_said(flag, words):
    with pytest.raises(SystemExit) as caught:
        main(lambda: parse(Config, {'smoke': {}}, 'x', flag.split()))
    assert str(caught.value).startswith('error: ')
    assert words in str(caught.value)


def test_bounds_may_be_met_where_they_are_at_least_and_at_most():
    for flag in ('--chance 0', '--chance 1', '--workers 0', '--several 1 1'):
        parse(Config, {'smoke': {}}, 'x', flag.split())


def test_each_of_a_tuple_is_one_of_the_choices(capsys):
    assert parse(Config, {'smoke': {}}, 'x', ['--letters', 'a', 'b'])
    with pytest.raises(SystemExit):
        parse(Config, {'smoke': {}}, 'x', ['--letters', 'a', 'c'])
    assert "invalid choice: 'c'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('script', 'flags', 'words'),
    [
        (doom_take_cover, '--temperature -1', '--temperature -1.0'),
        (doom_take_cover, '--temperature 1.3 1', 'the lower and the upper'),
        (doom_take_cover, '--temperature 1 1 1', 'one temperature'),
        (doom_take_cover, '--features z r', 'needs --model dnc, not lstm'),
        (doom_take_cover, '--held-out 1', 'above 0 and below 1'),
        (doom_take_cover, '--held-out 0.96', 'of --episodes 10 leaves no'),
        (doom_take_cover, '--reuse nowhere', 'has no codes yet'),
        (pendulum_swing_up, '--first-episodes 9', 'at least 10'),
        (pendulum_swing_up, '--features r', 'needs --model dnc'),
        (ppo_check, '--recurrent --lanes 3', '--minibatches 4 of 3 lanes'),
        (grid_navigation, '--exploration 0.5 1.5', 'at most 1'),
        (grid_navigation, '--minibatches 129', 'of 128 steps'),
    ],
)
def test_no_stage_begins_and_nothing_is_left(script, flags, words, tmp_path):
    argv = ['--data', str(tmp_path), '--run', 'a', *flags.split()]
    with pytest.raises(SystemExit) as caught:
        main(lambda: script.script(argv))
    assert words in str(caught.value)
    assert list(tmp_path.rglob('*')) == []


def test_another_share_than_the_reused_run_held_out_is_refused(tmp_path):
    source = tmp_path / 'doom_take_cover/source'
    files.write_json(source / 'vision/codes/index.json', {})
    files.write_json(source / 'config.json', {'held_out': 0.1, 'seed': 0})
    argv = ['--data', str(tmp_path), '--run', 'a', '--reuse', 'source']
    with pytest.raises(run_folder.RunError, match=r'--held-out 0.05.*0\.1 held out'):
        doom_take_cover.script(argv)
    assert not (tmp_path / 'doom_take_cover/a').exists()
