"""The sparse temporal link of one sample on the CPU.

A link lives in its dense (N, N) matrix beside a list of its entries that are not zero (flat
indices i N + j). Rows sum to at most 1 and entries below 1 / K are dropped, so the list is short,
and a step costs the length of the list
plus K^2 instead of N^2. Every step records its list for the backward pass:
old values, and dropped entries by the complement of their index.

Strict arithmetic here: with K = 1 an entry sits exactly on the threshold.
"""

from __future__ import annotations

from dnc.cpu.elementary import EXACT
from dnc.kernel_cache import inner_njit


@inner_njit(**EXACT)
def _largest(values, chosen):
    """Indices of the largest values into chosen (K,); earlier slots first.

    Returns how many there are: K, or all of fewer slots.
    """
    count = 0
    for i in range(values.shape[0]):
        x = values[i]
        if count == chosen.shape[0]:
            if x <= values[chosen[count - 1]]:
                continue
            count -= 1
        k = count
        while k > 0 and values[chosen[k - 1]] < x:
            chosen[k] = chosen[k - 1]
            k -= 1
        chosen[k] = i
        count += 1
    return count


@inner_njit(**EXACT)
def _scale(values, chosen, count, scaled, epsilon):
    """Sum of the chosen, and min(1, sum of all) where that scales them."""
    zero = values.dtype.type(0)
    one = values.dtype.type(1)
    total, everything = zero, zero
    for k in range(count):
        total += values[chosen[k]]
    if total <= epsilon:
        return zero, zero
    if scaled:
        for i in range(values.shape[0]):
            everything += values[i]
        return total, min(one, everything)
    return total, one


@inner_njit(**EXACT)
def sharpen(values, chosen, scaled, epsilon, out):
    """The K largest at their own slots over their sum; the rest zero."""
    count = _largest(values, chosen)
    total, scale = _scale(values, chosen, count, scaled, epsilon)
    out[:] = 0
    if total > 0:
        for k in range(count):
            out[chosen[k]] = values[chosen[k]] / total * scale
    return count


@inner_njit(**EXACT)
def sharpen_backward(values, chosen, scaled, epsilon, d_out, d_values):
    """Backward through `sharpen`; adds to d_values."""
    count = _largest(values, chosen)
    total, scale = _scale(values, chosen, count, scaled, epsilon)
    if total <= 0:
        return
    mean = values.dtype.type(0)
    for k in range(count):
        mean += d_out[chosen[k]] * values[chosen[k]] / total
    for k in range(count):
        d_values[chosen[k]] += (d_out[chosen[k]] - mean) * scale / total
    if scaled and scale < 1:
        for i in range(values.shape[0]):
            d_values[i] += mean


@inner_njit(**EXACT)
def count_entries(link):
    """How many are not zero."""
    count = 0
    for i in range(link.shape[0]):
        for j in range(link.shape[1]):
            count += link[i, j] != 0
    return count


@inner_njit(**EXACT)
def list_entries(link, live, expected):
    """Collect what is not zero; returns how many: expected."""
    count = 0
    size = link.shape[0]
    for i in range(size if expected else 0):
        for j in range(size):
            if link[i, j] != 0:
                live[count] = i * size + j
                count += 1
    return count


@inner_njit(**EXACT)
def clear_entries(link, live, count):
    for e in range(count):
        link[live[e] // link.shape[0], live[e] % link.shape[0]] = 0


@inner_njit(**EXACT)
def _add_candidates(link, weights, precedence, rows, columns, live, count):
    """List the entries that the outer product w p^T may bring to life."""
    size = link.shape[0]
    for i in rows:
        if weights[i] != 0:
            for j in columns:
                if link[i, j] == 0:
                    live[count] = i * size + j
                    count += 1
    return count


@inner_njit(**EXACT)
def sparse_forward(
    link,
    weights,
    precedence,
    rows,
    columns,
    reads,
    forward,
    backward,
    live,
    count,
    record,
    old,
    threshold,
):
    """One update of link in place, with f and b.

    Args:
        weights, precedence: sharpened, (N,).
        rows, columns: the slots where they may differ from zero.
        live: flat indices of the entries; count of them are in use.
        record, old: receive every entry looked at and its value before.
        threshold: 1 / K, below which entries are dropped.
    Returns:
        how many entries live on, how many were recorded.
    """
    size = link.shape[0]
    one = weights.dtype.type(1)
    recorded = _add_candidates(link, weights, precedence, rows, columns, live, count)
    count = 0
    forward[:] = 0
    backward[:] = 0
    for e in range(recorded):
        index = live[e]
        i, j = index // size, index % size
        before = link[i, j]
        old[e] = before
        # the dense link's update, from the sharpened w^w and p; what is below 1 / K drops out
        value = (one - weights[i] - weights[j]) * before + weights[i] * precedence[j]
        if i != j and value >= threshold:
            record[e] = index
            live[count] = index
            count += 1
            link[i, j] = value
            for r in range(reads.shape[0]):
                forward[r, i] += value * reads[r, j]
                backward[r, j] += value * reads[r, i]
        else:
            record[e] = ~index
            link[i, j] = 0
    return count, recorded


@inner_njit(**EXACT)
def sparse_backward(
    record,
    old,
    recorded,
    weights,
    precedence,
    reads,
    d_forward,
    d_backward,
    d_link,
    d_weights,
    d_precedence,
    d_reads,
    fresh,
    first,
):
    """Backward through `sparse_forward`.

    d_link is dense and right on the recorded entries only: it goes from L_t
    to L_{t-1} there. The others are added to. fresh: the step began with an empty link; first: it
    is the first of the sequence.
    """
    size = weights.shape[0]
    zero = weights.dtype.type(0)
    one = weights.dtype.type(1)
    for e in range(recorded):
        index = record[e]
        kept = index >= 0
        if not kept:
            index = ~index
        i, j = index // size, index % size
        before = old[e]
        g = zero
        if kept:
            g = d_link[i, j]
            value = (one - weights[i] - weights[j]) * before + weights[i] * precedence[j]
            for r in range(reads.shape[0]):
                fi, bj = d_forward[r, i], d_backward[r, j]
                g += fi * reads[r, j] + bj * reads[r, i]
                d_reads[r, j] += value * fi
                d_reads[r, i] += value * bj
            d_weights[i] += g * (precedence[j] - before)
            d_weights[j] -= g * before
            d_precedence[j] += g * weights[i]
        # an entry that was not there is dead weight to the steps before
        alive = not fresh and (first or before != 0)
        d_link[i, j] = g * (one - weights[i] - weights[j]) if alive else zero
