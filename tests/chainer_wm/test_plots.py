"""Figures and films: what is drawn, that it arrives whole, what is refused."""

import json
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageSequence

from chainer_wm import plots
from chainer_wm.plots import films, frames, scores, style

RED, GREEN, BLUE, WHITE = (250, 0, 0), (0, 250, 0), (0, 0, 250), (255,) * 3


def film(count, colour, size=16):
    """``count`` frames of one colour."""
    return np.full((count, size, size, 3), colour, np.uint8)


def noise(count, size=16, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, size, size, 3), np.uint8)


def pixels(path, colour):
    """How many pixels of exactly this colour a picture has."""
    picture = np.asarray(Image.open(path).convert('RGB'))
    return int((picture == colour).all(axis=-1).sum())


@pytest.fixture
def charts(monkeypatch):
    """The figures that are saved, as objects."""
    caught = []
    save = style.save

    def catch(path, chart, *args, **options):
        caught.append(chart)
        save(path, chart, *args, **options)

    monkeypatch.setattr(style, 'save', catch)
    return caught


def lines(chart, label):
    """The one line with this label, as (x, y)."""
    found = [
        line
        for axes in chart.axes
        for line in axes.lines
        if str(line.get_label()).startswith(label)
    ]
    assert len(found) == 1
    return found[0].get_xdata(), found[0].get_ydata()


