"""The memory access of a whole sequence, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from dnc.engine.tape import (
    INTEGERS,
    Arena,
    Ends,
    Gradients,
    Rule,
    Sparse,
    Tape,
    Zeros,
    gradient_shapes,
    sparse_shapes,
    tape_shapes,
    writeable,
    zero_shapes,
)
from dnc.state import DNCState

STATES = ('usage', 'precedence', 'link', 'write_weights', 'read_weights')
STORED_BYTES = 2**30  # of M and L, up to which nothing is computed twice


class Options(NamedTuple):
    """What the engine has to know beside the arrays."""

    link_sparsity: int | None
    link_scaling: bool
    epsilon: float
    recompute: bool | None


class Memory:
    """Memory, link and everything that addresses them, for T steps.

    The steps run in blocks; memory and link are kept of every step of the
    last block, and of the first step of the others.

    Args:
        arena: where the arrays come from.
        loops: `dnc.cpu.loops` or its twin for the GPU.
        options: of the engine.
        state: to start from, arrays.
        steps: T.
        reset: (T, B), 1 where the state before step t is zero, or None.
        block: steps of a block; None is what ``options.recompute`` asks for.
    """

    def __init__(
        self,
        arena: Arena,
        loops: Any,
        options: Options,
        state: DNCState,
        steps: int,
        reset: Any,
        block: int | None = None,
    ):
        self.arena, self.options = arena, options
        self.loops, self.xp = loops, arena.xp
        self.steps = steps
        self.batch, self.slots, self.width = state.memory.shape
        self.heads = state.read_weights.shape[1]
        self.dtype = dtype = state.memory.dtype
        self.rule = Rule(
            epsilon=dtype.type(options.epsilon),
            scaled=options.link_scaling,
            threshold=dtype.type(1 / (options.link_sparsity or 1)),
        )
        self.tape = self._take(
            Tape, tape_shapes(self.steps, self.batch, self.slots, self.width, self.heads)
        )
        for name in ('usage', 'precedence', 'write_weights', 'read_weights'):
            getattr(self.tape, name)[0] = getattr(state, name)
        self._prepare_resets(reset)
        self.ends = Ends(writeable(state.memory), writeable(state.link))
        self._prepare_blocks(min(block or self._every(), steps))

    def _prepare_resets(self, reset) -> None:
        self.zeros = self._take(Zeros, zero_shapes(self.slots, self.width, self.heads), 'zero ')
        # entry t: the state before step t is zero
        self.fresh = self.xp.zeros((self.steps + 1, self.batch), bool)
        if reset is None:
            return
        self.fresh[:-1] = reset
        for array in self.zeros:
            array[...] = 0
        self.zeros.norms[...] = 1 / math.sqrt(self.rule.epsilon)

    def _take(self, kind, shapes, prefix: str = ''):
        """A NamedTuple of arrays from the arena; Tape, Sparse, ..."""
        return kind(
            *(
                self.arena.take(prefix + name, shape, np.int32 if name in INTEGERS else self.dtype)
                for name, shape in shapes._asdict().items()
            )
        )

    def _prepare_blocks(self, every: int) -> None:
        lanes = self.batch
        starts = range(0, self.steps, every)
        self.blocks = [(s, min(s + every, self.steps)) for s in starts]
        kept = every + 1
        self.sparse = None
        if self.options.link_sparsity:
            self.sparse = self._list_links()
        shapes = {'memory': (kept, lanes, self.width, self.slots)}
        links = (kept if self.sparse is None else 1, lanes)
        shapes['link'] = (*links, self.slots, self.slots)
        self.memory, self.link = (
            self.arena.take(name, shape, self.dtype) for name, shape in shapes.items()
        )
        kept = len(self.blocks) - 1
        self.points = [
            self.arena.take(name + ' points', (kept, *array.shape[1:]), self.dtype)
            for name, array in zip(shapes, self._states())
        ]

    def _every(self) -> int:
        """Steps of a block."""
        recompute = self.options.recompute
        if recompute is None:
            link = 0 if self.options.link_sparsity else self.slots
            numbers = self.steps * self.batch * self.slots
            size = numbers * (self.width + link) * self.dtype.itemsize
            recompute = size > STORED_BYTES
        return math.isqrt(self.steps) if recompute else self.steps

    def _list_links(self) -> Sparse:
        assert self.options.link_sparsity
        k = min(self.options.link_sparsity, self.slots)
        lengths = self.xp.empty(self.batch, np.int32)
        self.loops.count_links(self.ends.link, lengths)
        room = int(lengths.max()) + self.steps * k
        room = min(room, self.slots**2) + k * k
        sparse = self._take(
            Sparse, sparse_shapes(self.steps, self.batch, self.slots, k, room), 'sparse '
        )
        sparse.length[...] = lengths
        return sparse

    def forward(self, controller: Any) -> None:
        """All steps, with the controller."""
        for _ in self.run(controller):
            pass

    def run(self, controller: Any) -> Iterator[tuple[int, int]]:
        """Block by block: after each its first step, and the one after its last."""
        for number, (start, stop) in enumerate(self.blocks):
            if number:
                self._keep(number - 1)
            self.loops.forward(self, controller, start, stop)
            yield start, stop

    def _keep(self, number: int) -> None:
        """Make room for the block after this one."""
        for array, points in zip(self._states(), self.points):
            points[number] = array[0]
            array[0] = array[-1]

    def _states(self):
        dense = (self.link,) if self.sparse is None else ()
        return self.memory, *dense

    def last(self) -> dict:
        """The final state's fields that are the memory's, fresh arrays."""
        start, stop = self.blocks[-1]
        at = stop - start
        return {
            # a copy in any case: the backward pass may run the block again
            'memory': self.xp.array(self.memory[at].transpose(0, 2, 1), order='C'),
            'usage': self.tape.usage[-1].copy(),
            'precedence': self.tape.precedence[-1].copy(),
            'link': self.link[0 if self.sparse else at].copy(),
            'write_weights': self.tape.write_weights[-1].copy(),
            'read_weights': self.tape.read_weights[-1].copy(),
        }

    def start_backward(self, g_state: DNCState) -> None:
        """From the gradients of the final state; None is zero."""
        self.grads = self._take(
            Gradients, gradient_shapes(self.batch, self.slots, self.width, self.heads), 'd '
        )
        for name in STATES:
            value = getattr(g_state, name)
            getattr(self.grads, name)[...] = 0 if value is None else value
        value = g_state.memory
        self.grads.memory[...] = 0 if value is None else value.transpose(0, 2, 1)
        if self.sparse is not None and g_state.link is not None:
            self.grads.link[self.link[0] == 0] = 0  # dropped entries

    def backward(self, controller: Any) -> None:
        """All steps from the last, with the controller."""
        for number in reversed(range(len(self.blocks))):
            start, stop = self.blocks[number]
            if number + 1 < len(self.blocks):
                self._run_again(number)
            self.loops.backward(self, controller, start, stop)

    def _run_again(self, number: int) -> None:
        """Memory and link of a block, from what was kept."""
        for array, points in zip(self._states(), self.points):
            array[0] = points[number]
        self.loops.replay(self, *self.blocks[number])

    def first_gradient(self, name: str) -> Any:
        """Of a field that the sequence started from, a fresh array."""
        gradient = getattr(self.grads, name)
        if name == 'memory':
            gradient = gradient.transpose(0, 2, 1)
        return self.xp.array(gradient, order='C')
