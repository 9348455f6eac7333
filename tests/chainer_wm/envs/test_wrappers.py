"""Wrappers: what sticks, what is stacked, what is counted; seeded."""

import gym
import numpy as np
import pytest

from chainer_wm.envs import wrappers
from chainer_wm.envs.pixelcopter import PixelCopter


class Echo(gym.Env):
    """Shows its clock and the last action; infos tell the action too."""

    action_space = gym.spaces.Discrete(5)

    def __init__(self, shape=(2,), dtype=np.float32):
        self.observation_space = gym.spaces.Box(0, 255, shape, dtype)

    def _see(self):
        seen = np.zeros(self.observation_space.shape, np.float32)
        seen[..., 0], seen[..., -1] = self.clock, self.action
        return seen.astype(self.observation_space.dtype)

    def reset(self, *, seed=None, options=None):
        self.clock, self.action = 0, 0
        return self._see(), {'options': options}

    def step(self, action):
        self.clock += 1
        self.action = action
        return self._see(), 1.0, self.clock == 50, False, {'said': action}


def executed(env, actions, seed=None):
    env.reset(seed=seed)
    return [env.step(action)[4]['said'] for action in actions]


ACTIONS = np.random.default_rng(0).integers(5, size=4000).tolist()


class TestSticky:
    def test_what_is_repeated_is_what_was_carried_out(self):
        env = wrappers.StickyActions(Echo(), 0.5)
        actions = [n % 4 + 1 for n in range(200)]
        done = executed(env, actions, 3)
        repeated = 0
        for wanted, before, found in zip(actions, [0, *done], done):
            assert found in (wanted, before)
            repeated += found != wanted
        assert 70 < repeated < 130
        chains = [
            n for n in range(2, 200) if done[n] == done[n - 1] == done[n - 2] != actions[n - 1]
        ]
        assert chains, 'a repeated action can be repeated again'

    @pytest.mark.parametrize('chance', [0.0, 0.25])
    def test_how_often(self, chance):
        env = wrappers.StickyActions(Echo(), chance)
        done = executed(env, ACTIONS, 1)
        # one wish in five is what was done before anyway
        changed = np.mean(np.array(done) != ACTIONS)
        assert changed == pytest.approx(chance * 4 / 5, abs=0.02)

    def test_the_seed_of_reset_decides_and_nothing_else(self):
        first, second = (wrappers.StickyActions(Echo()) for _ in range(2))
        executed(second, ACTIONS[:7], 9)
        same = executed(first, ACTIONS[:100], 5)
        assert executed(second, ACTIONS[:100], 5) == same
        assert executed(second, ACTIONS[:100], 6) != same
        executed(first, [], 5)
        executed(first, ACTIONS[:100])
        # without a seed the next episode goes on with the same generator
        executed(second, ACTIONS[:100], 5)
        assert executed(second, ACTIONS[:100]) != same

    def test_before_the_first_action_is_no_action(self):
        env = wrappers.StickyActions(Echo(), 0.9, first=2)
        for seed in range(30):
            assert executed(env, [4], seed)[0] in (2, 4)
            assert executed(env, [3], seed + 100)[0] in (2, 3)

    def test_infos_say_what_was_carried_out(self):
        env = wrappers.StickyActions(Echo(), 0.5)
        env.reset(seed=0)
        for action in ACTIONS[:50]:
            info = env.step(action)[4]
            assert info['executed'] == info['said']

    def test_it_is_inside_the_game(self):
        """The game that an action sequence gives is the executed one's."""
        sticky = wrappers.StickyActions(PixelCopter('state'), 0.25)
        plain = PixelCopter('state')
        seen, _ = sticky.reset(seed=4)
        np.testing.assert_array_equal(seen, plain.reset(seed=4)[0])
        over = False
        while not over:
            wish = int(seen[0] > 24)
            seen, _, over, _, info = sticky.step(wish)
            again, _, ended, _, _ = plain.step(info['executed'])
            np.testing.assert_array_equal(seen, again)
            assert over == ended

    def test_refuses(self):
        with pytest.raises(ValueError, match='probability is 1'):
            wrappers.StickyActions(Echo(), 1)
        env = Echo()
        env.action_space = gym.spaces.Box(0, 1, (2,))
        with pytest.raises(ValueError, match='Discrete'):
            wrappers.StickyActions(env)
        with pytest.raises(RuntimeError, match='reset'):
            wrappers.StickyActions(Echo()).step(0)


class TestStack:
    def test_numbers_newest_last(self):
        env = wrappers.FrameStack(Echo(), 3)
        seen, _ = env.reset(seed=0)
        assert env.observation_space.shape == seen.shape == (6,)
        np.testing.assert_array_equal(seen, [0, 0, 0, 0, 0, 0])
        env.step(3)
        seen = env.step(4)[0]
        np.testing.assert_array_equal(seen, [0, 0, 1, 3, 2, 4])
        seen = env.step(1)[0]
        np.testing.assert_array_equal(seen, [1, 3, 2, 4, 3, 1])

    def test_pictures_keep_their_channels_together(self):
        env = wrappers.FrameStack(Echo((4, 5, 3), np.uint8), 2)
        env.reset(seed=0)
        first = env.step(2)[0]
        assert env.observation_space.contains(first)
        assert first.shape == (4, 5, 6) and first.dtype == np.uint8
        np.testing.assert_array_equal(first[0, 0], [0, 0, 0, 1, 0, 2])

    def test_a_new_episode_does_not_see_the_old_one(self):
        env = wrappers.FrameStack(Echo(), 2)
        env.reset(seed=0)
        env.step(3)
        np.testing.assert_array_equal(env.reset()[0], np.zeros(4))

    def test_what_was_given_out_does_not_change(self):
        env = wrappers.FrameStack(Echo(), 2)
        seen, _ = env.reset(seed=0)
        kept = seen.copy()
        env.step(3)
        np.testing.assert_array_equal(seen, kept)

    def test_refuses(self):
        with pytest.raises(ValueError, match='count is 0'):
            wrappers.FrameStack(Echo(), 0)


