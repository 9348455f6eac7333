"""A task that grows longer on the way, and what is kept of its beginnings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainer_wm.tasks.sequence_tasks import Batch, Task


class Curriculum:
    """Lessons of rising length, switched after a number of sequences.

    The last lesson stays until training ends.

    Args:
        task: what is asked.
        lengths: largest length of each lesson, rising.
        switch: sequences per lesson.
        only_new: a lesson holds only the lengths that are new in it, so that the earlier ones are
            not met again; otherwise it holds them all.

    Raises:
        ValueError: the lengths do not rise, or nothing is new in a lesson.
    """

    def __init__(self, task: Task, lengths: Sequence[int], switch: int, only_new: bool = False):
        if switch < 1:
            raise ValueError(f'switch is {switch}, but must be at least 1')
        self.task, self.lengths = task, tuple(lengths)
        self.switch, self.only_new = switch, only_new
        most = [task.items(length) for length in lengths]
        if not most or sorted(set(most)) != most:
            raise ValueError(f'lengths {self.lengths} make {most} items, which do not rise')
        self._most = most
        self._new = [task.least, *(items + 1 for items in most[:-1])]

    def lesson(self, sequences: int) -> int:
        """The lesson, from 0, of who has seen so many sequences."""
        return min(sequences // self.switch, len(self.lengths) - 1)

    def batch(self, rng: np.random.Generator, lanes: int, sequences: int) -> Batch:
        """``lanes`` sequences for one who has seen ``sequences``."""
        lesson = self.lesson(sequences)
        least = self._new[lesson] if self.only_new else self.task.least
        return self._draw(rng, lanes, least, self._most[lesson])

    def test(self, rng: np.random.Generator, lanes: int, lesson: int) -> Batch:
        """``lanes`` sequences of the lengths that are new in a lesson."""
        return self._draw(rng, lanes, self._new[lesson], self._most[lesson])

    def _draw(self, rng, lanes: int, least: int, most: int) -> Batch:
        return self.task.make(rng, rng.integers(least, most + 1, lanes))
