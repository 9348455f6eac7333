"""Charts: curves, scores and memories as the numbers that are drawn."""

import numpy as np
import pytest
from PIL import Image
from plots_case import HISTORY, SCORE, TRACE, charts, lines

from chainer_wm import plots
from chainer_wm.play.evaluation import Band

__all__ = ['charts']  # a fixture

# -- charts ----------------------------------------------------------------


def test_things_keep_their_colour_and_others_get_a_free_one():
    known = plots.COLOURS
    assert plots.colours(['agent', 'random']) == [known['agent'], known['random']]
    assert plots.colours(['random policy']) == [known['random']]
    assert plots.colours(['DNC, 3 seeds', 'LSTM']) == [known['dnc'], known['lstm']]
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
    np.testing.assert_allclose(smooth_y, [(y[i - 1] + y[i] + y[i + 1]) / 3 for i in range(1, 9)])


def test_training_curves_refuse_nothing_and_odd_lengths(tmp_path):
    with pytest.raises(ValueError, match='no curve'):
        plots.training_curves(tmp_path / 'a.png', {})
    with pytest.raises(ValueError, match='2 x values and 3 y'):
        plots.training_curves(tmp_path / 'a.png', {'train': ([1, 2], [1, 2, 3])})


def test_seeds_are_pale_and_their_mean_is_strong_within_its_band(tmp_path, charts):
    ys = np.array([[1.0, 5.0, np.nan], [3.0, 7.0, 9.0]])
    panel = plots.Panel(
        {'a': ([0, 1, 2], ys)},
        bands={'a': ([0, 4, 8], [4, 8, 1000])},
        references={'guess': ([0, 2], [1, 1])},
        levels={'random': 2.0},
        marks={'switch': 1.0},
    )
    plots.curves(tmp_path / 'a.png', [panel, plots.Panel({'a': ([0], [1])})])
    np.testing.assert_array_equal(lines(charts[0], 'a, 2 seeds')[1], [2, 6, 9])
    np.testing.assert_array_equal(lines(charts[0], 'guess')[1], [1, 1])
    assert list(lines(charts[0], 'random')[1]) == [2, 2]
    axes = charts[0].axes[0]
    pale = [line.get_ydata() for line in axes.lines if line.get_alpha() == 0.35]
    np.testing.assert_array_equal(pale, ys)
    assert [text.get_text() for text in axes.texts] == [' switch']
    assert axes.get_ylim()[1] < 20, 'a wide band does not hide the curves'
    assert axes.lines[2].get_color() == charts[0].axes[1].lines[0].get_color()


def test_a_floor_is_where_smaller_values_are_drawn(tmp_path, charts):
    panel = plots.Panel({'a': ([1, 10], [0.0, 2.0])}, floor=0.01, log_x=True)
    plots.curves(tmp_path / 'a.png', [panel])
    np.testing.assert_array_equal(lines(charts[0], 'a')[1], [0.01, 2])
    assert charts[0].axes[0].get_yscale() == charts[0].axes[0].get_xscale() == 'log'


def test_points_come_with_the_diagonal(tmp_path, charts):
    panel = plots.Panel({'a': ([1, 4], [2, 3]), 'b': ([2], [2])}, points=True)
    plots.curves(tmp_path / 'a.png', [panel])
    first, _ = charts[0].axes[0].collections
    assert first.get_offsets().tolist() == [[1, 2], [4, 3]]
    x, y = lines(charts[0], 'both agree')
    assert x[0] < x[1]
    np.testing.assert_array_equal(x, y)


def test_no_panel_and_curves_of_odd_lengths_are_refused(tmp_path):
    for panels in ([], [plots.Panel({})]):
        with pytest.raises(ValueError, match='no curve'):
            plots.curves(tmp_path / 'a.png', panels)
    with pytest.raises(ValueError, match="'a' has 2 x values and 3 y"):
        plots.curves(tmp_path / 'a.png', [plots.Panel({'a': ([1, 2], np.ones((4, 3)))})])


