"""Addition, repeat and priority sort: sequences, what is asked, scores.

They ask for what was shown many steps before; their length is free, so that a network trained on
short sequences can be asked for long ones.

The tasks are those of the toy experiments published with the blog's Chainer DNC; priority sort
comes from Graves et al. 2014, "Neural Turing Machines", where the rows come back in descending
order. Differences: sequences of different lengths go side by side in a batch, and sorted rows are
asked for right after the delimiter, without an empty step between.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Batch(NamedTuple):
    """B sequences side by side, each padded with zeros to T steps.

    Fields:
        inputs: (T, B, X).
        targets: (T, B, Y).
        mask: (T, B), 1 at the steps of the sequence, 0 where it is padded.
        asked: (T, B) bool: the steps whose answer is scored.
    """

    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    asked: np.ndarray


class Task:
    """A task over sequences of items, which are rows of ``width`` numbers.

    The last column of a row is 1 in the delimiter, which ends the items, and
    0 elsewhere.

    Args:
        width: X, numbers in a row.

    Attributes:
        input_size, output_size: X and Y.
        least: fewest items that make a sequence.
        steps_per_item: what an item adds to the length of a sequence.
        error_name: what ``score`` calls 'error', with its unit.
        floor: where charts of the error, on a logarithmic scale, end; None
            is a linear scale.
    """

    least: int
    steps_per_item: int
    error_name: str
    floor: float | None

    def __init__(self, width: int = 6):
        if width < 3:
            raise ValueError(
                f'width is {width}, but a row needs at least 3 columns: two '
                'symbols or bits, and the delimiter'
            )
        self.input_size = width
        self.output_size = self._output_size()

    def _output_size(self) -> int:
        raise NotImplementedError

    def items(self, length: int) -> int:
        """Items of a sequence of ``length``.

        The length counts the items that are shown and, where they are asked back one by one, as
        many steps again.

        Raises:
            ValueError: no sequence is as short.
        """
        items = length // self.steps_per_item
        if items < self.least:
            raise ValueError(
                f'length {length} makes {items} items, but at least {self.least} are needed'
            )
        return items

    def batch(
        self, rng: np.random.Generator, lanes: int, longest: int, shortest: int | None = None
    ) -> Batch:
        """Draw ``lanes`` sequences.

        Args:
            longest: largest length of a sequence, see ``items``.
            shortest: smallest length; None is the task's least.
        """
        most = self.items(longest)
        least = self.least if shortest is None else self.items(shortest)
        return self.make(rng, rng.integers(least, most + 1, lanes))

    def make(self, rng: np.random.Generator, items: np.ndarray) -> Batch:
        """Draw a sequence of items[b] items in every lane b."""
        raise NotImplementedError

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """How good the outputs (T, B, Y) are at the steps that are asked.

        Returns:
            'error', and 'exact': the share of sequences that are right throughout, once the
            outputs are rounded.
        """
        error, wrong = self._errors(outputs, batch)
        failed = (wrong & batch.asked[..., None]).any(axis=(0, 2))
        return {'error': float(error[batch.asked].mean()), 'exact': float(1 - failed.mean())}

    def _errors(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Error of each output, and whether it is wrong: (T, B, Y) both."""
        raise NotImplementedError

    def guess(self, batch: Batch) -> np.ndarray:
        """The best outputs (T, B, Y) of one who saw the lengths alone."""
        raise NotImplementedError


class Addition(Task):
    """Symbols 0 to width - 2, one-hot; at the delimiter their sum is asked.

    The error is the absolute error of the sum.
    """

    least = 2
    steps_per_item = 1
    error_name = 'absolute error of the sum'
    floor = 0.05

    def _output_size(self) -> int:
        return 1

    def make(self, rng, items):
        steps = np.arange(items.max() + 1)[:, None]
        symbols = rng.integers(0, self.input_size - 1, (items.max() + 1, len(items)))
        symbols[steps >= items] = 0
        inputs = np.eye(self.input_size)[symbols]
        inputs[steps > items] = 0
        inputs[steps == items] = np.eye(self.input_size)[-1]
        asked = steps == items
        targets = asked * symbols.sum(axis=0)
        return Batch(inputs, targets[..., None], 1.0 * (steps <= items), asked)

    def _errors(self, outputs, batch):
        error = abs(outputs - batch.targets)
        return error, np.rint(outputs) != batch.targets

    def guess(self, batch):
        items = batch.mask.sum(axis=0) - 1
        return (batch.asked * items * (self.input_size - 2) / 2)[..., None]


class _Recall(Task):
    """Rows of bits are shown, and asked for after the delimiter.

    The error is the share of bits that are wrong when rounded to 0 and 1.
    """

    steps_per_item = 2
    error_name = 'share of wrong bits'
    floor = None

    def make(self, rng, items):
        most, lanes = items.max(), np.arange(len(items))
        rows, order = self._rows(rng, most, items)
        row, lane = np.nonzero(np.arange(most)[:, None] < items)
        steps = np.arange(2 * most + 1)[:, None]
        inputs = np.zeros((2 * most + 1, len(items), self.input_size))
        inputs[row, lane, :-1] = rows[row, lane]
        inputs[items, lanes, -1] = 1
        targets = np.zeros((2 * most + 1, len(items), self.output_size))
        answer = rows[order[row, lane], lane]
        targets[items[lane] + 1 + row, lane] = answer[:, -self.output_size :]
        mask = steps <= 2 * items
        return Batch(inputs, targets, 1.0 * mask, mask & (steps > items))

    def _rows(self, rng, most, items):
        """Rows (most, B, X - 1), and the order in which they are asked."""
        raise NotImplementedError

    def _errors(self, outputs, batch):
        wrong = (outputs > 0.5) != (batch.targets > 0.5)
        return 1.0 * wrong, wrong

    def guess(self, batch):
        return np.zeros_like(batch.targets)


class Repeat(_Recall):
    """Rows of width - 1 bits, asked for in the order in which they came."""

    least = 1

    def _output_size(self) -> int:
        return self.input_size - 1

    def _rows(self, rng, most, items):
        shape = (most, len(items), self.output_size)
        order = np.broadcast_to(np.arange(most)[:, None], shape[:2])
        return rng.integers(0, 2, shape), order


class PrioritySort(_Recall):
    """Rows of a priority in [-1, 1] and width - 2 bits.

    The bits are asked for in the order of rising priority.
    """

    least = 2

    def _output_size(self) -> int:
        return self.input_size - 2

    def _rows(self, rng, most, items):
        priority = rng.uniform(-1, 1, (most, len(items), 1))
        bits = rng.integers(0, 2, (most, len(items), self.output_size))
        shown = np.arange(most)[:, None] < items
        order = np.argsort(np.where(shown, priority[..., 0], np.inf), axis=0)
        return np.concatenate([priority, bits], axis=2), order


TASKS = ('addition', 'repeat', 'priority_sort')


def make_task(name: str, width: int = 6) -> Task:
    """A task by its name, see ``TASKS``.

    Raises:
        ValueError: there is no such task.
    """
    kinds = dict(zip(TASKS, (Addition, Repeat, PrioritySort)))
    if name not in kinds:
        raise ValueError(f'task is {name!r}, but must be one of {TASKS}')
    return kinds[name](width)
