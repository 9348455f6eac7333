"""StateModel trained and measured on a small world that can be known."""

import chainer
import numpy as np
import pytest

from chainer_wm.links.state_model import StateModel
from chainer_wm.rollouts import Rollout, RolloutStore
from chainer_wm.rollouts.sequences import LatentSequences
from chainer_wm.rollouts.states import RecordedStates
from chainer_wm.training import recurrent, state_model
from chainer_wm.training.state_model import Tally

D, K, A = 3, 4, 2


def episode(rng, steps):
    """A counter that the action turns, the counter of before, and a constant."""
    actions = rng.integers(A, size=steps)
    states = np.zeros((steps, D), np.uint8)
    states[0] = rng.integers(K), rng.integers(K), 2
    for t in range(1, steps):
        states[t] = (states[t - 1, 0] + 2 * actions[t - 1] + 1) % K, states[t - 1, 0], 2
    ends = np.zeros((2, steps), bool)
    ends[0, -1] = True
    return Rollout(
        states, np.eye(A, dtype=np.float32)[actions], np.zeros(steps, np.float32), *ends
    )


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    store = RolloutStore(tmp_path_factory.mktemp('store'))
    rng = np.random.default_rng(0)
    for number in range(12):
        store.add(number, episode(rng, int(rng.integers(12, 30))))
    return store


@pytest.fixture
def states(store):
    return RecordedStates(store, store.episodes)


def new_model(head='categorical', core='lstm', **more):
    memory = dict(memory_length=4, memory_width=3, read_heads=1) if core == 'dnc' else {}
    return StateModel(D, K, A, 12, head=head, planes=D, core=core, seed=0, **memory, **more)


def test_recorded_states_are_those_of_the_store(store, states):
    assert states.episodes.tolist() == store.episodes
    assert (states.lengths == store.lengths).all()
    for number in store.episodes:
        rows = states.rows(number)
        assert (states.mu[rows] == store.read(number).observations).all()
        assert (states.actions[rows] == store.read(number).actions).all()
    part = RecordedStates(store, [7, 2], lambda stored: stored[:, :1] * 3)
    assert part.position(2) == 1 and part.starts.tolist() == [0, part.lengths[0]]
    assert (part.actions[part.rows(2)] == store.read(2).actions[:, :1] * 3).all()
    with pytest.raises(ValueError, match='no episodes'):
        RecordedStates(store, [])


def test_exact_predictions_are_counted_by_component():
    start = np.array([[0, 1, 2], [0, 1, 2]])
    truth = np.array([[1, 1, 2], [1, 2, 2]])
    predicted = np.array([[1, 0, 2], [0, 2, 2]])
    tally = Tally.compare(predicted, truth, start)
    assert tally.right.tolist() == [1, 1, 2] and tally.of.tolist() == [2, 2, 2]
    assert tally.changed.tolist() == [2, 1, 0] and tally.right_changed.tolist() == [1, 1, 0]
    assert tally.shares() == {'all': 4 / 6, 'changed': 2 / 3, 'unchanged': 2 / 3}
    groups = state_model.in_groups(tally, [('turns', 2), ('stays', 1)])
    assert groups['turns'] == {'all': 0.5, 'changed': 2 / 3, 'unchanged': 0.0}
    assert groups['stays'] == {'all': 1.0, 'changed': None, 'unchanged': 1.0}
    assert (tally + tally).of.tolist() == [4, 4, 4]


def true_steps(states):
    """(row, row of the next step) of every step that another one follows."""
    for number in states.episodes.tolist():
        rows = states.rows(number)
        yield from ((row, row + 1) for row in range(rows.start, rows.stop - 1))


@pytest.mark.parametrize('head', ['mixture', 'categorical'])
@pytest.mark.parametrize('core', ['lstm', 'dnc'])
def test_one_step_ahead_is_what_a_plain_loop_counts(head, core, states):
    model = new_model(head, core)
    found = state_model.one_step(model, LatentSequences(states, 5, 7, 0), 0)
    right = np.zeros(D, int)
    for number in states.episodes.tolist():
        rows, state = states.rows(number), model.initial_state(1)
        for row in range(rows.start, rows.stop - 1):
            said = state_model.dream(model, states.mu[[row]], states.actions[[row]][None], state)
            right += said[0, 0] == states.mu[row + 1]
            state = state_model.follow(model, states.mu[[row]], states.actions[[row]], state)
    assert found['M'].right.tolist() == right.tolist()
    pairs = np.array(list(true_steps(states)))
    assert found['M'].of.tolist() == [len(pairs)] * D
    kept = (states.mu[pairs[:, 0]] == states.mu[pairs[:, 1]]).sum(axis=0)
    assert found['copy'].right.tolist() == kept.tolist()
    assert found['copy'].right_changed.sum() == 0
    assert found['M, drawn'].of.tolist() == found['M'].of.tolist()