def test_scores_show_every_seed(tmp_path, charts):
    rows = {
        'LSTM': {'values': [1.0, 3.0, None], 'mean': 2.0, 'interval': (-90, 94)},
        'DNC': {'values': [None], 'mean': None, 'interval': None},
    }
    plots.seed_scores(tmp_path / 'a.png', {'return': rows}, {'return': {'random': -2.0}})
    (axes,) = charts[0].axes
    dots = axes.lines[0]
    assert list(dots.get_xdata()) == [1, 3] and dots.get_marker() == 'o'
    assert [label.get_text() for label in axes.get_yticklabels()] == ['LSTM', 'DNC']
    assert [text.get_text() for text in axes.texts] == ['never']
    low, high = axes.get_xlim()
    assert -10 < low < -2 and 3 < high < 12
    with pytest.raises(ValueError, match='no score'):
        plots.seed_scores(tmp_path / 'a.png', {})


def test_small_matrices_have_numbers_and_large_ones_a_scale(tmp_path, charts):
    plots.matrices(tmp_path / 'a.png', {'a': [[0.25, None], [1, 0]], 'b': np.zeros((2, 2))})
    first, _ = charts[0].axes
    assert [text.get_text() for text in first.texts] == ['0.25', '', '1', '0']
    visits = np.arange(60.0).reshape(3, 20)
    plots.matrices(
        tmp_path / 'b.png', {'a': visits}, limits=None, log=True, marks={'S': [0, 1]}, label='n'
    )
    axes, bar = charts[1].axes
    assert [text.get_text() for text in axes.texts] == ['S']
    assert bar.get_ylabel() == 'n'
    shown = axes.images[0].get_array()
    assert shown.mask[0, 0] and shown.mask.sum() == 1, 'never visited is grey'
    with pytest.raises(ValueError, match='shapes'):
        plots.matrices(tmp_path / 'x.png', {'a': np.zeros((2, 2)), 'b': np.zeros((3, 2))})


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
    assert charts[0].axes[0].get_ylim()[0] == 0


def test_evolution_shows_scores_below_zero(tmp_path, charts):
    fallen = {'generation': 4, 'mean': -70.0, 'std': 10.0, 'episodes': 100}
    plots.evolution(tmp_path / 'a.png', HISTORY, [fallen])
    assert charts[0].axes[0].get_ylim()[0] < -71


def test_evolution_of_a_resumed_or_empty_history(tmp_path, charts):
    plots.evolution(tmp_path / 'a.png', HISTORY[3:4], baseline=209.0)
    assert lines(charts[0], 'dream: mean')[0].tolist() == [3]
    with pytest.raises(ValueError, match='no generation'):
        plots.evolution(tmp_path / 'a.png', [])


