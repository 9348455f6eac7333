"""What the DNC carries from one step to the next."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import chainer
import chainer.functions as F

from dnc.addressing import Array

State = TypeVar('State', bound=tuple)


class DNCState(NamedTuple):
    """What the DNC carries from step to step; every field batch first."""

    c: Array  # cells of all layers side by side, (B, layers * H)
    h: Array  # outputs of all layers side by side, (B, layers * H)
    memory: Array  # M, (B, N, W)
    usage: Array  # u, (B, N)
    precedence: Array  # p, (B, N)
    link: Array  # L, (B, N, N)
    write_weights: Array  # w^w, (B, N)
    read_weights: Array  # w^r, (B, R, N)
    read_vectors: Array  # r, (B, R, W)


def reset_state(state: State, reset) -> State:
    """Zero the state of the lanes that start anew.

    Args:
        state: NamedTuple of arrays or Variables, every field (B, ...).
        reset: (B,) of 0 and 1; 1 zeroes the lane.

    Returns:
        A state of the same type. No gradient crosses a reset.
    """

    def keep(field):
        field = chainer.as_variable(field)
        starts = reset.reshape((-1,) + (1,) * (field.ndim - 1)) != 0
        xp = chainer.backend.get_array_module(starts)
        return F.where(xp.broadcast_to(starts, field.shape), xp.zeros_like(field.array), field)

    return type(state)(*(keep(field) for field in state))
