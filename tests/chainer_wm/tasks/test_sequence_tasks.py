"""Addition, repeat and priority sort, and the net that learns them."""

import chainer
import numpy as np
import pytest

from chainer_wm.files.archives import load_link, save_link
from chainer_wm.tasks.network import SequenceNet, matched_hidden_size
from chainer_wm.tasks.sequence_tasks import TASKS, make_task

MEMORY = {'memory_length': 8, 'memory_width': 4, 'read_heads': 2}
CORES = [('lstm', {}), ('dnc', MEMORY), ('dnc', MEMORY | {'link_sparsity': 2})]


def draw(name, lanes=32, longest=12, seed=0):
    task = make_task(name)
    return task, task.batch(np.random.default_rng(seed), lanes, longest)


def lanes_of(batch):
    """Each lane's items (n, X), targets (T, Y) and padding (P, X + Y)."""
    for b in range(batch.inputs.shape[1]):
        (end,) = np.flatnonzero(batch.inputs[:, b, -1])
        length = int(batch.mask[:, b].sum())
        rest = batch.inputs[length:, b], batch.targets[length:, b]
        yield (
            batch.inputs[:end, b],
            batch.targets[:length, b],
            np.concatenate(rest, axis=1),
            batch.inputs[end:length, b],
        )


def asked_of(name, items):
    """A slow oracle: the rows of targets that follow these items."""
    if name == 'addition':
        return [[sum(int(np.argmax(row)) for row in items)]]
    if name == 'repeat':
        return [list(row[:-1]) for row in items]
    return [list(row[1:-1]) for row in sorted(items, key=lambda row: row[0])]


@pytest.mark.parametrize('name', TASKS)
def test_targets_are_what_the_items_ask_for(name):
    _, batch = draw(name)
    for items, targets, padding, after in lanes_of(batch):
        answers = asked_of(name, items)
        np.testing.assert_array_equal(targets[-len(answers) :], answers)
        assert not targets[: -len(answers)].any()
        assert not padding.any()
        # the delimiter is one-hot, and nothing more is shown after it
        assert after[0].tolist() == [0, 0, 0, 0, 0, 1]
        assert not after[1:].any()


@pytest.mark.parametrize('name', TASKS)
def test_only_the_answers_are_asked_for(name):
    _, batch = draw(name)
    for b, (items, targets, _, _) in enumerate(lanes_of(batch)):
        wanted = np.zeros(len(batch.asked), bool)
        wanted[: len(targets)][-len(asked_of(name, items)) :] = True
        np.testing.assert_array_equal(batch.asked[:, b], wanted)


@pytest.mark.parametrize(
    ('name', 'counts'),
    [('addition', range(2, 13)), ('repeat', range(1, 7)), ('priority_sort', range(2, 7))],
)
def test_every_length_is_drawn_and_no_other(name, counts):
    _, batch = draw(name, lanes=400)
    seen = {len(items) for items, *_ in lanes_of(batch)}
    assert seen == set(counts)


def test_symbols_are_one_hot_and_uniform():
    _, batch = draw('addition', lanes=3000, longest=3)
    items = np.concatenate([items for items, *_ in lanes_of(batch)])
    assert set(items.sum(axis=1)) == {1}
    np.testing.assert_allclose(items[:, :-1].mean(axis=0), 0.2, atol=0.02)


def test_priorities_and_bits_are_uniform():
    _, batch = draw('priority_sort', lanes=1000, longest=6)
    items = np.concatenate([items for items, *_ in lanes_of(batch)])
    low, middle, high = np.quantile(items[:, 0], [0, 0.5, 1])
    assert -1 <= low < -0.99 and 0.99 < high <= 1 and abs(middle) < 0.08
    assert set(items[:, 1:-1].ravel()) == {0, 1}
    np.testing.assert_allclose(items[:, 1:-1].mean(), 0.5, atol=0.03)


@pytest.mark.parametrize('name', TASKS)
def test_a_batch_comes_from_its_generator_alone(name):
    first, again, other = (draw(name, seed=seed)[1] for seed in (1, 1, 2))
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)
    assert first.inputs.shape != other.inputs.shape or (first.inputs != other.inputs).any()


@pytest.mark.parametrize('name', TASKS)
def test_the_score_sees_the_asked_answers_alone(name):
    task, batch = draw(name, lanes=8)
    noise = np.random.default_rng(1).normal(0, 9, batch.targets.shape)
    outputs = np.where(batch.asked[..., None], batch.targets, noise)
    assert task.score(outputs, batch) == {'error': 0, 'exact': 1}
    step = np.flatnonzero(batch.asked[:, 3])[-1]
    outputs[step, 3, 0] = 1 - outputs[step, 3, 0]
    found = task.score(outputs, batch)
    assert found['exact'] == 1 - 1 / 8
    assert found['error'] > 0


def test_the_score_by_hand():
    task = make_task('repeat', width=3)
    batch = task.make(np.random.default_rng(0), np.array([2, 1]))
    outputs = batch.targets + 0.4 * (1 - 2 * batch.targets)  # still right
    assert task.score(outputs, batch)['error'] == 0
    outputs[3, 0, 1] = 1 - batch.targets[3, 0, 1]
    # one of the 2 x 2 + 1 x 2 bits
    assert task.score(outputs, batch)['error'] == pytest.approx(1 / 6)
    task = make_task('addition')
    batch = task.make(np.random.default_rng(0), np.array([2, 3, 3, 5]))
    outputs = batch.targets + np.array([0.4, -0.4, 0.6, -1.0])[:, None]
    found = task.score(outputs, batch)
    assert found['error'] == pytest.approx(0.6)
    assert found['exact'] == 0.5