HISTORY = [
    {'generation': g, 'mean': 100.0 + g, 'std': 10, 'min': 50, 'max': 200}
    for g in range(5)
]
SCORE = {'mean': 200.0, 'std': 100.0, 'episodes': 100}
TRACE = {
    'usage': np.eye(6, 4),
    'write_weights': np.eye(6, 4),
    'read_weights': np.zeros((6, 2, 4)),
    'allocation_gate': np.zeros(6),
    'write_gate': np.ones((6, 1)),
    'free_gates': np.ones((6, 2)),
    'read_modes': np.full((6, 2, 3), 1 / 3),
    'memory': np.zeros((6, 4, 3)),
}
EVERY_FIGURE = {
    'reconstructions': lambda path: plots.reconstructions(
        path, noise(3), noise(3), title='V'
    ),
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
    'evolution': lambda path: plots.evolution(
        path, HISTORY, [{'generation': 2, **SCORE}], SCORE, 750
    ),
    'returns_histogram': lambda path: plots.returns_histogram(
        path, {'agent': [1, 2, 3], 'random': [1]}, title='Doom'
    ),
    'calibration': lambda path: plots.calibration(
        path,
        [{'name': 'no action', 'dream': SCORE, 'game': SCORE}],
        (np.linspace(0, 1, 50), np.arange(50) > 40),
        10,
        title='Doom',
    ),
    'temperature_table': lambda path: plots.temperature_table(
        path,
        [{'temperature': 1.15, 'dream': SCORE, 'game': SCORE}],
        references=[{'name': 'random', 'game': SCORE}],
    ),
    'memory_trace': lambda path: plots.memory_trace(
        path, TRACE, {'recall': 3}, 'copy'
    ),
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
    same = [
        (tmp_path / each).read_bytes() for each in ('folder/a.png', 'b.png')
    ]
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


# -- frames ----------------------------------------------------------------


def test_frames_of_both_layouts_are_the_same():
    cached = noise(2)
    inside = cached.transpose(0, 3, 1, 2).astype(np.float32) / 255
    np.testing.assert_array_equal(frames.as_frames(inside), cached)
    np.testing.assert_array_equal(
        frames.as_frames(cached.astype(float) / 255), cached
    )
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


# -- strips ----------------------------------------------------------------


def test_reconstructions_show_every_pixel_of_both(tmp_path):
    plots.reconstructions(
        tmp_path / 'a.png', film(5, RED), film(5, GREEN), columns=2, scale=2
    )
    each = (16 * 2 * 2) ** 2  # scale 2, on a page of twice the pixels
    assert pixels(tmp_path / 'a.png', RED) == 5 * each
    assert pixels(tmp_path / 'a.png', GREEN) == 5 * each


def test_reconstructions_must_match(tmp_path):
    with pytest.raises(ValueError, match=r'\(2, .*\(3, '):
        plots.reconstructions(tmp_path / 'a.png', noise(2), noise(3))


def test_the_dream_is_shown_from_the_end_of_its_context(tmp_path):
    plots.open_loop(
        tmp_path / 'a.png', film(8, RED), film(8, BLUE), film(8, GREEN), 5
    )
    each = (16 * 2) ** 2
    assert pixels(tmp_path / 'a.png', RED) == 8 * each
    assert pixels(tmp_path / 'a.png', BLUE) == 7 * each  # not the first
    assert pixels(tmp_path / 'a.png', GREEN) == 3 * each  # steps 5, 6, 7


def test_a_dream_without_its_context_draws_the_same(tmp_path):
    truth, dream = noise(8), noise(8, seed=1)
    plots.open_loop(tmp_path / 'a.png', truth, truth, dream, 5)
    plots.open_loop(tmp_path / 'b.png', truth, truth, dream[5:], 5)
    assert (tmp_path / 'a.png').read_bytes() == (
        tmp_path / 'b.png'
    ).read_bytes()


def test_errors_of_a_strip_are_those_of_its_rows(tmp_path, charts):
    plots.open_loop(
        tmp_path / 'a.png',
        film(6, (10, 10, 10)),
        film(6, (13, 13, 13)),
        film(6, (30, 10, 10)),
        2,
        done={'open-loop': [0.1, 0.2, 0.3, 0.4]},
        first_step=100,
    )
    axes = next(a for a in charts[0].axes if 'error' in a.get_ylabel())
    x, one_step = axes.lines[0].get_data()
    assert x.tolist() == list(range(100, 106))
    assert np.isnan(one_step[0])
    np.testing.assert_allclose(one_step[1:], 3)
    dream = axes.lines[1].get_ydata()
    assert np.isnan(dream[:2]).all()
    np.testing.assert_allclose(dream[2:], (400 / 3) ** 0.5)
    _, chance = lines(charts[0], 'open-loop')
    np.testing.assert_array_equal(chance, [np.nan] * 2 + [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize('context', [0, 4])
def test_a_dream_needs_a_context_and_a_future(tmp_path, context):
    with pytest.raises(ValueError, match=f'{context} of 4'):
        plots.open_loop(
            tmp_path / 'a.png', noise(4), noise(4), noise(4), context
        )


def test_a_longer_p_done_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'5 steps.* 4'):
        plots.open_loop(
            tmp_path / 'a.png',
            *[noise(4)] * 3,
            2,
            done={'one-step': np.zeros(5)},
        )


def test_a_sheet_needs_as_many_words_as_frames(tmp_path):
    with pytest.raises(ValueError, match='2 captions for 3'):
        plots.contact_sheet(tmp_path / 'a.png', noise(3), ['a', 'b'])
    with pytest.raises(ValueError, match='1 marks for 3'):
        plots.contact_sheet(
            tmp_path / 'a.png', noise(3), ['a'] * 3, marks=['died']
        )


# -- films -----------------------------------------------------------------


def shown(path):
    """Frames of a GIF as (T, H, W, 3), and its length in milliseconds."""
    with Image.open(path) as picture:
        parts = [
            (np.asarray(part.convert('RGB')), part.info['duration'])
            for part in ImageSequence.Iterator(picture)
        ]
    return np.stack([part for part, _ in parts]), sum(d for _, d in parts)


def test_a_gif_plays_all_frames_at_the_speed_of_the_game(tmp_path):
    written = plots.gif(tmp_path / 'a.gif', noise(20), fps=35, scale=3)
    played, milliseconds = shown(tmp_path / 'a.gif')
    assert played.shape == (20, 48, 48, 3)
    assert milliseconds == 20 * 30  # 35 fps in hundredths of a second
    size = (tmp_path / 'a.gif').stat().st_size
    assert written == plots.Film(20, 1, size)


def test_a_gif_keeps_colours_and_pixels(tmp_path):
    frame = film(3, (70, 60, 50))
    frame[1, 5, 7] = (255, 255, 90)  # a fireball far away
    frame[2] = (30, 90, 30)
    plots.gif(tmp_path / 'a.gif', frame, scale=2)
    played, _ = shown(tmp_path / 'a.gif')
    error = np.abs(played.astype(int) - frames.enlarged(frame, 2))
    assert error.max() <= 2


def test_a_big_film_leaves_out_frames_but_keeps_its_length(tmp_path):
    whole = plots.gif(tmp_path / 'a.gif', noise(40))
    small = plots.gif(tmp_path / 'b.gif', noise(40), max_bytes=whole.size // 3)
    assert small.size <= whole.size // 3
    assert small.every >= 3
    assert small.frames == -(-40 // small.every)
    _, full = shown(tmp_path / 'a.gif')
    _, thin = shown(tmp_path / 'b.gif')
    assert abs(thin - full) <= 0.1 * full + 30 * small.every


def test_captions_stand_below_the_frames(tmp_path):
    plots.gif(tmp_path / 'a.gif', film(3, RED, 32), captions='game')
    played, _ = shown(tmp_path / 'a.gif')
    below = played[:, 32 * 4 :]
    assert below.shape[1] > 10
    assert below.max() > 200  # ink on black
    assert np.median(below) == 0
    with pytest.raises(ValueError, match='2 captions for 3 frames'):
        plots.gif(tmp_path / 'a.gif', film(3, RED), captions=['a', 'b'])


def test_of_two_films_the_shorter_one_stays_dimmed(tmp_path):
    plots.side_by_side(
        tmp_path / 'a.gif', film(6, RED, 32), film(3, GREEN, 32), scale=2
    )
    played, milliseconds = shown(tmp_path / 'a.gif')
    assert milliseconds == 6 * 30
    assert played.shape[2] == 2 * 64 + 2
    left, right = played[:, :64, :64], played[:, :64, 66:]
    assert np.abs(left.astype(int) - RED).max() <= 3
    assert np.abs(right[0].astype(int) - GREEN).max() <= 3
    assert 80 < right[-1, ..., 1].max() < 140
    assert (played[:, :, 64:66] < 10).all()


def test_films_of_two_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match='of one size'):
        plots.side_by_side(tmp_path / 'a.gif', noise(2), noise(2, 8))
    with pytest.raises(ValueError, match='fps 0'):
        plots.gif(tmp_path / 'a.gif', noise(2), fps=0)


def test_a_film_in_memory_has_at_most_so_many_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(films, 'MAX_FRAMES', 10)
    assert plots.gif(tmp_path / 'a.gif', noise(35)).every == 4


# -- charts ----------------------------------------------------------------


def test_things_keep_their_colour_and_others_get_a_free_one():
    known = plots.COLOURS
    assert plots.colours(['agent', 'random']) == [
        known['agent'],
        known['random'],
    ]
    assert plots.colours(['random policy']) == [known['random']]
    assert plots.colours(['DNC, 3 seeds', 'LSTM']) == [
        known['dnc'],
        known['lstm'],
    ]
    many = plots.colours(['a', 'agent', 'b', 'controller', 'c'])
    assert len(set(many)) == 5
    assert many[1] == known['agent']


def test_training_curves_leave_gaps_for_what_is_no_number(tmp_path, charts):
    series = {'train': ([0, 1, 2, 3], [1, np.nan, 0, 2])}
    plots.training_curves(tmp_path / 'a.png', series, log=True)
    _, y = lines(charts[0], 'train (2)')
    np.testing.assert_array_equal(y, [1, np.nan, np.nan, 2])
    assert charts[0].axes[0].get_yscale() == 'log'
    assert series['train'][1][2] == 0


def test_training_curves_are_smoothed_by_the_mean(tmp_path, charts):
    x, y = np.arange(10.0), np.arange(10.0) ** 2
    plots.training_curves(tmp_path / 'a.png', {'train': (x, y)}, smooth=3)
    smooth_x, smooth_y = lines(charts[0], 'train')
    np.testing.assert_allclose(smooth_x, x[1:-1])
    np.testing.assert_allclose(
        smooth_y, [(y[i - 1] + y[i] + y[i + 1]) / 3 for i in range(1, 9)]
    )


def test_training_curves_refuse_nothing_and_odd_lengths(tmp_path):
    with pytest.raises(ValueError, match='no series'):
        plots.training_curves(tmp_path / 'a.png', {})
    with pytest.raises(ValueError, match='2 x values and 3 y'):
        plots.training_curves(
            tmp_path / 'a.png', {'train': ([1, 2], [1, 2, 3])}
        )


def test_evolution_draws_dream_game_and_random(tmp_path, charts):
    plots.evolution(
        tmp_path / 'a.png',
        HISTORY,
        [{'generation': 4, **SCORE}],
        {'mean': 209.0, 'std': 104.0, 'episodes': 100},
        solved=750,
    )
    x, mean = lines(charts[0], 'dream: mean')
    assert x.tolist() == [0, 1, 2, 3, 4]
    assert mean.tolist() == [100, 101, 102, 103, 104]
    assert lines(charts[0], 'dream: best')[1].tolist() == [200] * 5
    assert lines(charts[0], 'game: random')[1] == [209, 209]
    bars = charts[0].axes[0].containers[0]
    assert 'mean of 100 episodes' in bars.get_label()
    low, high = bars.lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((190, 210))  # 100 / sqrt(100)


def test_evolution_of_a_resumed_or_empty_history(tmp_path, charts):
    plots.evolution(tmp_path / 'a.png', HISTORY[3:4], baseline=209.0)
    assert lines(charts[0], 'dream: mean')[0].tolist() == [3]
    with pytest.raises(ValueError, match='no generation'):
        plots.evolution(tmp_path / 'a.png', [])


def test_returns_share_one_axis_and_say_their_mean(tmp_path, charts):
    plots.returns_histogram(
        tmp_path / 'a.png',
        {'agent': [100, 200, 900], 'random': [50, 70], 'one': [5]},
    )
    titles = [axes.get_title(loc='left') for axes in charts[0].axes]
    assert titles[0] == 'agent: 400 ± 436, 3 episodes'
    assert titles[2] == 'one: 5, 1 episodes'
    for axes, count in zip(charts[0].axes, (3, 2, 1)):
        assert sum(bar.get_height() for bar in axes.patches) == count
        assert axes.get_xlim() == charts[0].axes[0].get_xlim()


@pytest.mark.parametrize('wrong', [[], [1, np.nan]])
def test_returns_must_be_there_and_finite(tmp_path, wrong):
    with pytest.raises(ValueError, match='agent'):
        plots.returns_histogram(tmp_path / 'a.png', {'agent': wrong})


def test_wilson_intervals_by_hand():
    # z = 2: middle (1/4 + 4/8) / (1 + 1), half 2 sqrt(3/64 + 4/64) / (1 + 1)
    assert scores.wilson(1, 4, z=2) == pytest.approx(
        (0.375 - 7**0.5 / 8, 0.375 + 7**0.5 / 8)
    )
    low, high = scores.wilson(0, 10)
    assert low == 0
    assert high == pytest.approx(0.2775, abs=1e-4)


def test_reliability_counts_every_step_once():
    rng = np.random.default_rng(0)
    chance = rng.random(5000) ** 4
    dead = rng.random(5000) < chance
    rows = plots.reliability(chance, dead)
    assert sum(row['steps'] for row in rows) == 5000
    assert sum(row['deaths'] for row in rows) == dead.sum()
    assert sum(
        row['steps'] * row['predicted'] for row in rows
    ) == pytest.approx(chance.sum())
    honest = [row['low'] <= row['predicted'] <= row['high'] for row in rows]
    assert np.mean(honest) >= 0.8
    assert plots.reliability([0, 1], [0, 1])[-1]['observed'] == 1


@pytest.mark.parametrize(
    ('chance', 'dead', 'message'),
    [([0.5], [0, 1], '1 .* 2'), ([3.0], [1], 'logit'), ([], [], 'at least')],
)
def test_reliability_refuses(chance, dead, message):
    with pytest.raises(ValueError, match=message):
        plots.reliability(chance, dead)


def test_calibration_marks_each_policy(tmp_path, charts):
    rows = [
        {
            'name': name,
            'dream': {'mean': dream, 'std': 10, 'episodes': 100},
            'game': {'mean': game, 'std': 20, 'episodes': 100},
        }
        for name, dream, game in (('random', 200, 210), ('agent', 900, 500))
    ]
    plots.calibration(tmp_path / 'a.png', rows)
    points = charts[0].axes[0].containers
    assert [each.get_label() for each in points] == ['random', 'agent']
    assert points[1].lines[0].get_xydata().tolist() == [[900, 500]]
    with pytest.raises(ValueError, match='no policy'):
        plots.calibration(tmp_path / 'a.png', [])


def test_memory_trace_draws_what_is_there(tmp_path, charts):
    plots.memory_trace(tmp_path / 'a.png', TRACE)
    plots.memory_trace(tmp_path / 'b.png', {'usage': np.eye(6, 4)})
    panels = [
        [axes.get_ylabel() for axes in chart.axes if axes.get_ylabel()]
        for chart in charts
    ]
    assert panels[0] == [
        'slot usage',
        'slot written',
        'slot read,\nhead 1',
        'slot read,\nhead 2',
        'gates',
        'mode, head 1',
        'mode, head 2',
    ]
    assert panels[1] == ['slot usage']
    np.testing.assert_array_equal(
        charts[1].axes[0].images[0].get_array(), np.eye(6, 4).T
    )


def test_memory_trace_refuses_a_batch_axis_and_other_sizes(tmp_path):
    batched = {'usage': np.zeros((6, 1, 4))}
    with pytest.raises(ValueError, match='batch axis'):
        plots.memory_trace(tmp_path / 'a.png', batched)
    with pytest.raises(ValueError, match='write_weights has shape'):
        plots.memory_trace(
            tmp_path / 'a.png',
            {'usage': np.zeros((6, 4)), 'write_weights': np.zeros((6, 5))},
        )
    with pytest.raises(ValueError, match='none of'):
        plots.memory_trace(tmp_path / 'a.png', {'memory': np.zeros((6, 4))})


def test_results_read_back_from_json_are_drawn(tmp_path):
    rows = json.loads(json.dumps(HISTORY))
    plots.evolution(tmp_path / 'a.png', rows, [{'generation': 0, **SCORE}])
    assert (tmp_path / 'a.png').exists()
