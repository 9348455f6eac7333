"""Training, curricula, and the tables and charts of several seeds."""

import json

import numpy as np
import pytest
from plots_case import charts  # noqa: F401

from chainer_wm.files.archives import load_link
from chainer_wm.runs import run_folder
from chainer_wm.runs.retention import (
    curriculum_panels,
    draw_retention,
    lesson_scores,
    ratios,
    retained,
)
from chainer_wm.runs.task_figures import Panel, draw_panels, lengths_panel
from chainer_wm.runs.task_summaries import Seeds, by_model, model_label, read_runs, same_settings
from chainer_wm.seeds import stream
from chainer_wm.tasks.curriculum import Curriculum
from chainer_wm.tasks.network import SequenceNet
from chainer_wm.tasks.sequence_tasks import make_task
from chainer_wm.training.tasks import error_over_length, held_out_curve, measure, train

MEMORY = {'memory_length': 6, 'memory_width': 4, 'read_heads': 1}


def learn(folder, updates, core='lstm', hidden=8, **options):
    """Train on sums of 2 and 3 symbols."""
    task = make_task('addition', 4)
    memory = MEMORY if core == 'dnc' else {}
    net = SequenceNet(4, 1, hidden, core, **memory)
    test = task.batch(np.random.default_rng(9), 16, 3)
    log = train(
        folder,
        net,
        lambda number: task.batch(stream(0, 'train', number), 8, 3),
        lambda: measure(net, task, test),
        'loss',
        updates=updates,
        measure_every=4,
        **options,
    )
    for row in log:
        row.pop('elapsed_time')
    return net, log


def weights(net):
    return np.concatenate([p.array.ravel() for p in net.params()])


@pytest.mark.parametrize('core', ['lstm', 'dnc'])
def test_interrupted_training_gives_the_numbers_of_an_unbroken_one(tmp_path, core):
    whole, log = learn(tmp_path / 'whole', 20, core, clip=5.0)
    learn(tmp_path / 'parts', 7, core, clip=5.0)
    parts, resumed = learn(tmp_path / 'parts', 20, core, clip=5.0)
    np.testing.assert_array_equal(weights(whole), weights(parts))
    assert log == resumed
    assert [row['iteration'] for row in log] == [4, 8, 12, 16, 20]
    for name in ('best.npz', 'last.npz'):
        np.testing.assert_array_equal(
            *(
                weights(load_link(tmp_path / part / name, SequenceNet))
                for part in ('whole', 'parts')
            )
        )


def test_training_learns_and_keeps_the_best_and_the_last_weights(tmp_path):
    net, log = learn(tmp_path, 400, hidden=16, learning_rate=1e-2)
    updates, losses = held_out_curve(log, 'loss')
    assert updates == list(range(4, 401, 4))
    assert losses[-1] < 0.05 * losses[0]
    task = make_task('addition', 4)
    test = task.batch(np.random.default_rng(9), 16, 3)
    best = load_link(tmp_path / 'best.npz', SequenceNet)
    assert measure(best, task, test)['loss'] == min(losses)
    last = load_link(tmp_path / 'last.npz', SequenceNet)
    np.testing.assert_array_equal(weights(last), weights(net))


def test_the_clip_bounds_the_gradient(tmp_path):
    # below Adam's epsilon, which then keeps the weights where they are
    start = weights(SequenceNet(4, 1, 8))
    held, _ = learn(tmp_path / 'held', 8, clip=1e-11)
    free, _ = learn(tmp_path / 'free', 8)
    assert np.abs(weights(held) - start).max() < 1e-4
    assert np.abs(weights(free) - start).max() > 1e-3


@pytest.mark.parametrize('name', ['addition', 'repeat'])
def test_a_measured_loss_is_the_loss_that_is_trained(name):
    task = make_task(name)
    net = SequenceNet(6, task.output_size, 5)
    batch = task.batch(np.random.default_rng(0), 7, 8)
    found = measure(net, task, batch)
    assert found['loss'] == pytest.approx(float(net.loss(batch).array))
    assert found['error'] == task.score(net.answers(batch.inputs), batch)['error']


def test_error_over_length_asks_that_length_of_every_lane():
    net = SequenceNet(6, 1, 5)
    net.head.W.array[:] = 0  # always answers 0: the error is the sum
    task = make_task('addition')
    rows = error_over_length(net, task, (4, 40), 500, seed=3)
    assert [(row['length'], row['items']) for row in rows] == [(4, 4), (40, 40)]
    for row, mean in zip(rows, (8, 80)):
        assert row['error'] == pytest.approx(mean, rel=0.05)
        # of a sum of n symbols with variance 2, nearly normal
        assert row['guess'] == pytest.approx((mean / np.pi * 2) ** 0.5, 0.1)
        assert row['exact'] <= 0.01
    assert rows == error_over_length(net, task, (4, 40), 500, seed=3)
    assert rows != error_over_length(net, task, (4, 40), 500, seed=4)


