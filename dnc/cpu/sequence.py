"""The DNC over many time steps on the CPU, some lanes of the batch."""

from __future__ import annotations

from dnc.cpu.access import access_forward, access_forward_sparse, replay_step
from dnc.cpu.cell import cell_forward
from dnc.cpu.elementary import INLINE, OPTIONS, copy_into
from dnc.cpu.entry import entry
from dnc.cpu.memory import inverse_norms
from dnc.cpu.register_tiles import multiply
from dnc.cpu.sparse import count_entries, list_entries
from dnc.kernel_cache import inner_njit


@inner_njit(**OPTIONS)
def _controller(t, lo, hi, net, fresh):
    """h of every layer at step t, into net.out, and the interface's sums."""
    layers, size = net.weights.shape[0], net.gates.shape[3] // 4
    units, inputs = layers * size, net.xs.shape[2]
    reads = net.out.shape[2] - units
    seen, out = net.seen[t], net.out[t]
    for n in range(layers):
        own = n * size
        weights = net.weights[n]
        for b in range(lo, hi):
            copy_into(net.sums[b], net.bias[n])
        multiply(net.xs[t, :, :inputs], weights, 0, net.sums, lo, hi)
        multiply(seen[:, :reads], weights, inputs, net.sums, lo, hi)
        rest = inputs + reads
        part = seen[:, reads + own : reads + own + size]
        multiply(part, weights, rest, net.sums, lo, hi)
        if n:
            rest += size
            multiply(out[:, own - size : own], weights, rest, net.sums, lo, hi)
        for b in range(lo, hi):
            cell_forward(
                net.sums[b],
                net.gates[t, b, n],
                net.c[t, b, own : own + size],
                net.c[t + 1, b, own : own + size],
                out[b, own : own + size],
                fresh[t, b],
            )
    for b in range(lo, hi):
        net.xi[b, :] = 0
    multiply(out[:, :units], net.interface, 0, net.xi, lo, hi)  # xi_t = W_xi [h^1 .. h^L]


@inner_njit(**OPTIONS)
def _hand_on(out, seen, units, fresh):
    """[h; r] to what the controller sees at the next step, [r; h]."""
    reads = seen.shape[0] - units
    if fresh:
        seen[:] = 0
    else:
        copy_into(seen[:reads], out[units:])
        copy_into(seen[reads:], out[:units])


@inner_njit(**OPTIONS)
def _begin(b, ends, memory, link, tape, sparse, epsilon):
    """Lane b's memory, transposed, and its link, from what comes in."""
    for j in range(memory.shape[0]):
        for i in range(memory.shape[1]):
            memory[j, i] = ends.memory[b, i, j]
    inverse_norms(memory, epsilon, tape.norms[0, b])
    for i in range(link.shape[0]):
        copy_into(link[i], ends.link[b, i])
    if sparse is not None:
        sparse.length[b] = list_entries(link, sparse.live[b], sparse.length[b])


@inner_njit(**INLINE)
def _access(t, b, at, tape, zeros, fresh, memory, link, sparse, rule, out):
    """Lane b's memory at step t, the state number `at` of the block."""
    if sparse is None:
        access_forward(
            t,
            b,
            tape,
            zeros,
            fresh,
            memory[at, b],
            memory[at + 1, b],
            link[at, b],
            link[at + 1, b],
            rule.epsilon,
            out,
        )
    else:
        access_forward_sparse(
            t,
            b,
            tape,
            zeros,
            fresh,
            memory[at, b],
            memory[at + 1, b],
            link[0, b],
            sparse,
            rule.scaled,
            rule.threshold,
            rule.epsilon,
            out,
        )


@entry
def forward(lo, hi, start, stop, ends, net, tape, zeros, fresh, memory, link, sparse, rule):
    """Steps start to stop of the lanes from lo to hi.

    Args:
        ends: what the sequence starts from, see `dnc.engine.tape`.
        net: the controller, see `dnc.engine.tape.Net`.
        tape, zeros: see `dnc.engine.tape`.
        fresh: (T + 1, B) bool, where the state before a step is zero.
        memory: (steps + 1, B, W, N), entry 0 from the block before.
        link: (steps + 1, B, N, N) likewise; (1, B, N, N), which is updated in place, if sparse is
            a `dnc.engine.tape.Sparse` and not None.
        rule: numbers of the engine, `dnc.engine.tape.Rule`.
    """
    units = net.c.shape[2]
    if start == 0:
        for b in range(lo, hi):
            _begin(b, ends, memory[0, b], link[0, b], tape, sparse, rule.epsilon)
    for t in range(start, stop):
        _controller(t, lo, hi, net, fresh)
        for b in range(lo, hi):
            xi, out = tape.xi[t, b], net.out[t, b]
            copy_into(xi, net.xi[b])
            _access(
                t, b, t - start, tape, zeros, fresh[t, b], memory, link, sparse, rule, out[units:]
            )
            _hand_on(out, net.seen[t + 1, b], units, fresh[t + 1, b])


@entry
def replay(lo, hi, start, stop, tape, zeros, fresh, memory, link):
    """Memory and dense link of the steps start to stop again.

    link may be (1, B, 0, 0): then it is the memory alone.
    """
    dense = link.shape[3] > 0
    for t in range(start, stop):
        at = t - start
        for b in range(lo, hi):
            replay_step(
                t,
                b,
                tape,
                zeros,
                fresh[t, b],
                memory[at, b],
                memory[at + 1, b],
                link[at if dense else 0, b],
                link[at + 1 if dense else 0, b],
            )


@entry
def count_links(lo, hi, link, counts):
    """How many entries of each link (B, N, N) are not zero."""
    for b in range(lo, hi):
        counts[b] = count_entries(link[b])
