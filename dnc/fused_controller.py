"""The deep LSTM controller of a whole sequence, forward and backward.

The share of the inputs is one matrix product before the time loop, the
gradients of the weights are one product each after it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from dnc.kernels_cell import cell_backward, cell_forward
from dnc.tape import Arena


class Layer:
    """One LSTM layer: its buffers for T steps.

    z[t] is what the layer sees at step t beside the input: read vectors, own
    h and, above the first layer, the lower h; (T + 1, B, R W + H (+ H)).
    """

    def __init__(
        self,
        arena: Arena,
        product: Callable[..., Any],
        index: int,
        xs,
        weight,
        bias,
        size: int,
        reads: int,
    ):
        self.xp = arena.xp
        steps, batch, width = xs.shape
        self.size, self.reads, self.index = size, reads, index
        self.w_input, w_recurrent = weight[:, :width], weight[:, width:]
        dtype, name = weight.dtype, f'layer {index} '
        seen = w_recurrent.shape[1]
        self.to_gates = product(arena, name + 'w', w_recurrent.T, batch, steps)
        self.from_gates = product(
            arena, name + 'd_w', w_recurrent, batch, steps
        )
        self.z = arena.take(name + 'z', (steps + 1, batch, seen), dtype)
        self.c = arena.take(name + 'c', (steps + 1, batch, size), dtype)
        self.gates = arena.take(
            name + 'gates', (steps, batch, 4 * size), dtype
        )
        self.sums = arena.take(name + 'sums', (batch, 4 * size), dtype)
        self.h = arena.take(name + 'h', (batch, size), dtype)
        self.d_z = arena.take(name + 'd_z', (batch, seen), dtype)
        self.d_c = arena.take(name + 'd_c', (batch, size), dtype)
        flat = self.gates.reshape(-1, 4 * size)
        self.xp.matmul(xs.reshape(-1, width), self.w_input.T, out=flat)
        flat += bias

    def step(self, t: int, fresh) -> Any:
        self.to_gates(self.z[t], self.sums)
        cell_forward(
            self.sums, self.gates[t], self.c[t], self.c[t + 1], self.h, fresh
        )
        return self.h

    def backward(self, t: int, d_h, fresh) -> Any:
        """Gradient of z[t] from that of h; gates[t] become gradients."""
        cell_backward(
            self.gates[t], self.c[t], self.c[t + 1], d_h, self.d_c, fresh
        )
        self.from_gates(self.gates[t], self.d_z)
        return self.d_z

    def weight_gradients(self, xs):
        """dLoss / d(weight, bias), after the last `backward`."""
        flat = self.gates.reshape(-1, 4 * self.size)
        width = xs.shape[2]
        matmul = self.xp.matmul
        d_weight = self.xp.empty(
            (4 * self.size, width + self.z.shape[2]), flat.dtype
        )
        matmul(flat.T, xs.reshape(-1, width), out=d_weight[:, :width])
        matmul(
            flat.T, self.z[:-1].reshape(len(flat), -1), out=d_weight[:, width:]
        )
        return d_weight, flat.sum(axis=0)


class Controller:
    """All layers. `out` (T, B, layers H + R W) holds h and read vectors."""

    def __init__(
        self,
        arena: Arena,
        product: Callable[..., Any],
        xs,
        weights,
        out,
        reads: int,
        fresh,
    ):
        units = out.shape[2] - reads
        size = units // len(weights)
        self.layers = [
            Layer(arena, product, index, xs, weight, bias, size, reads)
            for index, (weight, bias) in enumerate(weights)
        ]
        self.out, self.reads, self.units, self.size = out, reads, units, size
        self.xp, self.fresh = arena.xp, fresh
        batch = xs.shape[1]
        self.h = arena.take('h', (batch, units), out.dtype)
        self.d_h = arena.take('d_h', (batch, size), out.dtype)
        self.d_state = arena.take('d_state', (batch, units + reads), out.dtype)
        self.d_reads = arena.take('d_reads', (batch, reads), out.dtype)

    @functools.cached_property
    def any_fresh(self) -> Any:
        return self.fresh.any(axis=1)

    def start(self, c, h, read_vectors) -> None:
        self._remember(0, h, read_vectors)
        for layer in self.layers:
            layer.c[0] = c[:, self._own(layer)]

    def step(self, t: int) -> Any:
        """h of step t, (B, units), from what `finish_step` left."""
        lower = None
        for layer in self.layers:
            if lower is not None:
                layer.z[t][:, self.reads + self.size :] = lower
            lower = layer.step(t, self.fresh[t])
            self.h[:, self._own(layer)] = lower
        self.out[t][:, : self.units] = self.h
        return self.h

    def finish_step(self, t: int, read_vectors) -> None:
        """Hand h and the read vectors of step t to step t + 1."""
        self.out[t][:, self.units :] = read_vectors
        self._remember(
            t + 1, self.out[t][:, : self.units], self.out[t][:, self.units :]
        )

    def final_cells(self) -> Any:
        cells = [layer.c[-1] for layer in self.layers]
        return self.xp.concatenate(cells, axis=1)

    def start_backward(self, d_c, d_h, d_reads, g_out) -> None:
        """From the gradients of the final state and of out; None is zero."""
        self.g_out = g_out
        _set(self.d_state[:, : self.units], d_h)
        _set(self.d_state[:, self.units :], d_reads)
        self._start_cells_backward(d_c)

    def _start_cells_backward(self, d_c) -> None:
        for layer in self.layers:
            _set(layer.d_c, None if d_c is None else d_c[:, self._own(layer)])

    def read_gradient(self, t: int) -> Any:
        """Gradient of the read vectors of step t, (B, R W)."""
        self.d_reads[...] = self.d_state[:, self.units :]
        if self.g_out is not None:
            self.d_reads += self.g_out[t][:, self.units :]
        return self.d_reads

    def backward(self, t: int, d_h) -> None:
        """From what h[t] (B, units) receives through the interface.

        d_state holds what h and r of step t receive from step t + 1, and
        then what those of step t - 1 receive from this one.
        """
        reads, size = self.reads, self.size
        d_state = self.d_state
        from_above: Any = None
        if self.g_out is not None:
            d_h += self.g_out[t][:, : self.units]
        d_h += d_state[:, : self.units]
        d_state[:, self.units :] = 0
        for layer in reversed(self.layers):
            own = self._own(layer)
            self.d_h[...] = d_h[:, own]
            if from_above is not None:
                self.d_h += from_above
            d_z = layer.backward(t, self.d_h, self.fresh[t])
            d_state[:, self.units :] += d_z[:, :reads]
            d_state[:, own] = d_z[:, reads : reads + size]
            from_above = d_z[:, reads + size :]
        if self.any_fresh[t]:
            d_state[self.fresh[t]] = 0

    def first_gradients(self) -> tuple[Any, Any]:
        """Of h and the read vectors that the sequence started from."""
        d_state, units = self.d_state, self.units
        return d_state[:, :units].copy(), d_state[:, units:].copy()

    def first_cell_gradient(self) -> Any:
        cells = [layer.d_c for layer in self.layers]
        return self.xp.concatenate(cells, axis=1)

    def input_gradient(self, shape) -> Any:
        parts = [
            layer.gates.reshape(-1, 4 * self.size) @ layer.w_input
            for layer in self.layers
        ]
        return sum(parts[1:], parts[0]).reshape(shape)

    def _own(self, layer: Layer) -> slice:
        return slice(layer.index * self.size, (layer.index + 1) * self.size)

    def _remember(self, t: int, h, read_vectors) -> None:
        for layer in self.layers:
            z = layer.z[t]
            z[:, : self.reads] = read_vectors
            z[:, self.reads : self.reads + self.size] = h[:, self._own(layer)]
            if self.any_fresh[t]:
                z[self.fresh[t]] = 0


def _set(target, value) -> None:
    target[...] = 0 if value is None else value
