"""What a training may be watched for; see ``policy.Watch``."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainer_wm.agents.ppo.collect import Experience


class Visits:
    """Counts of the states that steps led to, where observations are one-hot.

    Args:
        states: length of an observation.

    Attributes:
        counts: (states,) int64.
    """

    def __init__(self, states: int) -> None:
        self.counts = np.zeros(states, np.int64)

    def see(self, experience: Experience) -> dict[str, float | None]:
        """Count; says how many different 'states' were seen so far.

        Raises:
            ValueError: observations are not one-hot.
        """
        seen = experience.following()
        if seen.shape[2:] != self.counts.shape or (seen.sum(-1) != 1).any():
            raise ValueError(
                f'observations have shape {seen.shape[2:]}, expected one-hot '
                f'vectors of {len(self.counts)} states'
            )
        self.counts += seen.sum(axis=(0, 1)).astype(np.int64)
        return {'states': float((self.counts > 0).sum())}

    def serialize(self, serializer: Any) -> None:
        """Save or load the counts."""
        self.counts = serializer('counts', self.counts)


class EndInfo:
    """Means of what the infos of episodes' last steps say.

    Args:
        names: keys of the infos; the log has 'episode_<name>'.
    """

    def __init__(self, *names: str) -> None:
        self.names = names

    def see(self, experience: Experience) -> dict[str, float | None]:
        """Means over the episodes that ended; None where none did."""
        infos = [episode.info for episode in experience.episodes]
        return {
            f'episode_{name}': float(np.mean([info[name] for info in infos])) if infos else None
            for name in self.names
        }

    def serialize(self, serializer: Any) -> None:
        """Nothing is kept from one update to the next."""
