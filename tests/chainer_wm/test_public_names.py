"""What `import chainer_wm` offers, each in an interpreter of its own."""

import pathlib
import subprocess
import sys

import pytest

import chainer_wm
from chainer_wm import plots

HEAVY = 'matplotlib', 'ray', 'vizdoom', 'chainer_wm.training', 'chainer_wm.plots'


def fresh(code):
    """What a new interpreter prints for the code."""
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    return run.stdout.split()


def test_nothing_is_loaded_before_it_is_used():
    code = 'import sys, chainer_wm; print(*(m for m in sys.modules if "chainer_wm." in m))'
    assert fresh(code) == ['chainer_wm.first_use']


def test_every_name_is_found_without_what_draws_or_trains():
    code = f"""
import sys
import chainer_wm
for name in chainer_wm.__all__:
    print(getattr(chainer_wm, name).__name__)
assert not [m for m in sys.modules if m.startswith({HEAVY})]
"""
    assert fresh(code) == chainer_wm.__all__


def test_names_can_be_imported_and_listed():
    from chainer_wm import MDNRNN
    from chainer_wm.links import mdn_rnn

    assert MDNRNN is mdn_rnn.MDNRNN
    assert {'ConvVAE', 'CMAES', 'PPO'} <= set(dir(chainer_wm))
    with pytest.raises(AttributeError, match="no attribute 'MDNRMM'"):
        chainer_wm.MDNRMM  # noqa: B018


def test_plots_come_without_matplotlib_until_one_is_drawn():
    code = """
import sys
from experiments import doom_take_cover
from chainer_wm import plots
assert 'matplotlib' not in sys.modules
for name in plots.__all__:
    getattr(plots, name)
assert 'matplotlib' in sys.modules
print(*plots.__all__)
"""
    assert fresh(code) == plots.__all__
    modules = {path.stem for path in pathlib.Path(plots.__file__).parent.glob('*.py')}
    assert not modules & set(plots.__all__)  # whose import would hide the function
