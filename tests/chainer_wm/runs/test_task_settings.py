"""The network of a sequence task, as the command line asks for it."""

import pytest

from chainer_wm.runs.task_settings import TaskConfig, describe, new_net
from chainer_wm.tasks.sequence_tasks import make_task

MEMORY = dict(memory_length=8, memory_width=4, read_heads=2)


def test_an_lstm_matches_the_dnc_only_when_asked():
    dnc, lstm, matched = (
        new_net(
            TaskConfig(model=core, match=match, hidden_size=12, **MEMORY), make_task('addition')
        )
        for core, match in (('dnc', False), ('lstm', False), ('lstm', True))
    )
    assert lstm.config['hidden_size'] == dnc.config['hidden_size'] == 12
    assert matched.config['core'] == 'lstm'
    assert lstm.count_params() < 0.7 * dnc.count_params()
    assert matched.count_params() == pytest.approx(dnc.count_params(), rel=0.08)
    assert describe(dnc)['memory_length'] == 8 and 'memory_length' not in describe(lstm)
