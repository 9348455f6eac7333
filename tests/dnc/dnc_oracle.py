"""The DNC as plain loops over one sample, written from the paper.

No Chainer, no vectorised shortcuts, float64: what the tests compare with.
"""

import math

import numpy as np

EPSILON = 1e-6  # in the squared norms: the paper starts from M = 0


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def softmax(row):
    exps = [math.exp(value - max(row)) for value in row]
    return [value / sum(exps) for value in exps]


def content(memory, key, strength):
    """C(M, k, beta)."""
    scores = []
    for slot in memory:
        dot = sum(a * b for a, b in zip(slot, key))
        norms = [math.sqrt(sum(a * a for a in v) + EPSILON) for v in (slot, key)]
        scores.append(strength * dot / (norms[0] * norms[1]))
    return softmax(scores)


def allocation(usage):
    """a[phi_j] = (1 - u[phi_j]) prod_{i<j} u[phi_i]."""
    free_list = sorted(range(len(usage)), key=lambda slot: usage[slot])
    result = [0.0] * len(usage)
    for j, slot in enumerate(free_list):
        product = 1.0
        for earlier in free_list[:j]:
            product *= usage[earlier]
        result[slot] = (1 - usage[slot]) * product
    return result


def sharpened(weights, k, scaled):
    """The k largest at their own slots, divided by their sum."""
    order = sorted(range(len(weights)), key=lambda slot: -weights[slot])
    total = sum(weights[slot] for slot in order[:k])
    result = [0.0] * len(weights)
    if total > EPSILON:
        for slot in order[:k]:
            result[slot] = weights[slot] / total
            if scaled:
                result[slot] *= min(1, sum(weights))
    return result


def link_step(link, precedence, weights, k=None, scaled=False):
    """L_t from L_{t-1}, p_{t-1} and w^w_t; k is the sparse link's K."""
    if k:
        weights = sharpened(weights, k, scaled)
        precedence = sharpened(precedence, k, scaled)
    slots = len(weights)
    result = np.zeros((slots, slots))
    for i in range(slots):
        for j in range(slots):
            if i != j:
                result[i, j] = (1 - weights[i] - weights[j]) * link[i, j] + weights[
                    i
                ] * precedence[j]
                if k and result[i, j] < 1 / k:
                    result[i, j] = 0
    return result


class Memory:
    """One sample's memory: `step` takes a raw interface vector."""

    def __init__(self, slots, width, heads, k=None, scaled=False):
        self.slots, self.width, self.heads = slots, width, heads
        self.k, self.scaled = k, scaled
        self.memory = np.zeros((slots, width))
        self.usage = np.zeros(slots)
        self.precedence = np.zeros(slots)
        self.link = np.zeros((slots, slots))
        self.write_weights = np.zeros(slots)
        self.read_weights = np.zeros((heads, slots))
        self.read_vectors = np.zeros((heads, width))

    def step(self, xi):
        xi, take = [float(value) for value in xi], iter(range(len(xi)))
        cut = lambda count: [xi[next(take)] for _ in range(count)]  # noqa: E731
        one_plus = lambda value: 1 + math.log1p(math.exp(value))  # noqa: E731
        keys = [cut(self.width) for _ in range(self.heads)]
        strengths = [one_plus(value) for value in cut(self.heads)]
        write_key, write_strength = cut(self.width), one_plus(cut(1)[0])
        erase = [sigmoid(value) for value in cut(self.width)]
        vector = cut(self.width)
        free = [sigmoid(value) for value in cut(self.heads)]
        allocation_gate, write_gate = sigmoid(cut(1)[0]), sigmoid(cut(1)[0])
        modes = [softmax(cut(3)) for _ in range(self.heads)]

        self._free(free)
        write_content = content(self.memory, write_key, write_strength)
        allocated = allocation(self.usage)
        for i in range(self.slots):
            self.write_weights[i] = write_gate * (
                allocation_gate * allocated[i] + (1 - allocation_gate) * write_content[i]
            )
        for i in range(self.slots):
            for j in range(self.width):
                w = self.write_weights[i]
                self.memory[i, j] *= 1 - w * erase[j]
                self.memory[i, j] += w * vector[j]
        self.link = link_step(self.link, self.precedence, self.write_weights, self.k, self.scaled)
        written = sum(self.write_weights)
        for i in range(self.slots):
            self.precedence[i] *= 1 - written
            self.precedence[i] += self.write_weights[i]
        self._read(keys, strengths, modes)

    def _free(self, free):
        for i in range(self.slots):
            retention = 1.0
            for head in range(self.heads):
                retention *= 1 - free[head] * self.read_weights[head, i]
            u, w = self.usage[i], self.write_weights[i]
            self.usage[i] = (u + w - u * w) * retention

    def _read(self, keys, strengths, modes):
        new = np.zeros_like(self.read_weights)
        for head in range(self.heads):
            by_content = content(self.memory, keys[head], strengths[head])
            for i in range(self.slots):
                forward = backward = 0.0
                for j in range(self.slots):
                    old = self.read_weights[head, j]
                    forward += self.link[i, j] * old
                    backward += self.link[j, i] * old
                new[head, i] = (
                    modes[head][0] * backward
                    + modes[head][1] * by_content[i]
                    + modes[head][2] * forward
                )
        self.read_weights = new
        for head in range(self.heads):
            for j in range(self.width):
                self.read_vectors[head, j] = sum(
                    self.memory[i, j] * new[head, i] for i in range(self.slots)
                )


def lstm_layer(weight, bias, inputs, c):
    """Gates in the order input, forget, output, candidate."""
    size = len(c)
    gates = [
        float(bias[k]) + sum(float(w) * v for w, v in zip(weight[k], inputs))
        for k in range(4 * size)
    ]
    new_c, new_h = [], []
    for k in range(size):
        i, f, o = (sigmoid(gates[n * size + k]) for n in range(3))
        new_c.append(f * c[k] + i * math.tanh(gates[3 * size + k]))
        new_h.append(o * math.tanh(new_c[-1]))
    return new_c, new_h


def run(net, xs):
    """One sample through the parameters of `net`: xs (T, X) -> list of y.

    Returns the outputs and the memory after every step (deep copies are not
    kept: only the fields, as arrays).
    """
    memory = Memory(
        net.memory_length, net.memory_width, net.read_heads, net.link_sparsity, net.link_scaling
    )
    size, layers = net.hidden_size, net.layers
    c = [[0.0] * size for _ in range(layers)]
    h = [[0.0] * size for _ in range(layers)]
    outputs, history = [], []
    for x in xs:
        chi = [float(v) for v in x] + list(memory.read_vectors.ravel())
        lower = []
        for layer, linear in enumerate(net.gates):
            c[layer], h[layer] = lstm_layer(
                linear.W.array, linear.b.array, chi + h[layer] + lower, c[layer]
            )
            lower = h[layer]
        all_h = np.array([v for layer in h for v in layer])
        memory.step(net.interface.W.array.astype(np.float64) @ all_h)
        r = memory.read_vectors.ravel()
        if hasattr(net, 'output'):
            outputs.append(net.output.W.array @ all_h + net.read_output.W.array @ r)
        else:
            outputs.append(np.concatenate([all_h, r]))
        history.append({name: np.array(value) for name, value in vars(memory).items()})
    return np.array(outputs), history
