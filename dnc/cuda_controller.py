"""The controller on the GPU: cuBLAS and one kernel per layer and step.

With L layers a step takes 2 L + 1 launches here (per layer a product and the
cell, and one that hands h and r on), its backward as many; the interface's
product and the memory access add two each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dnc.cuda_launch import Launcher, table
from dnc.fused_controller import Controller, Layer
from dnc.tape import Arena

THREADS = 256  # of a block


class CudaController(Controller):
    """Twin of `Controller`; d_z of the layers holds what d_state does."""

    def __init__(self, launch: Launcher, arena: Arena, *args: Any):
        super().__init__(arena, *args)
        self._launch, self._arena = launch, arena
        self.z = table(tuple(layer.z for layer in self.layers), self.xp)
        self.d_z = table(tuple(layer.d_z for layer in self.layers), self.xp)

    def _map(self, name: str, width: int, *args: Any) -> None:
        """A thread for each of B x width numbers; integers become int32."""
        count = self.out.shape[1] * width
        blocks = max(1, -(-count // THREADS))
        typed = tuple(np.int32(a) if type(a) is int else a for a in args)
        self._launch(name, blocks, THREADS, 0, typed)

    def start(self, c, h, read_vectors) -> None:
        h, read_vectors = map(self.xp.ascontiguousarray, (h, read_vectors))
        self._hand_on(0, h, read_vectors, False)
        for layer in self.layers:
            layer.c[0] = c[:, self._own(layer)]

    def _hand_on(self, t: int, h, read_vectors, out: bool) -> None:
        batch, width = self.out.shape[1:]
        self._map(
            'dnc_remember',
            width,
            *(h, read_vectors, self.out[max(t - 1, 0)], self.z),
            *(self.fresh[t], batch, width, len(self.layers), self.reads),
            *(t, np.bool_(out)),
        )

    def step(self, t: int) -> Any:
        batch, size = self.out.shape[1], self.size
        for layer in self.layers:
            layer.to_gates(layer.z[t], layer.sums)
            self._map(
                'dnc_cell_forward',
                size,
                *(layer.sums, layer.gates[t], layer.c[t], layer.c[t + 1]),
                *(self.fresh[t], self.z, self.h, self.out[t], batch, size),
                *(layer.index, len(self.layers), self.reads, t),
            )
        return self.h

    def finish_step(self, t: int, read_vectors) -> None:
        self._hand_on(t + 1, self.h, read_vectors, True)

    def start_backward(self, d_c, d_h, d_reads, g_out) -> None:
        self._start_cells_backward(d_c)
        if g_out is None:
            g_out = self._arena.take(
                'no g_out', self.out.shape, self.out.dtype
            )
            g_out[...] = 0
        self.g_out = self.xp.ascontiguousarray(g_out)
        reads, size = self.reads, self.size
        for layer in self.layers:
            layer.d_z[...] = 0
            if d_h is not None:
                own = d_h[:, self._own(layer)]
                layer.d_z[:, reads : reads + size] = own
        if d_reads is not None:
            self.layers[0].d_z[:, :reads] = d_reads

    def read_gradient(self, t: int) -> Any:
        batch, layers = self.out.shape[1], len(self.layers)
        self._map(
            'dnc_collect',
            self.reads,
            *(self.g_out[t], self.d_z, self.fresh[t + 1], self.d_reads),
            *(batch, self.reads, self.units, layers),
        )
        return self.d_reads

    def backward(self, t: int, d_h) -> None:
        for layer in reversed(self.layers):
            self._cell_backward(t, layer, d_h)
            layer.from_gates(layer.gates[t], layer.d_z)

    def _cell_backward(self, t: int, layer: Layer, d_h) -> None:
        self._map(
            'dnc_cell_backward',
            self.size,
            *(layer.gates[t], layer.c[t], layer.c[t + 1], layer.d_c, d_h),
            *(self.g_out[t], self.d_z, self.fresh[t], self.fresh[t + 1]),
            *(self.out.shape[1], self.size, layer.index, len(self.layers)),
            self.reads,
        )

    def first_gradients(self) -> tuple[Any, Any]:
        reads, size = self.reads, self.size
        kept = ~self.fresh[0][:, None]
        d_z = [layer.d_z * kept for layer in self.layers]
        d_h = self.xp.concatenate([x[:, reads : reads + size] for x in d_z], 1)
        return d_h, sum(x[:, :reads] for x in d_z)
