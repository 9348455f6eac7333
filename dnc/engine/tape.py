"""What the fused engine keeps from its forward for its backward pass.

Names of the shapes: T steps (t), B lanes (b), N slots (n) of W numbers (w),
R read heads (r), S numbers in the interface.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from chainer.backend import get_array_module
from chainer.backends import cuda

from dnc.access import interface_size

# fields that hold int32, here and in `dnc.cuda.source`; the others hold numbers
INTEGERS = frozenset({'order', 'live', 'length', 'record', 'recorded', 'chosen', 'row', 'column'})


class Tape(NamedTuple):
    """Vectors of the memory access; index t is step t, or t steps done.

    Of the shapes below, the ones with T + 1 hold state: entry 0 is the state that the sequence
    started from.
    """

    xi: Any  # activated interface, (T, B, S)
    slopes: Any  # of the strengths (read heads, write), (T, B, R + 1)
    usage: Any  # u, (T + 1, B, N)
    precedence: Any  # p, (T + 1, B, N)
    write_weights: Any  # w^w, (T + 1, B, N)
    read_weights: Any  # w^r, (T + 1, B, R, N)
    norms: Any  # 1 / |M[i]|, (T + 1, B, N)
    order: Any  # free list phi, (T, B, N), int32
    allocation: Any  # a, (T, B, N)
    write_cosine: Any  # D(k^w, M_{t-1}), (T, B, 1, N)
    write_content: Any  # c^w, (T, B, N)
    read_cosine: Any  # D(k^r, M_t), (T, B, R, N)
    read_content: Any  # c^r, (T, B, R, N)
    forward: Any  # f, (T, B, R, N)
    backward: Any  # b, (T, B, R, N)


class Zeros(NamedTuple):
    """The state before an episode, for lanes that are reset."""

    slots: Any  # (N,)
    reads: Any  # (R, N)
    memory: Any  # (W, N)
    link: Any  # (N, N)
    norms: Any  # of the empty memory, (N,)


class Sparse(NamedTuple):
    """Lists of the sparse link's entries."""

    live: Any  # flat indices, (B, C), int32
    length: Any  # of live ones, (B,), int32
    record: Any  # every entry a step looked at, (T, B, C), int32
    old: Any  # its value before, (T, B, C)
    recorded: Any  # how many, (T, B), int32
    chosen: Any  # slots of the K largest, (B, 2, K), int32
    sharp: Any  # sharpened w^w and p and their gradients, (B, 4, N)


class Net(NamedTuple):
    """The controller over time; l: its L layers of H units.

    Columns of a layer's weights: input, read vectors, own h of the step
    before and, above the first layer, the lower h of this step: K in all.
    """

    xs: Any  # (T, B, X)
    seen: Any  # [r; h] of the step before, zero where fresh, (T + 1, B, ..)
    out: Any  # [h; r], (T, B, L H + R W)
    c: Any  # (T + 1, B, L H)
    gates: Any  # input, forget, output, candidate, (T, B, L, 4 H)
    weights: Any  # panels of the transposed weights, (L, P, K, width)
    bias: Any  # (L, P width)
    sums: Any  # scratch, (B, P width)
    interface: Any  # panels of the transposed weight, (P', L H, width)
    xi: Any  # scratch, (B, P' width)


class NetGradients(NamedTuple):
    """Of the controller's state and of what comes out of it."""

    out: Any  # of [h; r], (T, B, L H + R W)
    xi: Any  # of the raw interface, (T, B, S)
    state: Any  # of [r; h], passes backward from step to step, (B, ..)
    c: Any  # likewise, (B, L H)
    reads: Any  # scratch, (B, R, W)
    h: Any  # scratch, (B, P width)
    seen: Any  # scratch, (B, P' width)
    weights: Any  # panels of the weights without the input, (L, P', 4 H, ..)
    interface: Any  # panels of the weight, (P, S, width)


class Ends(NamedTuple):
    """What a sequence starts from, as it comes in."""

    memory: Any  # (B, N, W)
    link: Any  # (B, N, N)


class Rule(NamedTuple):
    """Numbers of the engine."""

    epsilon: Any
    scaled: Any  # sparse link: scaled by the sum of the weights
    threshold: Any  # 1 / K, below which entries are dropped


