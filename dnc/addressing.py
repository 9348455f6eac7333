"""One equation of the Nature paper per pure function, in its symbols.

Source: Graves et al., *Hybrid computing using a neural network with dynamic external memory*,
Nature 538 (2016), Methods.

Shapes: B samples, N memory slots of W numbers each, R read heads. Every function is batched, keeps
the dtype of its inputs and runs on NumPy and CuPy; sample b of a result depends on sample b of the
inputs only. Variables give Variables; plain arrays are taken too (and may give plain arrays).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import chainer.functions as F
from chainer import as_variable, backend

Array: TypeAlias = Any  # a Variable, or an array of the link's backend

EPSILON = 1e-6


def oneplus(x: Array) -> Array:
    """1 + log(1 + e^x): strengths, at least 1."""
    return 1 + F.softplus(x)


def cosine_similarity(memory: Array, keys: Array, epsilon: float = EPSILON) -> Array:
    """D(u, v) = u.v / (|u| |v|) of every key with every slot.

    The paper starts from an all-zero memory, where D is undefined: epsilon is added to the squared
    norms, so values and gradients stay finite.

    Args:
        memory: M, (B, N, W).
        keys: k, (B, R, W).
        epsilon: added to each squared norm.
    Returns:
        (B, R, N), in [-1, 1].
    """
    slot_norm = F.sqrt(F.sum(memory * memory, axis=2) + epsilon)
    key_norm = F.sqrt(F.sum(keys * keys, axis=2) + epsilon)
    dot = F.matmul(keys, memory, transb=True)
    return dot / (key_norm[:, :, None] * slot_norm[:, None, :])


def content_weighting(
    memory: Array, keys: Array, strengths: Array, epsilon: float = EPSILON
) -> Array:
    """C(M, k, beta): softmax over slots of beta D(k, M[i]).

    Args:
        memory: M, (B, N, W).
        keys: k, (B, R, W).
        strengths: beta, (B, R).
    Returns:
        c, (B, R, N), each row sums to 1.
    """
    similarity = cosine_similarity(memory, keys, epsilon)
    return F.softmax(strengths[:, :, None] * similarity, axis=2)


def retention(free_gates: Array, read_weights: Array) -> Array:
    """psi = prod_i (1 - f^i w^{r,i}_{t-1}): how much is not freed.

    Args:
        free_gates: f, (B, R).
        read_weights: w^r of the step before, (B, R, N).
    Returns:
        psi, (B, N).
    """
    return F.prod(1 - free_gates[:, :, None] * read_weights, axis=1)


def usage(previous: Array, write_weights: Array, psi: Array) -> Array:
    """u_t = (u + w^w - u w^w) psi, with u and w^w of the step before.

    All (B, N).
    """
    u, w = previous, write_weights
    return (u + w - u * w) * psi


def allocation(u: Array) -> Array:
    """a[phi_j] = (1 - u[phi_j]) prod_{i<j} u[phi_i], phi sorts u upwards.

    Gradients flow through the values; only the discontinuity of the sort is ignored. Equal usages
    keep the order of their slots.

    Args:
        u: usage, (B, N).
    Returns:
        a, (B, N), sums to at most 1.
    """
    u = as_variable(u)
    xp = backend.get_array_module(u)
    batch = xp.arange(u.shape[0])[:, None]
    order = _stable_argsort(xp, u.array)
    ascending = u[batch, order]
    ones = xp.ones_like(u.array[:, :1])
    # prod_{i<j} u[phi_i]
    before = F.concat([ones, F.cumprod(ascending, axis=1)[:, :-1]], axis=1)
    # a[phi_j], each back at its own slot
    return ((1 - ascending) * before)[batch, xp.argsort(order, axis=1)]


def write_weighting(
    write_gate: Array, allocation_gate: Array, allocated: Array, content: Array
) -> Array:
    """w^w = g^w (g^a a + (1 - g^a) c^w); gates (B, 1), the rest (B, N)."""
    mixed = allocation_gate * allocated + (1 - allocation_gate) * content
    return write_gate * mixed


def erase_and_write(memory: Array, write_weights: Array, erase: Array, vector: Array) -> Array:
    """M_t = M_{t-1} (1 - w^w e^T) + w^w v^T.

    Args:
        memory: M_{t-1}, (B, N, W).
        write_weights: w^w, (B, N).
        erase: e, (B, W), in [0, 1].
        vector: v, (B, W).
    """
    w = write_weights[:, :, None]
    return memory * (1 - w * erase[:, None, :]) + w * vector[:, None, :]


def precedence(previous: Array, write_weights: Array) -> Array:
    """p_t = (1 - sum_i w^w[i]) p_{t-1} + w^w, all (B, N)."""
    total = F.sum(write_weights, axis=1, keepdims=True)
    return (1 - total) * previous + write_weights


def temporal_link(link: Array, previous_precedence: Array, write_weights: Array) -> Array:
    """L_t[i, j] = (1 - w[i] - w[j]) L_{t-1}[i, j] + w[i] p_{t-1}[j], diag 0.

    Args:
        link: L_{t-1}, (B, N, N).
        previous_precedence: p_{t-1}: the one before this write, (B, N).
        write_weights: w^w_t, (B, N).
    """
    xp = backend.get_array_module(write_weights)
    rows, columns = write_weights[:, :, None], write_weights[:, None, :]
    updated = (1 - rows - columns) * link + rows * previous_precedence[:, None, :]
    slots = link.shape[1]
    return updated * (1 - xp.eye(slots, dtype=link.dtype))


def sharpened(weights: Array, k: int, scaled: bool = False, epsilon: float = EPSILON) -> Array:
    """The k largest weights at their own slots, divided by their sum.

    The paper's division by the sum ignores the write gate: a step that wrote next to nothing would
    still enter the links with full weight. Sums up to epsilon therefore give zeros, and with
    ``scaled`` (our choice, not the paper's) the result sums to min(1, sum of weights) instead of
    1.

    Args:
        weights: (B, N), not negative.
        k: how many stay; equal weights: the earlier slots stay.
    """
    weights = as_variable(weights)
    xp = backend.get_array_module(weights)
    largest = _stable_argsort(xp, -weights.array)[:, :k]
    mask = xp.zeros_like(weights.array)
    mask[xp.arange(len(mask))[:, None], largest] = 1
    kept = weights * mask
    total = F.sum(kept, axis=1, keepdims=True)
    written = total.array > epsilon
    safe = F.where(written, total, xp.ones_like(total.array))
    result = kept / safe * written.astype(weights.dtype)
    if scaled:
        result = result * F.minimum(
            xp.ones_like(total.array), F.sum(weights, axis=1, keepdims=True)
        )
    return result


def sparse_temporal_link(
    link: Array,
    previous_precedence: Array,
    write_weights: Array,
    k: int,
    scaled: bool = False,
    epsilon: float = EPSILON,
) -> Array:
    """The link update with sharpened w^w and p, entries below 1/k dropped.

    Rows sum to at most 1, so at most k entries of a row survive. Columns of the dense link do too;
    here they may sum to more, because the sharpened precedence is not the one its own sharpened
    writes would have left.

    Arguments as for `temporal_link`; k, scaled, epsilon as for `sharpened`.
    """
    updated = temporal_link(
        link,
        sharpened(previous_precedence, k, scaled, epsilon),
        sharpened(write_weights, k, scaled, epsilon),
    )
    return updated * (updated.array >= 1 / k).astype(updated.dtype)


def forward_weighting(link: Array, read_weights: Array) -> Array:
    """f^i = L w^{r,i}_{t-1}: (B, N, N), (B, R, N) -> (B, R, N)."""
    return F.matmul(read_weights, link, transb=True)


def backward_weighting(link: Array, read_weights: Array) -> Array:
    """b^i = L^T w^{r,i}_{t-1}: (B, N, N), (B, R, N) -> (B, R, N)."""
    return F.matmul(read_weights, link)


def read_weighting(modes: Array, backward: Array, content: Array, forward: Array) -> Array:
    """w^r = pi[1] b + pi[2] c^r + pi[3] f; modes (B, R, 3), rest (B, R, N)."""
    return modes[:, :, :1] * backward + modes[:, :, 1:2] * content + modes[:, :, 2:] * forward


def read(memory: Array, read_weights: Array) -> Array:
    """r^i = M^T w^{r,i}: (B, N, W), (B, R, N) -> (B, R, W)."""
    return F.matmul(read_weights, memory)


def _stable_argsort(xp, values):
    if xp.__name__ == 'numpy':
        return values.argsort(axis=1, kind='stable')
    return values.argsort(axis=1)  # CuPy's sort is stable
