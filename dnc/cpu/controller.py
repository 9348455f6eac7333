"""The deep LSTM controller on the CPU: arrays, gradients of the weights."""

from __future__ import annotations

import numpy as np

from dnc.cpu.register_tiles import lay_out, panel_count, panel_width
from dnc.engine.tape import Arena, Net, NetGradients


class Controller:
    """All layers of T steps; twin of `dnc.cuda.controller.CudaController`.

    Args:
        arena: where the arrays come from.
        xs: (T, B, X).
        layers: (weight, bias) of each, weight (4 H, X + R W + H (+ H)).
        interface: weight, (S, units).
        out: (T, B, units + R W), receives h and the read vectors.
        fresh: (T + 1, B) bool: the state before step t is zero.
        heads: R.
    """

    def __init__(self, arena: Arena, xs, layers, interface, out, fresh, heads: int):
        self.arena, self.layers, self.interface = arena, layers, interface
        self.out, self.fresh, self.dtype = out, fresh, out.dtype
        self.heads = heads
        self.steps, self.batch, self.inputs = xs.shape
        self.size = len(layers[0][1]) // 4
        self.units = self.size * len(layers)
        self.reads = out.shape[2] - self.units
        columns = 4 * self.size
        panels = panel_count(columns, self.dtype)
        padded = panels * panel_width(self.dtype)
        depth = layers[-1][0].shape[1]
        wide = interface.shape[0]
        steps, batch = self.steps, self.batch
        self.net = Net(
            xs=self._take('xs', xs.shape),
            seen=self._take('seen', (steps + 1, batch, out.shape[2])),
            out=out,
            c=self._take('c', (steps + 1, batch, self.units)),
            gates=self._take('gates', (steps, batch, len(layers), columns)),
            weights=self._panels('weights', columns, depth, len(layers)),
            bias=self._take('bias', (len(layers), padded)),
            sums=self._take('sums', (batch, padded)),
            interface=self._panels('interface', wide, self.units)[0],
            xi=self._take('sums of xi', (batch, self._padded(wide))),
        )
        self.net.xs[...] = xs
        for n, (weight, bias) in enumerate(layers):
            lay_out(weight.T, self.net.weights[n])
            self.net.bias[n, :columns] = bias
            self.net.bias[n, columns:] = 0
        lay_out(interface.T, self.net.interface)

    def _take(self, name: str, shape):
        return self.arena.take(name, shape, self.dtype)

    def _padded(self, columns: int) -> int:
        return panel_count(columns, self.dtype) * panel_width(self.dtype)

    def _panels(self, name: str, columns: int, terms: int, count: int = 1):
        width = panel_width(self.dtype)
        panels = panel_count(columns, self.dtype)
        return self._take(name, (count, panels, terms, width))

    def start(self, c, h, read_vectors) -> None:
        """From the state before the first step: (B, units), (B, R W)."""
        self.net.c[0] = c
        self.net.seen[0, :, : self.reads] = read_vectors
        self.net.seen[0, :, self.reads :] = h
        self.net.seen[0, self.fresh[0]] = 0

    def cells(self, start: int, stop: int) -> np.ndarray:
        """c after the steps start to stop, (stop - start, B, units)."""
        return self.net.c[start + 1 : stop + 1]

    def final_cells(self) -> np.ndarray:
        return self.net.c[-1].copy()

    def start_backward(self, g_out, d_c, d_h, d_reads) -> None:
        """From the gradients of [h; r] and of the final state; None is 0."""
        reads, wide, heads = self.reads, len(self.interface), self.heads
        columns = reads + self.size * (1 + (len(self.layers) > 1))
        shape = (self.batch, reads + self.units)
        back = self.back = NetGradients(
            out=self._gradient_of_output(g_out),
            xi=self._take('d_xi', (self.steps, self.batch, wide)),
            state=self._take('d_state', shape),
            c=self._take('d_c', (self.batch, self.units)),
            reads=self._take('d_reads', (self.batch, heads, reads // heads)),
            h=self._take('d_h', (self.batch, self._padded(self.units))),
            seen=self._take('d_seen', (self.batch, self._padded(columns))),
            weights=self._panels('d_weights', columns, 4 * self.size, len(self.layers)),
            interface=self._panels('d_interface', self.units, wide)[0],
        )
        for n, (weight, _) in enumerate(self.layers):
            lay_out(weight[:, self.inputs :], back.weights[n])
        lay_out(self.interface, back.interface)
        back.state[:, :reads] = 0 if d_reads is None else d_reads.reshape(self.batch, -1)
        back.state[:, reads:] = 0 if d_h is None else d_h
        back.c[...] = 0 if d_c is None else d_c

    def _gradient_of_output(self, g_out):
        if g_out is None:
            g_out = self._take('d_out', self.net.out.shape)
            g_out[...] = 0
        return np.require(g_out, requirements=['C', 'W'])

    def first_gradient(self, name: str) -> np.ndarray:
        """Of c, h (B, units) or the read vectors (B, R, W) of the start."""
        back, reads = self.back, self.reads
        if name == 'c':
            return back.c.copy()
        if name == 'h':
            return back.state[:, reads:].copy()
        return back.state[:, :reads].reshape(back.reads.shape).copy()

    def input_gradient(self) -> np.ndarray:
        """(T, B, X)."""
        rows = self.steps * self.batch
        parts = [
            self._gates(n).reshape(rows, -1) @ weight[:, : self.inputs]
            for n, (weight, _) in enumerate(self.layers)
        ]
        return sum(parts[1:], parts[0]).reshape(self.net.xs.shape)

    def weight_gradients(self) -> list:
        """Of weight and bias of each layer, and of the interface."""
        net, reads, size = self.net, self.reads, self.size
        rows = self.steps * self.batch
        seen = net.seen[:-1].reshape(rows, -1)
        out = net.out.reshape(rows, -1)
        gradients = []
        for n, (weight, _) in enumerate(self.layers):
            gates = self._gates(n).reshape(rows, -1)
            own = n * size
            parts = [
                net.xs.reshape(rows, -1),
                seen[:, :reads],
                seen[:, reads + own : reads + own + size],
            ]
            if len(self.layers) == 1:
                parts[1:] = [seen]
            if n:
                parts.append(out[:, own - size : own])
            d_weight = np.empty(weight.shape, self.dtype)
            at = 0
            for part in parts:
                columns = slice(at, at + part.shape[1])
                np.matmul(gates.T, part, out=d_weight[:, columns])
                at = columns.stop
            gradients += [d_weight, gates.sum(axis=0)]
        d_xi = self.back.xi.reshape(rows, -1)
        gradients.append(d_xi.T @ out[:, : self.units])
        return gradients

    def _gates(self, n: int) -> np.ndarray:
        return self.net.gates[:, :, n]
