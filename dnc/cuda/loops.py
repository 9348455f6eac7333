"""The time loops on the GPU: in Python, a few launches a step.

With L layers a step takes 2 L + 3 launches: a matrix product and the cell per
layer, the interface's product, the memory access, and one that hands h and r
on. Its backward takes as many.
"""

from __future__ import annotations

from typing import Any

from dnc.cuda.access import CudaAccess
from dnc.cuda.launch import Launcher
from dnc.engine.tape import Arena


class CudaLoops:
    """Twin of the module `dnc.cpu.loops`.

    m is the `dnc.engine.memory.Memory` that is run, controller a
    `dnc.cuda.controller.CudaController`.
    """

    def __init__(self, launch: Launcher, arena: Arena):
        self._access, self._arena = CudaAccess(launch, arena), arena

    def count_links(self, link: Any, counts: Any) -> None:
        counts[...] = (link != 0).sum(axis=(1, 2))

    def forward(self, m: Any, controller: Any, start: int, stop: int) -> None:
        if start == 0:
            self._begin(m)
        shape = (m.batch, m.heads * m.width)
        reads = self._arena.take('reads', shape, m.dtype)
        for t in range(start, stop):
            controller.step(t, m.tape.xi[t])
            self._step(m, t, t - start, reads)
            controller.finish_step(t, reads)

    def _begin(self, m: Any) -> None:
        m.memory[0] = m.ends.memory.transpose(0, 2, 1)
        self._access.start(m.memory[0], m.tape, m.rule.epsilon)
        m.link[0] = m.ends.link
        if m.sparse is not None:
            self._access.list_links(m.link[0], m.sparse)

    def _step(self, m: Any, t: int, at: int, reads: Any) -> None:
        common, rule, access = _common(m, t, at), m.rule, self._access
        if m.sparse is None:
            links = m.link[at], m.link[at + 1]
            access.access_forward(*(*common, *links, rule.epsilon, reads))
        else:
            lists = m.link[0], m.sparse, rule.scaled, rule.threshold
            access.access_forward_sparse(*(*common, *lists, rule.epsilon, reads))

    def replay(self, m: Any, start: int, stop: int) -> None:
        links = 2 * (m.memory[0][:, :0, :0],)
        for t in range(start, stop):
            at = t - start
            if m.sparse is None:
                links = m.link[at], m.link[at + 1]
            self._access.replay(*(*_common(m, t, at), *links))

    def backward(self, m: Any, controller: Any, start: int, stop: int) -> None:
        rule, access = m.rule, self._access
        for t in range(stop - 1, start - 1, -1):
            common = _common(m, t, t - start)
            last = controller.read_gradient(t), m.grads, controller.d_xi[t]
            if m.sparse is None:
                link = m.link[t - start]
                access.access_backward(*(*common, link, rule.epsilon, *last))
            else:
                access.access_backward_sparse(
                    *(*common, m.sparse, rule.scaled, rule.epsilon, *last)
                )
            controller.backward(t)


def _common(m: Any, t: int, at: int) -> tuple[Any, ...]:
    memories = m.memory[at], m.memory[at + 1]
    return t, m.tape, m.zeros, m.fresh[t], *memories
