"""The dream: M in the place of the game, for controllers and policies."""

from chainer_wm.dream.beside import BesideDream
from chainer_wm.dream.curious import CuriousDream
from chainer_wm.dream.population import evaluate_population, rollout
from chainer_wm.dream.simulator import DOOM_FEATURES, Dream, DreamStep

__all__ = [
    'DOOM_FEATURES',
    'BesideDream',
    'CuriousDream',
    'Dream',
    'DreamStep',
    'evaluate_population',
    'rollout',
]
