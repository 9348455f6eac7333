"""Every figure arrives whole and the same; frames of both layouts."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image
from plots_case import HISTORY, SCORE, TRACE, noise

from chainer_wm import plots
from chainer_wm.play.evaluation import Band
from chainer_wm.plots import frames, style

EVERY_FIGURE = {
    'reconstructions': lambda path: plots.reconstructions(path, noise(3), noise(3), title='V'),
    'open_loop': lambda path: plots.open_loop(
        path,
        noise(9),
        noise(9),
        noise(9),
        4,
        reconstruction=noise(9),
        done={'one-step': np.zeros(9), 'open-loop': np.ones(5)},
        died_at=8,
        title='M',
    ),
    'training_curves': lambda path: plots.training_curves(
        path,
        {'train': (range(99), np.ones(99)), 'held-out': ([0, 9], [1, 2])},
        smooth=9,
        title='V',
    ),
    'curves': lambda path: plots.curves(
        path,
        [plots.Panel({'a': ([0, 1], np.eye(2))}, levels={'random': 0.5}, marks={'m': 1})] * 4,
        title='two seeds',
    ),
    'seed_scores': lambda path: plots.seed_scores(
        path, {'return': {'a': {'values': [1, 2], 'mean': 1.5, 'interval': (0, 3)}}}
    ),
    'matrices': lambda path: plots.matrices(path, {'a': np.eye(3), 'b': np.eye(3)}, 'r', 'c'),
    'evolution': lambda path: plots.evolution(
        path, HISTORY, [{'generation': 2, **SCORE}], SCORE, 750
    ),
    'returns_histogram': lambda path: plots.returns_histogram(
        path, {'agent': [1, 2, 3], 'random': [1]}, title='Doom'
    ),
    'returns_by_episode': lambda path: plots.returns_by_episode(
        path, {'gym': {'agent': [3, 1], 'random': [1, 2]}, 'envpool': {'agent': [5]}}
    ),
    'calibration': lambda path: plots.calibration(
        path,
        [{'name': 'no action', 'dream': SCORE, 'game': SCORE}],
        (np.linspace(0, 1, 50), np.arange(50) > 40),
        10,
        title='Doom',
    ),
    'deaths_by_age': lambda path: plots.deaths_by_age(
        path,
        [
            {
                'name': 'agent',
                'game': [Band(0, 9, 900, 4), Band(9, 20, 0, 0)],
                'dream': [Band(0, 9, 900, 1), Band(9, 20, 700, 0)],
            }
        ],
        title='Doom',
    ),
    'table': lambda path: plots.table(
        path, ('tau', 'dream', 'game'), [[('1.15', '200', '300')], [('random', '-', '210')]], 'C'
    ),
    'memory_trace': lambda path: plots.memory_trace(path, TRACE, {'recall': 3}, 'copy'),
    'contact_sheet': lambda path: plots.contact_sheet(
        path, noise(3), ['a', 'b', 'c'], ['x'] * 3, ['', '', 'died'], title='e'
    ),
}


@pytest.mark.parametrize('name', EVERY_FIGURE)
def test_a_figure_is_a_png_and_the_same_every_time(tmp_path, name):
    settings = dict(matplotlib.rcParams)
    for path in (tmp_path / 'folder' / 'a.png', tmp_path / 'b.png'):
        EVERY_FIGURE[name](path)
    with Image.open(tmp_path / 'b.png') as picture:
        assert picture.format == 'PNG'
        assert min(picture.size) > 90 and max(picture.size) < 2500
    same = [(tmp_path / each).read_bytes() for each in ('folder/a.png', 'b.png')]
    assert same[0] == same[1]
    assert dict(matplotlib.rcParams) == settings
    assert {each.name for each in tmp_path.iterdir()} == {'folder', 'b.png'}


def test_no_global_plotting_state_is_loaded():
    code = (
        'import sys, matplotlib, chainer_wm.plots as plots\n'
        'assert "matplotlib.pyplot" not in sys.modules\n'
        'assert not plots.gif.__module__.startswith("matplotlib")'
    )
    subprocess.run([sys.executable, '-c', code], check=True, timeout=60)


def test_a_failed_write_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    plots.reconstructions(path, noise(1), noise(1))
    before = path.read_bytes()

    def full(*args, **options):
        raise OSError('no space left on device')

    monkeypatch.setattr(style.Figure, 'savefig', full)
    with pytest.raises(OSError, match='no space'):
        plots.reconstructions(path, noise(1, seed=1), noise(1))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_frames_of_both_layouts_are_the_same():
    cached = noise(2)
    inside = cached.transpose(0, 3, 1, 2).astype(np.float32) / 255
    np.testing.assert_array_equal(frames.as_frames(inside), cached)
    np.testing.assert_array_equal(frames.as_frames(cached.astype(float) / 255), cached)
    over = frames.as_frames(np.full((1, 3, 2, 2), 1.3))
    assert (over == 255).all()


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (np.zeros((4, 4, 3), np.uint8), 'one frame'),
        (np.zeros((0, 4, 4, 3), np.uint8), 'no frame'),
        (np.zeros((1, 4, 4, 3), np.int64), 'int64'),
        (np.full((1, 3, 4, 4), np.nan), 'not finite'),
    ],
)
def test_other_frames_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        frames.as_frames(wrong)


def test_picked_frames_are_even_and_include_both_ends():
    assert frames.picked(101, 5).tolist() == [0, 25, 50, 75, 100]
    assert frames.picked(3, 8).tolist() == [0, 1, 2]
