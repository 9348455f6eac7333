"""A model of pictures: codes, outcomes, loss, batches, simulation."""

import chainer
import chainer.functions as F
import numpy as np
import pytest

from chainer_wm.envs.grid_navigation import GridNavigation, OrderedKeys
from chainer_wm.links import load_link, save_link
from chainer_wm.optimizers import Adam
from chainer_wm.pixel_model import (
    Episodes,
    Outcomes,
    Palette,
    PixelModel,
    PixelSimulation,
    Starts,
    choose,
    draw_points,
    starts_at,
)
from chainer_wm.pixel_model.choice import RARE
from chainer_wm.pixel_model.network import STAY
from chainer_wm.rollouts import Rollout

CORES = {
    'lstm': {},
    'dnc': {'memory_length': 4, 'memory_width': 4, 'read_heads': 1},
}


def rollout(pictures, actions, rewards, terminated):
    count = len(actions)
    ends = np.zeros((2, count), bool)
    ends[0 if terminated else 1, -1] = True
    return Rollout(
        np.asarray(pictures, np.uint8),
        np.array(actions, np.float32)[:, None],
        np.array(rewards, np.float32),
        *ends,
    )


def played(level, seed, kind=GridNavigation):
    """A random episode of a real game."""
    rng = np.random.default_rng(seed)
    env = kind(level, resolution=10, max_steps=12)
    seen, _ = env.reset(seed=seed)
    rows, over = [], False
    while not over:
        action = int(rng.integers(4))
        after, reward, terminated, cut, _ = env.step(action)
        rows.append((seen, action, reward))
        seen, over = after, terminated or cut
    return rollout(*map(list, zip(*rows)), terminated)


def small_model(core='lstm', **options):
    options = {'encoded': 12, 'hidden_size': 16, 'decoded': 32, **options}
    return PixelModel(
        10, 10, 4, capacity=5, core=core, **CORES[core], **options
    )


def taught(model, rollouts):
    """The episodes in memory; the model knows what they hold."""
    for one in rollouts:
        model.palette.learn(one.observations)
        model.outcomes.learn(one.rewards, one.terminated)
    return Episodes(rollouts, model.palette, model.outcomes)


class TestPalette:
    def test_there_and_back(self):
        frames = np.random.default_rng(0).integers(2, size=(3, 2, 6, 4, 3))
        frames = (frames * 255).astype(np.uint8)
        codes = Palette(6, 4, 8)
        codes.learn(frames)
        assert len(codes) == 8
        numbers = codes.encode(frames)
        assert numbers.shape == (3, 2, 24)
        np.testing.assert_array_equal(codes.decode(numbers), frames)

    def test_a_colour_keeps_its_number(self):
        codes = Palette(1, 2, 3)
        codes.learn(np.array([[[200] * 3, [5] * 3]], np.uint8))
        codes.learn(np.array([[[1] * 3, [5] * 3]], np.uint8))
        assert codes.colours == [[200] * 3, [5] * 3, [1] * 3]

    def test_numbers_are_the_pixels_with_white_at_zero(self):
        frame = np.array([[[255, 0, 51], [255] * 3]], np.uint8)
        codes = Palette(1, 2, 3)
        codes.learn(frame)
        numbers = codes.numbers(codes.encode(frame), np.dtype('float64'))
        np.testing.assert_allclose(numbers, [0, 1, 0.8, 0, 0, 0])

    def test_what_does_not_fit_is_named(self):
        codes = Palette(1, 2, 1)
        frame = np.array([[[1] * 3, [2] * 3]], np.uint8)
        with pytest.raises(ValueError, match='2 colours.*room for 1'):
            codes.learn(frame)
        with pytest.raises(ValueError, match='not among the 0 known'):
            codes.encode(frame)
        with pytest.raises(ValueError, match='uint8'):
            codes.encode(frame.astype(float))


class TestOutcomes:
    def test_there_and_back(self):
        rewards = np.array([-1, -1, 9, -0.1], np.float32)
        ends = np.array([False, True, True, False])
        outcomes = Outcomes(4)
        outcomes.learn(rewards, ends)
        outcomes.learn(rewards, ends)
        numbers = outcomes.encode(rewards, ends)
        assert numbers.tolist() == [0, 1, 2, 3]
        for told, meant in zip(outcomes.decode(numbers), (rewards, ends)):
            np.testing.assert_array_equal(told, meant)

    def test_survives_json(self):
        outcomes = Outcomes(2)
        outcomes.learn(np.float32([-0.1]), np.array([False]))
        again = Outcomes(2, outcomes.known)
        assert again.encode(np.float32([-0.1]), [False]).tolist() == [0]

    def test_what_does_not_fit_is_named(self):
        outcomes = Outcomes(1, [[1, 0]])
        with pytest.raises(ValueError, match='2 pairs.*room for 1'):
            outcomes.learn(np.array([2.0]), np.array([False]))
        with pytest.raises(ValueError, match=r'reward 1.0 with end True'):
            outcomes.encode(np.array([1.0]), np.array([True]))


