"""Where dreams begin, and the model as the game."""

import numpy as np
from pixel_case import played, rollout, small_model, taught

from chainer_wm.dream.pixel_dream import PixelDream, Starts, curiosity, draw_points, starts_at
from chainer_wm.envs.grid_navigation import OrderedKeys
from chainer_wm.functions.adam import Adam
from chainer_wm.links.pixel_model import PixelModel


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
        episodes = taught(model, [played(1, seed, OrderedKeys) for seed in range(3)])
        points = np.array([[0, 0], [1, 0], [2, 1]])
        starts = starts_at(model, episodes, points)
        return PixelDream(model, starts, lanes, max_steps)

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

    def test_the_colder_the_likelier(self):
        sim = self.made(max_steps=99)
        sim.model.outcomes.known = [[0.0, 0.0], [1.0, 0.0]]
        for link in (sim.model.colours, sim.model.outcome):
            link.W.array[...] = 0
            link.b.array[...] = 0
        sim.model.outcome.b.array[1] = 0.5
        means = []
        for temperature in (0.1, 1.0, 10.0):
            sim.temperature = temperature
            sim.reset(seed=0)
            means.append(np.mean([sim.step(np.zeros(3, int))[1] for _ in range(90)]))
        # the softmax of 0 and 0.5 / temperature; of the coldest one is too rare to be drawn
        np.testing.assert_allclose(means, [1, 1 / (1 + np.exp(-0.5)), 0.5125], atol=0.08)

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
            loss.total().backward()
            optimizer.update()
        starts = Starts(batch.codes[0], model.initial_state(1), np.zeros(1, bool))
        sim = PixelDream(model, starts, 1, 99)
        frames, _ = sim.reset(seed=0)
        for t in range(len(one) - 1):
            np.testing.assert_array_equal(frames[0], one.observations[t])
            frames, rewards, *_ = sim.step(one.actions[t].astype(int))
            assert rewards[0] == one.rewards[t]


class TestCuriosity:
    def test_knows_what_was_tried_and_nothing_else(self):
        one = played(1, 5)
        episodes = taught(small_model(), [one])
        curious = curiosity(episodes, 7.0)
        actions = one.actions[:, 0].astype(int)
        assert not curious.surprised(episodes.codes, actions).any()
        # bumping into the top edge from the start was or was not tried
        first = episodes.codes[:1].repeat(4, 0)
        here = (episodes.codes == first[0]).all(axis=1)
        tried = np.isin(np.arange(4), actions[here])
        found = curious.surprised(first, np.arange(4))
        np.testing.assert_array_equal(found, ~tried)
        assert tried.any() and not tried.all()

    def test_ends_the_dreams_that_are_curious(self):
        model = small_model()
        one = played(1, 5)
        episodes = taught(model, [one])
        points = np.array([[0, 0], [0, 0]])
        starts = starts_at(model, episodes, points, np.array([True, False]))
        here = (episodes.codes == episodes.codes[0]).all(axis=1)
        tried = set(one.actions[here, 0].astype(int))
        new = min(set(range(4)) - tried)
        dream = PixelDream(model, starts, 40, 9, curiosity(episodes, 7.0))
        dream.reset(seed=0)
        curious = dream._curious.copy()
        assert 5 < curious.sum() < 35
        _, rewards, ended, _, _ = dream.step(np.full(40, new))
        np.testing.assert_array_equal(rewards == 7, curious)
        np.testing.assert_array_equal(ended, curious)
        dream.reset(seed=0)
        _, rewards, ended, _, _ = dream.step(np.full(40, min(tried)))
        assert not ended.any() and not (rewards == 7).any()

    def test_pairs_by_hand(self):
        """Pictures 0, 1, 2 with the actions 0, 1, 0."""
        model = PixelModel(2, 2, 2, capacity=9, hidden_size=4)
        pictures = np.zeros((3, 2, 2, 3)) + np.reshape([0, 1, 2], (3, 1, 1, 1))
        episodes = taught(model, [rollout(pictures, [0, 1, 0], [0] * 3, True)])
        curious = curiosity(episodes, 7.0)
        codes = model.palette.encode(pictures.astype(np.uint8)).repeat(2, 0)
        new = curious.surprised(codes, np.array([0, 1] * 3))
        np.testing.assert_array_equal(new, [0, 1, 1, 0, 0, 1])

    def test_is_about_the_picture_that_the_action_answers(self):
        model = small_model()
        model.colours.W.array *= 100  # pictures change in every step
        episodes = taught(model, [played(1, 5)])
        starts = starts_at(model, episodes, np.zeros((1, 2), int))
        asked = []

        class Noted:
            reward = 7.0

            def surprised(self, codes, actions):
                asked.append((codes.copy(), actions.copy()))
                return np.zeros(len(codes), bool)

        dream = PixelDream(model, starts, 3, 9, Noted())
        shown, _ = dream.reset(seed=0)
        for step in range(4):
            actions = np.array([step % 4, 1, 2])
            after, *_ = dream.step(actions)
            codes, taken = asked[step]
            np.testing.assert_array_equal(model.palette.decode(codes), shown)
            np.testing.assert_array_equal(taken, actions)
            assert (after != shown).any()
            shown = after
