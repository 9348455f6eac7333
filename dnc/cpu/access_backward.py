"""Backward through `dnc.cpu.access`: one step of the memory of one lane.

d_x is dLoss / dx; the comments name the equation of the forward pass.
"""

from __future__ import annotations

from dnc.cpu.address import (
    activate_backward,
    allocation_backward,
    content_backward,
    usage_backward,
)
from dnc.cpu.elementary import INLINE, OPTIONS, dot
from dnc.cpu.link import link_backward
from dnc.cpu.memory import combine, scores, shrink, spread, write_backward
from dnc.cpu.sparse import sharpen, sharpen_backward, sparse_backward
from dnc.kernel_cache import inner_njit


@inner_njit(**OPTIONS)
def read_backward(t, b, tape, memory, d_out, epsilon, grads, d_xi):
    """From d_out (R, W) back to the link's products and the memory M_t.

    Leaves the gradients of f and b in grads.forward and grads.backward, what the norms of M_t
    receive in grads.slots[0]; grads.read_weights is spent.
    """
    width, slots = memory.shape
    heads = tape.read_weights.shape[2]
    xi = tape.xi[t, b]
    keys = xi[: heads * width].reshape(heads, width)
    d_keys = d_xi[: heads * width].reshape(heads, width)
    modes = xi.shape[0] - 3 * heads
    content, d_content = tape.read_content[t, b], grads.content[b]
    forward, backward = tape.forward[t, b], tape.backward[t, b]
    d_weights, pulls = grads.read_weights[b], grads.slots[b, 0]
    # r = M^T w^r
    scores(memory, d_out, d_content)
    for r in range(heads):
        for i in range(slots):
            d_weights[r, i] += d_content[r, i]
    spread(grads.memory[b], tape.read_weights[t + 1, b], d_out)
    pulls[:] = 0
    d_keys[:] = 0
    for r in range(heads):
        m = modes + 3 * r
        # w^r = pi[1] b + pi[2] c^r + pi[3] f
        x, y, z = xi[m], xi[m + 1], xi[m + 2]
        d_xi[m] = dot(d_weights[r], backward[r])
        d_xi[m + 1] = dot(d_weights[r], content[r])
        d_xi[m + 2] = dot(d_weights[r], forward[r])
        for i in range(slots):
            g = d_weights[r, i]
            grads.backward[b, r, i] = g * x
            d_content[r, i] = g * y
            grads.forward[b, r, i] = g * z
        d_xi[heads * width + r] = content_backward(
            keys[r],
            xi[heads * width + r],
            tape.norms[t + 1, b],
            epsilon,
            tape.read_cosine[t, b, r],
            content[r],
            d_content[r],
            pulls,
            d_keys[r],
        )
    spread(grads.memory[b], d_content, keys)
    words = grads.words[b]
    combine(memory, d_content, words)
    for r in range(heads):
        for j in range(width):
            d_keys[r, j] += words[r, j]
    shrink(memory, pulls, grads.memory[b])
    d_weights[:] = 0  # from here on: of the step before


@inner_njit(**OPTIONS)
def precedence_backward(t, b, tape, zeros, fresh, grads):
    """Through p_t; grads.precedence goes to p_{t-1}."""
    before = zeros.slots if fresh else tape.precedence[t, b]
    weights, d_p = tape.write_weights[t + 1, b], grads.precedence[b]
    one = weights.dtype.type(1)
    # p_t = (1 - sum_j w^w[j]) p_{t-1} + w^w
    moved, keep = dot(d_p, before), one
    for i in range(weights.shape[0]):
        keep -= weights[i]
    for i in range(weights.shape[0]):
        grads.write_weights[b, i] += d_p[i] - moved
        d_p[i] *= keep


