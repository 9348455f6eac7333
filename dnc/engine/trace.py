"""Every internal of a sequence, off the tape that the fused engine keeps for its backward pass.

Checked against the readable steps of `dnc.core`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import chainer

from dnc import addressing
from dnc.access import cut_interface
from dnc.engine.memory import Memory, Options
from dnc.engine.sequence import PIECE, final_state, prepared
from dnc.engine.tape import Arenas
from dnc.state import DNCState

Arrays = dict[str, Any]


def traced_sequence(
    options: Options,
    arenas: Arenas,
    xs: Any,
    state: DNCState,
    reset: Any,
    weights: Sequence[Any],
    link: bool,
) -> Iterator[tuple[int, Arrays]]:
    """Run a sequence in pieces, and show the tape of each.

    Args:
        options, arenas, xs, state, reset, weights: as `dnc.engine.sequence.fused_sequence` takes
            them, arrays and no Variables.
        link: whether the link is wanted of every step. A sparse one is updated in place, so each
            step has to end before the next then.
    Yields:
        the number of a step, and arrays from that step on by the names of `dnc.trace`, each
        (steps, B, ...), with [h; r] as 'output'. The next yield overwrites them.
    """
    block = 1 if link and options.link_sparsity else PIECE
    for first in range(0, len(xs), PIECE):
        piece = slice(first, first + PIECE)
        arena = arenas.borrow(xs)
        memory, controller = prepared(
            arena,
            options,
            xs[piece],
            state,
            None if reset is None else reset[piece],
            weights,
            block,
        )
        for start, stop in memory.run(controller):
            yield first + start, _read(memory, controller, start, stop)
        state = final_state(memory, controller)
        arenas.give_back(arena)


def _read(memory: Memory, controller: Any, start: int, stop: int) -> Arrays:
    """The steps start to stop: the block that ran last."""
    tape, xp = memory.tape, memory.xp
    steps, after = slice(start, stop), slice(start + 1, stop + 1)
    kept = slice(1, 1 + stop - start)  # of the block: entry 0 is the state before it
    out, units = controller.out[steps], controller.units
    xi = cut_interface(tape.xi[steps], memory.heads, memory.width)
    fresh = memory.fresh[steps, :, None, None]
    # w_{t-1}^r, zero where an episode starts
    reads = xp.where(fresh, memory.dtype.type(0), tape.read_weights[steps])
    return {
        'output': out,
        'c': controller.cells(start, stop),
        'h': out[..., :units],
        'memory': memory.memory[kept].transpose(0, 1, 3, 2),
        'usage': tape.usage[after],
        'precedence': tape.precedence[after],
        'link': memory.link[kept] if memory.sparse is None else memory.link,
        'write_weights': tape.write_weights[after],
        'read_weights': tape.read_weights[after],
        'read_vectors': out[..., units:].reshape(*out.shape[:2], memory.heads, memory.width),
        **xi._asdict(),
        'retention': _retention(xi.free_gates, reads),
        'allocation': tape.allocation[steps],
        'write_content': tape.write_content[steps],
        'read_content': tape.read_content[steps],
        'forward': tape.forward[steps],
        'backward': tape.backward[steps],
    }


def _retention(free_gates: Any, read_weights: Any) -> Any:
    """psi of some steps, (steps, B, N)."""
    together = (array.reshape(-1, *array.shape[2:]) for array in (free_gates, read_weights))
    psi = chainer.as_array(addressing.retention(*together))
    return psi.reshape(*free_gates.shape[:2], -1)
