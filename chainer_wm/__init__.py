"""World models in Chainer: V (ConvVAE), M (MDN-RNN or MDN-DNC), C, and RND.

The names in ``__all__`` are loaded from their rooms when first used::

    from chainer_wm import ConvVAE, MDNRNN
"""

import importlib
from typing import Any

import gym_notices.notices

from dnc import runtime  # noqa: F401  (comes before Chainer, on purpose)

# gym 0.26 prints a notice on import, in every worker; this project knows
gym_notices.notices.notices.clear()

_ROOMS = {
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
_HOMES = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
