"""One step of the memory of one lane on the CPU.

The equations are those of `dnc.access.access`; the numbers that the backward pass needs go onto
the tape. Memory and link come in and go out as arrays of their own, so that the caller decides
which of them are kept.
"""

from __future__ import annotations

from dnc.cpu.address import (
    activate,
    allocation_forward,
    ascending_order,
    content_forward,
    usage_forward,
)
from dnc.cpu.elementary import INLINE, OPTIONS, copy_into
from dnc.cpu.link import link_forward, link_rows
from dnc.cpu.memory import combine, inverse_norms, scores, write
from dnc.cpu.sparse import clear_entries, sharpen, sparse_forward
from dnc.kernel_cache import inner_njit


@inner_njit(**OPTIONS)
def write_forward(t, b, tape, zeros, fresh, memory, new, epsilon):
    """Free, allocate, address and write: everything before the link."""
    heads, slots = zeros.reads.shape
    width = zeros.memory.shape[0]
    xi = tape.xi[t, b]
    activate(xi, tape.slopes[t, b], heads, width)
    one = xi.dtype.type(1)
    key = heads * width + heads
    erase = xi[key + width + 1 : key + 2 * width + 1]
    vector = xi[key + 2 * width + 1 : key + 3 * width + 1]
    gates = key + 3 * width + 1
    free = xi[gates : gates + heads]
    mix, gate = xi[gates + heads], xi[gates + heads + 1]
    usage = tape.usage[t + 1, b]
    before = zeros.slots if fresh else tape.usage[t, b]
    written = zeros.slots if fresh else tape.write_weights[t, b]
    read = zeros.reads if fresh else tape.read_weights[t, b]
    norms = zeros.norms if fresh else tape.norms[t, b]
    usage_forward(free, read, before, written, usage)
    order, allocated = tape.order[t, b], tape.allocation[t, b]
    for i in range(slots):
        order[i] = i if t == 0 else tape.order[t - 1, b, i]
    ascending_order(usage, order)
    allocation_forward(usage, order, allocated)
    cosine, content = tape.write_cosine[t, b], tape.write_content[t, b]
    # c_t^w = C(M_{t-1}, k^w, beta^w), before the write; c_t^r below on M_t
    scores(memory, xi[key : key + width].reshape(1, width), cosine)
    content_forward(xi[key : key + width], xi[key + width], norms, epsilon, cosine[0], content)
    weights = tape.write_weights[t + 1, b]
    p, total = tape.precedence[t + 1, b], one - one
    for i in range(slots):
        # w_t^w = g_w (g_a a_t + (1 - g_a) c_t^w)
        weights[i] = gate * (mix * allocated[i] + (one - mix) * content[i])
        total += weights[i]
    if fresh:
        copy_into(p, weights)
    else:
        for i in range(slots):
            # p_t = (1 - sum_j w_t^w[j]) p_{t-1} + w_t^w
            p[i] = (one - total) * tape.precedence[t, b, i] + weights[i]
    write(memory, new, weights, erase, vector)
    inverse_norms(new, epsilon, tape.norms[t + 1, b])


@inner_njit(**OPTIONS)
def read_forward(t, b, tape, memory, epsilon, out):
    """Address by content, mix with the links, read: after the link."""
    width, slots = memory.shape
    heads = tape.read_weights.shape[2]
    xi = tape.xi[t, b]
    keys = xi[: heads * width].reshape(heads, width)
    modes = xi[xi.shape[0] - 3 * heads :]
    cosine, content = tape.read_cosine[t, b], tape.read_content[t, b]
    norms, weights = tape.norms[t + 1, b], tape.read_weights[t + 1, b]
    forward, backward = tape.forward[t, b], tape.backward[t, b]
    scores(memory, keys, cosine)
    for r in range(heads):
        content_forward(keys[r], xi[heads * width + r], norms, epsilon, cosine[r], content[r])
        x, y, z = modes[3 * r], modes[3 * r + 1], modes[3 * r + 2]
        for i in range(slots):
            # w_t^{r,i} = pi[1] b_t^i + pi[2] c_t^{r,i} + pi[3] f_t^i
            weights[r, i] = x * backward[r, i] + y * content[r, i] + z * forward[r, i]
    combine(memory, weights, out.reshape(heads, width))  # r_t^i = M_t^T w_t^{r,i}


@inner_njit(**INLINE)
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


@inner_njit(**INLINE)
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


@inner_njit(**OPTIONS)
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
