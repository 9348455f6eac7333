"""Where a number first stopped being finite, for ``--debug``.

Chainer's functions are watched from outside, so that nothing is slower while
nobody looks.
"""

from chainer_wm.non_finite.report import ArraySummary, NonFiniteError
from chainer_wm.non_finite.search import check_parameters, find_non_finite

__all__ = [
    'ArraySummary',
    'NonFiniteError',
    'check_parameters',
    'find_non_finite',
]
