"""The dense temporal link of one sample on the CPU.

Rows are handled four at a time: a row is still in the first-level cache when every head has used
it, and the vectors over columns are loaded once per four rows. The rows after the last whole four
go through the same loops one by one.
"""

from __future__ import annotations

from dnc.cpu.elementary import OPTIONS
from dnc.kernel_cache import inner_njit


@inner_njit(**OPTIONS)
def link_rows(link, weights, precedence, start, stop, new, offset):
    """Rows start to stop of L_t from L_{t-1}, into new from row offset."""
    one = weights.dtype.type(1)
    for i in range(start, stop):
        row = i - start + offset
        w = weights[i]
        keep = one - w
        for j in range(weights.shape[0]):
            # L_t[i, j] = (1 - w_t^w[i] - w_t^w[j]) L_{t-1}[i, j] + w_t^w[i] p_{t-1}[j]
            new[row, j] = (keep - weights[j]) * link[i, j] + w * precedence[j]
        new[row, i] = 0  # L_t[i, i] = 0


@inner_njit(**OPTIONS)
def link_forward(link, new, weights, precedence, reads, forward, backward):
    """L_t, f = L_t w^r and b = L_t^T w^r in one pass; new is not link."""
    size = weights.shape[0]
    zero = weights.dtype.type(0)
    backward[:] = 0
    for i in range(0, size - 3, 4):
        link_rows(link, weights, precedence, i, i + 4, new, i)
        for r in range(reads.shape[0]):
            ra, rb = reads[r, i], reads[r, i + 1]
            rc, rd = reads[r, i + 2], reads[r, i + 3]
            fa = fb = fc = fd = zero
            for j in range(size):
                x, a, b = reads[r, j], new[i, j], new[i + 1, j]
                c, d = new[i + 2, j], new[i + 3, j]
                fa += a * x
                fb += b * x
                fc += c * x
                fd += d * x
                backward[r, j] += ra * a + rb * b + rc * c + rd * d
            forward[r, i], forward[r, i + 1] = fa, fb
            forward[r, i + 2], forward[r, i + 3] = fc, fd
    for i in range(size // 4 * 4, size):
        link_rows(link, weights, precedence, i, i + 1, new, i)
        for r in range(reads.shape[0]):
            ra, fa = reads[r, i], zero
            for j in range(size):
                fa += new[i, j] * reads[r, j]
                backward[r, j] += ra * new[i, j]
            forward[r, i] = fa


@inner_njit(**OPTIONS)
def _reads_backward(rows, i, count, d_forward, d_backward, d_reads):
    """What w^r receives through f and b from rows i, i + 1, ... of L_t."""
    size = rows.shape[1]
    zero = rows.dtype.type(0)
    for r in range(d_reads.shape[0]):
        if count == 4:
            fa, fb = d_forward[r, i], d_forward[r, i + 1]
            fc, fd = d_forward[r, i + 2], d_forward[r, i + 3]
            sa = sb = sc = sd = zero
            for j in range(size):
                y, a, b = d_backward[r, j], rows[0, j], rows[1, j]
                c, d = rows[2, j], rows[3, j]
                sa += a * y
                sb += b * y
                sc += c * y
                sd += d * y
                d_reads[r, j] += fa * a + fb * b + fc * c + fd * d
            d_reads[r, i] += sa
            d_reads[r, i + 1] += sb
            d_reads[r, i + 2] += sc
            d_reads[r, i + 3] += sd
        else:
            fa, sa = d_forward[r, i], zero
            for j in range(size):
                sa += rows[0, j] * d_backward[r, j]
                d_reads[r, j] += fa * rows[0, j]
            d_reads[r, i] += sa


@inner_njit(**OPTIONS)
def _rows_backward(d_link, i, count, reads, d_forward, d_backward):
    """What rows i, i + 1, ... of L_t receive through f and b."""
    size = reads.shape[1]
    for r in range(reads.shape[0]):
        if count == 4:
            fa, fb = d_forward[r, i], d_forward[r, i + 1]
            fc, fd = d_forward[r, i + 2], d_forward[r, i + 3]
            ra, rb = reads[r, i], reads[r, i + 1]
            rc, rd = reads[r, i + 2], reads[r, i + 3]
            for j in range(size):
                x, y = reads[r, j], d_backward[r, j]
                d_link[i, j] += fa * x + ra * y
                d_link[i + 1, j] += fb * x + rb * y
                d_link[i + 2, j] += fc * x + rc * y
                d_link[i + 3, j] += fd * x + rd * y
        else:
            fa, ra = d_forward[r, i], reads[r, i]
            for j in range(size):
                d_link[i, j] += fa * reads[r, j] + ra * d_backward[r, j]
    for k in range(i, i + count):
        d_link[k, k] = 0


@inner_njit(**OPTIONS)
def _update_backward(link, i, count, weights, precedence, d_link, d_weights, d_precedence):
    """Rows i, i + 1, ... of the gradient go from L_t to L_{t-1}."""
    zero = weights.dtype.type(0)
    one = weights.dtype.type(1)
    for k in range(i, i + count - 1, 2):
        wa, wb = weights[k], weights[k + 1]
        ka, kb = one - wa, one - wb
        sa = sb = zero
        for j in range(weights.shape[0]):
            a, b = d_link[k, j], d_link[k + 1, j]
            la, lb = a * link[k, j], b * link[k + 1, j]
            sa += a * precedence[j] - la
            sb += b * precedence[j] - lb
            d_weights[j] -= la + lb
            d_precedence[j] += wa * a + wb * b
            d_link[k, j] = a * (ka - weights[j])
            d_link[k + 1, j] = b * (kb - weights[j])
        d_weights[k] += sa
        d_weights[k + 1] += sb
    if count % 2:
        k = i + count - 1
        wa, sa = weights[k], zero
        for j in range(weights.shape[0]):
            a = d_link[k, j]
            la = a * link[k, j]
            sa += a * precedence[j] - la
            d_weights[j] -= la
            d_precedence[j] += wa * a
            d_link[k, j] = a * (one - wa - weights[j])
        d_weights[k] += sa


@inner_njit(**OPTIONS)
def link_backward(
    link,
    weights,
    precedence,
    reads,
    d_forward,
    d_backward,
    d_link,
    d_weights,
    d_precedence,
    d_reads,
    rows,
):
    """Backward through `link_forward`.

    link is L_{t-1} (L_t is made again, row by row, in rows (4, N)); d_link goes from L_t to
    L_{t-1} in place; d_weights, d_precedence (of p_{t-1})
    and d_reads are added to.
    """
    size = weights.shape[0]
    i = 0
    while i < size:
        count = 4 if i + 4 <= size else 1
        link_rows(link, weights, precedence, i, i + count, rows, 0)
        _reads_backward(rows, i, count, d_forward, d_backward, d_reads)
        _rows_backward(d_link, i, count, reads, d_forward, d_backward)
        _update_backward(link, i, count, weights, precedence, d_link, d_weights, d_precedence)
        i += count
