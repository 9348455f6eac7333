"""World models in Chainer: V (ConvVAE), M (MDN-RNN or MDN-DNC), C, and RND.

Each module stands alone; ``agent`` is the only place that wires V, M and C.
"""

import gym_notices.notices

from dnc import runtime  # noqa: F401  (comes before Chainer, on purpose)

# gym 0.26 prints a notice on import, in every worker; this project knows
gym_notices.notices.notices.clear()
