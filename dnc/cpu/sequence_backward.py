"""Backward through `dnc.cpu.sequence`."""

from __future__ import annotations

from dnc.cpu.access_backward import access_backward, access_backward_sparse
from dnc.cpu.cell import cell_backward
from dnc.cpu.elementary import INLINE, OPTIONS, copy_into
from dnc.cpu.entry import entry
from dnc.cpu.register_tiles import multiply
from dnc.kernel_cache import inner_njit


@inner_njit(**OPTIONS)
def _layer(t, n, lo, hi, net, back, fresh):
    """Layer n: back.h becomes the gradient of what it saw, in back.seen."""
    layers, size = net.weights.shape[0], net.gates.shape[3] // 4
    own = n * size
    reads = net.out.shape[2] - layers * size
    for b in range(lo, hi):
        part = back.state[b, reads + own : reads + own + size]
        d_h = back.h[b, own : own + size]
        for k in range(size):
            d_h[k] += part[k]
        if n + 1 < layers:  # what the layer above saw of it
            above = back.seen[b, reads + size : reads + 2 * size]
            for k in range(size):
                d_h[k] += above[k]
        cell_backward(
            net.gates[t, b, n],
            net.c[t, b, own : own + size],
            net.c[t + 1, b, own : own + size],
            d_h,
            back.c[b, own : own + size],
            fresh[t, b],
        )
        back.seen[b, :] = 0
    multiply(net.gates[t, :, n], back.weights[n], 0, back.seen, lo, hi)
    for b in range(lo, hi):
        state, seen = back.state[b], back.seen[b]
        for k in range(reads):
            state[k] += seen[k]
        copy_into(state[reads + own : reads + own + size], seen[reads:])


@inner_njit(**OPTIONS)
def _controller_backward(t, lo, hi, net, back, fresh):
    """From back.xi[t] to back.state: of [r; h] of the step before."""
    layers, units = net.weights.shape[0], net.c.shape[2]
    reads = net.out.shape[2] - units
    for b in range(lo, hi):
        back.h[b, units:] = 0
        copy_into(back.h[b, :units], back.out[t, b])
        back.state[b, :reads] = 0
    multiply(back.xi[t], back.interface, 0, back.h, lo, hi)
    for n in range(layers - 1, -1, -1):
        _layer(t, n, lo, hi, net, back, fresh)
    for b in range(lo, hi):
        if fresh[t, b]:
            back.state[b, :] = 0


@inner_njit(**INLINE)
def _access(t, b, at, tape, zeros, fresh, memory, link, sparse, rule, grads, back):
    if sparse is None:
        access_backward(
            t,
            b,
            tape,
            zeros,
            fresh,
            memory[at, b],
            memory[at + 1, b],
            link[at, b],
            rule.epsilon,
            back.reads[b],
            grads,
            back.xi[t, b],
        )
    else:
        access_backward_sparse(
            t,
            b,
            tape,
            zeros,
            fresh,
            memory[at, b],
            memory[at + 1, b],
            sparse,
            rule.scaled,
            rule.epsilon,
            back.reads[b],
            grads,
            back.xi[t, b],
        )


@entry
def backward(
    lo, hi, start, stop, net, tape, zeros, fresh, memory, link, sparse, rule, grads, back
):
    """Steps stop - 1 to start of the lanes from lo to hi.

    Args:
        net, tape, zeros, fresh, memory, link, sparse, rule: as `forward` left
            them; net.gates become gradients before activation.
        grads: of the memory's state after the steps; leaves as of before.
        back: of the controller likewise, `dnc.engine.tape.NetGradients`; back.xi receives the
            gradient of the raw interface.
    """
    units = net.c.shape[2]
    _, heads, width = back.reads.shape
    for t in range(stop - 1, start - 1, -1):
        for b in range(lo, hi):
            for k in range(heads * width):
                back.reads[b, k // width, k % width] = back.state[b, k] + back.out[t, b, units + k]
            _access(
                t, b, t - start, tape, zeros, fresh[t, b], memory, link, sparse, rule, grads, back
            )
        _controller_backward(t, lo, hi, net, back, fresh)
