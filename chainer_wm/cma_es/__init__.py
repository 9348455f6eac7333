"""CMA-ES: evolution of a Gaussian by ask and tell, exactly resumable.

The (mu/mu_w, lambda) strategy of Hansen's tutorial (arXiv 1604.00772) with
positive weights, in float64, and its separable variant (Ros and Hansen 2008),
which keeps only the diagonal of C and therefore learns (n + 2) / 3 times
faster. Higher fitness is better throughout.

Symbols: m mean, sigma step size, C covariance, y = (x - m) / sigma, p_s and
p_c the two evolution paths.
"""

from chainer_wm.cma_es.constants import Constants, strategy_constants
from chainer_wm.cma_es.strategy import CMAES

__all__ = ['CMAES', 'Constants', 'strategy_constants']
