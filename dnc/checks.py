"""Bad arguments are named before they fail somewhere deep."""

from __future__ import annotations

from typing import Any

ENGINES = ('fused', 'reference')


def check_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f'{name} is {value} but must be at least 1')


def checked_engine(engine: str) -> str:
    if engine not in ENGINES:
        raise ValueError(f'engine is {engine!r} but must be one of {ENGINES}')
    return engine


def check_sequence(xs: Any, reset: Any, lanes: int | None, input_size: int, dtype: Any) -> None:
    """xs must be (T, B, X) of dtype, reset (T, B) or None, the state's lanes B or None."""
    if xs.ndim != 3 or xs.shape[2] != input_size or not xs.shape[0]:
        raise ValueError(
            f'xs is {xs.shape} but must be (T, B, {input_size}) with T at '
            f'least 1: is time the first axis and the feature count right?'
        )
    if xs.dtype != dtype:
        raise ValueError(f'xs is {xs.dtype} but the parameters are {dtype}: cast one of them')
    if lanes is not None and lanes != xs.shape[1]:
        raise ValueError(
            f'state has {lanes} lanes but xs has {xs.shape[1]}: are time and batch swapped, or '
            f'was it made for another batch?'
        )
    if reset is not None and reset.shape != xs.shape[:2]:
        raise ValueError(
            f'reset is {reset.shape} but xs has T, B = {xs.shape[:2]}: one '
            f'0 or 1 per step and lane'
        )
