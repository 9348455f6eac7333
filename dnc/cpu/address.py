"""Addressing of one sample on the CPU: forward, and backward by hand.

The equations are those of `dnc.addressing`; here every function takes the arrays of one sample and
writes its results into arrays it is given.
Gradients are named after what they belong to: d_x is dLoss / dx.
"""

from __future__ import annotations

import math

from dnc.cpu.elementary import OPTIONS, dot, exp, sigmoid, softmax_into
from dnc.kernel_cache import inner_njit


@inner_njit(**OPTIONS)
def activate(xi, slopes, heads, width):
    """Apply the interface's activations in place.

    slopes (R + 1,) receives the derivatives of the strengths (read, write), which cannot be told
    from the strengths to full precision.
    """
    one = xi.dtype.type(1)
    strengths = heads * width
    write_strength = strengths + heads + width
    for r in range(heads + 1):
        k = strengths + r if r < heads else write_strength
        x = xi[k]
        slopes[r] = sigmoid(x)  # d oneplus / dx
        xi[k] = one + max(x, one - one) + math.log1p(exp(-abs(x)))  # oneplus: 1 + ln(1 + e^x)
    erase = write_strength + 1
    gates = erase + 2 * width  # free, allocation, write
    modes = gates + heads + 2
    for k in range(erase, erase + width):
        xi[k] = sigmoid(xi[k])
    for k in range(gates, modes):
        xi[k] = sigmoid(xi[k])
    for k in range(modes, modes + 3 * heads, 3):
        softmax_into(xi[k : k + 3], one, xi[k : k + 3])


@inner_njit(**OPTIONS)
def activate_backward(xi, slopes, d_xi, heads, width):
    """From gradients of the activated parts to those of the raw xi."""
    one = xi.dtype.type(1)
    strengths = heads * width
    write_strength = strengths + heads + width
    for r in range(heads):
        d_xi[strengths + r] *= slopes[r]
    d_xi[write_strength] *= slopes[heads]
    erase = write_strength + 1
    gates = erase + 2 * width
    modes = gates + heads + 2
    for k in range(erase, erase + width):
        d_xi[k] *= xi[k] * (one - xi[k])
    for k in range(gates, modes):
        d_xi[k] *= xi[k] * (one - xi[k])
    for k in range(modes, modes + 3 * heads, 3):
        mean = dot(xi[k : k + 3], d_xi[k : k + 3])
        for m in range(k, k + 3):
            d_xi[m] = xi[m] * (d_xi[m] - mean)


@inner_njit(**OPTIONS)
def usage_forward(free, reads, usage, weights, out):
    """u_t from f (R,), and w^r (R, N), u, w^w (N,) of the step before."""
    one = free.dtype.type(1)
    for i in range(out.shape[0]):
        out[i] = usage[i] + weights[i] - usage[i] * weights[i]  # u + w^w - u w^w
    for r in range(free.shape[0]):
        # times psi_t = prod_r (1 - f^r w_{t-1}^{r})
        gate, read = free[r], reads[r]
        for i in range(out.shape[0]):
            out[i] *= one - gate * read[i]


@inner_njit(**OPTIONS)
def usage_backward(free, reads, usage, weights, d_usage, d_weights, d_reads, d_free, others):
    """d_usage goes from u_t to u_{t-1}; the others are added to.

    others (N,) is scratch.
    """
    one = free.dtype.type(1)
    heads, slots = reads.shape
    for r in range(heads):
        # others: what psi receives, times the factors of the other heads
        for i in range(slots):
            u, w = usage[i], weights[i]
            others[i] = d_usage[i] * (u + w - u * w)
        for s in range(heads):
            if s != r:
                gate = free[s]
                for i in range(slots):
                    others[i] *= one - gate * reads[s, i]
        total, gate = one - one, free[r]
        for i in range(slots):
            total -= others[i] * reads[r, i]
            d_reads[r, i] -= others[i] * gate
        d_free[r] += total
    psi = others
    psi[:] = one
    for r in range(heads):
        gate = free[r]
        for i in range(slots):
            psi[i] *= one - gate * reads[r, i]
    for i in range(slots):
        d_psi = d_usage[i] * psi[i]
        d_weights[i] += d_psi * (one - usage[i])
        d_usage[i] = d_psi * (one - weights[i])


