"""Figures and films of a run: arrays in, a PNG or GIF out.

Every function takes the path to write first, then arrays; the file appears
whole or not at all. Colours are safe for colour-blind readers, and a thing
(agent, random, lstm, dnc, dream, ...) has the same colour everywhere. No
``pyplot``, no global style.
"""

from chainer_wm.plots.ages import deaths_by_age
from chainer_wm.plots.curves import evolution, training_curves
from chainer_wm.plots.films import Film, gif, side_by_side
from chainer_wm.plots.frames import grid
from chainer_wm.plots.histograms import returns_histogram
from chainer_wm.plots.iterations import film_rows, iteration_returns
from chainer_wm.plots.maps import visit_maps
from chainer_wm.plots.memory import memory_trace
from chainer_wm.plots.pairs import reconstructions
from chainer_wm.plots.scores import calibration, reliability
from chainer_wm.plots.seeds import seed_curves
from chainer_wm.plots.sheets import contact_sheet
from chainer_wm.plots.strips import open_loop
from chainer_wm.plots.study import dream_against_game, score_bands
from chainer_wm.plots.style import COLOURS, colours
from chainer_wm.plots.tables import temperature_table

__all__ = [
    'COLOURS',
    'Film',
    'calibration',
    'colours',
    'contact_sheet',
    'deaths_by_age',
    'dream_against_game',
    'evolution',
    'film_rows',
    'gif',
    'grid',
    'iteration_returns',
    'memory_trace',
    'open_loop',
    'reconstructions',
    'reliability',
    'returns_histogram',
    'score_bands',
    'seed_curves',
    'side_by_side',
    'temperature_table',
    'training_curves',
    'visit_maps',
]
