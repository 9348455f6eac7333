"""Training of sequence tasks, and curricula."""

import numpy as np
import pytest

from chainer_wm.files.archives import load_link
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
