"""How well M sees ahead: one step, open loop, and the end of an episode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_wm.devices import to_cpu
from chainer_wm.functions.mixture import mixture_mean, sample_mixture
from chainer_wm.links.mdn_rnn import p_done


class Foresight(NamedTuple):
    """What M expected along one recorded episode of T steps."""

    one_step: np.ndarray  # (T, Z), row t from the true past up to t - 1
    dreamed: np.ndarray  # (T, Z), row t from M's own past since ``context``
    p_done_one_step: np.ndarray  # (T,) P(the episode ends at step t)
    p_done_dreamed: np.ndarray  # (T,)


def foresee(
    model: Any,
    z: np.ndarray,
    actions: np.ndarray,
    context: int,
    rng: np.random.Generator,
    temperature: float = 1.0,
) -> Foresight:
    """Predict an episode's latents one step ahead, and open loop.

    Args:
        model: ``MDNRNN``.
        z: (T, Z), the episode's true latents.
        actions: (T, A), the actions taken in it; the dream takes them too.
        context: steps that the dream sees before it goes on alone.
        rng: of the dream's samples. One-step predictions are the mixtures' means, which blur; the
            dream is one sample, which does not.
    """
    if not 0 < context < len(z):
        raise ValueError(
            f'context is {context} but must lie between 1 and '
            f'{len(z) - 1}, the steps of the episode less one'
        )
    dtype = model.dtype
    one_step, dreamed = np.array(z, dtype), np.array(z, dtype)
    ends = np.zeros((2, len(z)))
    seen = alone = model.initial_state(1)
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        for t in range(len(z)):
            restart = np.full(1, t == 0, dtype)
            prediction, seen = _step(model, z[t], actions[t], seen, restart)
            other, alone = _step(model, dreamed[t], actions[t], alone, restart)
            ends[:, t] = _p_done(prediction)[0], _p_done(other)[0]
            if t + 1 < len(z):
                one_step[t + 1] = mixture_mean(prediction.mixture)[0]
                if t + 1 >= context:
                    dreamed[t + 1] = to_cpu(sample_mixture(other.mixture, rng, temperature))[0]
    return Foresight(one_step, dreamed, ends[0], ends[1])


class Stretches(NamedTuple):
    """L recorded steps of each of B episodes, aligned at their ends."""

    z: np.ndarray  # (L, B, Z)
    actions: np.ndarray  # (L, B, A)


def stretches(latents: Any, ends: Iterable[tuple[int, int]], length: int) -> Stretches:
    """The steps before some step of some episodes.

    Args:
        latents: ``Latents``; the means are taken.
        ends: (episode, steps of it): the last of the steps is the last one
            of the stretch. Episodes with fewer than ``length`` are left out.
        length: L.

    Raises:
        ValueError: nothing is left.
    """
    rows = [latents.rows(episode).start + end for episode, end in ends if end >= length]
    if not rows:
        raise ValueError(f'no episode has {length} steps before its end')
    at = np.arange(-length, 0)[:, None] + np.array(rows)
    return Stretches(latents.mu[at], latents.actions[at])


def ends_of(
    latents: Any, episodes: Sequence[int], rng: np.random.Generator, length: int, peace: int
) -> dict[str, list[tuple[int, int]]]:
    """Where stretches end: at deaths, and in the same episodes at none.

    Args:
        latents: ``Latents``.
        length: steps of a stretch; shorter episodes are left out.
        peace: steps without a death after a stretch that nobody dies in.

    Returns:
        'death' and 'none': (episode, steps of it), as ``stretches`` takes them.
    """
    found: dict[str, list[tuple[int, int]]] = {'death': [], 'none': []}
    for episode in episodes:
        rows = latents.rows(episode)
        steps = rows.stop - rows.start
        if not latents.terminated[latents.position(episode)] or steps < length:
            continue
        found['death'].append((episode, steps))
        if steps >= length + peace:
            end = int(rng.integers(length, steps - peace + 1))
            found['none'].append((episode, end))
    return found


def foreseen(
    model: Any,
    seen: Stretches,
    horizons: Sequence[int],
    rng: np.random.Generator,
    dreams: int = 16,
    temperature: float = 1.0,
    after: int = 3,
    threshold: float = 0.5,
) -> np.ndarray:
    """How many of M's dreams of what comes end where the recording ends.

    M follows the recording, from a state of zero, up to k steps before its last one, then dreams
    on alone while the recorded actions are taken. A dream that ends (P(done) above the threshold,
    as in ``Dream``) by ``after`` steps past the last recorded one counts; these repeat the last
    action.

    Args:
        model: ``MDNRNN`` that predicts the end.
        horizons: the k, from 0 (M sees all, the rest is ``after``).
        dreams: per stretch and horizon.

    Returns:
        (len(horizons), B) shares of the dreams, in [0, 1].
    """
    length = len(seen.z)
    starts = {length - 1 - k: n for n, k in enumerate(horizons)}
    if not starts or min(starts) < 1:
        raise ValueError(
            f'horizons are {tuple(horizons)}, but M must see at least 1 of the {length} steps'
        )
    shares = np.zeros((len(horizons), seen.z.shape[1]))
    state = model.initial_state(seen.z.shape[1])
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        for t in range(length):
            if t in starts:
                rest = Stretches(
                    seen.z[t : t + 1].repeat(dreams, axis=1),
                    seen.actions[t:].repeat(dreams, axis=1),
                )
                own = type(state)(*(f.repeat(dreams, axis=0) for f in state))
                ends = _dream_on(model, rest, own, rng, temperature, after, threshold)
                shares[starts[t]] = ends.reshape(-1, dreams).mean(axis=1)
            first = np.full(seen.z.shape[1], t == 0)
            _, state = _batch_step(model, seen.z[t], seen.actions[t], state, first)
    return shares


def _dream_on(model, rest, state, rng, temperature, after, threshold):
    """(B,) bool: whether M ends the episode in the steps that are left."""
    z = rest.z[0]
    ended = np.zeros(len(z), bool)
    last = len(rest.actions) - 1
    for t in range(last + 1 + after):
        prediction, state = _batch_step(
            model, z, rest.actions[min(t, last)], state, np.zeros(len(z))
        )
        ended |= _p_done(prediction) > threshold
        z = to_cpu(sample_mixture(prediction.mixture, rng, temperature))
    return ended


def _step(model, z, action, state, restart):
    return _batch_step(model, z[None], action[None], state, restart)


def _batch_step(model, z, actions, state, restart):
    z, actions, restart = (
        model.device.send(np.asarray(part, model.dtype)) for part in (z, actions, restart)
    )
    prediction, state = model.step(z, actions, state, restart)
    return prediction, type(state)(*map(chainer.as_array, state))


def _p_done(prediction) -> np.ndarray:
    if prediction.done_logit is None:
        return np.zeros(1)
    return p_done(prediction.done_logit)
