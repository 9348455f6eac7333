"""Several folders of encoded episodes as if they were one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainer_wm.datasets.latents import Latents


class JoinedLatents:
    """The episodes of all ``parts`` one after the other, in memory.

    Episodes are numbered anew, from 0: an episode's number is its position.

    Args:
        parts: encoded by the same V.

    Attributes:
        mu, ln_var, actions, episodes, starts, lengths, terminated: as in
            ``Latents``.
        parts: as given.

    Raises:
        ValueError: no parts, or their codes come from different Vs.
    """

    def __init__(self, parts: Sequence[Latents]):
        if not parts:
            raise ValueError('there are no codes to join')
        for part in parts:
            if part.source != parts[0].source:
                raise ValueError(
                    f'codes of {part.source} cannot join those of '
                    f'{parts[0].source}: was V trained again in between?'
                )
        self.parts = tuple(parts)
        self.latent_size = parts[0].latent_size
        self.action_size = parts[0].action_size
        self.mu, self.ln_var, self.actions, self.lengths, self.terminated = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ('mu', 'ln_var', 'actions', 'lengths', 'terminated')
        )
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.episodes = np.arange(len(self.lengths))

    def __len__(self) -> int:
        return len(self.episodes)

    def first(self) -> tuple[np.ndarray, np.ndarray]:
        """Posteriors of first frames, for dreams: mu, ln_var, each (E, Z)."""
        return self.mu[self.starts], self.ln_var[self.starts]

    def number(self, part: int, episode: int) -> int:
        """The number here of an episode of one of the parts.

        Raises:
            KeyError: that part has no such episode.
        """
        before = sum(len(other) for other in self.parts[:part])
        return before + self.parts[part].position(episode)

    def position(self, episode: int) -> int:
        """Index of an episode in the arrays: its number here.

        Raises:
            KeyError: there is no such episode.
        """
        if not 0 <= episode < len(self):
            raise KeyError(f'episode {episode} is not among {len(self)}')
        return episode
