"""What a worker loads in order to play: no Matplotlib and nothing that trains."""

import functools
import sys

import gym
import numpy as np

from chainer_wm.agents.saved import SavedAgent
from chainer_wm.envs import take_cover
from chainer_wm.files.archives import save_link
from chainer_wm.links.conv_vae import ConvVAE
from chainer_wm.links.mdn_rnn import MDNRNN
from chainer_wm.play import evaluation
from chainer_wm.play.engines import run_tasks

FORBIDDEN = ('matplotlib', 'chainer_wm.plots', 'chainer_wm.runs', 'chainer_wm.training')


class Short(gym.Env):
    """Three pictures; a game of the project is loaded beside it."""

    observation_space = gym.spaces.Box(0, 255, (take_cover.SIZE, take_cover.SIZE, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.low, {}

    def step(self, action):
        self.steps += 1
        return self.observation_space.low, 1.0, self.steps == 3, False, {}


def play_and_tell(make_agent, episode):
    """The return of an episode, and every module that it took."""
    rngs = evaluation.episode_rngs(0, [episode])
    (played,) = evaluation.play_together(Short, make_agent(), rngs)
    return played.total, sorted(sys.modules)


def test_a_worker_that_plays_a_saved_agent_loads_neither_plots_nor_trainers(tmp_path):
    saved = SavedAgent(tmp_path)
    save_link(saved.vision_path, ConvVAE(3))
    save_link(saved.model_path, MDNRNN(3, 1, 5))
    make_agent = saved.agent_maker(np.zeros(14, np.float32))
    task = functools.partial(play_and_tell, make_agent)
    ((_, (total, modules)),) = run_tasks(task, [0], workers=1)
    assert total == 3
    assert 'chainer_wm.agents.world_model' in modules
    assert [name for name in modules if name.startswith(FORBIDDEN)] == []
