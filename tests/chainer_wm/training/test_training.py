"""Training: seeded, resumable to the same numbers, damage survived."""

from typing import NamedTuple

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
import pytest

from chainer_wm import files
from chainer_wm.files import archives
from chainer_wm.functions.non_finite import NonFiniteError
from chainer_wm.seeds import stream
from chainer_wm.training import loop


class State(NamedTuple):
    h: object


class Net(chainer.Chain):
    def __init__(self, seed=0):
        super().__init__()
        self.config = {'seed': seed}
        rng = np.random.RandomState(seed)
        with self.init_scope():
            self.layer = L.Linear(3, 3, initialW=chainer.initializers.LeCunNormal(rng=rng))

    def loss(self, number, state):
        x = stream(0, 'noise', number).standard_normal((4, 3)).astype('f')
        h = F.tanh(self.layer(x) + state.h)
        loss = F.mean((h - x) ** 2)
        chainer.report({'loss': loss}, self)
        return loss, State(h)


def run(folder, updates, loss=None, patience=None, debug=False, rate=None):
    net = Net()
    optimizer = chainer.optimizers.Adam().setup(net)
    updater = loop.NumberedUpdater(
        optimizer, loss or net.loss, State(np.zeros((4, 3), 'f')), debug=debug, rate=rate
    )
    held_out = loop.HeldOut(
        lambda: {'size': float((net.layer.W.array**2).sum())},
        'size',
        folder / 'best.npz',
        patience,
    )
    trainer = loop.fit(
        folder,
        updater,
        updates,
        'test',
        held_out,
        measure_every=5,
        log_every=3,
        snapshot_seconds=1e9,
    )
    log = [
        {key: value for key, value in row.items() if key != 'elapsed_time'}
        for row in loop.history(trainer)
    ]
    return net, updater, log


@pytest.mark.parametrize('rate', [None, loop.linear_rate(1e-2, 1e-3, 31)])
def test_interrupted_run_gives_the_numbers_of_an_unbroken_one(tmp_path, rate):
    whole, updater, log = run(tmp_path / 'whole', 31, rate=rate)
    run(tmp_path / 'parts', 11, rate=rate)
    run(tmp_path / 'parts', 17, rate=rate)
    parts, resumed, resumed_log = run(tmp_path / 'parts', 31, rate=rate)
    np.testing.assert_array_equal(whole.layer.W.array, parts.layer.W.array)
    np.testing.assert_array_equal(updater.state.h, resumed.state.h)
    assert log == resumed_log
    assert resumed.iteration == 31


def test_rate_sets_the_step_size_of_each_update(tmp_path):
    def weights(updates):
        rate = {0: 0.25, 1: 0.0, 2: 0.5}.get
        return run(tmp_path, updates, rate=rate)[0].layer.W.array

    first, second, third = weights(1), weights(2), weights(3)
    # Adam's first step is alpha times the sign of the gradient.
    np.testing.assert_allclose(np.abs(first - Net().layer.W.array), 0.25, rtol=1e-3)
    np.testing.assert_array_equal(first, second)
    assert (second != third).all()


def test_linear_rate_falls_in_a_straight_line():
    rate = loop.linear_rate(1.0, 0.2, 8)
    found = [rate(n) for n in (0, 2, 4, 8, 9)]
    np.testing.assert_allclose(found, [1.0, 0.8, 0.6, 0.2, 0.2])


def test_linear_rate_never_rises_nor_goes_below_zero():
    rate = loop.linear_rate(1.0, 1.5, 8)
    assert [rate(0), rate(4), rate(9)] == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match=r'from 1.0 to -0.1'):
        loop.linear_rate(1.0, -0.1, 8)


def test_state_is_carried_from_update_to_update(tmp_path):
    seen = []

    def loss(number, state):
        seen.append(float(state.h[0, 0]))
        x = np.ones((4, 3), 'f')
        return F.mean(net.layer(x) ** 2), State(chainer.Variable(np.full((4, 3), number + 1, 'f')))

    net = Net()
    updater = loop.NumberedUpdater(
        chainer.optimizers.SGD().setup(net), loss, State(np.zeros((4, 3), 'f'))
    )
    loop.fit(tmp_path, updater, 3, 'test')
    assert seen == [0, 1, 2]


