"""Each kind of file is damaged in each way once; ``python -m tests.trials.damage`` does more."""

import pytest

from tests.trials import damage, tiny_run


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
