"""Take Cover on tiny settings: the core, the dtype and C's features by flags."""

import numpy as np
import pytest
from take_cover_case import STAGES, folder, results, run

from chainer_wm.agents.saved import SavedAgent

pytest.importorskip('vizdoom')

BRIEF = ('--reuse', 'whole', '--rounds', '0')


def test_dnc_by_a_flag_on_the_same_rollouts_and_vision(whole):
    run(whole, 'dnc', '--model', 'dnc', *BRIEF)
    found = results(whole, 'dnc')
    assert found['random_baseline'] == results(whole, 'whole')['random_baseline']
    assert found['evaluation']['episodes'] == 2
    assert np.isfinite(found['model']['nll'])
    assert not (folder(whole, 'dnc') / 'rollouts').exists()
    assert (folder(whole, 'dnc') / 'figures/memory.png').exists()
    assert not (folder(whole, 'whole') / 'figures/memory.png').exists()  # an LSTM


def test_pipeline_in_double_precision(whole):
    run(whole, 'double', *BRIEF, '--dtype', 'float64', '--stages', ','.join(STAGES[:5]))
    found = results(whole, 'double')
    (score,) = found['controller']['evaluations']
    assert np.isfinite([found['model']['nll'], score['mean']]).all()
    saved = SavedAgent(folder(whole, 'double'), reuse='whole')
    with np.load(saved.model_path) as weights:
        assert weights['head/W'].dtype == saved.theta().dtype == np.float64


def test_untrained_control_with_a_mixed_temperature_and_z_alone(whole):
    flags = ['--untrained-model', '--features', 'z', '--temperature']
    run(whole, 'control', *BRIEF, *flags, '1', '1.3')
    assert results(whole, 'control')['evaluation']['episodes'] == 2
