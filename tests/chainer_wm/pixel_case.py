"""Small pixel models and real episodes, for the tests of them."""

import numpy as np

from chainer_wm.envs.grid_navigation import GridNavigation
from chainer_wm.links.pixel_model import PixelModel
from chainer_wm.rollouts import Rollout
from chainer_wm.rollouts.pixel_episodes import PixelEpisodes

CORES = {'lstm': {}, 'dnc': {'memory_length': 4, 'memory_width': 4, 'read_heads': 1}}


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
    return PixelModel(10, 10, 4, capacity=5, core=core, **CORES[core], **options)


def taught(model, rollouts):
    """The episodes in memory; the model knows what they hold."""
    for one in rollouts:
        model.palette.learn(one.observations)
        model.outcomes.learn(one.rewards, one.terminated)
    return PixelEpisodes(rollouts, model.palette, model.outcomes)
