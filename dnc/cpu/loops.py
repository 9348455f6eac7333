"""The time loops on the CPU: compiled, every thread with lanes of its own.

Twin of `dnc.cuda.loops.CudaLoops`. m is the `dnc.engine.memory.Memory` that is run, controller a
`dnc.cpu.controller.Controller`.
"""

from __future__ import annotations

from typing import Any

from dnc.cpu import sequence, sequence_backward
from dnc.cpu.entry import over_lanes


def count_links(link: Any, counts: Any) -> None:
    """How many entries of each link (B, N, N) are not zero."""
    over_lanes(sequence.count_links, len(link), link, counts)


def forward(m: Any, controller: Any, start: int, stop: int) -> None:
    """The steps start to stop: a block."""
    over_lanes(
        sequence.forward,
        m.batch,
        *(start, stop, m.ends, controller.net, m.tape, m.zeros, m.fresh),
        *(m.memory, m.link, m.sparse, m.rule),
    )


def replay(m: Any, start: int, stop: int) -> None:
    """Memory and dense link of a block again."""
    link = m.link if m.sparse is None else m.link[:, :, :0, :0].copy()
    over_lanes(sequence.replay, m.batch, *(start, stop, m.tape, m.zeros, m.fresh, m.memory, link))


def backward(m: Any, controller: Any, start: int, stop: int) -> None:
    """The steps of a block from the last."""
    over_lanes(
        sequence_backward.backward,
        m.batch,
        *(start, stop, controller.net, m.tape, m.zeros, m.fresh),
        *(m.memory, m.link, m.sparse, m.rule, m.grads, controller.back),
    )