def test_damaged_snapshot_is_named_and_the_one_before_is_used(tmp_path):
    whole, _, _ = run(tmp_path / 'whole', 30)
    run(tmp_path / 'parts', 10)
    run(tmp_path / 'parts', 20)
    newest = tmp_path / 'parts/snapshots/update-00000020.npz'
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.warns(UserWarning, match='update-00000020.npz is damaged'):
        parts, _, _ = run(tmp_path / 'parts', 30)
    np.testing.assert_array_equal(whole.layer.W.array, parts.layer.W.array)
    assert newest.with_suffix('.damaged').exists()


def test_finished_training_is_not_repeated(tmp_path):
    run(tmp_path, 10)

    def refuse(number, state):
        raise AssertionError('trained again')

    _, updater, _ = run(tmp_path, 10, loss=refuse)
    assert updater.iteration == 10


def test_only_two_snapshots_are_kept(tmp_path):
    for updates in (2, 4, 6):
        run(tmp_path, updates)
    names = sorted(p.name for p in (tmp_path / 'snapshots').glob('update-*'))
    assert names == ['update-00000004.npz', 'update-00000006.npz']


def test_best_held_out_weights_are_kept_and_patience_ends_training(tmp_path):
    values = iter([3.0, 1.0, 2.0, 2.0, 2.0, 0.0])
    weights = []

    def measure():
        weights.append(net.layer.W.array.copy())
        return {'size': next(values)}

    net = Net()
    updater = loop.NumberedUpdater(
        chainer.optimizers.Adam().setup(net), net.loss, State(np.zeros((4, 3), 'f'))
    )
    held_out = loop.HeldOut(measure, 'size', tmp_path / 'best.npz', patience=3)
    loop.fit(tmp_path, updater, 1000, 'test', held_out, measure_every=2)
    assert updater.iteration == 10  # best at the second of five measurements
    best = archives.load_link(tmp_path / 'best.npz', Net)
    np.testing.assert_array_equal(best.layer.W.array, weights[1])


class Scripted:
    """A training whose held-out values are given, by update number."""

    def __init__(self, folder, values, patience=None):
        self.folder, self.values = folder, values
        self.net, self.weights = Net(), {}
        self.updater = loop.NumberedUpdater(
            chainer.optimizers.Adam().setup(self.net), self.net.loss, State(np.zeros((4, 3), 'f'))
        )
        self.held_out = loop.HeldOut(self.measure, 'size', folder / 'best.npz', patience)

    def measure(self):
        number = self.updater.iteration
        self.weights[number] = self.net.layer.W.array.copy()
        return {'size': self.values[number]}

    def fit(self, updates):
        trainer = loop.fit(
            self.folder, self.updater, updates, 'test', self.held_out, measure_every=5, log_every=5
        )
        self.log = [
            {key: row[key] for key in row if key != 'elapsed_time'}
            for row in loop.history(trainer)
        ]
        return self

    def kept(self):
        """Of which update the kept weights are."""
        best = archives.load_link(self.folder / 'best.npz', Net).layer.W.array
        numbers = [number for number, weights in self.weights.items() if (weights == best).all()]
        return numbers[0] if numbers else None


ENDS_BEST = {5: 3.0, 10: 2.0, 13: 1.0, 15: 2.5, 18: 4.0, 20: 2.2}
ENDS_WORSE = ENDS_BEST | {13: 9.0}


def test_the_end_is_measured_and_may_be_the_best(tmp_path):
    found = Scripted(tmp_path / 'a', ENDS_BEST).fit(13)
    assert found.kept() == 13 and list(found.weights) == [5, 10, 13]
    assert [row['iteration'] for row in found.log] == [5, 10, 13]
    assert [row['held_out/size'] for row in found.log] == [3.0, 2.0, 1.0]
    assert all(row['main/loss'] > 0 for row in found.log)
    written = files.read_json(tmp_path / 'a/log.json', list)
    assert [row['held_out/size'] for row in written] == [3.0, 2.0, 1.0]
    assert Scripted(tmp_path / 'b', ENDS_WORSE).fit(13).kept() == 10
    # shorter than the time to the first measurement
    assert Scripted(tmp_path / 'c', {3: 7.0}).fit(3).kept() == 3
    # measured once where the end is a measurement anyway
    assert list(Scripted(tmp_path / 'd', ENDS_BEST).fit(10).weights) == [5, 10]