def test_no_constant_guesses_better_than_the_guess():
    task, batch = draw('addition', lanes=2000, longest=6)

    def error(shift):
        guess = task.guess(batch) + shift * batch.asked[..., None]
        return ((guess - batch.targets) ** 2).mean()

    assert error(0) < min(error(-0.3), error(0.3))
    task, batch = draw('repeat', lanes=500)
    assert task.score(task.guess(batch), batch)['error'] == pytest.approx(0.5, abs=0.03)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="task is 'sum'"):
        make_task('sum')
    with pytest.raises(ValueError, match='width is 2'):
        make_task('repeat', 2)
    with pytest.raises(ValueError, match='length 3 makes 1 items'):
        make_task('priority_sort').items(3)
    with pytest.raises(ValueError, match='length 1 makes 1 items'):
        draw('addition', longest=1)


@pytest.mark.parametrize(('core', 'memory'), CORES)
@pytest.mark.parametrize('name', TASKS)
def test_a_lane_does_not_see_its_neighbours_or_its_padding(name, core, memory):
    task, batch = draw(name, lanes=5)
    net = SequenceNet(6, task.output_size, 7, core, **memory)
    together = net.answers(batch.inputs)
    for b in range(5):
        length = int(batch.mask[:, b].sum())
        alone = net.answers(batch.inputs[:length, b : b + 1])[:, 0]
        np.testing.assert_allclose(together[:length, b], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', TASKS)
def test_the_loss_is_the_mean_over_sequences_of_the_sum_over_steps(name):
    task, batch = draw(name, lanes=5)
    net = SequenceNet(6, task.output_size, 7)
    answers = net.answers(batch.inputs)
    total = 0.0
    for b, (_, targets, *_) in enumerate(lanes_of(batch)):
        for t, target in enumerate(targets):
            total += np.mean((answers[t, b] - target) ** 2) / 5
    np.testing.assert_allclose(net.loss(batch).array, total, rtol=1e-5)


@pytest.mark.parametrize(('core', 'memory'), CORES)
def test_every_weight_gets_a_gradient(core, memory):
    task, batch = draw('repeat', lanes=4)
    net = SequenceNet(6, task.output_size, 7, core, **memory)
    net.cleargrads()
    net.loss(batch).backward()
    for name, param in net.namedparams():
        assert np.abs(param.grad).max() > 0, name


@pytest.mark.parametrize(('core', 'memory'), CORES)
def test_a_saved_net_gives_the_same_answers(tmp_path, core, memory):
    _, batch = draw('addition', lanes=3)
    net = SequenceNet(6, 1, 7, core, seed=3, **memory)
    save_link(tmp_path / 'net.npz', net)
    again = load_link(tmp_path / 'net.npz', SequenceNet)
    np.testing.assert_array_equal(net.answers(batch.inputs), again.answers(batch.inputs))
    assert net.config == again.config


def test_the_seed_draws_the_weights():
    nets = [SequenceNet(6, 1, 5, 'dnc', seed, **MEMORY) for seed in (1, 1, 2)]
    first, again, other = (net.core.interface.W.array for net in nets)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_double_precision_goes_through():
    with chainer.using_config('dtype', np.dtype('float64')):
        net = SequenceNet(6, 1, 5, 'dnc', **MEMORY)
        _, batch = draw('addition', lanes=2)
        assert net.answers(batch.inputs).dtype == np.float64
        assert net.loss(batch).dtype == np.float64


def test_more_slots_keep_the_weights_and_hold_more():
    net = SequenceNet(6, 5, 7, 'dnc', seed=1, **MEMORY)
    larger = net.with_memory_length(20)
    assert larger.core.initial_state(1).memory.shape == (1, 20, 4)
    assert larger.config == {**net.config, 'memory_length': 20}
    for (name, a), (_, b) in zip(sorted(net.namedparams()), sorted(larger.namedparams())):
        np.testing.assert_array_equal(a.array, b.array, err_msg=name)
    _, batch = draw('repeat', lanes=2)
    same = net.with_memory_length(8).answers(batch.inputs)
    np.testing.assert_array_equal(same, net.answers(batch.inputs))
    assert (same != larger.answers(batch.inputs)).any()
    with pytest.raises(ValueError, match="core is 'lstm'"):
        SequenceNet(6, 5, 7).with_memory_length(20)


@pytest.mark.parametrize('sizes', [(6, 1), (6, 5), (3, 2)])
def test_the_matched_lstm_is_the_closest(sizes):
    counts = {h: SequenceNet(*sizes, h).count_params() for h in range(1, 30)}
    for parameters in range(counts[1], counts[29], 137):
        hidden = matched_hidden_size(parameters, *sizes)
        closest = min(abs(count - parameters) for count in counts.values())
        assert abs(counts[hidden] - parameters) == closest
    with pytest.raises(ValueError, match='3 parameters'):
        matched_hidden_size(3, *sizes)
