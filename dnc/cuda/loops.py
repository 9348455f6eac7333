"""The time loops on the GPU: in Python, a few launches a step.

With L layers a step takes 2 L + 3 launches: a matrix product and the cell per layer, the
interface's product, the memory access, and one that hands h and r on. Its backward takes as many.

The memory access of a step is one launch, and so is its backward: a block of threads per lane of
the batch, which shares sums through shared memory and
meets at barriers. No atomics: the same input gives the same bits. A forward step with the dense
link reads L_{t-1} once, writes L_t once and reads it once, and touches the memory, (N, W), four
times; its backward reads L_{t-1} and the gradient of L twice each and writes the gradient twice. A
sparse link costs the length of its list and K^2 entries instead. Slots are ranked by counting, N^2
comparisons (three times with a sparse link). Beside the tape this takes
B (4 N + 8 R + 8) numbers, and for a sparse link 4 per entry of its lists. Before a sequence with a
sparse link, one number comes back from the GPU: the length of the longest list. Nothing else waits
for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dnc.cuda.launch import Launcher, table
from dnc.cuda.source import Entries, Scratch, shared_bytes
from dnc.engine.tape import INTEGERS, Arena


class CudaLoops:
    """Twin of the module `dnc.cpu.loops`.

    m is the `dnc.engine.memory.Memory` that is run, controller a
    `dnc.cuda.controller.CudaController`.
    """

    def __init__(self, launch: Launcher, arena: Arena):
        self._launch, self._arena = launch, arena
        self._tables: dict[str, tuple[Any, Any]] = {}

    def count_links(self, link: Any, counts: Any) -> None:
        counts[...] = (link != 0).sum(axis=(1, 2))

    def forward(self, m: Any, controller: Any, start: int, stop: int) -> None:
        if start == 0:
            self._begin(m)
        shape = (m.batch, m.heads * m.width)
        reads = self._arena.take('reads', shape, m.dtype)
        for t in range(start, stop):
            controller.step(t, m.tape.xi[t])
            at = t - start
            if m.sparse is None:
                links = m.link[at], m.link[at + 1]
                self._step('dnc_access_forward', m, t, at, *links, reads)
            else:
                rule = np.bool_(m.rule.scaled), m.rule.threshold
                args = m.link[0], *self._lists(m.sparse), *rule, reads
                self._step('dnc_access_forward_sparse', m, t, at, *args)
            controller.finish_step(t, reads)

    def _begin(self, m: Any) -> None:
        slots = np.int32(m.slots)
        m.memory[0] = m.ends.memory.transpose(0, 2, 1)
        sizes = slots, np.int32(m.width), m.rule.epsilon
        self._start('dnc_start', m, m.memory[0], self._table(m.tape), *sizes)
        m.link[0] = m.ends.link
        if m.sparse is not None:
            room = np.int32(m.sparse.live.shape[1])
            self._start('dnc_list_links', m, m.link[0], self._table(m.sparse), slots, room)

    def replay(self, m: Any, start: int, stop: int) -> None:
        dense = m.sparse is None
        links = 2 * (m.memory[0][:, :0, :0],)
        for t in range(start, stop):
            at = t - start
            if dense:
                links = m.link[at], m.link[at + 1]
            self._step('dnc_replay', m, t, at, *links, np.bool_(dense))

    def backward(self, m: Any, controller: Any, start: int, stop: int) -> None:
        for t in range(stop - 1, start - 1, -1):
            at = t - start
            args = controller.read_gradient(t), self._table(m.grads), controller.d_xi[t]
            if m.sparse is None:
                self._step('dnc_access_backward', m, t, at, m.link[at], *args)
            else:
                lists = *self._lists(m.sparse), np.bool_(m.rule.scaled)
                self._step('dnc_access_backward_sparse', m, t, at, *args, *lists)
            controller.backward(t)

    def _step(self, name: str, m: Any, t: int, at: int, *args: Any) -> None:
        """Step t, the state number ``at`` of the block."""
        scratch = {'scalars': (m.batch, 8, m.heads + 1), 'maps': (m.batch, 4, m.slots)}
        self._start(
            *(name, m, self._table(m.tape), self._table(m.zeros)),
            self._own(Scratch, scratch, m.dtype),
            *(np.int32(n) for n in (t, m.slots, m.width, m.heads)),
            *(m.fresh[t], m.rule.epsilon, m.memory[at], m.memory[at + 1]),
            *args,
        )

    def _start(self, name: str, m: Any, *args: Any) -> None:
        threads = self._launch.threads(m.slots)
        self._launch(name, m.batch, threads, shared_bytes(threads, m.dtype), args)

    def _lists(self, sparse: Any) -> tuple:
        """Arguments that tell where the lists of a sparse link lie."""
        shapes = dict.fromkeys(Entries._fields, sparse.live.shape)
        return (
            self._table(sparse),
            self._own(Entries, shapes, sparse.old.dtype),
            np.int32(sparse.live.shape[1]),
            np.int32(sparse.chosen.shape[2]),
        )

    def _table(self, arrays: Any) -> Any:
        """Of a NamedTuple of arrays; made once for as long as they stay."""
        name = type(arrays).__name__
        known, pointers = self._tables.get(name, (None, None))
        if known is not arrays:
            pointers = table(arrays, self._arena.xp)
            self._tables[name] = arrays, pointers
        return pointers

    def _own(self, kind: Any, shapes: dict, dtype: Any) -> Any:
        """Table of arrays that only the kernels know, of the arena."""
        if kind.__name__ not in self._tables:
            arrays = kind(
                **{
                    field: self._arena.take(
                        f'cuda {field}', shape, np.int32 if field in INTEGERS else dtype
                    )
                    for field, shape in shapes.items()
                }
            )
            return self._table(arrays)
        return self._tables[kind.__name__][1]