class TestChoice:
    def scores(self, chances):
        return np.log(np.array(chances, np.float64))

    def test_what_is_sure_happens(self):
        scores = self.scores([[0.95, 0.05], [0.04, 0.96]])
        for chance in (0.0, 0.999):
            assert choose(scores, chance, 2).tolist() == [0, 1]

    def test_pixels_that_doubt_alike_decide_alike(self):
        scores = np.tile(self.scores([0.04, 0.36, 0.6]), (200, 7, 1))
        chance = np.random.default_rng(0).random((200, 1))
        found = choose(scores, chance, 3)
        assert (found == found[:, :1]).all()
        assert set(found[:, 0]) == {1, 2}  # the first is too rare
        assert (found[:, 0] == 1).sum() == (chance < 0.375).sum()

    def test_classes_that_do_not_exist_are_not_chosen(self):
        scores = self.scores([[0.02, 0.01, 0.97]])
        assert choose(scores, 0.5, 2).tolist() == [0]

    def test_the_likeliest_is_there_even_where_all_are_rare(self):
        count = 2 * int(1 / RARE)
        scores = np.zeros((1, count))
        scores[0, 3] = 0.01
        assert choose(scores, 0.9, count).tolist() == [3]

    def test_follows_the_shares(self):
        chance = np.linspace(0, 0.999, 1000)
        scores = np.tile(self.scores([0.05, 0.55, 0.4, 0.9]), (1000, 1))
        counts = np.bincount(choose(scores, chance, 3))
        assert counts[0] == 0
        np.testing.assert_allclose(counts[1] / 1000, 0.55 / 0.95, atol=2e-3)


class TestEpisodes:
    def made(self):
        first = np.zeros((3, 2, 2, 3)) + np.arange(3)[:, None, None, None]
        second = np.zeros((2, 2, 2, 3)) + 3
        model = PixelModel(2, 2, 2, capacity=4, hidden_size=4)
        return taught(
            model,
            [
                rollout(first, [0, 1, 0], [-1, -1, 5], True),
                rollout(second, [1, 1], [-1, -1], False),
            ],
        )

    def test_whole_episodes_are_filled_up(self):
        batch = self.made().whole([1, 0])
        assert batch.codes[:, 0, 0].tolist() == [3, 3, 3]
        assert batch.codes[:, 1, 0].tolist() == [0, 1, 2]
        assert batch.following[:2, 1, 0].tolist() == [1, 2]
        assert batch.actions.T.tolist() == [[1, 1, 1], [0, 1, 0]]
        assert batch.outcomes.T.tolist() == [[0, 0, 0], [0, 0, 1]]
        assert batch.played.T.tolist() == [[1, 1, 0], [1, 1, 1]]
        assert batch.seen.T.tolist() == [[1, 0, 0], [1, 1, 0]]
        assert batch.reset.T.tolist() == [[1, 0, 0], [1, 0, 0]]

    def test_drawn_lanes_hold_one_episode_after_the_other(self):
        batch = self.made().draw(7, 40, np.random.default_rng(0))
        assert batch.played.all() and batch.reset[0].all()
        for lane in range(40):
            codes, reset = batch.codes[:, lane, 0], batch.reset[:, lane]
            for t in range(6):
                follows = batch.seen[t, lane] > 0
                assert follows == (not reset[t + 1])
                if follows:
                    assert batch.following[t, lane, 0] == codes[t + 1]
            assert set(codes[reset > 0]) <= {0, 3}
        starts = batch.codes[0, :, 0]
        assert 5 < (starts == 3).sum() < 35

    def test_none_is_refused(self):
        with pytest.raises(ValueError, match='no episodes'):
            Episodes([], Palette(2, 2, 2), Outcomes(2))


