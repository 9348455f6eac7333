"""A whole sequence of the DNC as one function with a backward by hand.

The controller and the interface are matrix products, the memory access of a
step is one compiled kernel with the lanes of the batch in parallel. Checked
against `dnc.core`, which spells the equations out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import chainer
import chainer.functions as F
import numpy as np
from chainer import function_node

from dnc import kernels_access, kernels_access_backward
from dnc.access import interface_size
from dnc.fused_controller import Controller
from dnc.product import Product
from dnc.state import DNCState
from dnc.tape import Arena, Arenas, Gradients, Sparse, Tape, Zeros, tape_shapes


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

    def __init__(self, arena: Arena, name: str, first, last, steps: int,
                 every: int):
        self.first, self.last = first, last
        self.steps, self.every = steps, every
        points = -(-steps // every) - 1
        self.points = arena.take(
            name + ' points', (points, *first.shape), first.dtype)
        self.block = arena.take(
            name + ' block', (min(every, steps) - 1, *first.shape),
            first.dtype)

    def before(self, t: int):
        if t == 0:
            return self.first
        if t % self.every == 0:
            return self.points[t // self.every - 1]
        return self.block[t % self.every - 1]

    def after(self, t: int):
        return self.last if t + 1 == self.steps else self.before(t + 1)


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
        self.arena = arena = self.arenas.borrow()
        self._prepare(xs, state, inputs[10:])
        for t in range(len(xs)):
            h = self.controller.step(t)
            self.to_interface(h, self.tape.xi[t])
            self._access(t)
            self.controller.finish_step(t)
        outputs = self._outputs()
        if not chainer.config.enable_backprop:
            self._release()
        return outputs

    def _prepare(self, xs, state, weights) -> None:
        arena, dtype = self.arena, xs.dtype
        assert arena is not None
        steps, batch, _ = xs.shape
        _, slots, width = state.memory.shape
        heads = state.read_weights.shape[1]
        units, reads = state.h.shape[1], heads * width
        self.epsilon = dtype.type(self.options.epsilon)
        self.fresh = np.zeros((steps + 1, batch), bool)
        if self.reset is not None:
            self.fresh[:-1] = self.reset
        self.out = np.empty((steps, batch, units + reads), dtype)
        self.reads = arena.take('reads', (batch, reads), dtype)
        *layers, w_interface = weights
        self.to_interface = Product(arena, 'interface', w_interface.T, batch)
        self.from_interface = Product(
            arena, 'd interface', w_interface, batch)
        self.controller = Controller(
            arena, xs, list(zip(layers[::2], layers[1::2])), self.out, reads,
            self.fresh)
        self.controller.start(
            state.c, state.h, state.read_vectors.reshape(batch, reads))
        shapes = tape_shapes(steps, batch, slots, width, heads,
                             interface_size(heads, width))
        self.tape = Tape(*(
            arena.take(name, shape, np.int32 if name == 'order' else dtype)
            for name, shape in shapes._asdict().items()))
        for name in ('usage', 'precedence', 'write_weights', 'read_weights'):
            getattr(self.tape, name)[0] = getattr(state, name)
        self._prepare_memory(state)

    def _prepare_memory(self, state) -> None:
        arena = self.arena
        assert arena is not None
        steps, dtype = len(self.xs), self.xs.dtype
        batch, slots, width = state.memory.shape
        heads = state.read_weights.shape[1]
        k = self.options.link_sparsity
        zeros = Zeros(slots=(slots,), reads=(heads, slots),
                      memory=(width, slots), link=(slots, slots),
                      norms=(slots,))
        self.zeros = Zeros(*(
            arena.take('zero ' + name, shape, dtype)
            for name, shape in zeros._asdict().items()))
        if self.fresh.any():
            for array in self.zeros:
                array[...] = 0
        self.zeros.norms[...] = 1 / math.sqrt(self.epsilon)
        numbers = steps * batch * slots * (width + (0 if k else slots))
        recompute = self.options.recompute
        if recompute is None:
            recompute = numbers * dtype.itemsize > 2**30
        every = max(1, math.isqrt(steps)) if recompute else 1
        first = arena.take('memory', (batch, width, slots), dtype)
        first[...] = state.memory.transpose(0, 2, 1)
        self.memory = History(
            arena, 'memory', first,
            arena.take('memory last', first.shape, dtype), steps, every)
        kernels_access.start(first, self.tape, self.epsilon)
        if k is None:
            self.sparse = None
            link = np.ascontiguousarray(state.link)
            self.link = History(arena, 'link', link, np.empty_like(link),
                                steps, every)
        else:
            self.link = History(arena, 'link', state.link[:0],
                                state.link.copy(), 1, 1)
            self.sparse = self._list_links(min(k, slots))

    def _list_links(self, k: int) -> Sparse:
        arena, link = self.arena, self.link.last
        assert arena is not None
        steps, (batch, slots, _) = len(self.xs), link.shape
        lengths = np.empty(batch, np.int32)
        kernels_access.count_links(link, lengths)
        most = int(lengths.max())
        room = min(most + steps * k, slots * slots) + k * k
        shapes = Sparse(live=(batch, room), length=(batch,),
                        record=(steps, batch, room), old=(steps, batch, room),
                        recorded=(steps, batch), chosen=(batch, 2, k),
                        sharp=(batch, 4, slots))
        sparse = Sparse(*(
            arena.take('sparse ' + name, shape, self.xs.dtype
                       if name in ('old', 'sharp') else np.int32)
            for name, shape in shapes._asdict().items()))
        sparse.length[...] = lengths
        kernels_access.list_links(link, sparse)
        return sparse

    def _access(self, t: int) -> None:
        out = self.reads
        memory, fresh = self.memory, self.fresh[t]
        if self.sparse is None:
            kernels_access.access_forward(
                t, self.tape, self.zeros, fresh, memory.before(t),
                memory.after(t), self.link.before(t), self.link.after(t),
                self.epsilon, out)
        else:
            kernels_access.access_forward_sparse(
                t, self.tape, self.zeros, fresh, memory.before(t),
                memory.after(t), self.link.last, self.sparse,
                self.options.link_scaling,
                self.epsilon.dtype.type(1 / self.options.link_sparsity),
                self.epsilon, out)
        self.out[t][:, self.controller.units:] = out

    def _outputs(self):
        batch, heads, _ = self.tape.read_weights.shape[1:]
        units = self.controller.units
        last = self.out[-1]
        state = DNCState(
            c=self.controller.final_cells(), h=last[:, :units].copy(),
            memory=np.ascontiguousarray(
                self.memory.last.transpose(0, 2, 1)),
            usage=self.tape.usage[-1].copy(),
            precedence=self.tape.precedence[-1].copy(),
            link=self.link.last,
            write_weights=self.tape.write_weights[-1].copy(),
            read_weights=self.tape.read_weights[-1].copy(),
            read_vectors=last[:, units:].reshape(batch, heads, -1).copy())
        return self.out, *state

    def backward(self, indexes, grad_outputs):
        if self.arena is None:
            raise RuntimeError(
                'this graph was run backward before: call sequence() again, '
                "or use engine='reference' for more than one backward")
        g_out, *g_state = (None if g is None else g.array
                           for g in grad_outputs)
        steps, batch, _ = self.xs.shape
        units = self.controller.units
        d_state = self._start_backward(DNCState(*g_state))
        d_xi = self.arena.take('d_xi', self.tape.xi.shape, self.xs.dtype)
        d_h = self.arena.take('d_h all', (batch, units), self.xs.dtype)
        d_reads = self.arena.take('d_r', (batch, *self.heads), self.xs.dtype)
        flat_reads = d_reads.reshape(batch, -1)
        for t in range(steps - 1, -1, -1):
            self._replay(t)
            flat_reads[...] = self.controller.d_state[:, units:]
            if g_out is not None:
                flat_reads += g_out[t][:, units:]
            self._access_backward(t, d_reads, d_state, d_xi[t])
            self.from_interface(d_xi[t], d_h)
            if g_out is not None:
                d_h += g_out[t][:, :units]
            self.controller.backward(t, d_h)
        gradients = self._input_gradients(indexes, d_state, d_xi)
        self._release()
        return tuple(None if g is None else chainer.Variable(g)
                     for g in gradients)

    @property
    def heads(self):
        """R and W."""
        heads = self.tape.read_weights.shape[2]
        return heads, self.controller.reads // heads

    def _start_backward(self, g_state) -> Gradients:
        arena, dtype = self.arena, self.xs.dtype
        assert arena is not None
        batch, heads, slots = self.tape.read_weights.shape[1:]
        width = self.heads[1]
        flat = None
        if g_state.read_vectors is not None:
            flat = g_state.read_vectors.reshape(batch, -1)
        self.controller.start_backward(g_state.c, g_state.h, flat)
        vector, matrix = (batch, slots), (batch, heads, slots)
        shapes = Gradients(
            memory=(batch, width, slots), usage=vector, precedence=vector,
            link=(batch, slots, slots), write_weights=vector,
            read_weights=matrix, forward=matrix, backward=matrix,
            content=matrix, slots=(batch, 6, slots),
            words=(batch, heads, width))
        grads = Gradients(*(
            arena.take('d ' + name, shape, dtype)
            for name, shape in shapes._asdict().items()))
        for name in ('usage', 'precedence', 'link', 'write_weights',
                     'read_weights'):
            value = getattr(g_state, name)
            getattr(grads, name)[...] = 0 if value is None else value
        grads.memory[...] = (0 if g_state.memory is None
                             else g_state.memory.transpose(0, 2, 1))
        if self.sparse is not None and g_state.link is not None:
            grads.link[self.link.last == 0] = 0  # dropped entries
        return grads

    def _replay(self, t: int) -> None:
        """On entering a block from behind: run its steps again."""
        every = self.memory.every
        if every == 1 or (t + 1) % every or t + 1 == len(self.xs):
            return
        empty = self.memory.first[:, :0, :0]
        for s in range(t + 1 - every, t):
            links = (empty, empty)
            if self.sparse is None:
                links = self.link.before(s), self.link.after(s)
            kernels_access.replay(
                s, self.tape, self.zeros, self.fresh[s],
                self.memory.before(s), self.memory.after(s), *links)

    def _access_backward(self, t: int, d_reads, d_state, d_xi) -> None:
        memory, fresh = self.memory, self.fresh[t]
        module = kernels_access_backward
        if self.sparse is None:
            module.access_backward(
                t, self.tape, self.zeros, fresh, memory.before(t),
                memory.after(t), self.link.before(t), self.epsilon, d_reads,
                d_state, d_xi)
        else:
            module.access_backward_sparse(
                t, self.tape, self.zeros, fresh, memory.before(t),
                memory.after(t), self.sparse, self.options.link_scaling,
                self.epsilon, d_reads, d_state, d_xi)

    def _input_gradients(self, indexes, d_state, d_xi):
        controller = self.controller
        batch, units = d_state.usage.shape[0], controller.units
        d_xs = (controller.input_gradient(self.xs.shape)
                if 0 in indexes else None)
        state = DNCState(
            c=np.concatenate([x.d_c for x in controller.layers], axis=1),
            h=controller.d_state[:, :units].copy(),
            memory=np.ascontiguousarray(d_state.memory.transpose(0, 2, 1)),
            usage=d_state.usage.copy(), precedence=d_state.precedence.copy(),
            link=d_state.link.copy() if 6 in indexes else None,
            write_weights=d_state.write_weights.copy(),
            read_weights=d_state.read_weights.copy(),
            read_vectors=controller.d_state[:, units:].reshape(
                batch, *self.heads).copy())
        weights = [g for layer in controller.layers
                   for g in layer.weight_gradients(self.xs)]
        h = self.out[:, :, :units].reshape(-1, units)
        weights.append(d_xi.reshape(len(h), -1).T @ h)
        gradients = (d_xs, *state, *weights)
        return tuple(gradients[i] for i in indexes)

    def __del__(self):
        self._release()

    def _release(self) -> None:
        """Hand the arena to the next call; drop what lies in it."""
        if self.arena is not None:
            self.arenas.give_back(self.arena)
        self.arena = None
        for name in ('tape', 'zeros', 'memory', 'link', 'sparse',
                     'controller', 'to_interface', 'from_interface'):
            setattr(self, name, None)


def fused_sequence(options: Options, arenas: Arenas, xs, state: DNCState,
                   reset, weights):
    """[h; r] of every step and the final state; see `FusedSequence`.

    Without backpropagation the tape is short: the sequence runs in pieces.
    """
    piece = len(xs) if chainer.config.enable_backprop else 32
    outs = []
    for start in range(0, len(xs), piece):
        part = slice(start, start + piece)
        function = FusedSequence(
            options, arenas, None if reset is None else reset[part])
        out, *fields = function.apply((xs[part], *state, *weights))
        state = DNCState(*fields)
        outs.append(out)
    return (outs[0] if len(outs) == 1 else F.concat(outs, axis=0)), state
