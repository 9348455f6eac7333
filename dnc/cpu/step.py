"""One lane's step up to the link and from the link on, on the CPU."""

from __future__ import annotations

from numba import njit

from dnc.cpu.address import (
    activate,
    allocation_forward,
    ascending_order,
    content_forward,
    usage_forward,
)
from dnc.cpu.elementary import OPTIONS, copy_into
from dnc.cpu.memory import combine, inverse_norms, scores, write


@njit(**OPTIONS)
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
    scores(memory, xi[key : key + width].reshape(1, width), cosine)
    content_forward(xi[key : key + width], xi[key + width], norms, epsilon, cosine[0], content)
    weights = tape.write_weights[t + 1, b]
    p, total = tape.precedence[t + 1, b], one - one
    for i in range(slots):
        weights[i] = gate * (mix * allocated[i] + (one - mix) * content[i])
        total += weights[i]
    if fresh:
        copy_into(p, weights)
    else:
        for i in range(slots):
            p[i] = (one - total) * tape.precedence[t, b, i] + weights[i]
    write(memory, new, weights, erase, vector)
    inverse_norms(new, epsilon, tape.norms[t + 1, b])


@njit(**OPTIONS)
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
            weights[r, i] = x * backward[r, i] + y * content[r, i] + z * forward[r, i]
    combine(memory, weights, out.reshape(heads, width))
