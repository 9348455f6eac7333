"""What the DNC carries from one step to the next."""

from __future__ import annotations

from typing import Any, NamedTuple

from dnc.addressing import Array


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


def reset_state(state: DNCState, reset: Any) -> DNCState:
    """Zero the whole state of the lanes where reset (B,) is 1."""
    return type(state)(
        *(
            field * (1 - reset).astype(field.dtype).reshape(-1, *(1,) * (field.ndim - 1))
            for field in state
        )
    )
