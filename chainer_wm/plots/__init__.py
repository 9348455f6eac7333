"""Figures and films of a run: arrays in, a PNG or GIF out.

Every function takes the path to write first, then arrays; the file appears whole or not at all.
Colours are safe for colour-blind readers, and a thing (agent, random, lstm, dnc, dream, ...) has
the same colour everywhere. No ``pyplot``, no global style.
"""

from chainer_wm.plots.bars import bars
from chainer_wm.plots.calibration import calibration, deaths_by_age, reliability, wilson
from chainer_wm.plots.curves import Panel, curves, evolution, training_curves
from chainer_wm.plots.films import Animation, gif, side_by_side
from chainer_wm.plots.frames import grid
from chainer_wm.plots.matrices import matrices
from chainer_wm.plots.memory import MEMORY_NAMES, memory_trace
from chainer_wm.plots.scores import returns_by_episode, returns_histogram, seed_scores, table
from chainer_wm.plots.sheets import contact_sheet
from chainer_wm.plots.strips import film_rows, open_loop, reconstructions
from chainer_wm.plots.style import COLOURS, colours

__all__ = [
    'COLOURS',
    'MEMORY_NAMES',
    'Animation',
    'Panel',
    'bars',
    'calibration',
    'colours',
    'contact_sheet',
    'curves',
    'deaths_by_age',
    'evolution',
    'film_rows',
    'gif',
    'grid',
    'matrices',
    'memory_trace',
    'open_loop',
    'reconstructions',
    'reliability',
    'returns_by_episode',
    'returns_histogram',
    'seed_scores',
    'side_by_side',
    'table',
    'training_curves',
    'wilson',
]
