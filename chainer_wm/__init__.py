"""World models in Chainer: V (ConvVAE), M (MDN-RNN or MDN-DNC), C, and RND.

Each module stands alone; ``agent`` is the only place that wires V, M and C.
"""

from dnc import runtime  # noqa: F401  (comes before Chainer, on purpose)
