"""The memory access on the CPU: one step for a whole batch, and its mirror.

Its twin on the GPU is `dnc.cuda_access.CudaAccess`.
"""

from __future__ import annotations

from dnc.kernels_access import (
    access_forward,
    access_forward_sparse,
    count_links,
    list_links,
    replay,
    start,
)
from dnc.kernels_access_backward import (
    access_backward,
    access_backward_sparse,
)

__all__ = [
    'access_backward',
    'access_backward_sparse',
    'access_forward',
    'access_forward_sparse',
    'count_links',
    'list_links',
    'replay',
    'start',
]
