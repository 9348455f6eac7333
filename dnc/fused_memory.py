"""The memory access of a whole sequence on the CPU, forward and backward."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from dnc.kernels_entry import over_lanes
from dnc.kernels_sequence import count_links, forward, replay
from dnc.kernels_sequence_backward import backward
from dnc.state import DNCState
from dnc.tape import (
    Arena,
    Ends,
    Gradients,
    Net,
    NetGradients,
    Rule,
    Sparse,
    Tape,
    Zeros,
    gradient_shapes,
    sparse_shapes,
    tape_shapes,
    zero_shapes,
)

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
        options: of the engine.
        state: to start from, arrays.
        fresh: (T + 1, B) bool: the state before step t is zero.
    """

    def __init__(self, arena: Arena, options: Options, state: DNCState, fresh):
        self.arena, self.options, self.fresh = arena, options, fresh
        self.steps, self.batch = len(fresh) - 1, fresh.shape[1]
        self.slots, self.width = state.memory.shape[1:]
        self.heads = state.read_weights.shape[1]
        self.dtype = dtype = state.memory.dtype
        self.rule = Rule(
            epsilon=dtype.type(options.epsilon),
            scaled=options.link_scaling,
            threshold=dtype.type(1 / (options.link_sparsity or 1)),
        )
        self.tape = self._take(
            Tape,
            tape_shapes(
                self.steps, self.batch, self.slots, self.width, self.heads
            ),
        )
        for name in ('usage', 'precedence', 'write_weights', 'read_weights'):
            getattr(self.tape, name)[0] = getattr(state, name)
        self.zeros = self._take(
            Zeros, zero_shapes(self.slots, self.width, self.heads), 'zero '
        )
        if fresh.any():
            for array in self.zeros:
                array[...] = 0
        self.zeros.norms[...] = 1 / math.sqrt(self.rule.epsilon)
        self.ends = Ends(
            *(
                np.require(array, requirements=['C', 'W'])
                for array in (state.memory, state.link)
            )
        )
        self._prepare_blocks()

    def _take(self, kind, shapes, prefix: str = ''):
        """A NamedTuple of arrays from the arena; Tape, Sparse, ..."""
        return kind(
            *(
                self.arena.take(
                    prefix + name,
                    shape,
                    np.int32 if name in kind.integers() else self.dtype,
                )
                for name, shape in shapes._asdict().items()
            )
        )

    def _prepare_blocks(self) -> None:
        every, lanes = self._every(), self.batch
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
            self.arena.take(name, shape, self.dtype)
            for name, shape in shapes.items()
        )
        kept = len(self.blocks) - 1
        self.points = [
            self.arena.take(name + ' points', (kept, *shape[1:]), self.dtype)
            for name, shape in shapes.items()
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
        lengths = np.empty(self.batch, np.int32)
        over_lanes(count_links, self.batch, self.ends.link, lengths)
        room = int(lengths.max()) + self.steps * k
        room = min(room, self.slots**2) + k * k
        sparse = self._take(
            Sparse,
            sparse_shapes(self.steps, self.batch, self.slots, k, room),
            'sparse ',
        )
        sparse.length[...] = lengths
        return sparse

    def _common(self):
        return self.tape, self.zeros, self.fresh, self.memory, self.link

    def forward(self, net: Net) -> None:
        """All steps, with the controller."""
        for number, (start, stop) in enumerate(self.blocks):
            if number:
                self._keep(number - 1)
            over_lanes(
                forward,
                self.batch,
                *(start, stop, self.ends, net),
                *(*self._common(), self.sparse, self.rule),
            )

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
            'memory': np.array(self.memory[at].transpose(0, 2, 1), order='C'),
            'usage': self.tape.usage[-1].copy(),
            'precedence': self.tape.precedence[-1].copy(),
            'link': self.link[0 if self.sparse else at].copy(),
            'write_weights': self.tape.write_weights[-1].copy(),
            'read_weights': self.tape.read_weights[-1].copy(),
        }

    def start_backward(self, g_state: DNCState) -> None:
        """From the gradients of the final state; None is zero."""
        self.grads = self._take(
            Gradients,
            gradient_shapes(self.batch, self.slots, self.width, self.heads),
            'd ',
        )
        for name in STATES:
            value = getattr(g_state, name)
            getattr(self.grads, name)[...] = 0 if value is None else value
        value = g_state.memory
        self.grads.memory[...] = (
            0 if value is None else value.transpose(0, 2, 1)
        )
        if self.sparse is not None and g_state.link is not None:
            self.grads.link[self.link[0] == 0] = 0  # dropped entries

    def backward(self, net: Net, back: NetGradients) -> None:
        """All steps from the last, with the controller."""
        for number in reversed(range(len(self.blocks))):
            start, stop = self.blocks[number]
            if number + 1 < len(self.blocks):
                self._run_again(number)
            over_lanes(
                backward,
                self.batch,
                *(start, stop, net, *self._common()),
                *(self.sparse, self.rule, self.grads, back),
            )

    def _run_again(self, number: int) -> None:
        """Memory and link of a block, from what was kept."""
        for array, points in zip(self._states(), self.points):
            array[0] = points[number]
        *common, link = self._common()
        if self.sparse is not None:
            link = link[:, :, :0, :0].copy()
        over_lanes(replay, self.batch, *self.blocks[number], *common, link)

    def first_gradient(self, name: str) -> np.ndarray:
        """Of a field that the sequence started from, a fresh array."""
        gradient = getattr(self.grads, name)
        if name == 'memory':
            gradient = gradient.transpose(0, 2, 1)
        return np.array(gradient, order='C')
