"""Proximal policy optimisation: networks, experience, learning."""

from chainer_wm.ppo.body import RND_CONVOLUTIONS, Body
from chainer_wm.ppo.collect import (
    Collector,
    Episode,
    Experience,
    to_environment,
)
from chainer_wm.ppo.distributions import Categorical, DiagonalGaussian
from chainer_wm.ppo.lanes import Lanes, SyncLanes, VectorLanes, as_lanes
from chainer_wm.ppo.learner import (
    PPO,
    RND_STREAMS,
    Stream,
)
from chainer_wm.ppo.losses import clipped_objective, value_loss
from chainer_wm.ppo.networks import ActorCritic, NoState, Output
from chainer_wm.ppo.policy import NetworkPolicy

__all__ = [
    'PPO',
    'RND_CONVOLUTIONS',
    'RND_STREAMS',
    'ActorCritic',
    'Body',
    'Categorical',
    'Collector',
    'DiagonalGaussian',
    'Episode',
    'Experience',
    'Lanes',
    'NetworkPolicy',
    'NoState',
    'Output',
    'Stream',
    'SyncLanes',
    'VectorLanes',
    'as_lanes',
    'clipped_objective',
    'to_environment',
    'value_loss',
]
