"""Where dreams begin: moments of recorded episodes, with what M remembers there.

A dream that begins at a first frame shows a late game only to a controller that lives so long in
it, and what M dreams by then has gone far from any game. So M is run along recorded episodes, and
single moments of them are kept: V's posterior of the frame, and M's whole state from before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_wm.devices import to_cpu
from chainer_wm.seeds import stream

MOST = 30_000  # places: 4.8 KB each with a DNC of 16 x 16 and 256 units, 2.2 KB with its LSTM
LANES = 64  # episodes that M is run along side by side


class Places(NamedTuple):
    """N moments of recorded episodes, on the CPU.

    Fields:
        mu, ln_var: (N, Z), V's posteriors of the frames.
        state: what M's core remembers before it consumes (z, a) there: c and h of an LSTM, all
            of a DNC's state; every field (N, ...), of M's dtype.
        first: (N,) bool, whether it is an episode's first step, which M is told.
    """

    mu: np.ndarray
    ln_var: np.ndarray
    state: Any
    first: np.ndarray

    def deviations(self, model: Any, features: Sequence[str]) -> np.ndarray:
        """Standard deviation of each feature over the places, (F,) float64.

        A feature that is the same in all of them has 1.

        Args:
            model: M, which names the features.
            features: what a controller sees, side by side in this order.
        """
        found = model.features(self.state)
        # of z ~ N(mu, sigma^2): the variance of the means, and the mean of the variances
        variance = {'z': self.mu.var(axis=0) + np.exp(self.ln_var).mean(axis=0)}
        for name in features:
            if name != 'z':
                variance[name] = found[name].var(axis=0, dtype=np.float64)
        sigma = np.sqrt(np.concatenate([variance[name] for name in features]))
        return np.where(sigma > 1e-6, sigma, 1.0)


def places_along(
    model: Any,
    latents: Any,
    episodes: Sequence[int],
    *,
    every: int = 8,
    most: int = MOST,
    seed: int,
) -> Places:
    """Run M along recorded episodes, and keep every so many steps.

    In each episode M reads draws from V's posteriors, as the agent does in the game, and the
    actions that were taken. What is kept of an episode does not depend on the others.

    Args:
        model: M, ``MDNRNN``.
        latents: ``Latents``.
        episodes: their numbers in it.
        every: steps 0, k, 2k ... of each are kept.
        most: of more places than these a random choice is kept, so that memory is bounded.
        seed: of the draws and of that choice.

    Raises:
        ValueError: there is no episode, or a count below 1.
    """
    if not len(episodes) or min(every, most) < 1:
        raise ValueError(
            f'{len(episodes)} episodes, every {every} steps, at most {most} places: '
            'all must be at least 1'
        )
    slots, rows, first = _slots(latents, episodes, every, most, seed)
    state = type(model.initial_state(1))(
        *(np.zeros((len(rows), *f.shape[1:]), f.dtype) for f in model.initial_state(1))
    )
    order = np.argsort([-len(slot) for slot in slots], kind='stable')  # the longest first
    for start in range(0, len(order), LANES):
        group = order[start : start + LANES]
        played = [_drawn(latents, int(episodes[n]), seed) for n in group]
        for t, before in _states(model, played):
            slot = np.array([slots[n][t] for n in group[: len(before[0])]])
            lanes = np.flatnonzero(slot >= 0)
            if len(lanes):
                for kept, field in zip(state, before):
                    kept[slot[lanes]] = to_cpu(field)[lanes]
    mu, ln_var = (np.asarray(part[rows], np.float64) for part in (latents.mu, latents.ln_var))
    return Places(mu, ln_var, state, first)


def _slots(latents, episodes, every, most, seed):
    """Which place each step of each episode is (-1: none), rows of the places, first or not."""
    spans = [latents.rows(int(episode)) for episode in episodes]
    lengths = [span.stop - span.start for span in spans]
    steps = np.concatenate([np.arange(0, length, every) for length in lengths])
    owners = np.repeat(np.arange(len(spans)), [-(-length // every) for length in lengths])
    if len(steps) > most:
        chosen = stream(seed, 'choice of places').permutation(len(steps))[:most]
        steps, owners = steps[np.sort(chosen)], owners[np.sort(chosen)]
    slots = [np.full(length, -1) for length in lengths]
    for place, (owner, step) in enumerate(zip(owners, steps)):
        slots[owner][step] = place
    rows = np.array([span.start for span in spans])[owners] + steps
    return slots, rows, steps == 0


def _drawn(latents, episode: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """z (T, Z), drawn from V's posteriors, and the actions (T, A) of an episode."""
    rows = latents.rows(episode)
    mu, ln_var = latents.mu[rows], latents.ln_var[rows]
    eps = stream(seed, 'places', episode).standard_normal(mu.shape)
    return mu + np.exp(0.5 * ln_var) * eps, latents.actions[rows]


def _states(model, played) -> Iterator[tuple[int, Any]]:
    """Step by step M's state before it; lanes whose episode is over are the last, and drop out.

    Args:
        played: (z, actions) of each lane, the longest episode first.
    """
    lengths = np.array([len(z) for z, _ in played])
    state = model.initial_state(len(played))
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        for t in range(lengths[0]):
            alive = int((lengths > t).sum())
            state = type(state)(*(field[:alive] for field in state))
            yield t, state
            z, actions, restart = (
                model.device.send(np.asarray(part, model.dtype))
                for part in (
                    np.stack([z[t] for z, _ in played[:alive]]),
                    np.stack([a[t] for _, a in played[:alive]]),
                    np.full(alive, t == 0),
                )
            )
            state = model.follow(z, actions, state, restart)


def put(state: Any, lanes: np.ndarray, kept: Any, places: np.ndarray, device: Any) -> None:
    """Give some lanes what is remembered at places; the others stay.

    Args:
        state: of B lanes, on the device; it is changed.
        lanes, places: (n,) integers.
        kept: ``Places.state``.
    """
    if len(lanes):
        lanes = device.send(lanes)
        for field, own in zip(state, kept):
            field[lanes] = device.send(own[places].astype(field.dtype, copy=False))
