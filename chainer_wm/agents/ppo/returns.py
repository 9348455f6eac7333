"""Returns and advantages of B lanes side by side over T steps.

All arrays are (T, B): time first, never (T,) and never (T, 1). A (T,) beside
a (T, 1) broadcasts to (T, T) without a word, and a policy trained on that learns nothing of which
action earned what; here it is an error.

Two kinds of reward streams are told apart. An *episodic* one ends with its
episode: nothing that comes later counts. Where the episode was only cut off (*truncated*, by a
time limit), the value of its last observation stands for what was cut; where it *terminated*,
nothing does. A *non-episodic* one goes
on into the next episode as if nothing had happened (curiosity, in Random
Network Distillation: Burda et al., 2018, section 2.3).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import chainer
import numpy as np

Array = Any  # numpy or cupy


class Advantages(NamedTuple):
    """What a policy and a value function learn from.

    Fields:
        advantages: (T, B).
        returns: (T, B) targets of the value function: advantages + values.
    """

    advantages: Array
    returns: Array


def check_time_batch(**arrays: Array | None) -> None:
    """Raise ValueError unless all arrays are (T, B), and of one shape.

    Args:
        arrays: by name; None is skipped.
    """
    shapes = {name: tuple(a.shape) for name, a in arrays.items() if a is not None}
    if len(set(shapes.values())) > 1 or any(len(shape) != 2 for shape in shapes.values()):
        said = ', '.join(f'{name} {shape}' for name, shape in shapes.items())
        raise ValueError(
            f'shapes must be one (T, B), but are: {said}; (T,) beside (T, 1) '
            'would broadcast to (T, T)'
        )


def _check_lanes(name: str, array: Array, lanes: int) -> None:
    if array.shape != (lanes,):
        raise ValueError(
            f'{name} has shape {array.shape}, but there are {lanes} lanes: ({lanes},) is wanted'
        )


def _dtype(*arrays: Array) -> np.dtype:
    """The floating-point type that holds the arrays; never an integer."""
    found = np.result_type(*(a.dtype for a in arrays))
    return found if found.kind == 'f' else np.dtype(np.float64)


def generalized_advantages(
    rewards: Array,
    values: Array,
    last_values: Array,
    discount: float,
    decay: float,
    terminated: Array | None = None,
    truncated: Array | None = None,
    cut_values: Array | None = None,
) -> Advantages:
    """Generalised advantage estimation (Schulman et al., 2015).

    delta_t = r_t + gamma * V(s_{t+1}) - V(s_t) and
    A_t = delta_t + gamma * lambda * A_{t+1}; in an episodic stream A_{t+1} counts only within an
    episode, and V(s_{t+1}) is 0 after a death and that of the last observation after a cut.

    Args:
        rewards: (T, B), r_t is what the action of step t earned.
        values: (T, B), V of the observation that step t acted on.
        last_values: (B,), V of the observation after the last step; where an episode has just
            ended, that of the new episode's first one (only
            a non-episodic stream looks at it there).
        discount: gamma.
        decay: lambda; 0 looks one step ahead, 1 gives Monte-Carlo returns.
        terminated: (T, B) of 0 and 1: the episode's own end in step t. None makes the stream
            non-episodic.
        truncated: (T, B) of 0 and 1: the episode was cut off in step t. Where both are 1, the end
            counts.
        cut_values: (T, B), V of the last observation of the episode that was cut in step t;
            elsewhere not looked at.

    Returns:
        Advantages; targets of the value function are V + A.

    Raises:
        ValueError: shapes do not fit, ends of a non-episodic stream, or cuts without their values.
    """
    check_time_batch(
        rewards=rewards,
        values=values,
        terminated=terminated,
        truncated=truncated,
        cut_values=cut_values,
    )
    _check_lanes('last_values', last_values, rewards.shape[1])
    if terminated is None and truncated is not None:
        raise ValueError(
            'truncated without terminated: an episodic stream needs both, a '
            'non-episodic one neither'
        )
    xp = chainer.backend.get_array_module(rewards)
    dtype = _dtype(rewards, values)
    values = values.astype(dtype)
    following = xp.concatenate([values[1:], last_values[None].astype(dtype)])
    goes_on = xp.ones(rewards.shape, dtype)
    if terminated is not None:
        following = _episodic(following, terminated, truncated, cut_values)
        goes_on = 1 - _either(terminated, truncated).astype(dtype)
    deltas = rewards + discount * following - values  # delta_t = r_t + gamma V(s_{t+1}) - V(s_t)
    advantages = xp.zeros(rewards.shape, dtype)
    carried = xp.zeros(rewards.shape[1], dtype)
    for t in range(len(rewards) - 1, -1, -1):
        # A_t = delta_t + gamma lambda A_{t+1}
        carried = deltas[t] + discount * decay * goes_on[t] * carried
        advantages[t] = carried
    return Advantages(advantages, advantages + values)


def _either(terminated: Array, truncated: Array | None) -> Array:
    ends = terminated != 0
    return ends if truncated is None else ends | (truncated != 0)


def _episodic(following, terminated, truncated, cut_values) -> Array:
    """Values of the next observations, within episodes."""
    xp = chainer.backend.get_array_module(following)
    if truncated is not None and bool((truncated != 0).any()):
        if cut_values is None:
            raise ValueError(
                'episodes were cut, but cut_values is None: what would have come is unknown'
            )
        following = xp.where(truncated != 0, cut_values.astype(following.dtype), following)
    return xp.where(terminated != 0, xp.zeros_like(following), following)


def forward_discounted(
    rewards: Array, discount: float, state: Array | None = None
) -> tuple[Array, Array]:
    """R_t = discount * R_{t-1} + r_t, a return that looks back.

    Its deviation is the scale by which Random Network Distillation divides intrinsic rewards; it
    runs on through the ends of episodes.

    Args:
        rewards: (T, B).
        discount: gamma.
        state: (B,), R before the first step; None is 0.

    Returns:
        (filtered, state): (T, B) and its last row, for the next call.

    Raises:
        ValueError: shapes do not fit.
    """
    check_time_batch(rewards=rewards)
    xp = chainer.backend.get_array_module(rewards)
    filtered = xp.zeros(rewards.shape, _dtype(rewards))
    carried = xp.zeros(rewards.shape[1], filtered.dtype)
    if state is not None:
        _check_lanes('state', state, rewards.shape[1])
        carried = state
    for t, reward in enumerate(rewards):
        carried = discount * carried + reward  # R_t = gamma R_{t-1} + i_t
        filtered[t] = carried
    return filtered, carried.astype(filtered.dtype)
