"""What PPO makes small: strictly (T, B), nothing is broadcast."""

from __future__ import annotations

import chainer.functions as F

from chainer_wm.returns import check_time_batch


def clipped_objective(log_probs, old_log_probs, advantages, clip: float):
    """min(ratio A, clip(ratio) A), to be made large; no reduction.

    Args:
        log_probs: (T, B) Variable, of the policy that learns.
        old_log_probs: (T, B), of the policy that acted.
        advantages: (T, B).
        clip: how far the ratio may leave 1.

    Returns:
        (T, B) Variable.

    Raises:
        ValueError: the shapes are not one (T, B).
    """
    check_time_batch(
        log_probs=log_probs,
        old_log_probs=old_log_probs,
        advantages=advantages,
    )
    ratio = F.exp(log_probs - old_log_probs)
    return F.minimum(
        ratio * advantages, F.clip(ratio, 1 - clip, 1 + clip) * advantages
    )


def value_loss(values, returns):
    """0.5 (V - R)^2, summed over streams, mean over steps: a scalar.

    Args:
        values: (T, B, V) Variable.
        returns: (T, B, V).
    """
    if values.shape != returns.shape or values.ndim != 3:
        raise ValueError(
            f'values {values.shape} and returns {returns.shape} must both be '
            '(T, B, V): nothing is broadcast'
        )
    steps = values.shape[0] * values.shape[1]
    return F.sum((values - returns) ** 2) / (2 * steps)
