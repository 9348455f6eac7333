"""Products of a few rows with the same matrix, time step after time step.

BLAS packs the matrix anew in every call, which at 16 rows costs more than the
product. Here the matrix is laid out once per sequence and the compiled loop
reads it in place; many rows still go to BLAS.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from dnc.kernels_cell import ENTRY
from dnc.kernels_math import OPTIONS
from dnc.tape import Arena

FEW = 40  # rows up to which the loop below is faster than BLAS
COLUMNS = 128  # of a panel; panels are shared out between the threads


@njit(**OPTIONS)
def _panel_product(rows, panel, sums, out, first):
    """out[:, first:first + COLUMNS] = rows @ panel, 8 terms at a time."""
    count, terms = rows.shape
    sums[:] = 0
    for k in range(0, terms - 7, 8):
        for b in range(count):
            p, q, r, s = (rows[b, k], rows[b, k + 1], rows[b, k + 2],
                          rows[b, k + 3])
            t, u, v, w = (rows[b, k + 4], rows[b, k + 5], rows[b, k + 6],
                          rows[b, k + 7])
            for j in range(COLUMNS):
                sums[b, j] += (
                    p * panel[k, j] + q * panel[k + 1, j]
                    + r * panel[k + 2, j] + s * panel[k + 3, j]
                    + t * panel[k + 4, j] + u * panel[k + 5, j]
                    + v * panel[k + 6, j] + w * panel[k + 7, j])
    for k in range(terms // 8 * 8, terms):
        for b in range(count):
            p = rows[b, k]
            for j in range(COLUMNS):
                sums[b, j] += p * panel[k, j]
    offset = np.uint64(first)  # unsigned: no test for negative indices
    for b in range(count):
        for j in range(min(COLUMNS, out.shape[1] - first)):
            out[b, offset + np.uint64(j)] = sums[b, j]


@njit(**ENTRY)
def few_rows_product(rows, panels, sums, out):
    """out = rows @ matrix, the matrix in panels (P, K, COLUMNS)."""
    for piece in prange(panels.shape[0]):
        _panel_product(rows, panels[piece], sums[piece], out, piece * COLUMNS)


class Product:
    """rows -> rows @ matrix for one matrix and a fixed number of rows."""

    def __init__(self, arena: Arena, name: str, matrix, rows: int):
        self.few = rows <= FEW
        self.matrix = matrix
        if not self.few:
            return
        terms, columns = matrix.shape
        pieces = -(-columns // COLUMNS)
        self.panels = arena.take(
            name, (pieces, terms, COLUMNS), matrix.dtype)
        self.sums = arena.take(
            name + ' sums', (pieces, rows, COLUMNS), matrix.dtype)
        for piece in range(pieces):
            part = matrix[:, piece * COLUMNS:(piece + 1) * COLUMNS]
            self.panels[piece, :, :part.shape[1]] = part
        self.panels[-1, :, columns - COLUMNS * pieces or COLUMNS:] = 0

    def __call__(self, rows, out) -> None:
        if self.few:
            few_rows_product(rows, self.panels, self.sums, out)
        else:
            np.matmul(rows, self.matrix, out=out)