@pytest.mark.parametrize('values', [ENDS_BEST, ENDS_WORSE])
@pytest.mark.parametrize('stops', [(13,), (3, 13), (13, 18), (13, 13)])
def test_a_longer_training_does_not_know_where_it_once_ended(tmp_path, values, stops):
    values = values | {3: 0.5}
    whole = Scripted(tmp_path / 'whole', values).fit(20)
    assert whole.kept() == 10
    for stop in stops:
        Scripted(tmp_path / 'parts', values).fit(stop)
    parts = Scripted(tmp_path / 'parts', values).fit(20)
    for name in ('best.npz', 'log.json'):
        assert (tmp_path / 'parts' / name).exists()
    np.testing.assert_array_equal(
        *(
            archives.load_link(tmp_path / each / 'best.npz', Net).layer.W.array
            for each in ('whole', 'parts')
        )
    )
    assert parts.log == whole.log
    assert parts.held_out.best == whole.held_out.best == 2.0
    assert parts.held_out.since_best == whole.held_out.since_best == 2


def test_the_end_does_not_count_for_patience(tmp_path):
    values = {5: 3.0, 8: 9.0, 10: 4.0, 15: 2.0, 20: 2.1, 25: 2.2}
    for stop in (8, 8, 99):
        found = Scripted(tmp_path, values, patience=2).fit(stop)
    assert found.updater.iteration == 25
    assert found.kept() == 15


@pytest.mark.parametrize('at', ['measuring', 'setting aside', 'saving'])
def test_killed_at_the_end_it_is_measured_in_the_next_call(tmp_path, monkeypatch, at):
    class Killed(Exception):
        pass

    def die(*_):
        raise Killed

    killed = Scripted(tmp_path, ENDS_BEST)
    whole = killed.measure

    def measure():
        if killed.updater.iteration == 13:
            if at == 'measuring':
                die()
            monkeypatch.setattr(
                *(files, 'atomic_write', die)
                if at == 'setting aside'
                else (loop, 'save_link', die)
            )
        return whole()

    killed.held_out.measure = measure
    with pytest.raises(Killed):
        killed.fit(13)
    monkeypatch.undo()
    for _ in range(2):
        again = Scripted(tmp_path, ENDS_BEST).fit(13)
        assert again.kept() == 13 and list(again.weights) == [13]
        assert again.log[-1]['held_out/size'] == 1.0
    longer = Scripted(tmp_path, ENDS_BEST).fit(20)
    assert longer.kept() is None  # of none that was measured after 13
    np.testing.assert_array_equal(
        archives.load_link(tmp_path / 'best.npz', Net).layer.W.array, killed.weights[10]
    )


def test_what_is_left_at_the_end_is_logged(tmp_path):
    def loss(number, state):
        found = F.sum(net.layer.W * 0) + number
        chainer.report({'loss': found}, net)
        return found, state

    net = Net()
    for stop in (4, 9):
        updater = loop.NumberedUpdater(chainer.optimizers.SGD().setup(net), loss)
        trainer = loop.fit(tmp_path, updater, stop, 'test', log_every=6)
    rows = [(row['iteration'], row['main/loss']) for row in loop.history(trainer)]
    assert rows == [(6, 2.5), (9, 7.0)]  # means of 0 to 5 and of 6 to 8


@pytest.mark.parametrize('debug', [False, True])
def test_loss_that_is_not_finite_names_stage_and_snapshot(tmp_path, debug):
    run(tmp_path, 10)

    def diverge(number, state):
        return F.log(F.sum(net.layer(np.zeros((1, 3), 'f')) ** 2) - 1), state

    net = Net()
    with pytest.raises(NonFiniteError) as caught, np.errstate(invalid='ignore'):
        run(tmp_path, 20, loss=diverge, debug=debug)
    assert caught.value.stage == 'test'
    assert caught.value.snapshot.name == 'update-00000010.npz'
    assert 'update-00000010.npz' in str(caught.value)


def test_load_link_builds_from_saved_configuration(tmp_path):
    net = Net(seed=5)
    archives.save_link(tmp_path / 'net.npz', net)
    again = archives.load_link(tmp_path / 'net.npz', Net)
    assert again.config == {'seed': 5}
    np.testing.assert_array_equal(net.layer.W.array, again.layer.W.array)


def test_load_link_names_a_truncated_file(tmp_path):
    path = tmp_path / 'net.npz'
    archives.save_link(path, Net())
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match='net.npz'):
        archives.load_link(path, Net)
