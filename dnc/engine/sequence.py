"""A whole sequence of the DNC as one function with a backward by hand.

On the CPU one compiled kernel runs some lanes of the batch through all the steps, forward or
backward, and every thread has lanes of its own; on the GPU
a step is a few launches (`dnc.engine.backends` chooses). The gradients of the weights are left to
BLAS. Checked against `dnc.core`, which spells the equations out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chainer
import chainer.functions as F
from chainer import function_node

from dnc.engine.backends import backend_for
from dnc.engine.memory import Memory, Options
from dnc.engine.tape import Arena, Arenas
from dnc.state import DNCState

PIECE = 32  # steps run at once where nothing is kept


def prepared(
    arena: Arena,
    options: Options,
    xs: Any,
    state: DNCState,
    reset: Any,
    weights: Sequence[Any],
    block: int | None = None,
) -> tuple[Memory, Any]:
    """Memory and controller, ready to run; arrays as `FusedSequence` takes them.

    Args:
        block: see `Memory`.
    """
    backend = backend_for(xs)
    steps, batch, _ = xs.shape
    memory = Memory(arena, backend.loops(arena), options, state, steps, reset, block)
    reads = state.read_vectors.reshape(batch, -1)
    width = state.h.shape[1] + reads.shape[1]
    *layers, interface = weights
    controller = backend.controller(
        arena,
        xs,
        list(zip(layers[::2], layers[1::2])),
        interface,
        arena.xp.empty((steps, batch, width), xs.dtype),
        memory.fresh,
        memory.heads,
    )
    controller.start(state.c, state.h, reads)
    return memory, controller


def final_state(memory: Memory, controller: Any) -> DNCState:
    """After the last step, fresh arrays."""
    h, reads = controller.out[-1][:, : controller.units], controller.out[-1][:, controller.units :]
    return DNCState(
        c=controller.final_cells(),
        h=h.copy(),
        read_vectors=reads.reshape(len(h), memory.heads, memory.width).copy(),
        **memory.last(),
    )


class FusedSequence(function_node.FunctionNode):
    """(xs, state, weights) -> ([h; r] of every step, final state).

    Inputs: xs (T, B, X), the fields of DNCState, weight and bias of every controller layer, weight
    of the interface. Outputs: (T, B, H + R W) and
    the fields of DNCState. Not differentiable twice; what is kept for the backward pass goes back
    to the link's arenas after it, so a graph can be run backward once.
    """

    def __init__(self, options: Options, arenas: Arenas, reset):
        super().__init__()
        self.options, self.arenas, self.reset = options, arenas, reset
        self.arena: Arena | None = None

    def forward(self, inputs):
        xs, state = inputs[0], DNCState(*inputs[1:10])
        self._prepare(xs, state, inputs[10:])
        self.memory.forward(self.controller)
        out, last = self.controller.out, final_state(self.memory, self.controller)
        if not chainer.config.enable_backprop:
            self._release()
        return out, *last

    def _prepare(self, xs, state: DNCState, weights) -> None:
        self.arena = self.arenas.borrow(xs)
        self.memory, self.controller = prepared(
            self.arena, self.options, xs, state, self.reset, weights
        )

    def backward(self, indexes, grad_outputs):
        if self.arena is None:
            raise RuntimeError(
                'this graph was run backward before: call sequence() again, '
                "or use engine='reference' for more than one backward"
            )
        g_out, *g_state = (None if g is None else g.array for g in grad_outputs)
        state = DNCState(*g_state)
        self.memory.start_backward(state)
        self.controller.start_backward(g_out, state.c, state.h, state.read_vectors)
        self.memory.backward(self.controller)
        gradients = list(self._gradients(indexes))
        self._release()
        return tuple(chainer.Variable(g) for g in gradients)

    def _gradients(self, indexes):
        """Of the inputs that are asked for; most are large."""
        fields = DNCState._fields
        weights = None
        for i in indexes:
            if i == 0:
                yield self.controller.input_gradient()
            elif i <= len(fields):
                name = fields[i - 1]
                own = name in ('c', 'h', 'read_vectors')
                owner = self.controller if own else self.memory
                yield owner.first_gradient(name)
            else:
                if weights is None:
                    weights = self.controller.weight_gradients()
                yield weights[i - len(fields) - 1]

    def __del__(self):
        self._release()

    def _release(self) -> None:
        """Hand the arena to the next call; drop what lies in it."""
        if self.arena is None:
            return
        self.arenas.give_back(self.arena)
        self.arena = None
        del self.memory, self.controller


def fused_sequence(options: Options, arenas: Arenas, xs, state: DNCState, reset, weights):
    """[h; r] of every step and the final state; see `FusedSequence`.

    Without backpropagation the tape is short: the sequence runs in pieces.
    """
    piece = len(xs) if chainer.config.enable_backprop else PIECE
    outs = []
    for start in range(0, len(xs), piece):
        part = slice(start, start + piece)
        function = FusedSequence(options, arenas, None if reset is None else reset[part])
        out, *fields = function.apply((xs[part], *state, *weights))
        state = DNCState(*fields)
        outs.append(out)
    return (outs[0] if len(outs) == 1 else F.concat(outs, axis=0)), state
