"""A whole sequence of the DNC as one function with a backward by hand.

The controller and the interface are matrix products, the memory access of a
step is one compiled kernel with the lanes of the batch in parallel: Numba's
on the CPU, CUDA's on the GPU (`dnc.backends`), where a step of one layer takes
five launches and its backward as many. Checked against `dnc.core`, which
spells the equations out.
"""

from __future__ import annotations

import chainer
import chainer.functions as F
from chainer import function_node

from dnc.backends import backend_for
from dnc.fused_memory import Memory, Options
from dnc.state import DNCState
from dnc.tape import Arena, Arenas

PIECE = 32  # steps run at once where nothing is kept


class FusedSequence(function_node.FunctionNode):
    """(xs, state, weights) -> ([h; r] of every step, final state).

    Inputs: xs (T, B, X), the fields of DNCState, weight and bias of every
    controller layer, weight of the interface. Outputs: (T, B, H + R W) and
    the fields of DNCState. Not differentiable twice; what is kept for the
    backward pass goes back to the link's arenas after it, so a graph can be
    run backward once.
    """

    def __init__(self, options: Options, arenas: Arenas, reset):
        super().__init__()
        self.options, self.arenas, self.reset = options, arenas, reset
        self.arena: Arena | None = None

    def forward(self, inputs):
        xs, state = inputs[0], DNCState(*inputs[1:10])
        self.xs = xs
        self._prepare(state, inputs[10:])
        for t in range(len(xs)):
            h = self.controller.step(t)
            self.to_interface(h, self.memory.tape.xi[t])
            self.controller.finish_step(t, self.memory.step(t))
        last = DNCState(
            c=self.controller.final_cells(),
            h=self.out[-1][:, : self.units].copy(),
            read_vectors=self.out[-1][:, self.units :]
            .reshape(state.read_vectors.shape)
            .copy(),
            **self.memory.last(),
        )
        out = self.out
        if not chainer.config.enable_backprop:
            self._release()
        return out, *last

    def _prepare(self, state: DNCState, weights) -> None:
        self.arena = arena = self.arenas.borrow(self.xs)
        backend = backend_for(self.xs)
        steps, batch, _ = self.xs.shape
        fresh = arena.xp.zeros((steps + 1, batch), bool)
        if self.reset is not None:
            fresh[:-1] = self.reset
        kernels = backend.access(arena)
        self.memory = Memory(arena, kernels, self.options, state, fresh)
        reads = state.read_vectors.reshape(batch, -1)
        self.units = state.h.shape[1]
        self.out = arena.xp.empty(
            (steps, batch, self.units + reads.shape[1]), self.xs.dtype
        )
        *layers, w_interface = weights
        self.to_interface = backend.product(
            arena, 'interface', w_interface.T, batch, steps
        )
        self.from_interface = backend.product(
            arena, 'd interface', w_interface, batch, steps
        )
        self.controller = backend.controller(
            arena,
            backend.product,
            self.xs,
            list(zip(layers[::2], layers[1::2])),
            self.out,
            reads.shape[1],
            fresh,
        )
        self.controller.start(state.c, state.h, reads)

    def backward(self, indexes, grad_outputs):
        if self.arena is None:
            raise RuntimeError(
                'this graph was run backward before: call sequence() again, '
                "or use engine='reference' for more than one backward"
            )
        g_out, *g_state = (
            None if g is None else g.array for g in grad_outputs
        )
        d_xi = self._backward_in_time(g_out, DNCState(*g_state))
        gradients = self._gradients(indexes, d_xi)
        self._release()
        return tuple(
            None if g is None else chainer.Variable(g) for g in gradients
        )

    def _backward_in_time(self, g_out, g_state: DNCState):
        """Gradient of the raw interface, (T, B, S); the rest is kept."""
        arena, memory, units = self.arena, self.memory, self.units
        assert arena is not None
        steps, batch, dtype = memory.steps, memory.batch, self.xs.dtype
        d_reads_last = g_state.read_vectors
        if d_reads_last is not None:
            d_reads_last = d_reads_last.reshape(batch, -1)
        self.controller.start_backward(
            g_state.c, g_state.h, d_reads_last, g_out
        )
        memory.start_backward(g_state)
        d_xi = arena.take('d_xi', memory.tape.xi.shape, dtype)
        d_h = arena.take('d_h all', (batch, units), dtype)
        shape = batch, memory.heads, memory.width
        for t in range(steps - 1, -1, -1):
            d_reads = self.controller.read_gradient(t)
            memory.backward(t, d_reads.reshape(shape), d_xi[t])
            self.from_interface(d_xi[t], d_h)
            self.controller.backward(t, d_h)
        return d_xi

    def _gradients(self, indexes, d_xi):
        controller, units = self.controller, self.units
        batch, heads = self.memory.batch, self.memory.heads
        d_h, d_reads = controller.first_gradients()
        state = DNCState(
            c=controller.first_cell_gradient(),
            h=d_h,
            read_vectors=d_reads.reshape(batch, heads, -1),
            **self.memory.first_gradients(),
        )
        d_xs = None
        if 0 in indexes:
            d_xs = controller.input_gradient(self.xs.shape)
        weights = [
            g
            for layer in controller.layers
            for g in layer.weight_gradients(self.xs)
        ]
        h = self.out[:, :, :units].reshape(-1, units)
        weights.append(d_xi.reshape(len(h), -1).T @ h)
        gradients = (d_xs, *state, *weights)
        return tuple(gradients[i] for i in indexes)

    def __del__(self):
        self._release()

    def _release(self) -> None:
        """Hand the arena to the next call; drop what lies in it."""
        if self.arena is None:
            return
        self.arenas.give_back(self.arena)
        self.arena = None
        del self.memory, self.controller, self.out
        del self.to_interface, self.from_interface


def fused_sequence(
    options: Options, arenas: Arenas, xs, state: DNCState, reset, weights
):
    """[h; r] of every step and the final state; see `FusedSequence`.

    Without backpropagation the tape is short: the sequence runs in pieces.
    """
    piece = len(xs) if chainer.config.enable_backprop else PIECE
    outs = []
    for start in range(0, len(xs), piece):
        part = slice(start, start + piece)
        function = FusedSequence(
            options, arenas, None if reset is None else reset[part]
        )
        out, *fields = function.apply((xs[part], *state, *weights))
        state = DNCState(*fields)
        outs.append(out)
    return (outs[0] if len(outs) == 1 else F.concat(outs, axis=0)), state
