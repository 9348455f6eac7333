"""The deep LSTM controller on the GPU: cuBLAS, and one kernel per cell.

The share of the inputs is one matrix product before the time loop, the gradients of the weights
are one product each after it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dnc.cuda.launch import Launcher, table
from dnc.engine.tape import Arena

THREADS = 256  # of a block


class Layer:
    """One LSTM layer: its arrays for T steps.

    z[t] is what the layer sees at step t beside the input: read vectors, own
    h and, above the first layer, the lower h; (T + 1, B, R W + H (+ H)).
    """

    def __init__(self, arena: Arena, index: int, xs, weight, bias):
        self.xp, self.index = arena.xp, index
        steps, batch, inputs = xs.shape
        self.size = size = len(bias) // 4
        self.w_input = weight[:, :inputs]
        terms = weight.shape[1] - inputs
        dtype, name = weight.dtype, f'layer {index} '

        def take(what, *shape):
            return arena.take(name + what, shape, dtype)

        self.to_gates = take('w', terms, 4 * size)
        self.from_gates = take('d_w', 4 * size, terms)
        self.from_gates[...] = weight[:, inputs:]
        self.to_gates[...] = self.from_gates.T
        self.z = take('z', steps + 1, batch, terms)
        self.c = take('c', steps + 1, batch, size)
        self.gates = take('gates', steps, batch, 4 * size)
        self.sums = take('sums', batch, 4 * size)
        self.d_z = take('d_z', batch, terms)
        self.d_c = take('d_c', batch, size)
        flat = self.gates.reshape(-1, 4 * size)
        self.xp.matmul(xs.reshape(-1, inputs), self.w_input.T, out=flat)
        flat += bias

    def input_gradient(self) -> Any:
        """(T B, X), after the last step backward."""
        return self.gates.reshape(-1, 4 * self.size) @ self.w_input

    def weight_gradients(self, xs) -> tuple[Any, Any]:
        """Of weight and bias, after the last step backward."""
        flat = self.gates.reshape(-1, 4 * self.size)
        seen = self.z[:-1].reshape(len(flat), -1)
        parts = flat.T @ xs.reshape(len(flat), -1), flat.T @ seen
        return self.xp.concatenate(parts, axis=1), flat.sum(axis=0)


class CudaController:
    """All layers of T steps; twin of `dnc.cpu.controller.Controller`.

    Args:
        launch: starts the kernels.
        others: as the twin's.
    """

    def __init__(
        self, launch: Launcher, arena: Arena, xs, layers, interface, out, fresh, heads: int
    ):
        self._launch, self._arena, self.xp = launch, arena, arena.xp
        self.xs, self.out, self.fresh, self.heads = xs, out, fresh, heads
        self.layers = [
            Layer(arena, index, xs, weight, bias) for index, (weight, bias) in enumerate(layers)
        ]
        self.size = self.layers[0].size
        self.units = self.size * len(layers)
        self.steps, self.batch = xs.shape[:2]
        self.reads = out.shape[2] - self.units
        wide, dtype = interface.shape[0], out.dtype
        self.from_interface = arena.take('d interface', interface.shape, dtype)
        self.to_interface = arena.take('interface', (self.units, wide), dtype)
        self.from_interface[...] = interface
        self.to_interface[...] = self.from_interface.T
        self.h = arena.take('h', (self.batch, self.units), dtype)
        self.d_h = arena.take('d_h', (self.batch, self.units), dtype)
        self.d_reads = arena.take('d_reads', (self.batch, self.reads), dtype)
        self.d_xi = arena.take('d_xi', (self.steps, self.batch, wide), dtype)
        self._z = table(tuple(layer.z for layer in self.layers), self.xp)
        self._d_z = table(tuple(layer.d_z for layer in self.layers), self.xp)

    def _map(self, name: str, width: int, *args: Any) -> None:
        """A thread for each of B x width numbers; integers become int32."""
        blocks = max(1, -(-self.batch * width // THREADS))
        typed = tuple(np.int32(a) if type(a) is int else a for a in args)
        self._launch(name, blocks, THREADS, 0, typed)

    def start(self, c, h, read_vectors) -> None:
        """From the state before the first step: (B, units), (B, R W)."""
        h, read_vectors = map(self.xp.ascontiguousarray, (h, read_vectors))
        self._hand_on(0, h, read_vectors, False)
        for layer in self.layers:
            layer.c[0] = c[:, self._own(layer)]

    def _hand_on(self, t: int, h, read_vectors, out: bool) -> None:
        self._map(
            'dnc_remember',
            self.reads + self.units,
            *(h, read_vectors, self.out[max(t - 1, 0)], self._z),
            *(self.fresh[t], self.batch, self.reads + self.units),
            *(len(self.layers), self.reads, t, np.bool_(out)),
        )

    def step(self, t: int, xi) -> None:
        """h of step t, and from it the raw interface (B, S)."""
        for layer in self.layers:
            self.xp.matmul(layer.z[t], layer.to_gates, out=layer.sums)
            self._map(
                'dnc_cell_forward',
                self.size,
                *(layer.sums, layer.gates[t], layer.c[t], layer.c[t + 1]),
                *(self.fresh[t], self._z, self.h, self.out[t], self.batch),
                *(self.size, layer.index, len(self.layers), self.reads, t),
            )
        self.xp.matmul(self.h, self.to_interface, out=xi)

    def finish_step(self, t: int, read_vectors) -> None:
        """Hand h and the read vectors of step t to step t + 1."""
        self._hand_on(t + 1, self.h, read_vectors, True)

    def cells(self, start: int, stop: int) -> Any:
        """c after the steps start to stop, (stop - start, B, units)."""
        cells = [layer.c[start + 1 : stop + 1] for layer in self.layers]
        return self.xp.concatenate(cells, axis=2)

    def final_cells(self) -> Any:
        cells = [layer.c[-1] for layer in self.layers]
        return self.xp.concatenate(cells, axis=1)

    def start_backward(self, g_out, d_c, d_h, d_reads) -> None:
        """From the gradients of [h; r] and of the final state; None is 0."""
        if g_out is None:
            shape, dtype = self.out.shape, self.out.dtype
            g_out = self._arena.take('d_out', shape, dtype)
            g_out[...] = 0
        self.g_out = self.xp.ascontiguousarray(g_out)
        reads, size = self.reads, self.size
        for layer in self.layers:
            own = self._own(layer)
            layer.d_c[...] = 0 if d_c is None else d_c[:, own]
            layer.d_z[...] = 0
            if d_h is not None:
                layer.d_z[:, reads : reads + size] = d_h[:, own]
        if d_reads is not None:
            flat = d_reads.reshape(self.batch, reads)
            self.layers[0].d_z[:, :reads] = flat

    def read_gradient(self, t: int) -> Any:
        """Gradient of the read vectors of step t, (B, R W)."""
        self._map(
            'dnc_collect',
            self.reads,
            *(self.g_out[t], self._d_z, self.fresh[t + 1], self.d_reads),
            *(self.batch, self.reads, self.units, len(self.layers)),
        )
        return self.d_reads

    def backward(self, t: int) -> None:
        """From d_xi[t], the gradient of the raw interface.

        The layers' d_z hold what step t receives from step t + 1, and then what step t - 1
        receives from this one.
        """
        self.xp.matmul(self.d_xi[t], self.from_interface, out=self.d_h)
        for layer in reversed(self.layers):
            self._map(
                'dnc_cell_backward',
                self.size,
                *(layer.gates[t], layer.c[t], layer.c[t + 1], layer.d_c),
                *(self.d_h, self.g_out[t], self._d_z, self.fresh[t]),
                *(self.fresh[t + 1], self.batch, self.size, layer.index),
                *(len(self.layers), self.reads),
            )
            self.xp.matmul(layer.gates[t], layer.from_gates, out=layer.d_z)

    def first_gradient(self, name: str) -> Any:
        """Of c, h (B, units) or the read vectors (B, R, W) of the start."""
        if name == 'c':
            parts = [layer.d_c for layer in self.layers]
            return self.xp.concatenate(parts, axis=1)
        kept, reads = ~self.fresh[0][:, None], self.reads
        d_z = [layer.d_z * kept for layer in self.layers]
        if name == 'h':
            parts = [x[:, reads : reads + self.size] for x in d_z]
            return self.xp.concatenate(parts, axis=1)
        d_reads = sum(x[:, :reads] for x in d_z)
        return d_reads.reshape(self.batch, self.heads, -1)

    def input_gradient(self) -> Any:
        """(T, B, X)."""
        first, *others = (layer.input_gradient() for layer in self.layers)
        return sum(others, first).reshape(self.xs.shape)

    def weight_gradients(self) -> list:
        """Of weight and bias of each layer, and of the interface."""
        gradients: list[Any] = []
        for layer in self.layers:
            gradients += layer.weight_gradients(self.xs)
        rows = self.steps * self.batch
        h = self.out.reshape(rows, -1)[:, : self.units]
        gradients.append(self.d_xi.reshape(rows, -1).T @ h)
        return gradients

    def _own(self, layer: Layer) -> slice:
        return slice(layer.index * self.size, (layer.index + 1) * self.size)
