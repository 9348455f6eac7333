"""Several stores read as if they were one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainer_wm.rollouts.episode import Rollout
from chainer_wm.rollouts.store import DamagedEpisode, RolloutStore

Number = tuple[int, int]


class JoinedStores:
    """The episodes of all ``parts``, to be read.

    An episode's number is (part, its number there), which stays when another
    one is set aside.

    Args:
        parts: at least one.
    """

    def __init__(self, parts: Sequence[RolloutStore]):
        self.parts = tuple(parts)
        self.path = self.parts[0].path

    @property
    def episodes(self) -> list[Number]:
        """Numbers of the listed episodes, in order."""
        return [
            (part, episode)
            for part, store in enumerate(self.parts)
            for episode in store.episodes
        ]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __contains__(self, number: Number) -> bool:
        return number[1] in self.parts[number[0]]

    def entry(self, number: Number) -> dict[str, Any]:
        """The line of one episode, as its store has it."""
        return self.parts[number[0]].entry(number[1])

    def read(self, number: Number) -> Rollout:
        """Read one episode, verified.

        Raises:
            DamagedEpisode: with the number that it has here.
            KeyError: no such episode is listed.
        """
        try:
            return self.parts[number[0]].read(number[1])
        except DamagedEpisode as error:
            raise DamagedEpisode(number, error.reason) from error

    def set_aside(self, error: DamagedEpisode) -> None:
        """Let its store set a damaged episode aside."""
        part, episode = error.episode
        self.parts[part].set_aside(DamagedEpisode(episode, error.reason))
