"""A model of a game's pictures, and the simulation that it is."""

from chainer_wm.pixel_model.choice import choose
from chainer_wm.pixel_model.curiosity import Curiosity, curiosity
from chainer_wm.pixel_model.episodes import Batch, Episodes
from chainer_wm.pixel_model.network import Losses, PixelModel, Prediction
from chainer_wm.pixel_model.outcomes import Outcomes
from chainer_wm.pixel_model.palette import Palette
from chainer_wm.pixel_model.simulation import PixelSimulation
from chainer_wm.pixel_model.starts import Starts, draw_points, starts_at

__all__ = [
    'Batch',
    'Curiosity',
    'Episodes',
    'Losses',
    'Outcomes',
    'Palette',
    'PixelModel',
    'PixelSimulation',
    'Prediction',
    'Starts',
    'choose',
    'curiosity',
    'draw_points',
    'starts_at',
]
