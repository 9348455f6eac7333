"""The Differentiable Neural Computer (Graves et al., Nature 2016)."""

from dnc import runtime  # isort: skip  (comes before Chainer, on purpose)
from dnc.core import DNC
from dnc.state import DNCState

__all__ = ['DNC', 'DNCState', 'runtime']
