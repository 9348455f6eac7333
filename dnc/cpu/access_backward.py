"""Backward through one step of the memory for a whole batch on the CPU."""

from __future__ import annotations

from numba import njit

from dnc.cpu.elementary import INLINE
from dnc.cpu.link import link_backward
from dnc.cpu.sparse import sharpen, sharpen_backward, sparse_backward
from dnc.cpu.step_backward import precedence_backward, read_backward, write_step_backward


@njit(**INLINE)
def access_backward(
    t, b, tape, zeros, fresh, memory, new_memory, link, epsilon, d_out, grads, d_xi
):
    read_backward(t, b, tape, new_memory, d_out, epsilon, grads, d_xi)
    precedence_backward(t, b, tape, zeros, fresh, grads)
    link_backward(
        zeros.link if fresh else link,
        tape.write_weights[t + 1, b],
        zeros.slots if fresh else tape.precedence[t, b],
        zeros.reads if fresh else tape.read_weights[t, b],
        grads.forward[b],
        grads.backward[b],
        grads.link[b],
        grads.write_weights[b],
        grads.precedence[b],
        grads.read_weights[b],
        grads.slots[b, 1:5],
    )
    if fresh:
        grads.link[b, :] = 0
    m = zeros.memory if fresh else memory
    write_step_backward(t, b, tape, zeros, fresh, m, epsilon, grads, d_xi)


@njit(**INLINE)
def access_backward_sparse(
    t, b, tape, zeros, fresh, memory, new_memory, sparse, scaled, epsilon, d_out, grads, d_xi
):
    read_backward(t, b, tape, new_memory, d_out, epsilon, grads, d_xi)
    precedence_backward(t, b, tape, zeros, fresh, grads)
    chosen, sharp = sparse.chosen[b], sparse.sharp[b]
    weights = tape.write_weights[t + 1, b]
    before = zeros.slots if fresh else tape.precedence[t, b]
    sharpen(weights, chosen[0], scaled, epsilon, sharp[0])
    sharpen(before, chosen[1], scaled, epsilon, sharp[1])
    sharp[2:] = 0
    sparse_backward(
        sparse.record[t, b],
        sparse.old[t, b],
        sparse.recorded[t, b],
        sharp[0],
        sharp[1],
        zeros.reads if fresh else tape.read_weights[t, b],
        grads.forward[b],
        grads.backward[b],
        grads.link[b],
        sharp[2],
        sharp[3],
        grads.read_weights[b],
        fresh,
        t == 0,
    )
    sharpen_backward(weights, chosen[0], scaled, epsilon, sharp[2], grads.write_weights[b])
    sharpen_backward(before, chosen[1], scaled, epsilon, sharp[3], grads.precedence[b])
    m = zeros.memory if fresh else memory
    write_step_backward(t, b, tape, zeros, fresh, m, epsilon, grads, d_xi)