@inner_njit(**OPTIONS)
def write_content_backward(t, b, tape, memory, norms, epsilon, grads, d_xi):
    """grads.slots[2] holds the gradient of c^w."""
    width = memory.shape[0]
    heads = tape.read_weights.shape[2]
    key = heads * width + heads
    xi = tape.xi[t, b]
    pulls, words = grads.slots[b, 0], grads.words[b, :1]
    d_content = grads.slots[b, 2:3]
    pulls[:] = 0
    d_xi[key : key + width] = 0
    d_xi[key + width] = content_backward(
        xi[key : key + width],
        xi[key + width],
        norms,
        epsilon,
        tape.write_cosine[t, b, 0],
        tape.write_content[t, b],
        d_content[0],
        pulls,
        d_xi[key : key + width],
    )
    spread(grads.memory[b], d_content, xi[key : key + width].reshape(1, width))
    combine(memory, d_content, words)
    for j in range(width):
        d_xi[key + j] += words[0, j]
    shrink(memory, pulls, grads.memory[b])


@inner_njit(**OPTIONS)
def allocation_and_usage_backward(t, b, tape, zeros, fresh, d_allocation, grads, d_xi):
    heads, width = zeros.reads.shape[0], zeros.memory.shape[0]
    gates = heads * width + heads + 3 * width + 1
    xi = tape.xi[t, b]
    d_xi[gates : gates + heads] = 0
    allocation_backward(
        tape.usage[t + 1, b], tape.order[t, b], d_allocation, grads.usage[b], grads.slots[b, 3]
    )
    grads.write_weights[b, :] = 0  # from here on: of the step before
    usage_backward(
        xi[gates : gates + heads],
        zeros.reads if fresh else tape.read_weights[t, b],
        zeros.slots if fresh else tape.usage[t, b],
        zeros.slots if fresh else tape.write_weights[t, b],
        grads.usage[b],
        grads.write_weights[b],
        grads.read_weights[b],
        d_xi[gates : gates + heads],
        grads.slots[b, 3],
    )


@inner_njit(**OPTIONS)
def write_step_backward(t, b, tape, zeros, fresh, memory, epsilon, grads, d_xi):
    """From the write weights and M_t back to the state before the step."""
    heads, width = zeros.reads.shape[0], zeros.memory.shape[0]
    xi = tape.xi[t, b]
    one = xi.dtype.type(1)
    key = heads * width + heads
    erase, gates = key + width + 1, key + 3 * width + 1
    weights, d_weights = tape.write_weights[t + 1, b], grads.write_weights[b]
    write_backward(
        memory,
        weights,
        xi[erase : erase + width],
        xi[erase + width : erase + 2 * width],
        grads.memory[b],
        d_weights,
        d_xi[erase : erase + width],
        d_xi[erase + width : erase + 2 * width],
    )
    mix, gate = xi[gates + heads], xi[gates + heads + 1]
    allocated, content = tape.allocation[t, b], tape.write_content[t, b]
    d_allocation, d_content = grads.slots[b, 1], grads.slots[b, 2]
    # w^w = g_w (g_a a + (1 - g_a) c^w): mix is g_a, gate is g_w
    d_mix = d_gate = one - one
    for i in range(weights.shape[0]):
        g = d_weights[i]
        d_gate += g * (mix * allocated[i] + (one - mix) * content[i])
        d_mix += g * (allocated[i] - content[i])
        d_allocation[i] = g * gate * mix
        d_content[i] = g * gate * (one - mix)
    d_xi[gates + heads], d_xi[gates + heads + 1] = d_mix * gate, d_gate
    norms = zeros.norms if fresh else tape.norms[t, b]
    write_content_backward(t, b, tape, memory, norms, epsilon, grads, d_xi)
    allocation_and_usage_backward(t, b, tape, zeros, fresh, d_allocation, grads, d_xi)
    activate_backward(xi, tape.slopes[t, b], d_xi, heads, width)
    if fresh:
        grads.memory[b, :] = 0
        grads.usage[b, :] = 0
        grads.precedence[b, :] = 0
        grads.write_weights[b, :] = 0
        grads.read_weights[b, :] = 0


@inner_njit(**INLINE)
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


@inner_njit(**INLINE)
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
