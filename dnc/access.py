"""One erase / write / link / read step of the memory, from its equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import chainer.functions as F

from dnc import addressing
from dnc.addressing import EPSILON, Array


class AccessState(NamedTuple):
    """Everything the memory carries from one step to the next."""

    memory: Array  # M, (B, N, W)
    usage: Array  # u, (B, N)
    precedence: Array  # p, (B, N)
    link: Array  # L, (B, N, N)
    write_weights: Array  # w^w, (B, N)
    read_weights: Array  # w^r, (B, R, N)


class Interface(NamedTuple):
    """The parts of the interface vector xi, activations applied."""

    read_keys: Array  # k^r, (B, R, W)
    read_strengths: Array  # beta^r, (B, R), at least 1
    write_key: Array  # k^w, (B, 1, W)
    write_strength: Array  # beta^w, (B, 1), at least 1
    erase: Array  # e, (B, W), in (0, 1)
    write_vector: Array  # v, (B, W)
    free_gates: Array  # f, (B, R), in (0, 1)
    allocation_gate: Array  # g^a, (B, 1), in (0, 1)
    write_gate: Array  # g^w, (B, 1), in (0, 1)
    read_modes: Array  # pi, (B, R, 3): backward, content, forward


class Addresses(NamedTuple):
    """What lies between an interface and its weightings; for traces."""

    retention: Array  # psi, (B, N)
    allocation: Array  # a, (B, N)
    write_content: Array  # c^w, (B, N)
    read_content: Array  # c^r, (B, R, N)
    forward: Array  # f = L w^r, (B, R, N)
    backward: Array  # b = L^T w^r, (B, R, N)


def interface_size(heads: int, width: int) -> int:
    """Length of xi: W R + 3 W + 5 R + 3."""
    return width * heads + 3 * width + 5 * heads + 3


def interface_slices(heads: int, width: int) -> Interface:
    """Where each part lies in xi, in the paper's order: a tuple of slices."""
    sizes = (heads * width, heads, width, 1, width, width, heads, 1, 1, 3 * heads)
    stops = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return Interface(
        *(  # type: ignore[arg-type]
            slice(stop - size, stop) for size, stop in zip(sizes, stops)
        )
    )


def cut_interface(xi: Array, heads: int, width: int) -> Interface:
    """The parts of xi (..., W R + 3 W + 5 R + 3), each in its shape, as they are."""
    if xi.shape[-1] != interface_size(heads, width):
        raise ValueError(
            f'xi has {xi.shape[-1]} numbers but {heads} read heads of width '
            f'{width} need {interface_size(heads, width)}: was it made for '
            f'another memory?'
        )
    parts = Interface(*(xi[..., part] for part in interface_slices(heads, width)))
    lead = xi.shape[:-1]
    return parts._replace(
        read_keys=parts.read_keys.reshape(*lead, heads, width),
        write_key=parts.write_key.reshape(*lead, 1, width),
        read_modes=parts.read_modes.reshape(*lead, heads, 3),
    )


def parse_interface(xi: Array, heads: int, width: int) -> Interface:
    """Cut xi (B, W R + 3 W + 5 R + 3) and apply the paper's activations."""
    raw = cut_interface(xi, heads, width)
    # hats of the paper are the raw parts: beta = oneplus(beta^), e = sigmoid(e^), ...
    return raw._replace(
        read_strengths=addressing.oneplus(raw.read_strengths),
        write_strength=addressing.oneplus(raw.write_strength),
        erase=F.sigmoid(raw.erase),
        free_gates=F.sigmoid(raw.free_gates),
        allocation_gate=F.sigmoid(raw.allocation_gate),
        write_gate=F.sigmoid(raw.write_gate),
        read_modes=F.softmax(raw.read_modes, axis=2),
    )


def access(
    xi: Interface,
    state: AccessState,
    link_update: Callable[[Array, Array, Array], Array] = addressing.temporal_link,
    epsilon: float = EPSILON,
) -> tuple[Array, AccessState, Addresses]:
    """Free, write, link and read once.

    Args:
        xi: the step's interface.
        state: of the step before.
        link_update: (L_{t-1}, p_{t-1}, w^w_t) -> L_t.
        epsilon: added to the squared norms of the content addressing.
    Returns:
        read vectors (B, R, W), the new state, and the addresses in between.
    """
    psi = addressing.retention(xi.free_gates, state.read_weights)  # psi_t
    usage = addressing.usage(state.usage, state.write_weights, psi)  # u_t
    allocated = addressing.allocation(usage)  # a_t
    # c_t^w on M_{t-1}, c_t^r below on M_t
    content = addressing.content_weighting(state.memory, xi.write_key, xi.write_strength, epsilon)[
        :, 0
    ]
    write_weights = addressing.write_weighting(  # w_t^w
        xi.write_gate, xi.allocation_gate, allocated, content
    )
    # M_t
    memory = addressing.erase_and_write(state.memory, write_weights, xi.erase, xi.write_vector)
    link = link_update(state.link, state.precedence, write_weights)  # L_t, from p_{t-1}
    precedence = addressing.precedence(state.precedence, write_weights)  # p_t
    forward = addressing.forward_weighting(link, state.read_weights)  # f_t = L_t w_{t-1}^r
    backward = addressing.backward_weighting(link, state.read_weights)  # b_t = L_t^T w_{t-1}^r
    read_content = addressing.content_weighting(memory, xi.read_keys, xi.read_strengths, epsilon)
    # w_t^r
    read_weights = addressing.read_weighting(xi.read_modes, backward, read_content, forward)
    return (
        addressing.read(memory, read_weights),  # r_t
        AccessState(memory, usage, precedence, link, write_weights, read_weights),
        Addresses(psi, allocated, content, read_content, forward, backward),
    )