@pytest.mark.parametrize('core', ['lstm', 'dnc'])
def test_dreams_are_what_a_plain_loop_dreams(core, states):
    model, horizon, every = new_model(core=core), 4, 3
    found = state_model.open_loop(model, states, horizon, every, batch=5)
    right, count, copied = np.zeros((3, horizon, D), int)
    for number in states.episodes.tolist():
        rows, state = states.rows(number), model.initial_state(1)
        s, a = states.mu[rows], states.actions[rows]
        for t in range(len(s) - horizon):
            if t % every == every - 1:
                now, inner = s[t : t + 1], state
                for h in range(horizon):
                    said = state_model.dream(model, now, a[t + h : t + h + 1, None], inner)
                    inner = state_model.follow(model, now, a[t + h : t + h + 1], inner)
                    now = said[0]
                    right[h] += now[0] == s[t + h + 1]
                    copied[h] += s[t] == s[t + h + 1]
                    count[h] += 1
            state = state_model.follow(model, s[t : t + 1], a[t : t + 1], state)
    assert count.min() > 10
    assert (found['M'].of == count).all()
    assert (found['M'].right == right).all()
    assert (found['copy'].right == copied).all()


def test_a_dream_reads_values_of_the_game_only(states):
    model = new_model('mixture')
    model.head.b.array.reshape(3, model.mixtures, D)[1] = 40.0
    said = state_model.dream(
        model, states.mu[:2], np.zeros((3, 2, A), np.float32), model.initial_state(2)
    )
    assert said.shape == (3, 2, D) and said.min() >= 39  # told as it is
    read = []
    inputs = model.inputs
    model.inputs = lambda s, a: read.append(np.array(s)) or inputs(s, a)
    state_model.dream(
        model, states.mu[:2], np.zeros((3, 2, A), np.float32), model.initial_state(2)
    )
    assert max(s.max() for s in read) == K - 1


@pytest.mark.parametrize('head, least', [('categorical', 0.95), ('mixture', 0.9)])
def test_a_world_of_rules_is_learnt(head, least, states, tmp_path):
    train, test = LatentSequences(states, 6, 8, 0), LatentSequences(states, 6, 8, 0)
    model = new_model(head)
    log = state_model.train(
        tmp_path, model, train, test, epochs=120, learning_rate=2e-2, measure_every=50, seed=0
    )
    shares = state_model.one_step(model, test, 0)['M'].shares()
    assert shares['all'] > least
    copied = state_model.one_step(model, test, 0)['copy'].shares()
    assert shares['all'] > copied['all'] + 0.2
    assert log[-1]['held_out/loss'] < log[0]['main/loss']
    kept = state_model.measure(model, test, 0)['loss']
    assert kept == pytest.approx(log[-1]['held_out/loss'], rel=1e-5)


@pytest.mark.parametrize('core', ['lstm', 'dnc'])
def test_interrupted_training_gives_the_numbers_of_an_unbroken_one(core, states, tmp_path):
    def train(folder, epochs):
        model = new_model('mixture', core)
        parts = [LatentSequences(states, 3, 8, 0) for _ in range(2)]
        options = dict(learning_rate=1e-2, measure_every=7, seed=3)
        state_model.train(tmp_path / folder, model, *parts, epochs=epochs, **options)
        return [parameter.array.copy() for parameter in model.params()]

    whole = train('whole', 4)
    half = train('parts', 1.5)
    assert any((a != b).any() for a, b in zip(half, whole))
    again = train('parts', 4)
    assert all((a == b).all() for a, b in zip(again, whole))


def test_no_epochs_keep_the_first_weights(states, tmp_path):
    model = new_model()
    first = [parameter.array.copy() for parameter in model.params()]
    sequences = LatentSequences(states, 3, 8, 0)
    assert (
        state_model.train(tmp_path, model, sequences, sequences, epochs=0, learning_rate=1, seed=0)
        == []
    )
    assert (tmp_path / recurrent.BEST).exists()
    assert all((a == b.array).all() for a, b in zip(first, model.params()))


def test_the_mean_loss_does_not_depend_on_lanes(states):
    model = new_model()
    losses = [
        state_model.measure(model, LatentSequences(states, lanes, window, 0), 0)['loss']
        for lanes, window in ((1, 100), (5, 7), (12, 3))
    ]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    assert chainer.config.enable_backprop
