"""Games side by side: an episode does not depend on its neighbours."""

import functools

import chainer
import gym
import numpy as np
import pytest

from chainer_wm.agents import world_model
from chainer_wm.agents.controller import LinearController
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.play import collection, evaluation, lockstep
from chainer_wm.rollouts import RolloutStore
from chainer_wm.seeds import stream


class Game(gym.Env):
    """Noise pictures; what is left of it falls faster to the left."""

    observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = float(self.np_random.integers(4, 12))
        return self._look(), {}

    def step(self, action):
        self.left -= 1 + max(0.0, -float(action[0]))
        return self._look(), float(action[0]), self.left <= 0, False, {}

    def _look(self):
        return self.np_random.integers(0, 256, (64, 64, 3), np.uint8)


def make_agent(core='lstm', crowd=False):
    vision, model = ConvVAE(4), MDNRNN(4, 1, 6, core=core, predict_done=True)
    width = world_model.features_width(model, world_model.FEATURES)
    c = LinearController(width, 1, bias=False, seed=3)
    draw = functools.partial(drawn, c.n_params) if crowd else None
    return world_model.WorldModelAgent(vision, model, c, draw=draw)


def drawn(size, rng):
    return rng.standard_normal(size)


def play(player, numbers, max_steps=None):
    """Number -> (return, all steps), of episodes named by numbers."""
    steps = {}
    rngs = [stream(5, 'game', number) for number in numbers]
    ended = lockstep.play(
        lockstep.Envs(Game),
        player,
        rngs,
        max_steps,
        lambda number, step: steps.setdefault(number, []).append(step),
    )
    return {numbers[e.number]: (e.total, steps[e.number]) for e in ended}


@pytest.mark.parametrize('core', ['lstm', 'dnc'])
@pytest.mark.parametrize('crowd', [False, True])
def test_an_episode_does_not_depend_on_what_is_played_beside_it(core, crowd):
    player = make_agent(core, crowd)
    together = play(player, list(range(11)))
    assert sorted(together) == list(range(11))
    for number in (0, 4, 10):  # the first lanes, and one that was refilled
        total, steps = play(player, [number])[number]
        assert total == together[number][0]
        for one, other in zip(steps, together[number][1], strict=True):
            np.testing.assert_array_equal(one.observation, other.observation)
            np.testing.assert_array_equal(one.action, other.action)


def test_the_agent_plays_as_it_would_alone():
    """Lane by lane, with one lane: equal to rounding."""
    player, number = make_agent(crowd=True), 3
    total, steps = play(player, [1, 2, number])[number]
    rng, env = stream(5, 'game', number), Game()
    seen, _ = env.reset(seed=int(rng.integers(2**31)))
    state, earned = player.start([rng]), 0.0
    for step in steps:
        np.testing.assert_array_equal(step.observation, seen)
        actions, state = player.act(seen[None], state)
        np.testing.assert_allclose(step.action, actions[0], atol=1e-5)
        seen, reward, over, _, _ = env.step(step.action)
        earned += reward
    assert over and earned == pytest.approx(total)


def test_a_limit_truncates_and_a_death_on_it_terminates():
    player = make_agent()
    lengths = {n: len(steps) for n, (_, steps) in play(player, [1, 2]).items()}
    cut = play(player, [1, 2], max_steps=lengths[1])
    assert cut[1][1][-1].terminated and not cut[1][1][-1].truncated
    cut = play(player, [1, 2], max_steps=2)
    assert all(len(steps) == 2 for _, steps in cut.values())
    assert all(steps[-1].truncated for _, steps in cut.values())


def test_collected_by_a_crowd_whatever_was_there_before(tmp_path):
    def gather(path, episodes):
        store = RolloutStore(path)
        collection.collect(
            store,
            Game,
            functools.partial(make_agent, crowd=True),
            episodes,
            seed=3,
            workers=0,
            progress=False,
        )
        return {e: store.entry(e)['sha256'] for e in store.episodes}

    whole = gather(tmp_path / 'whole', 9)
    gather(tmp_path / 'parts', 2)
    assert gather(tmp_path / 'parts', 9) == whole


def test_a_film_shows_the_evaluated_episode():
    returns = evaluation.evaluate(Game, {'a': make_agent}, 3, 7, workers=0)
    for episode in range(3):
        total, film = evaluation.play(Game(), make_agent(), 7, 'evaluate', episode, film=True)
        assert total == returns['a'][episode]
        assert sum(map(float, film.rewards)) == pytest.approx(total)


def test_groups_cover_all_in_order():
    assert lockstep.groups([], 2) == []
    assert lockstep.groups([3, 5, 8], 2) == [(3, 5), (8,)]
    assert lockstep.groups(range(3), 5, most=1) == [(0,), (1,), (2,)]
    found = lockstep.groups(range(100), 2, most=32)
    assert [len(group) for group in found] == [25] * 4
    assert sum(found, ()) == tuple(range(100))


def test_an_agent_plays_in_the_dtype_of_the_run_in_any_process():
    def returns(dtype, workers):
        with chainer.using_config('dtype', np.dtype(dtype)):
            return evaluation.evaluate(Game, {'agent': make_agent}, 3, 0, workers=workers)['agent']

    here, there = returns('float64', 0), returns('float64', 1)
    np.testing.assert_array_equal(here, there)
    assert (here != returns('float32', 0)).all()
