"""Figures and films of a run: arrays in, a PNG or GIF out.

Every function takes the path to write first, then arrays; the file appears whole or not at all.
Colours are safe for colour-blind readers, and a thing (agent, random, lstm, dnc, dream, ...) has
the same colour everywhere. No ``pyplot``, no global style. Each is
loaded when first used: Matplotlib takes a third of a script's start.
"""

from chainer_wm.first_use import loaded_at_first_use

_MODULES = {
    'bar_chart': 'bars',
    'films': 'Animation gif gif_row side_by_side',
    'frames': 'grid',
    'heat_maps': 'matrices',
    'lines': 'Panel curves evolution training_curves',
    'memory': 'MEMORY_NAMES memory_trace',
    'probabilities': 'calibration deaths_by_age reliability wilson',
    'scores': 'returns_by_episode returns_histogram seed_scores table',
    'sheets': 'contact_sheet',
    'strips': 'film_rows open_loop reconstructions',
    'style': 'COLOURS colours',
}

__all__, __getattr__, __dir__ = loaded_at_first_use(__name__, _MODULES)
