"""The memory access on the GPU: the kernels' side of `dnc.engine.memory`.

A step is one launch, and so is its backward: a block of threads per lane of
the batch, which shares sums through shared memory and meets at barriers.
No atomics: the same input gives the same bits. A forward step with the dense
link reads L_{t-1} once, writes L_t once and reads it once, and touches the
memory, (N, W), four times; its backward reads L_{t-1} and the gradient of L
twice each and writes the gradient twice. A sparse link costs the length of
its list and K^2 entries instead. Slots are ranked by counting, N^2
comparisons (three times with a sparse link). Beside the tape this takes
B (4 N + 8 R + 8) numbers, and for a sparse link 4 per entry of its lists.
Before a sequence with a sparse link, one number comes back from the GPU: the
length of the longest list. Nothing else waits for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dnc.cuda.launch import Launcher, table
from dnc.cuda.source import Entries, Scratch, shared_bytes
from dnc.engine.tape import Arena


class CudaAccess:
    """Launches of one step, for `dnc.cuda.loops`."""

    def __init__(self, launch: Launcher, arena: Arena):
        self._launch, self._arena = launch, arena
        self._tables: dict[str, tuple[Any, Any]] = {}

    def _table(self, arrays: Any) -> Any:
        """Of a NamedTuple of arrays; made once for as long as they stay."""
        name = type(arrays).__name__
        known, pointers = self._tables.get(name, (None, None))
        if known is not arrays:
            pointers = table(arrays, self._arena.xp)
            self._tables[name] = arrays, pointers
        return pointers

    def _start(self, name: str, lanes: int, slots: int, dtype, args) -> None:
        threads = self._launch.threads(slots)
        shared = shared_bytes(threads, dtype)
        self._launch(name, lanes, threads, shared, args)

    def _own(self, kind: Any, shapes: dict, dtype: Any) -> Any:
        """Table of arrays that only the kernels know, of the arena."""
        name = kind.__name__
        if name not in self._tables:
            kinds = dict.fromkeys(kind.integers(), np.int32)
            arrays = kind(
                **{
                    field: self._arena.take(f'cuda {field}', shape, kinds.get(field, dtype))
                    for field, shape in shapes.items()
                }
            )
            self._tables[name] = arrays, table(arrays, self._arena.xp)
        return self._tables[name][1]

    def _step(self, name, t, tape, zeros, fresh, epsilon, memory, *args):
        lanes, width, slots = memory.shape
        heads, dtype = len(zeros.reads), memory.dtype
        scratch = {'scalars': (lanes, 8, heads + 1), 'maps': (lanes, 4, slots)}
        common = (
            *(self._table(tape), self._table(zeros)),
            self._own(Scratch, scratch, dtype),
            *(np.int32(n) for n in (t, slots, width, heads)),
            *(fresh, epsilon, memory),
        )
        self._start(name, lanes, slots, dtype, (*common, *args))

    def _sparse(self, sparse) -> tuple:
        """Arguments that tell where the lists of a sparse link lie."""
        shapes = dict.fromkeys(Entries._fields, sparse.live.shape)
        return (
            self._table(sparse),
            self._own(Entries, shapes, sparse.old.dtype),
            np.int32(sparse.live.shape[1]),
            np.int32(sparse.chosen.shape[2]),
        )

    def start(self, memory, tape, epsilon) -> None:
        lanes, width, slots = memory.shape
        sizes = np.int32(slots), np.int32(width)
        args = memory, self._table(tape), *sizes, epsilon
        self._start('dnc_start', lanes, slots, memory.dtype, args)

    def count_links(self, link, counts) -> None:
        counts[...] = (link != 0).sum(axis=(1, 2))

    def list_links(self, link, sparse) -> None:
        lanes, slots = link.shape[:2]
        room = np.int32(sparse.live.shape[1])
        args = link, self._table(sparse), np.int32(slots), room
        self._start('dnc_list_links', lanes, slots, link.dtype, args)

    def access_forward(
        self, t, tape, zeros, fresh, memory, new_memory, link, new_link, epsilon, out
    ) -> None:
        common = t, tape, zeros, fresh, epsilon, memory
        args = new_memory, link, new_link, out
        self._step('dnc_access_forward', *common, *args)

    def access_forward_sparse(
        self,
        t,
        tape,
        zeros,
        fresh,
        memory,
        new_memory,
        link,
        sparse,
        scaled,
        threshold,
        epsilon,
        out,
    ) -> None:
        common = t, tape, zeros, fresh, epsilon, memory
        args = new_memory, link, *self._sparse(sparse)
        last = np.bool_(scaled), threshold, out
        self._step('dnc_access_forward_sparse', *common, *args, *last)

    def replay(self, t, tape, zeros, fresh, memory, new_memory, link, new_link) -> None:
        dense = np.bool_(link.shape[1] > 0)
        common = t, tape, zeros, fresh, memory.dtype.type(0), memory
        args = new_memory, link, new_link, dense
        self._step('dnc_replay', *common, *args)

    def access_backward(
        self, t, tape, zeros, fresh, memory, new_memory, link, epsilon, d_out, grads, d_xi
    ) -> None:
        common = t, tape, zeros, fresh, epsilon, memory
        args = new_memory, link, d_out, self._table(grads), d_xi
        self._step('dnc_access_backward', *common, *args)

    def access_backward_sparse(
        self,
        t,
        tape,
        zeros,
        fresh,
        memory,
        new_memory,
        sparse,
        scaled,
        epsilon,
        d_out,
        grads,
        d_xi,
    ) -> None:
        common = t, tape, zeros, fresh, epsilon, memory
        args = new_memory, d_out, self._table(grads), d_xi
        last = *self._sparse(sparse), np.bool_(scaled)
        self._step('dnc_access_backward_sparse', *common, *args, *last)
