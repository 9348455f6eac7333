"""C evolved in the real game: every candidate on the same tracks, whoever plays beside it."""

import functools

import gym
import numpy as np
import pytest

from chainer_wm.agents.controller import LinearController
from chainer_wm.agents.world_model import WorldModelAgent
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.play import evaluation
from chainer_wm.seeds import stream
from chainer_wm.training import evolution

CANDIDATES = np.random.default_rng(5).normal(size=(5, 12))


class Wall(gym.Env):
    """Pictures of noise; pays the action times a number of the seed's, for 3 to 5 steps."""

    observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.worth = self.np_random.normal()
        self.left = int(self.np_random.integers(3, 6))
        return self._seen(), {}

    def step(self, action):
        self.left -= 1
        return self._seen(), self.worth * float(action[0]), self.left == 0, False, {}

    def _seen(self):
        return self.np_random.integers(0, 256, (64, 64, 3), dtype=np.uint8)


def agent(theta=None):
    model = MDNRNN(4, 1, 4)
    controller = LinearController(12, 1, bias=False)
    if theta is not None:
        controller.set_theta(theta)
    return WorldModelAgent(ConvVAE(4), model, controller)


def scored(workers, **options):
    with evolution.InGame(Wall, agent, 4, seed=3, workers=workers, **options) as fitness:
        said = []
        return fitness(CANDIDATES, 7, said.append), said


def test_a_candidate_is_worth_what_it_gets_alone_on_the_tracks_of_its_generation(monkeypatch):
    # 20 episodes in tasks of 7, 7 and 6, which follow one another in 3 lanes
    monkeypatch.setattr(evolution, 'TASK', 8)
    monkeypatch.setattr(evolution._Candidates, 'lanes', 3)
    found, said = scored(0)
    rngs = functools.partial(lambda: [stream(3, 'search', 7, episode) for episode in range(4)])
    for theta, value in zip(CANDIDATES, found.fitness):
        played = evaluation.play_together(Wall, agent(theta), rngs())
        assert value == pytest.approx(np.mean([one.total for one in played]), rel=1e-4)
    assert found.steps == 5 * sum(one.length for one in played)
    assert len(set(found.fitness)) == 5
    assert said[-1].startswith('20 of 20 episodes, ')


def test_generations_differ_and_repeat():
    with evolution.InGame(Wall, agent, 4, seed=3, workers=0) as fitness:
        one, other, again = (fitness(CANDIDATES, g, lambda text: None) for g in (0, 1, 0))
    np.testing.assert_array_equal(one.fitness, again.fitness)
    assert (one.fitness != other.fitness).all()


def test_any_number_of_workers_gives_the_same_and_so_do_renewed_ones():
    one, _ = scored(1)
    two, _ = scored(2, tasks_per_worker=1)
    np.testing.assert_array_equal(one.fitness, two.fitness)
    assert one.steps == two.steps
