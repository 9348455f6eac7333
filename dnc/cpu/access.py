"""One step of the memory for a whole batch on the CPU: lanes in parallel.

The equations are those of `dnc.access.access`; the numbers that the backward
pass needs go onto the tape. Memory and link come in and go out as arrays of
their own, so that the caller decides which of them are kept.
"""

from __future__ import annotations

from numba import njit

from dnc.cpu.elementary import INLINE, OPTIONS
from dnc.cpu.link import link_forward, link_rows
from dnc.cpu.memory import write
from dnc.cpu.sparse import clear_entries, sharpen, sparse_forward
from dnc.cpu.step import read_forward, write_forward


@njit(**INLINE)
def access_forward(t, b, tape, zeros, fresh, memory, new_memory, link, new_link, epsilon, out):
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


@njit(**INLINE)
def access_forward_sparse(
    t, b, tape, zeros, fresh, memory, new_memory, link, sparse, scaled, threshold, epsilon, out
):
    m = zeros.memory if fresh else memory
    write_forward(t, b, tape, zeros, fresh, m, new_memory, epsilon)
    if fresh:
        clear_entries(link, sparse.live[b], sparse.length[b])
        sparse.length[b] = 0
    chosen, sharp = sparse.chosen[b], sparse.sharp[b]
    size = sharpen(tape.write_weights[t + 1, b], chosen[0], scaled, epsilon, sharp[0])
    sharpen(zeros.slots if fresh else tape.precedence[t, b], chosen[1], scaled, epsilon, sharp[1])
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


@njit(**OPTIONS)
def replay_step(t, b, tape, zeros, fresh, memory, new_memory, link, new_link):
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
