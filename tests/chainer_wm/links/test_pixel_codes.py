"""Pictures, rewards and episodes as numbers; from scores to what happens."""

import numpy as np
import pytest
from pixel_case import rollout, taught

from chainer_wm.links.pixel_model import RARE, Outcomes, Palette, PixelModel, choose
from chainer_wm.rollouts.pixel_episodes import PixelEpisodes


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
            PixelEpisodes([], Palette(2, 2, 2), Outcomes(2))