@inner_njit(**OPTIONS)
def _before(values, slot, other):
    return values[slot] < values[other] or (values[slot] == values[other] and slot < other)


@inner_njit(**OPTIONS)
def _heap_order(values, order):
    """Heap sort, stable since equal values go by their slots."""
    size = order.shape[0]
    for step in range(size // 2 + size - 1):
        if step < size // 2:  # build the heap
            start, stop = size // 2 - 1 - step, size
        else:  # the largest goes behind the rest
            start, stop = 0, size - 1 - (step - size // 2)
            order[0], order[stop] = order[stop], order[0]
        slot = order[start]
        child = 2 * start + 1
        while child < stop:
            if child + 1 < stop and _before(values, order[child], order[child + 1]):
                child += 1
            if not _before(values, slot, order[child]):
                break
            order[start] = order[child]
            start, child = child, 2 * child + 1
        order[start] = slot


@inner_njit(**OPTIONS)
def ascending_order(values, order):
    """Stable argsort; order comes in as a guess, a permutation.

    Usage changes little from step to step, so an insertion sort that starts from the step before
    is done in about N moves; where it is not, a heap
    sort takes over.
    """
    moves = 16 * values.shape[0]
    for k in range(values.shape[0]):
        slot = order[k]
        x = values[slot]
        j = k
        while j > 0:
            other = order[j - 1]
            y = values[other]
            if y < x or (y == x and other < slot):
                break
            order[j] = other
            j -= 1
        order[j] = slot
        moves -= k - j
        if moves < 0:
            _heap_order(values, order)
            return


@inner_njit(**OPTIONS)
def allocation_forward(usage, order, out):
    one = usage.dtype.type(1)
    product = one
    for i in order:
        out[i] = (one - usage[i]) * product  # a_t[phi_j] = (1 - u_t[phi_j]) prod_{k<j} u_t[phi_k]
        product *= usage[i]


@inner_njit(**OPTIONS)
def allocation_backward(usage, order, d_allocation, d_usage, products):
    """Adds to d_usage; products (N,) is scratch."""
    one = usage.dtype.type(1)
    product = one
    for j in range(order.shape[0]):
        products[j] = product
        product *= usage[order[j]]
    d_product = one - one
    for j in range(order.shape[0] - 1, -1, -1):
        i = order[j]
        d_usage[i] += products[j] * (d_product - d_allocation[i])
        d_product = d_allocation[i] * (one - usage[i]) + d_product * usage[i]


@inner_njit(**OPTIONS)
def inverse_norm(vector, epsilon):
    one = vector.dtype.type(1)
    return one / math.sqrt(dot(vector, vector) + epsilon)


@inner_njit(**OPTIONS)
def content_forward(key, strength, norms, epsilon, cosine, out):
    """cosine (N,) comes in as M k and is scaled; out = softmax."""
    norm = inverse_norm(key, epsilon)
    for i in range(norms.shape[0]):
        cosine[i] *= norm * norms[i]  # D(k, M[i]) = k . M[i] / (|k| |M[i]|)
    softmax_into(cosine, strength, out)  # C(M, k, beta)[i], softmax of beta D


@inner_njit(**OPTIONS)
def content_backward(key, strength, norms, epsilon, cosine, content, d_content, pulls, d_key):
    """Backward through one key's content weighting.

    d_content comes in as the gradient and leaves as g_i, what the dot
    product k . M[i] receives; pulls_i gains what |M[i]| receives, so that dM[i] = g_i k - pulls_i
    M[i], and d_key (which gains its own share of
    |k|) still lacks sum_i g_i M[i].

    Returns the gradient of the strength.
    """
    norm = inverse_norm(key, epsilon)
    mean = dot(content, d_content)
    d_strength = d_key_norm = content.dtype.type(0)
    for i in range(norms.shape[0]):
        d_score = content[i] * (d_content[i] - mean)  # of beta D, through the softmax
        d_strength += d_score * cosine[i]
        d_cosine = d_score * strength
        d_key_norm += d_cosine * cosine[i]
        d_content[i] = d_cosine * norm * norms[i]
        pulls[i] += d_cosine * cosine[i] * norms[i] * norms[i]
    for j in range(key.shape[0]):
        d_key[j] -= d_key_norm * norm * norm * key[j]
    return d_strength