def test_returns_share_one_axis_and_say_their_mean(tmp_path, charts):
    plots.returns_histogram(
        tmp_path / 'a.png', {'agent': [100, 200, 900], 'random': [50, 70], 'one': [5]}
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


def test_returns_of_the_same_episodes_stand_above_each_other(tmp_path, charts):
    rows = {'agent': [300, 100, 200], 'random': [3, 1, 2]}
    plots.returns_by_episode(
        tmp_path / 'a.png', {'gym': rows, 'other': {'agent': [7]}}, solved=250
    )
    first, second = charts[0].axes
    assert [axes.get_title(loc='left') for axes in charts[0].axes] == ['gym', 'other']
    heights = {line.get_label(): list(line.get_ydata()) for line in first.lines[:2]}
    assert heights == {'agent: 200': [100, 200, 300], 'random: 2': [1, 2, 3]}
    assert list(second.lines[0].get_ydata()) == [7]
    for wrong, words in (({'a': [1], 'b': [1, 2]}, 'same for all'), ({'a': []}, 'finite')):
        with pytest.raises(ValueError, match=words):
            plots.returns_by_episode(tmp_path / 'a.png', {'gym': wrong})


def test_wilson_intervals_by_hand():
    # z = 2: middle (1/4 + 4/8) / (1 + 1), half 2 sqrt(3/64 + 4/64) / (1 + 1)
    assert plots.wilson(1, 4, z=2) == pytest.approx((0.375 - 7**0.5 / 8, 0.375 + 7**0.5 / 8))
    low, high = plots.wilson(0, 10)
    assert low == 0
    assert high == pytest.approx(0.2775, abs=1e-4)


def test_reliability_counts_every_step_once():
    rng = np.random.default_rng(0)
    chance = rng.random(5000) ** 4
    dead = rng.random(5000) < chance
    rows = plots.reliability(chance, dead)
    assert sum(row['steps'] for row in rows) == 5000
    assert sum(row['deaths'] for row in rows) == dead.sum()
    assert sum(row['steps'] * row['predicted'] for row in rows) == pytest.approx(chance.sum())
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


def test_deaths_by_age_are_rates_of_the_ages_that_were_lived(tmp_path, charts):
    lived = [Band(0, 100, 2000, 4), Band(100, 300, 499, 1)]
    rows = [{'name': 'agent', 'game': lived, 'dream': lived[:1]}] * 4
    plots.deaths_by_age(tmp_path / 'a.png', rows)
    shown = [axes for axes in charts[0].axes if axes.get_visible()]
    assert [axes.get_title(loc='left') for axes in shown] == ['agent'] * 4
    line, *_ = shown[3].containers[0]
    np.testing.assert_array_equal(line.get_xydata(), [[50, 2.0]])
    with pytest.raises(ValueError, match='no policy'):
        plots.deaths_by_age(tmp_path / 'b.png', [])


def test_memory_trace_draws_what_is_there(tmp_path, charts):
    plots.memory_trace(tmp_path / 'a.png', TRACE)
    plots.memory_trace(tmp_path / 'b.png', {'usage': np.eye(6, 4)})
    panels = [[axes.get_ylabel() for axes in chart.axes if axes.get_ylabel()] for chart in charts]
    assert panels[0] == [
        'slot norm\n(0 to 1)',
        'slot usage',
        'slot written',
        'slot read,\nhead 1',
        'slot read,\nhead 2',
        'mode, head 1',
        'mode, head 2',
    ]
    assert panels[1] == ['slot usage']
    np.testing.assert_array_equal(charts[1].axes[0].images[0].get_array(), np.eye(6, 4).T)
    gates = charts[0].axes[5]
    names = [label.get_text() for label in gates.get_yticklabels()]
    assert names == ['free gate, head 2', 'free gate, head 1', 'allocation gate', 'write gate']
    rows = gates.images[0].get_array()
    np.testing.assert_array_equal(rows, np.repeat([[1], [1], [0], [1]], 6, axis=1))


def test_memory_trace_shows_memory_and_link_at_moments(tmp_path, charts):
    rng = np.random.default_rng(0)
    trace = {**TRACE, 'memory': rng.normal(size=(6, 4, 3))}
    links, signals = rng.random((2, 4, 4)), {'input': rng.random((6, 2)), 'reward': np.arange(6)}
    plots.memory_trace(tmp_path / 'a.png', trace, {'end': 5}, 'm', signals, (2, 5), links)
    line, *_ = charts[0].axes[1].lines
    np.testing.assert_array_equal(line.get_ydata(), np.arange(6))
    *_, early, late, first, last = [axes for axes in charts[0].axes if axes.images]
    assert [early.get_title(), late.get_title()] == ['after step 2', 'after step 5']
    np.testing.assert_array_equal(late.images[0].get_array(), trace['memory'][5])
    assert early.images[0].get_clim() == late.images[0].get_clim()
    np.testing.assert_array_equal(first.images[0].get_array(), links[0])
    np.testing.assert_array_equal(last.images[0].get_array(), links[1])


def test_names_of_marks_stand_apart(tmp_path, charts):
    marks = {'far': 90, 'second': 14, 'first': 10, 'third': 26, 'fourth': 60}
    plots.memory_trace(tmp_path / 'a.png', {'usage': np.zeros((100, 4))}, marks)
    lines = {text.get_text(): text.get_position()[1] for text in charts[0].axes[0].texts}
    assert lines['first'] == lines['third'] == lines['fourth'] == lines['far'] < lines['second']


def test_a_long_trace_of_many_slots_loses_no_write(tmp_path, charts):
    writes = np.zeros((3000, 300))
    writes[1234, 217] = 1.0
    signed = np.zeros((3000, 2))
    signed[2999, 1] = -2.0
    plots.memory_trace(tmp_path / 'a.png', {'write_weights': writes}, signals={'input': signed})
    above, below = (axes for axes in charts[0].axes[:2])
    assert above.images[0].get_array()[-1, -1] == -2
    shown = below.images[0]
    array = np.asarray(shown.get_array())
    (row,), (column,) = np.nonzero(array)
    left, right, bottom, top = shown.get_extent()
    assert array.shape[0] <= 128 and array.shape[1] <= 1100
    assert left + (right - left) * column / array.shape[1] <= 1234
    assert left + (right - left) * (column + 1) / array.shape[1] >= 1234
    assert bottom + (top - bottom) * row / array.shape[0] <= 217
    assert bottom + (top - bottom) * (row + 1) / array.shape[0] >= 217
    assert below.get_xlim() == (-0.5, 2999.5) and below.get_ylim() == (-0.5, 299.5)
    with Image.open(tmp_path / 'a.png') as picture:
        assert max(picture.size) < 2000


def test_memory_trace_refuses_a_batch_axis_and_other_sizes(tmp_path):
    batched = {'usage': np.zeros((6, 1, 4))}
    with pytest.raises(ValueError, match='batch axis'):
        plots.memory_trace(tmp_path / 'a.png', batched)
    with pytest.raises(ValueError, match='write_weights has shape'):
        plots.memory_trace(
            tmp_path / 'a.png', {'usage': np.zeros((6, 4)), 'write_weights': np.zeros((6, 5))}
        )
    with pytest.raises(ValueError, match='none of'):
        plots.memory_trace(tmp_path / 'a.png', {'output': np.zeros((6, 4))})
    with pytest.raises(ValueError, match='reward has shape'):
        plots.memory_trace(tmp_path / 'a.png', TRACE, signals={'reward': np.zeros(5)})
    with pytest.raises(ValueError, match=r'moments \[6\]'):
        plots.memory_trace(tmp_path / 'a.png', TRACE, moments=(2, 6))
    with pytest.raises(ValueError, match='links has shape'):
        plots.memory_trace(tmp_path / 'a.png', TRACE, moments=(2,), links=np.zeros((2, 4, 4)))


def test_bars_are_means_with_a_dot_per_seed(tmp_path, charts):
    series = {'LSTM': [[0.2, 0.5, np.nan], [0.4, 0.7, np.nan]], 'copy': [0.0, 1.0, np.nan]}
    plots.bars(tmp_path / 'a.png', ['board', 'ammo', 'teammate'], series, 'exact')
    axes = charts[0].axes[0]
    heights = {
        container.get_label(): [bar.get_height() for bar in container]
        for container in axes.containers
    }
    np.testing.assert_allclose(heights['LSTM'], [0.3, 0.6, 0])
    np.testing.assert_allclose(heights['copy'], [0, 1, 0])
    np.testing.assert_array_equal([line.get_ydata() for line in axes.lines], series['LSTM'])
    assert sum(word.get_text() == '–' for word in axes.texts) == 2
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ['board', 'ammo', 'teammate']
    for wrong in ({}, {'a': [1, 2]}):
        with pytest.raises(ValueError, match=r'expected \(seeds, 3\)'):
            plots.bars(tmp_path / 'a.png', ['board', 'ammo', 'teammate'], wrong)