class Gradients(NamedTuple):
    """Of the state that passes backward from step to step, and scratch."""

    memory: Any  # (B, W, N)
    usage: Any  # (B, N)
    precedence: Any  # (B, N)
    link: Any  # (B, N, N)
    write_weights: Any  # (B, N)
    read_weights: Any  # (B, R, N)
    forward: Any  # scratch, (B, R, N)
    backward: Any  # scratch, (B, R, N)
    content: Any  # scratch, (B, R, N)
    slots: Any  # scratch, (B, 6, N)
    words: Any  # scratch, (B, R, W)


def tape_shapes(t, b, n, w, r) -> Tape:
    slots, heads = (t, b, n), (t, b, r, n)
    state, state_heads = (t + 1, b, n), (t + 1, b, r, n)
    return Tape(
        xi=(t, b, interface_size(r, w)),
        slopes=(t, b, r + 1),
        usage=state,
        precedence=state,
        write_weights=state,
        read_weights=state_heads,
        norms=state,
        order=slots,
        allocation=slots,
        write_cosine=(t, b, 1, n),
        write_content=slots,
        read_cosine=heads,
        read_content=heads,
        forward=heads,
        backward=heads,
    )


def zero_shapes(n, w, r) -> Zeros:
    return Zeros(slots=(n,), reads=(r, n), memory=(w, n), link=(n, n), norms=(n,))


def sparse_shapes(t, b, n, k, room) -> Sparse:
    return Sparse(
        live=(b, room),
        length=(b,),
        record=(t, b, room),
        old=(t, b, room),
        recorded=(t, b),
        chosen=(b, 2, k),
        sharp=(b, 4, n),
    )


def gradient_shapes(b, n, w, r) -> Gradients:
    slots, heads = (b, n), (b, r, n)
    return Gradients(
        memory=(b, w, n),
        usage=slots,
        precedence=slots,
        link=(b, n, n),
        write_weights=slots,
        read_weights=heads,
        forward=heads,
        backward=heads,
        content=heads,
        slots=(b, 6, n),
        words=(b, r, w),
    )


def address(array: Any) -> int:
    """Where a NumPy or CuPy array begins."""
    if isinstance(array, np.ndarray):
        return array.ctypes.data
    return array.data.ptr


def writeable(array: Any) -> Any:
    """In C order, and never read-only: Numba compiles for that alone."""
    if isinstance(array, np.ndarray):
        return np.require(array, requirements=['C', 'W'])
    return get_array_module(array).ascontiguousarray(array)


def place_of(array: Any) -> tuple:
    """What has to be the same for memory to be used again.

    On a GPU the work that still reads it may be under way: another stream would not wait for that.
    """
    if isinstance(array, np.ndarray):
        return ()
    stream = cuda.cupy.cuda.get_current_stream()
    return array.device.id, stream.ptr


class Arena:
    """Named blocks of memory that are used again, call after call.

    The first touch of fresh memory costs more than the arithmetic on it.

    Args:
        xp: whose arrays it gives.
        place: see `place_of`.
    """

    def __init__(self, xp: Any = np, place: tuple = ()):
        self.xp, self.place = xp, place
        self._blocks: dict[str, Any] = {}

    def take(self, name: str, shape, dtype) -> Any:
        """An uninitialised array, aligned for vector instructions."""
        dtype = np.dtype(dtype)
        size = dtype.itemsize * math.prod(shape)
        block = self._blocks.get(name)
        if block is None or block.size < size + 64:
            self._blocks.pop(name, None)
            block = self._blocks[name] = self.xp.empty(size + 64, np.uint8)
        start = -address(block) % 64
        return block[start : start + size].view(dtype).reshape(shape)


class Arenas:
    """Arenas that no pass is using; belongs to a link.

    A copy or a pickle of the link starts with none.
    """

    def __init__(self):
        self._free: list[Arena] = []

    def borrow(self, array: Any) -> Arena:
        """One beside the array; those of another place are dropped."""
        place = place_of(array)
        self._free = [arena for arena in self._free if arena.place == place]
        if self._free:
            return self._free.pop()
        return Arena(get_array_module(array), place)

    def give_back(self, arena: Arena) -> None:
        if len(self._free) < 2:
            self._free.append(arena)

    def __deepcopy__(self, memo):
        return Arenas()

    def __reduce__(self):
        return Arenas, ()
