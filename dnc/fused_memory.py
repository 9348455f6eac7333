"""The memory access of a whole sequence, forward and backward."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from dnc.state import DNCState
from dnc.tape import (
    Arena,
    Gradients,
    Sparse,
    Tape,
    Zeros,
    gradient_shapes,
    sparse_shapes,
    tape_shapes,
    writeable,
    zero_shapes,
)

STORED_BYTES = 2**30  # of M and L, up to which nothing is computed twice


class Options(NamedTuple):
    """What the engine has to know beside the arrays."""

    link_sparsity: int | None
    link_scaling: bool
    epsilon: float
    recompute: bool | None


class History:
    """The memory or the link over time: all of it, or every S-th state.

    `before(t)` is valid in the forward pass, and in the backward pass once
    the steps of t's block have been run again.
    """

    def __init__(
        self, arena: Arena, name: str, first, last, steps: int, every: int
    ):
        self.first, self.last = first, last
        self.steps, self.every = steps, every
        points = -(-steps // every) - 1
        block = min(every, steps) - 1
        shape, dtype = first.shape, first.dtype
        self.points = arena.take(name + ' points', (points, *shape), dtype)
        self.block = arena.take(name + ' block', (block, *shape), dtype)

    def before(self, t: int):
        if t == 0:
            return self.first
        if t % self.every == 0:
            return self.points[t // self.every - 1]
        return self.block[t % self.every - 1]

    def after(self, t: int):
        return self.last if t + 1 == self.steps else self.before(t + 1)


class Memory:
    """Memory, link and everything that addresses them, for T steps.

    Args:
        arena: where the arrays come from.
        kernels: `dnc.kernels_cpu` or its twin for the GPU.
        options: of the engine.
        state: to start from, arrays.
        fresh: (T + 1, B) bool: the state before step t is zero.
    """

    def __init__(
        self,
        arena: Arena,
        kernels: Any,
        options: Options,
        state: DNCState,
        fresh,
    ):
        self.arena, self.options, self.fresh = arena, options, fresh
        self.kernels, self.xp = kernels, arena.xp
        self.steps, self.batch = len(fresh) - 1, fresh.shape[1]
        self.slots, self.width = state.memory.shape[1:]
        self.heads = state.read_weights.shape[1]
        self.dtype = dtype = state.memory.dtype
        self.epsilon = dtype.type(options.epsilon)
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
        for array in self.zeros:
            array[...] = 0
        self.zeros.norms[...] = 1 / math.sqrt(self.epsilon)
        self.reads = arena.take(
            'reads', (self.batch, self.heads * self.width), dtype
        )
        self._prepare_memory(state.memory)
        self._prepare_link(state.link)

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

    def _every(self) -> int:
        """Keep the state before every so many steps."""
        recompute = self.options.recompute
        if recompute is None:
            link = 0 if self.options.link_sparsity else self.slots
            numbers = self.steps * self.batch * self.slots
            size = numbers * (self.width + link) * self.dtype.itemsize
            recompute = size > STORED_BYTES
        return max(1, math.isqrt(self.steps)) if recompute else 1

    def _prepare_memory(self, memory) -> None:
        shape = (self.batch, self.width, self.slots)
        first = self.arena.take('memory', shape, self.dtype)
        last = self.arena.take('memory last', shape, self.dtype)
        first[...] = memory.transpose(0, 2, 1)
        self.memory = History(
            self.arena, 'memory', first, last, self.steps, self._every()
        )
        self.kernels.start(first, self.tape, self.epsilon)

    def _prepare_link(self, link) -> None:
        self.sparse: Sparse | None = None
        if self.options.link_sparsity is None:
            link = writeable(link)
            self.link = History(
                self.arena,
                'link',
                link,
                self.xp.empty_like(link),
                self.steps,
                self._every(),
            )
            return
        last = link.copy()
        self.link = History(self.arena, 'link', last[:0], last, 1, 1)
        k = min(self.options.link_sparsity, self.slots)
        lengths = self.xp.empty(self.batch, np.int32)
        self.kernels.count_links(last, lengths)
        room = int(lengths.max()) + self.steps * k
        room = min(room, self.slots**2) + k * k
        self.sparse = self._take(
            Sparse,
            sparse_shapes(self.steps, self.batch, self.slots, k, room),
            'sparse ',
        )
        self.sparse.length[...] = lengths
        self.kernels.list_links(last, self.sparse)

    def step(self, t: int):
        """Read vectors (B, R W) of step t, whose raw xi is in the tape."""
        common = self._common(t)
        if self.sparse is None:
            self.kernels.access_forward(
                *common,
                self.link.before(t),
                self.link.after(t),
                self.epsilon,
                self.reads,
            )
        else:
            assert self.options.link_sparsity
            self.kernels.access_forward_sparse(
                *common,
                self.link.last,
                self.sparse,
                self.options.link_scaling,
                self.dtype.type(1 / self.options.link_sparsity),
                self.epsilon,
                self.reads,
            )
        return self.reads

    def _common(self, t: int):
        before, after = self.memory.before(t), self.memory.after(t)
        return t, self.tape, self.zeros, self.fresh[t], before, after

    def last(self) -> dict:
        """The final state's fields that are the memory's, fresh arrays."""
        return {
            'memory': self.xp.ascontiguousarray(
                self.memory.last.transpose(0, 2, 1)
            ),
            'usage': self.tape.usage[-1].copy(),
            'precedence': self.tape.precedence[-1].copy(),
            'link': self.link.last,
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
        for name in (
            'usage',
            'precedence',
            'link',
            'write_weights',
            'read_weights',
        ):
            value = getattr(g_state, name)
            getattr(self.grads, name)[...] = 0 if value is None else value
        value = g_state.memory
        self.grads.memory[...] = (
            0 if value is None else value.transpose(0, 2, 1)
        )
        if self.sparse is not None and g_state.link is not None:
            self.grads.link[self.link.last == 0] = 0  # dropped entries

    def backward(self, t: int, d_reads, d_xi) -> None:
        """From d_reads (B, R, W) of step t to its d_xi (B, S), raw."""
        self._replay(t)
        common = self._common(t)
        if self.sparse is None:
            self.kernels.access_backward(
                *common,
                self.link.before(t),
                self.epsilon,
                d_reads,
                self.grads,
                d_xi,
            )
        else:
            self.kernels.access_backward_sparse(
                *common,
                self.sparse,
                self.options.link_scaling,
                self.epsilon,
                d_reads,
                self.grads,
                d_xi,
            )

    def _replay(self, t: int) -> None:
        """On entering a block from behind: run its steps again."""
        every = self.memory.every
        if every == 1 or (t + 1) % every or t + 1 == self.steps:
            return
        for s in range(t + 1 - every, t):
            links = 2 * (self.memory.first[:, :0, :0],)
            if self.sparse is None:
                links = self.link.before(s), self.link.after(s)
            self.kernels.replay(*self._common(s), *links)

    def first_gradients(self) -> dict:
        """Of the fields that the sequence started from, fresh arrays."""
        fields = {
            name: getattr(self.grads, name).copy()
            for name in (
                'usage',
                'precedence',
                'link',
                'write_weights',
                'read_weights',
            )
        }
        memory = self.grads.memory.transpose(0, 2, 1)
        return {**fields, 'memory': self.xp.ascontiguousarray(memory)}
