"""Small games and networks that the tests of PPO share."""

import gym
import numpy as np

from chainer_wm.agents.ppo.networks import ActorCritic
from chainer_wm.play.collector import Collector


class Cue(gym.Env):
    """A bit is shown first, and must be said in the last of n steps.

    Observation: (bit in the first step or else 0, steps left), as -1 and 1.
    Reward 1 for the right action in the last step.
    """

    observation_space = gym.spaces.Box(-10, 10, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, steps=1):
        self.steps = steps

    def _see(self):
        first = self.left == self.steps
        shown = (2 * self.bit - 1) if first else 0
        return np.array([shown, self.left], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.bit = int(self.np_random.integers(2))
        self.left = self.steps
        return self._see(), {}

    def step(self, action):
        self.left -= 1
        over = self.left == 0
        reward = float(over and action == self.bit)
        return self._see(), reward, over, False, {}


class Count(gym.Env):
    """Counts its steps; ends after ``steps``, by death or by the clock."""

    action_space = gym.spaces.Discrete(2)

    def __init__(self, steps=3, dies=True, shape=(2,), dtype=np.float32):
        self.steps, self.dies = steps, dies
        high = 255 if dtype == np.uint8 else 100
        self.observation_space = gym.spaces.Box(0, high, shape, dtype)
        self.episode = -1

    def _see(self):
        space = self.observation_space
        seen = np.full(space.shape, self.t, space.dtype)
        seen[..., 0] = self.episode
        return seen

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        self.episode += 1
        return self._see(), {}

    def step(self, action):
        self.t += 1
        over = self.t == self.steps
        ends = (over and self.dies, over and not self.dies)
        return self._see(), float(self.t), *ends, {'t': self.t}


class Reach(gym.Env):
    """One step: the reward is how near the action is to 1.5 in [-1, 2]."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 2, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action)
        reward = -abs(float(action[0]) - 1.5)
        return np.zeros(1, np.float32), reward, True, False, {}


def network(env, **options):
    options = {'hidden': (16,), **options}
    return ActorCritic(env.observation_space.shape, env.action_space, **options)


def collector(envs, seed=0, **options):
    """A Collector that has started, and its network inside."""
    made = Collector(network(envs[0], **options), envs)
    made.start(np.random.default_rng(seed))
    return made


CORES = {
    'none': {},
    'lstm': {'core': 'lstm', 'core_size': 8},
    'dnc': {
        'core': 'dnc',
        'core_size': 8,
        'core_options': {'memory_length': 4, 'memory_width': 3, 'read_heads': 2},
    },
}
