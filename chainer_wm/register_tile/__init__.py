"""Register-blocked matrix products for numba kernels on the CPU.

numba compiles scalar loops; a matrix product at the speed of the processor
needs a small block of the result held in vector registers while its sums run.
``blocks`` emits that block as LLVM vector instructions, ``products`` covers a
matrix with blocks. So a convolution reads its operands in place (no matrix of
patches), inside a numba kernel, on numba's own threads.

Two forms, because a convolution sums over a patch in its forward pass and
over the pixels in the gradient of its weights:

``rows_times_panel``  c[i, j]  = sum_p a[table[i] + p] b[p, j]
``add_columns_times_rows``  c[i, j] += sum_p a[table[p] + i] b[p, j]

numba's cache on disk looks only at a kernel's own file: after a change here,
change or delete what was cached of the kernels that call these functions.
"""

from chainer_wm.register_tile.blocks import add_run, panel_width
from chainer_wm.register_tile.products import (
    add_columns_times_rows,
    block_heights,
    rows_times_panel,
)

__all__ = [
    'add_columns_times_rows',
    'add_run',
    'block_heights',
    'panel_width',
    'rows_times_panel',
]
