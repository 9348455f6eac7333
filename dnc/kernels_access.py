"""One step of the memory for a whole batch on the CPU: lanes in parallel.

The equations are those of `dnc.access.access`; the numbers that the backward
pass needs go onto the tape. Memory and link come in and go out as arrays of
their own, so that the caller decides which of them are kept.
"""

from __future__ import annotations

from numba import njit, prange

from dnc.kernels_entry import entry
from dnc.kernels_link import link_forward, link_rows
from dnc.kernels_math import OPTIONS
from dnc.kernels_memory import inverse_norms, write
from dnc.kernels_sparse import (
    clear_entries,
    count_entries,
    list_entries,
    sharpen,
    sparse_forward,
)
from dnc.kernels_step import read_forward, write_forward


@njit(**OPTIONS)
def _forward(
    t, b, tape, zeros, fresh, memory, new_memory, link, new_link, epsilon, out
):
    m = zeros.memory if fresh else memory
    write_forward(t, b, tape, zeros, fresh, m, new_memory, epsilon)
    link_forward(
        zeros.link if fresh else link,
        new_link,
        tape.write_weights[t + 1, b],
        zeros.slots if fresh else tape.precedence[t, b],
        zeros.reads if fresh else tape.read_weights[t, b],
        tape.forward[t, b],
        tape.backward[t, b],
    )
    read_forward(t, b, tape, new_memory, epsilon, out)


@njit(**OPTIONS)
def _forward_sparse(
    t,
    b,
    tape,
    zeros,
    fresh,
    memory,
    new_memory,
    link,
    sparse,
    scaled,
    threshold,
    epsilon,
    out,
):
    m = zeros.memory if fresh else memory
    write_forward(t, b, tape, zeros, fresh, m, new_memory, epsilon)
    if fresh:
        clear_entries(link, sparse.live[b], sparse.length[b])
        sparse.length[b] = 0
    chosen, sharp = sparse.chosen[b], sparse.sharp[b]
    size = sharpen(
        tape.write_weights[t + 1, b], chosen[0], scaled, epsilon, sharp[0]
    )
    sharpen(
        zeros.slots if fresh else tape.precedence[t, b],
        chosen[1],
        scaled,
        epsilon,
        sharp[1],
    )
    count, recorded = sparse_forward(
        link,
        sharp[0],
        sharp[1],
        chosen[0, :size],
        chosen[1, :size],
        zeros.reads if fresh else tape.read_weights[t, b],
        tape.forward[t, b],
        tape.backward[t, b],
        sparse.live[b],
        sparse.length[b],
        sparse.record[t, b],
        sparse.old[t, b],
        threshold,
    )
    sparse.length[b] = count
    sparse.recorded[t, b] = recorded
    read_forward(t, b, tape, new_memory, epsilon, out)


@entry
def access_forward(
    t, tape, zeros, fresh, memory, new_memory, link, new_link, epsilon, out
):
    """Step t with the dense link.

    Args:
        tape, zeros: see `dnc.tape`; tape.xi[t] comes in raw.
        fresh: (B,) bool, lanes whose state before is zero.
        memory, new_memory: (B, W, N), not the same array.
        link, new_link: (B, N, N), not the same array.
        out: receives the read vectors, (B, R W).
    """
    for b in prange(memory.shape[0]):
        _forward(
            t,
            b,
            tape,
            zeros,
            fresh[b],
            memory[b],
            new_memory[b],
            link[b],
            new_link[b],
            epsilon,
            out[b],
        )


@entry
def access_forward_sparse(
    t,
    tape,
    zeros,
    fresh,
    memory,
    new_memory,
    link,
    sparse,
    scaled,
    threshold,
    epsilon,
    out,
):
    """Step t with the sparse link, which is updated in place."""
    for b in prange(memory.shape[0]):
        _forward_sparse(
            t,
            b,
            tape,
            zeros,
            fresh[b],
            memory[b],
            new_memory[b],
            link[b],
            sparse,
            scaled,
            threshold,
            epsilon,
            out[b],
        )


@njit(**OPTIONS)
def _count_link(b, link, counts):
    counts[b] = count_entries(link)


@entry
def count_links(link, counts):
    """How many entries of each link (B, N, N) are not zero."""
    for b in prange(link.shape[0]):
        _count_link(b, link[b], counts)


@njit(**OPTIONS)
def _list_link(b, link, sparse):
    sparse.length[b] = list_entries(link, sparse.live[b], sparse.length[b])


@entry
def list_links(link, sparse):
    """List the entries of the links (B, N, N) that are not zero.

    sparse.length holds how many there are.
    """
    for b in prange(link.shape[0]):
        _list_link(b, link[b], sparse)


@entry
def start(memory, tape, epsilon):
    """Norms of the memory (B, W, N) that a sequence starts from."""
    for b in prange(memory.shape[0]):
        inverse_norms(memory[b], epsilon, tape.norms[0, b])


@njit(**OPTIONS)
def _replay(t, b, tape, zeros, fresh, memory, new_memory, link, new_link):
    width, heads = zeros.memory.shape[0], zeros.reads.shape[0]
    erase = heads * width + heads + width + 1
    weights = tape.write_weights[t + 1, b]
    write(
        zeros.memory if fresh else memory,
        new_memory,
        weights,
        tape.xi[t, b, erase : erase + width],
        tape.xi[t, b, erase + width : erase + 2 * width],
    )
    if link.shape[0]:
        link_rows(
            zeros.link if fresh else link,
            weights,
            zeros.slots if fresh else tape.precedence[t, b],
            0,
            weights.shape[0],
            new_link,
            0,
        )


@entry
def replay(t, tape, zeros, fresh, memory, new_memory, link, new_link):
    """Memory and dense link after step t, from those before it.

    link may be (B, 0, 0): then it is the memory alone.
    """
    for b in prange(memory.shape[0]):
        _replay(
            t,
            b,
            tape,
            zeros,
            fresh[b],
            memory[b],
            new_memory[b],
            link[b],
            new_link[b],
        )