def test_grey_is_luminance():
    class Colours(Echo):
        def _see(self):
            picture = np.zeros((2, 2, 3), np.uint8)
            picture[0] = [[255, 255, 255], [255, 0, 0]]
            picture[1] = [[0, 255, 0], [0, 0, 255]]
            return picture

    env = wrappers.Grey(Colours((2, 2, 3), np.uint8))
    seen, _ = env.reset(seed=0)
    assert env.observation_space.contains(seen)
    np.testing.assert_array_equal(seen[..., 0], [[255, 76], [150, 29]])
    with pytest.raises(ValueError, match='H, W, 3'):
        wrappers.Grey(Echo())


def test_scaled_by_hand():
    env = wrappers.Scaled(Echo(), (1, 0), (2, 4))
    env.reset(seed=0)
    for _ in range(4):
        env.step(2)
    seen = env.step(2)[0]
    np.testing.assert_array_equal(seen, np.float32([2, 0.5]))
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(env.observation_space.high, [127, 63.75])
    assert env.observation_space.contains(seen)
    with pytest.raises(ValueError, match='positive'):
        wrappers.Scaled(Echo(), 0, (1, 0))


def test_blocks_are_counted_as_the_score_counts_them():
    """Score = columns that left + blocks passed - 5 at the end."""
    env = wrappers.FlightLog(PixelCopter('state'))
    most = 0
    for seed in range(40):
        seen, _ = env.reset(seed=seed)
        game = env.unwrapped.game
        total, columns, over = 0.0, 0, False
        before = game.columns
        while not over:
            seen, reward, over, _, info = env.step(_pilot(seen))
            total += reward
            now = game.columns
            # new columns come 48 at a time
            columns += before - now + (48 if now > before else 0)
            before = now
        assert total == columns + info['blocks'] - 5
        most = max(most, info['blocks'])
    assert most >= 3, 'the test must see blocks'


def test_climbs_and_the_last_fall_are_counted():
    env = wrappers.FlightLog(PixelCopter('state'))
    for _ in range(2):
        env.reset(seed=3)
        told = [env.step(action)[-1] for action in (0, 1, 1, 0, 0)]
        assert [info['climbs'] for info in told] == [0, 1, 2, 2, 2]
        assert [info['sinking'] for info in told] == [1, 0, 0, 1, 2]


class TestFrameSkip:
    def test_holds_the_action_and_adds_rewards_up(self):
        env = wrappers.FrameSkip(Echo(), 4)
        env.reset()
        seen, reward, *_, info = env.step(3)
        assert seen.tolist() == [4, 3] and reward == 4
        assert info == {'said': 3}
        assert env.step(1)[0].tolist() == [8, 1]

    def test_an_end_cuts_it(self):
        env = wrappers.FrameSkip(Echo(), 20)
        env.reset()
        answers = [env.step(0) for _ in range(3)]
        assert [answer[1] for answer in answers] == [20, 20, 10]
        assert [answer[2] for answer in answers] == [False, False, True]
        limited = wrappers.FrameSkip(gym.wrappers.TimeLimit(Echo(), 3), 2)
        limited.reset()
        limited.step(0)
        assert limited.step(0)[1:4] == (1, False, True)

    def test_actions_stick_in_single_frames(self):
        env = wrappers.FrameSkip(wrappers.StickyActions(Echo(), 0.25), 4)
        env.reset(seed=0)
        done = []
        env.env.env.step, step = (
            lambda action: done.append(action) or step(action),
            env.env.env.step,
        )
        for action in (1, 2, 3, 4, 1, 2, 3, 4, 1, 2):
            env.step(action)
        wanted = np.repeat([1, 2, 3, 4, 1, 2, 3, 4, 1, 2], 4)
        late = np.flatnonzero(np.array(done) != wanted)
        assert len(done) == 40 and len(late) > 0
        assert 0 in late % 4, 'an action begins a frame late'

    def test_refuses_no_frames(self):
        with pytest.raises(ValueError, match='count is 0'):
            wrappers.FrameSkip(Echo(), 0)


def _pilot(seen):
    """Keep to the middle of the gap, and over or under a block."""
    y, velocity, up, down, _, top, bottom = seen
    middle = (y - up + y + down) / 2
    if seen[4] < 14:
        free_above = top - (y - up), y + down - bottom
        middle = (y - up + top) / 2 if free_above[0] > free_above[1] else (bottom + y + down) / 2
    return int(y + 4 * velocity > middle)


def test_a_pilot_that_looks_ahead_passes_blocks():
    """The game can be flown on the seven numbers: the tests need it to."""
    env = PixelCopter('state')
    lengths = []
    for seed in range(5):
        seen, _ = env.reset(seed=seed)
        over, steps = False, 0
        while not over and steps < 400:
            seen, _, over, _, _ = env.step(_pilot(seen))
            steps += 1
        lengths.append(steps)
    assert max(lengths) > 100