@pytest.mark.parametrize('core', CORES)
class TestModel:
    def test_what_an_episode_is_told_depends_on_nothing_before_it(self, core):
        model = small_model(core)
        episodes = taught(model, [played(0, 1), played(1, 2)])
        batch = episodes.whole([0, 1])
        time = len(batch.codes)
        together = type(batch)(
            *(
                np.concatenate([field[:, :1], field[:, 1:]], axis=0)
                for field in batch
            )
        )
        both, _ = model.sequence(
            together.codes,
            together.actions,
            model.initial_state(1),
            together.reset,
        )
        apart, _ = model.sequence(
            batch.codes, batch.actions, model.initial_state(2), batch.reset
        )
        for one, two in zip(both, apart):
            np.testing.assert_allclose(
                one.array[time:, 0], two.array[:, 1], rtol=1e-4, atol=1e-5
            )

    def test_steps_are_the_sequence(self, core):
        model = small_model(core)
        batch = taught(model, [played(0, 1), played(1, 2)]).whole([0, 1])
        whole, _ = model.sequence(
            batch.codes, batch.actions, model.initial_state(2), batch.reset
        )
        state = model.initial_state(2)
        for t in range(len(batch.codes)):
            found, state = model.step(batch.codes[t], batch.actions[t], state)
            for one, two in zip(found, whole):
                np.testing.assert_allclose(
                    one.array, two.array[t], rtol=1e-4, atol=1e-5
                )

    def test_loss_is_the_mean_over_known_steps(self, core):
        model = small_model(core)
        batch = taught(model, [played(0, 1), played(3, 9)]).whole([0, 1])
        state = model.initial_state(2)
        found, _ = model.sequence(
            batch.codes, batch.actions, state, batch.reset
        )
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
        found, _ = model.step(
            batch.codes[0], batch.actions[0], model.initial_state(1)
        )
        scores = found.colours.array
        assert (scores.argmax(axis=2) == batch.codes[0]).all()
        assert set(np.unique(scores)) == {0, STAY}

    def test_nothing_leads_past_the_core(self, core):
        model = small_model(core)
        batch = taught(model, [played(0, 1)]).whole([0])
        model.first.W.array[...] = 0
        found, _ = model.sequence(
            batch.codes, batch.actions, model.initial_state(1), batch.reset
        )
        assert (found.outcome.array == found.outcome.array[0]).all()

    def test_filling_does_not_count(self, core):
        model = small_model(core)
        batch = taught(model, [played(0, 1), played(3, 9)]).whole([0, 1])
        longer = type(batch)(
            *(np.concatenate([field, field[:2] * 0]) for field in batch)
        )
        state = model.initial_state(2)
        for one, two in zip(
            model.loss(batch, state)[0], model.loss(longer, state)[0]
        ):
            np.testing.assert_allclose(one.array, two.array, rtol=1e-5)

    def test_learns_a_level_by_heart_and_survives_the_disk(
        self, core, tmp_path
    ):
        model = small_model(core)
        episodes = taught(model, [played(1, seed) for seed in range(4)])
        optimizer = Adam(1e-2).setup(model)
        rng = np.random.default_rng(0)
        losses = []
        for _ in range(120):
            batch = episodes.draw(12, 4, rng)
            loss, _ = model.loss(batch, model.initial_state(4))
            model.cleargrads()
            loss.total.backward()
            optimizer.update()
            losses.append(float(loss.picture.array))
        assert np.mean(losses[-10:]) < 0.3 * losses[0]
        save_link(tmp_path / 'model.npz', model)
        again = load_link(tmp_path / 'model.npz', PixelModel)
        assert again.palette.colours == model.palette.colours
        assert again.outcomes.known == model.outcomes.known
        batch = episodes.whole([0, 1])
        state = model.initial_state(2)
        assert float(again.loss(batch, state)[0].total.array) == float(
            model.loss(batch, state)[0].total.array
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
            np.testing.assert_allclose(
                kept[0], chainer.as_array(one)[0], rtol=1e-4, atol=1e-6
            )
            assert not kept[1].any()
        np.testing.assert_array_equal(found.codes[0], batch.codes[5, 0])


def test_shapes_that_do_not_fit_are_named():
    model = small_model()
    state = model.initial_state(2)
    with pytest.raises(ValueError, match=r'\(T, B, 100\)'):
        model.sequence(np.zeros((3, 2, 99), 'u1'), None, state, None)
    with pytest.raises(ValueError, match='actions have shape'):
        model.sequence(
            np.zeros((3, 2, 100), 'u1'), np.zeros((2, 3), int), state, None
        )


def test_points_are_shared_out_among_levels_and_pictures():
    model = PixelModel(2, 2, 2, capacity=9, hidden_size=4)
    shades = [[0] * 9 + [1]] * 2 + [[2, 3]] + [[4] * 4 + [5]] * 3
    episodes = taught(
        model,
        [
            rollout(
                np.zeros((len(one), 2, 2, 3)) + np.reshape(one, (-1, 1, 1, 1)),
                [0] * len(one),
                [0] * len(one),
                True,
            )
            for one in shades
        ],
    )
    levels = np.array([0, 0, 1, 2, 2, 2])
    rng = np.random.default_rng(0)
    points = draw_points(levels, episodes, 4000, 0.5, 0.5, rng)
    shares = np.bincount(levels[points[:, 0]]) / 4000
    np.testing.assert_allclose(shares, [0.25, 0.25, 0.5], atol=0.03)
    rows = episodes.starts[points[:, 0]] + points[:, 1]
    # first steps show 0, 2 and 4; of the others half show what is rare
    seen = np.bincount(episodes.codes[rows, 0]) / 4000
    wanted = np.array([0.25, 0, 0.25, 0, 0.5, 0]) / 2
    wanted += np.repeat([0.25, 0.25, 0.5], 2) / 4
    np.testing.assert_allclose(seen, wanted, atol=0.03)
    only = draw_points(levels, episodes, 100, 0.5, 0.0, rng)
    assert set(only[:, 0]) == set(range(6)) and not only[:, 1].any()


class TestSimulation:
    def made(self, lanes=3, max_steps=4, core='lstm'):
        model = small_model(core)
        episodes = taught(
            model, [played(1, seed, OrderedKeys) for seed in range(3)]
        )
        points = np.array([[0, 0], [1, 0], [2, 1]])
        starts = starts_at(model, episodes, points)
        return PixelSimulation(model, starts, lanes, max_steps)

    def test_is_a_function_of_its_seeds(self):
        def film(sim):
            seen = [sim.reset(seed=[3, 4, 5])[0]]
            for t in range(9):
                frames, rewards, *ends, _ = sim.step(np.array([t % 4, 1, 2]))
                seen += [frames, rewards, *ends]
            return seen

        sim = self.made()
        for one, two, three in zip(film(sim), film(sim), film(self.made())):
            np.testing.assert_array_equal(one, two)
            np.testing.assert_array_equal(one, three)

    def test_time_limit_and_new_episodes(self):
        sim = self.made()
        # a model that says: nothing ever changes, nothing ever ends
        for link in (sim.model.colours, sim.model.outcome):
            link.W.array[...] = 0
            link.b.array[...] = 0
        sim.model.outcome.b.array[0] = 20
        first, _ = sim.reset(seed=0)
        for step in range(1, 9):
            _, rewards, terminated, cut, infos = sim.step(np.zeros(3, int))
            assert not terminated.any() and (cut == (step % 4 == 0)).all()
            assert (rewards == sim.model.outcomes.known[0][0]).all()
            if step == 4:
                last = np.stack(infos['final_observation'])
                np.testing.assert_array_equal(last, first)

    def test_a_game_that_ends_gives_the_reward_of_its_end(self):
        sim = self.made()
        sim.model.outcomes.learn(np.float32([9]), np.array([True]))
        number = len(sim.model.outcomes.known) - 1
        sim.model.outcome.W.array[...] = 0
        sim.model.outcome.b.array[number] = 20
        sim.reset(seed=0)
        _, rewards, terminated, cut, _ = sim.step(np.zeros(3, int))
        assert (rewards == 9).all() and terminated.all() and not cut.any()

    def test_an_exact_model_is_the_game(self):
        """With a model learnt by heart, the simulation replays an episode."""
        model = small_model(hidden_size=32, decoded=64)
        one = played(1, 5)
        episodes = taught(model, [one])
        optimizer = Adam(1e-2).setup(model)
        batch = episodes.whole([0])
        for _ in range(300):
            loss, _ = model.loss(batch, model.initial_state(1))
            model.cleargrads()
            loss.total.backward()
            optimizer.update()
        starts = Starts(batch.codes[0], model.initial_state(1))
        sim = PixelSimulation(model, starts, 1, 99)
        frames, _ = sim.reset(seed=0)
        for t in range(len(one) - 1):
            np.testing.assert_array_equal(frames[0], one.observations[t])
            frames, rewards, *_ = sim.step(one.actions[t].astype(int))
            assert rewards[0] == one.rewards[t]
