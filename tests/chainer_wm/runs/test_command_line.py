"""The shared command line: presets, saved settings, flags; stages skipped."""

import dataclasses

import pytest

from chainer_wm import files
from chainer_wm.links.recurrent import make_core
from chainer_wm.runs.command_line import (
    CommonConfig,
    MemoryConfig,
    TrainingConfig,
    opt,
    parse,
    run_stages,
)


@dataclasses.dataclass(frozen=True)
class Config(MemoryConfig, TrainingConfig):
    """A test."""

    size: int = opt(3, 'a size')
    updates: int = opt(10, 'a budget', extends='train')
    range: tuple[float, ...] = opt((1.0,), 'one or two numbers')


PRESETS = {'smoke': {'size': 1}, 'laptop': {'size': 2}, 'paper': {}}


def read(*argv):
    return parse(Config, PRESETS, 'test', argv)


def stages(seen):
    def stage(name):
        return lambda config, run: seen.append((name, config.updates))

    return {name: stage(name) for name in ('collect', 'train', 'evaluate')}


def start(seen, tmp_path, *argv):
    config = read('--data', str(tmp_path), *argv)
    run_stages(config, 'test', stages(seen)).close()


def test_flags_win_over_the_preset_and_it_over_the_defaults():
    assert read('--preset', 'laptop').size == 2
    assert read('--preset', 'paper').size == 3
    assert read('--preset', 'laptop', '--size', '9').size == 9


def test_run_is_named_after_preset_and_model():
    assert read('--model', 'dnc').run == 'smoke-dnc'
    assert read('--run', 'mine').run == 'mine'
    assert parse(CommonConfig, {'smoke': {}}, 'test', []).run == 'smoke'


def test_a_preset_that_a_script_lacks_is_not_offered(capsys):
    for argv in (['--preset', 'paper'], ['--help']):
        with pytest.raises(SystemExit):
            parse(Config, {'smoke': {}, 'laptop': {'size': 2}}, 'test', argv)
    said = capsys.readouterr()
    assert "invalid choice: 'paper' (choose from 'smoke', 'laptop')" in said.err
    assert '--preset {smoke,laptop}' in said.out and 'paper' not in said.out


def test_a_setting_that_the_script_decides_is_no_flag(capsys):
    @dataclasses.dataclass(frozen=True)
    class Decided(TrainingConfig):
        """A test."""

        dtype: str = opt('float64', None)

    assert parse(Decided, {'smoke': {}}, 'test', []).dtype == 'float64'
    with pytest.raises(SystemExit):
        parse(Decided, {'smoke': {}}, 'test', ['--dtype', 'float32'])
    assert 'unrecognized arguments: --dtype' in capsys.readouterr().err


def test_memory_is_built_from_its_flags():
    sizes = '--memory-length', '5', '--memory-width', '3', '--read-heads', '1'
    assert read(*sizes).core_options() == {}
    config = read('--model', 'dnc', *sizes, '--link-sparsity', '2')
    core = make_core(config.model, 4, 6, 0, 'fused', **config.core_options())
    assert (core.memory_length, core.memory_width, core.read_heads) == (5, 3, 1)
    assert core.link_sparsity == 2
    assert read('--model', 'dnc').core_options()['link_sparsity'] is None


def test_tuples_and_switches():
    config = read('--range', '0.5', '1.5', '--debug')
    assert config.range == (0.5, 1.5) and config.debug


def test_wrong_choice_ends_with_a_message(capsys):
    with pytest.raises(SystemExit):
        read('--model', 'gru')
    assert "invalid choice: 'gru'" in capsys.readouterr().err


def test_finished_stages_are_skipped(tmp_path):
    seen = []
    start(seen, tmp_path, '--stages', 'collect,train')
    start(seen, tmp_path)
    assert [name for name, _ in seen] == ['collect', 'train', 'evaluate']


def test_saved_settings_are_taken_up_again(tmp_path):
    seen = []
    start(
        seen,
        tmp_path,
        '--run',
        'mine',
        '--preset',
        'laptop',
        '--updates',
        '7',
        '--stages',
        'collect',
    )
    start(seen, tmp_path, '--run', 'mine')
    assert seen == [('collect', 7), ('train', 7), ('evaluate', 7)]
    assert read('--run', 'mine', '--data', str(tmp_path)).size == 2


def test_setting_that_came_in_after_the_run_has_its_default(tmp_path):
    mine = '--run', 'mine', '--preset', 'laptop'
    start([], tmp_path, *mine, '--size', '3', '--stages', 'collect')
    path = tmp_path / 'test/mine/config.json'
    config = files.read_json(path)
    del config['size']
    files.write_json(path, config)
    with pytest.raises(ValueError, match='size was 3, now 5'):
        start([], tmp_path, *mine, '--size', '5')
    seen = []
    start(seen, tmp_path, '--run', 'mine')
    assert [name for name, _ in seen] == ['train', 'evaluate']
    assert files.read_json(path)['size'] == 3


def test_settings_of_another_version_are_ignored_if_they_do_nothing(tmp_path):
    start([], tmp_path, '--run', 'mine', '--stages', 'collect')
    path = tmp_path / 'test/mine/config.json'
    config = files.read_json(path)
    files.write_json(path, {**config, 'workers': 7, 'summary': ['a']})
    start([], tmp_path, '--run', 'mine', '--stages', 'train')
    files.write_json(path, {**config, 'curiosity': 0.5})
    with pytest.raises(ValueError, match='curiosity = 0.5, which this script does not have'):
        start([], tmp_path, '--run', 'mine')


def test_larger_budget_runs_its_stage_again(tmp_path):
    seen = []
    start(seen, tmp_path)
    start(seen, tmp_path, '--run', 'smoke-lstm', '--updates', '20')
    assert [name for name, _ in seen[3:]] == ['train', 'evaluate']


def test_changed_setting_is_refused(tmp_path):
    start([], tmp_path, '--run', 'mine')
    with pytest.raises(ValueError, match='size was 1, now 5'):
        start([], tmp_path, '--run', 'mine', '--size', '5')


def test_unknown_stage_is_named(tmp_path):
    with pytest.raises(SystemExit, match='fly is not a stage'):
        start([], tmp_path, '--stages', 'collect,fly')
