"""A tiny game of levels, a policy that is a script, a network."""

import functools

import gym
import numpy as np

from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.envs.grid_navigation import GridNavigation
from chainer_wm.seeds import stream
from chainer_wm.training import levels

RIGHT, DOWN = 3, 1


class Script:
    """Plays these actions, whatever it sees."""

    def __init__(self, *actions):
        self.actions = actions

    def start(self, rngs):
        return 0

    def act(self, observations, state):
        chosen = self.actions[state % len(self.actions)]
        return np.full(len(observations), chosen), state + 1


def game(kind=GridNavigation, count=2):
    make = functools.partial(kind, resolution=10, max_steps=20)
    return levels.Game('tiny', make, count)


def network(seed=0):
    return ActorCritic((10, 10, 3), gym.spaces.Discrete(4), hidden=(8,), seed=seed)


def rngs(count, purpose='test'):
    return [stream(0, purpose, n) for n in range(count)]