class TestCurriculum:
    def items(self, batch):
        return set(batch.mask.sum(axis=0).astype(int) - 1)

    def test_lessons_switch_on_time_and_the_last_one_stays(self):
        course = Curriculum(make_task('addition'), (2, 4, 6), 100)
        at = (0, 99, 100, 199, 200, 300, 10_000)
        assert [course.lesson(n) for n in at] == [0, 0, 1, 1, 2, 2, 2]

    def test_a_lesson_holds_the_earlier_ones_or_only_what_is_new(self):
        rng = np.random.default_rng(0)
        task = make_task('addition')
        for only_new, wanted in ((False, {2, 3, 4, 5, 6}), (True, {5, 6})):
            course = Curriculum(task, (2, 4, 6), 100, only_new)
            assert self.items(course.batch(rng, 200, 0)) == {2}
            assert self.items(course.batch(rng, 200, 250)) == wanted

    def test_a_lesson_is_tested_on_what_is_new_in_it(self):
        rng = np.random.default_rng(0)
        course = Curriculum(make_task('addition'), (2, 4, 6), 100)
        tested = [self.items(course.test(rng, 100, i)) for i in range(3)]
        assert tested == [{2}, {3, 4}, {5, 6}]
        course = Curriculum(make_task('repeat'), (2, 6), 100)
        steps = [course.test(rng, 100, i).mask.sum(axis=0) for i in range(2)]
        assert [set(found) for found in steps] == [{3}, {5, 7}]

    def test_bad_lessons_are_named(self):
        for lengths in ((4, 4), (6, 4), ()):
            with pytest.raises(ValueError, match='do not rise'):
                Curriculum(make_task('addition'), lengths, 100)
        with pytest.raises(ValueError, match='length 1 makes'):
            Curriculum(make_task('addition'), (1, 4), 100)
        with pytest.raises(ValueError, match='switch is 0'):
            Curriculum(make_task('addition'), (2, 4), 0)


def fake_log():
    """Two lessons, switched every 40 sequences, in batches of 10."""
    return [
        {
            'iteration': i,
            **{
                f'held_out/{name} {lesson}': 100 * lesson + i
                for name in ('loss', 'error', 'exact')
                for lesson in (1, 2)
            },
        }
        for i in range(2, 13, 2)
    ]


def test_retention_is_every_lesson_at_every_switch():
    rows = retained(fake_log(), batch=10, switch=40, lessons=2)
    assert [(row['sequences'], row['met']) for row in rows] == [(40, 1), (80, 2), (120, 2)]
    assert [row['loss'] for row in rows] == [[104, 204], [108, 208], [112, 212]]


def test_lesson_scores_number_the_lessons():
    rows = [{'loss': i, 'error': 10 * i, 'exact': 0.5} for i in (1, 2)]
    assert lesson_scores(rows) == {
        **{'loss 1': 1, 'error 1': 10, 'exact 1': 0.5},
        **{'loss 2': 2, 'error 2': 20, 'exact 2': 0.5},
    }


def course_run(model, seed, scale, match=False):
    """Results of a run of the curriculum whose errors are known."""
    return {
        'run': f'{model}-{seed}',
        'seed': seed,
        'config': {
            **{'model': model, 'match': match, 'link_sparsity': 0},
            **{'switch': 40, 'lengths': [2, 4]},
        },
        'training': {
            'sequences': [40, 80, 100, 120],
            'loss': [9.0 * scale, 9.0 * scale, 1.0 * scale, 3.0 * scale],
        },
        'retention': [
            {
                'sequences': 40 * (i + 1),
                'met': min(i + 1, 2),
                'loss': [2.0 * scale, 6.0 * scale],
                'error': [1.0 * scale, 2.0 * scale],
                'exact': [1.0, 0.0],
            }
            for i in range(3)
        ],
    }


def course_models():
    return by_model(
        [
            *(course_run('lstm', seed, 10.0**seed) for seed in (0, 1, 2)),
            course_run('lstm', 0, 3.0, match=True),
            *(course_run('dnc', seed, 1.0) for seed in (0, 1)),
        ]
    )


