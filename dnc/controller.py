"""The controller: a deep LSTM."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import chainer.functions as F

from dnc.addressing import Array


def deep_lstm(
    layers: Iterable[Callable[[Array], Array]], chi: Array, c: Array, h: Array
) -> tuple[Array, Array]:
    """One step of the paper's controller.

    Layer l sees chi, its own output of the step before and the lower layer's output of this step.

    Args:
        layers: per layer the affine map of [chi; own h; lower h] to the gates in the order input,
            forget, output, candidate, (B, 4 H).
        chi: [x; r] of the step, (B, X + R W).
        c: cells of all layers side by side, (B, layers * H).
        h: outputs, likewise.
    Returns:
        the new c and h.
    """
    layers = tuple(layers)
    size = h.shape[1] // len(layers)
    cells: list[Array] = []
    outputs: list[Array] = []
    for index, layer in enumerate(layers):
        own = slice(index * size, (index + 1) * size)
        gates = layer(F.concat([chi, h[:, own], *outputs[-1:]]))
        i, f, o, g = F.split_axis(gates, 4, axis=1)
        cells.append(F.sigmoid(f) * c[:, own] + F.sigmoid(i) * F.tanh(g))  # s_t^l
        outputs.append(F.sigmoid(o) * F.tanh(cells[-1]))  # h_t^l = o tanh(s_t^l)
    return F.concat(cells), F.concat(outputs)
