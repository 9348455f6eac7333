"""World models in Chainer: V (ConvVAE), M (MDN-RNN or MDN-DNC), C, and RND.

The names in ``__all__`` are loaded from their rooms when first used::

    from chainer_wm import ConvVAE, MDNRNN
"""

import dnc.runtime  # noqa: F401  (comes before Chainer, on purpose)

import gym_notices.notices

from chainer_wm.first_use import loaded_at_first_use

# gym 0.26 prints a notice on import, in every worker; this project knows
gym_notices.notices.notices.clear()

_MODULES = {
    'files.archives': 'load_link save_link',
    'functions.adam': 'Adam',
    'functions.mixture': 'Mixture mixture_nll sample_mixture',
    'links.conv_vae': 'ConvVAE',
    'links.mdn_rnn': 'MDNRNN',
    'links.pixel_model': 'PixelModel',
    'links.recurrent': 'LSTM',
    'rollouts.episode': 'Rollout',
    'rollouts.store': 'RolloutStore',
    'dream.gym_envs': 'DreamEnv DreamVectorEnv',
    'dream.simulator': 'Dream',
    'agents.cma_es': 'CMAES',
    'agents.controller': 'HiddenController LinearController',
    'agents.ppo.learner': 'PPO',
    'agents.ppo.networks': 'ActorCritic',
    'agents.rnd': 'RND',
    'agents.running_statistics': 'RunningStatistics',
    'agents.world_model': 'WorldModelAgent',
    'play.collector': 'Collector',
}

__all__, __getattr__, __dir__ = loaded_at_first_use(__name__, _MODULES)
