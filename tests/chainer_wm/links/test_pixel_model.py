"""The global model: sequences, loss, learning, memory at a start."""

import chainer
import chainer.functions as F
import numpy as np
import pytest
from pixel_case import CORES, played, small_model, taught

from chainer_wm.dream.pixel_dream import starts_at
from chainer_wm.files.archives import load_link, save_link
from chainer_wm.functions.adam import Adam
from chainer_wm.links.pixel_model import STAY, PixelModel


@pytest.mark.parametrize('core', CORES)
class TestModel:
    def test_what_an_episode_is_told_depends_on_nothing_before_it(self, core):
        model = small_model(core)
        episodes = taught(model, [played(0, 1), played(1, 2)])
        batch = episodes.whole([0, 1])
        time = len(batch.codes)
        together = type(batch)(
            *(np.concatenate([field[:, :1], field[:, 1:]], axis=0) for field in batch)
        )
        both, _ = model.sequence(
            together.codes, together.actions, model.initial_state(1), together.reset
        )
        apart, _ = model.sequence(batch.codes, batch.actions, model.initial_state(2), batch.reset)
        for one, two in zip(both, apart):
            np.testing.assert_allclose(one.array[time:, 0], two.array[:, 1], rtol=1e-4, atol=1e-5)

    def test_steps_are_the_sequence(self, core):
        model = small_model(core)
        batch = taught(model, [played(0, 1), played(1, 2)]).whole([0, 1])
        whole, _ = model.sequence(batch.codes, batch.actions, model.initial_state(2), batch.reset)
        state = model.initial_state(2)
        for t in range(len(batch.codes)):
            found, state = model.step(batch.codes[t], batch.actions[t], state)
            for one, two in zip(found, whole):
                np.testing.assert_allclose(one.array, two.array[t], rtol=1e-4, atol=1e-5)

    def test_loss_is_the_mean_over_known_steps(self, core):
        model = small_model(core)
        batch = taught(model, [played(0, 1), played(3, 9)]).whole([0, 1])
        state = model.initial_state(2)
        found, _ = model.sequence(batch.codes, batch.actions, state, batch.reset)
        nats = F.log_softmax(found.colours, axis=3).array
        wanted = np.take_along_axis(nats, batch.following[..., None], 3)
        pictures = -wanted[..., 0].sum(axis=2)
        losses, _ = model.loss(batch, state)
        np.testing.assert_allclose(
            losses.picture.array, pictures[batch.seen > 0].mean(), rtol=1e-5
        )

    def test_a_pixel_keeps_its_colour_where_nothing_is_said(self, core):
        model = small_model(core)
        batch = taught(model, [played(0, 1)]).whole([0])
        for link in (model.colours, model.outcome):
            link.W.array[...] = 0
        found, _ = model.step(batch.codes[0], batch.actions[0], model.initial_state(1))
        scores = found.colours.array
        assert (scores.argmax(axis=2) == batch.codes[0]).all()
        assert set(np.unique(scores)) == {0, STAY}

    def test_nothing_leads_past_the_core(self, core):
        model = small_model(core)
        batch = taught(model, [played(0, 1)]).whole([0])
        model.first.W.array[...] = 0
        found, _ = model.sequence(batch.codes, batch.actions, model.initial_state(1), batch.reset)
        assert (found.outcome.array == found.outcome.array[0]).all()

    def test_the_outcome_is_weighted(self, core):
        model = small_model(core)
        batch = taught(model, [played(0, 1)]).whole([0])
        losses, _ = model.loss(batch, model.initial_state(1))
        np.testing.assert_allclose(
            losses.total(10.0).array, losses.picture.array + 10 * losses.outcome.array, rtol=1e-6
        )

    def test_filling_does_not_count(self, core):
        model = small_model(core)
        batch = taught(model, [played(0, 1), played(3, 9)]).whole([0, 1])
        longer = type(batch)(*(np.concatenate([field, field[:2] * 0]) for field in batch))
        state = model.initial_state(2)
        for one, two in zip(model.loss(batch, state)[0], model.loss(longer, state)[0]):
            np.testing.assert_allclose(one.array, two.array, rtol=1e-5)

    def test_learns_a_level_by_heart_and_survives_the_disk(self, core, tmp_path):
        model = small_model(core)
        episodes = taught(model, [played(1, seed) for seed in range(4)])
        optimizer = Adam(1e-2).setup(model)
        rng = np.random.default_rng(0)
        losses = []
        for _ in range(120):
            batch = episodes.draw(12, 4, rng)
            loss, _ = model.loss(batch, model.initial_state(4))
            model.cleargrads()
            loss.total().backward()
            optimizer.update()
            losses.append(float(loss.picture.array))
        assert np.mean(losses[-10:]) < 0.3 * losses[0]
        save_link(tmp_path / 'model.npz', model)
        again = load_link(tmp_path / 'model.npz', PixelModel)
        assert again.palette.colours == model.palette.colours
        assert again.outcomes.known == model.outcomes.known
        batch = episodes.whole([0, 1])
        state = model.initial_state(2)
        assert float(again.loss(batch, state)[0].total().array) == float(
            model.loss(batch, state)[0].total().array
        )

    def test_starts_hold_the_memory_of_the_way_there(self, core):
        model = small_model(core)
        episodes = taught(model, [played(0, 1), played(1, 2), played(2, 3)])
        found = starts_at(model, episodes, np.array([[2, 5], [0, 0], [2, 3]]))
        state = model.initial_state(1)
        batch = episodes.whole([2])
        for t in range(5):
            _, state = model.step(batch.codes[t], batch.actions[t], state)
        for kept, one in zip(found.state, state):
            np.testing.assert_allclose(kept[0], chainer.as_array(one)[0], rtol=1e-4, atol=1e-6)
            assert not kept[1].any()
        np.testing.assert_array_equal(found.codes[0], batch.codes[5, 0])


def test_shapes_that_do_not_fit_are_named():
    model = small_model()
    state = model.initial_state(2)
    with pytest.raises(ValueError, match=r'\(T, B, 100\)'):
        model.sequence(np.zeros((3, 2, 99), 'u1'), None, state, None)
    with pytest.raises(ValueError, match='actions have shape'):
        model.sequence(np.zeros((3, 2, 100), 'u1'), np.zeros((2, 3), int), state, None)