def test_ratios_pair_the_seeds_that_both_models_have():
    models = course_models()
    assert list(models) == ['DNC', 'LSTM', 'LSTM, as many parameters']
    found = ratios(models)
    assert len(found) == 2 * 4
    for name, ratio in found.items():
        if name.startswith('LSTM, as many'):
            assert ratio['values'] == [3.0] and ratio['seeds'] == [0]
        else:
            assert ratio['seeds'] == [0, 1]
            np.testing.assert_allclose(ratio['values'], [1, 10])
            assert ratio['geometric_mean'] == pytest.approx(10**0.5)
    assert ratios({'LSTM': models['LSTM']}) == {}


def test_the_curriculum_is_drawn_over_seeds(tmp_path, charts):  # noqa: F811
    models = course_models()
    training, so_far = curriculum_panels(models)
    np.testing.assert_array_equal(training.series['LSTM'].ys[:, 0], [9, 90, 900])
    # the first lesson alone, then the mean of both
    np.testing.assert_array_equal(so_far.series['DNC'].ys[0], [1, 1.5, 1.5])
    draw_panels(tmp_path / 'panels.png', [training, so_far])
    draw_retention(tmp_path / 'retention.png', models)
    assert (tmp_path / 'panels.png').stat().st_size > 5000
    tables = charts[1].axes
    assert [axes.get_title('left') for axes in tables] == list(models)
    # the second lesson is left out before it is met; LSTM is the mean of 3
    texts = [text.get_text() for text in tables[1].texts]
    assert texts == ['37', '37', '74', '37', '74']


class TestSummaries:
    def test_mean_and_deviation_by_hand(self):
        seeds = Seeds.of([([1, 2], [1.0, 5.0]), ([1, 2], [3.0, 5.0])])
        assert seeds.rows() == [
            {'x': 1, 'mean': 2, 'std': 2**0.5, 'values': [1, 3]},
            {'x': 2, 'mean': 5, 'std': 0, 'values': [5, 5]},
        ]
        assert Seeds.of([([1], [7.0])]).rows()[0]['std'] == 0

    def test_curves_over_different_x_are_refused(self):
        with pytest.raises(ValueError, match='2 and 1 points'):
            Seeds.of([([1, 2], [1, 2]), ([1], [1])])

    def test_an_incomplete_run_is_named(self, tmp_path):
        (tmp_path / 'a').mkdir()
        (tmp_path / 'a/results.json').write_text(json.dumps({'lengths': []}))
        assert read_runs(tmp_path, ['a'], 'lengths') == [{'lengths': []}]
        with pytest.raises(run_folder.RunError, match="'retention'.*'a' complete"):
            read_runs(tmp_path, ['a'], 'retention')
        with pytest.raises(run_folder.RunError, match="'b' complete"):
            read_runs(tmp_path, ['a', 'b'], 'lengths')

    def test_runs_of_other_settings_are_not_compared(self):
        found = [
            {'run': name, 'config': {'seed': seed, 'batch': batch}}
            for name, seed, batch in (('a', 0, 4), ('b', 1, 4), ('c', 2, 8))
        ]
        assert same_settings(found[:2], {'seed'}) == {'batch': 4}
        with pytest.raises(run_folder.RunError, match='batch is 4 in a but 8 in c'):
            same_settings(found, {'seed'})

    def test_names_of_models(self):
        def name(model, match=False, link_sparsity=0):
            return model_label(dict(model=model, match=match, link_sparsity=link_sparsity))

        assert name('dnc') == 'DNC'
        assert name('dnc', link_sparsity=8) == 'sparse DNC (K 8)'
        assert name('lstm', link_sparsity=8) == 'LSTM'
        assert name('lstm', match=True) == 'LSTM, as many parameters'


def test_panels_draw_mean_band_guess_and_mark(tmp_path, charts):  # noqa: F811
    rows = [[{'length': x, 'error': x * s, 'guess': 1.0} for x in (4, 12, 50)] for s in (1, 3)]
    models = {'DNC': [{'lengths': row} for row in rows]}
    panel = lengths_panel(models, make_task('addition'), 12)
    draw_panels(tmp_path / 'lengths.png', [panel])
    (axes,) = charts[0].axes
    mean, guess, mark = axes.lines
    np.testing.assert_array_equal(mean.get_ydata(), [8, 24, 100])
    np.testing.assert_array_equal(guess.get_ydata(), [1, 1, 1])
    assert list(mark.get_xdata()) == [12, 12]
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 4 and band[:, 1].max() == 150
    assert axes.get_yscale() == axes.get_xscale() == 'log'


def test_nothing_to_draw_is_said(tmp_path):
    for panels in ([], [Panel({}, 'x', 'y')]):
        with pytest.raises(ValueError, match='no curve'):
            draw_panels(tmp_path / 'no.png', panels)
