"""Train a StateModel on recorded states, and count what it predicts exactly."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_wm.devices import to_cpu
from chainer_wm.functions.mixture import draw_noise
from chainer_wm.links.recurrent import detach
from chainer_wm.links.state_model import StateModel
from chainer_wm.rollouts.sequences import LatentSequences
from chainer_wm.rollouts.states import RecordedStates
from chainer_wm.seeds import stream
from chainer_wm.training import recurrent
from chainer_wm.training.data_parallel import ALONE, Ranks, scaled, together


@together
def train(
    folder: str | os.PathLike,
    model: StateModel,
    sequences: LatentSequences,
    held_out: LatentSequences,
    *,
    seed: int,
    ranks: Ranks = ALONE,
    **options: Any,
) -> list[dict]:
    """Minimise M's loss.

    Args:
        folder, options, ranks: see ``recurrent.minimise``, as for what is returned and raised.
        model: on the device to train on.
        sequences, held_out: windows to train on and to judge by.
    """

    def loss(number: int, state: Any, lanes: slice):
        window = sequences.batch(number, lanes)
        steps, _, size = window.mu[1:].shape
        whole = steps, sequences.batch_size, size
        noise = dequantising(stream(seed, 'dequantise', number), whole)[:, lanes]
        parts = (window.mu[:-1], window.actions, window.mu[1:], window.mask, window.reset, noise)
        s, a, s_next, mask, reset, noise = map(model.send, parts)
        found, state = model.loss(s, a, s_next, mask, state, reset, noise)
        (scale,) = ranks.scale([int(window.mask.sum())])
        return scaled(found, scale) if ranks.size > 1 else found, state

    def judge():
        return measure(model, held_out, seed)

    return recurrent.minimise(folder, model, sequences, loss, judge, ranks=ranks, **options)


def dequantising(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Noise that makes integers a density, uniform over [-1/2, 1/2)."""
    return rng.random(shape, np.float32) - np.float32(0.5)


def measure(model: StateModel, sequences: LatentSequences, seed: int) -> dict[str, float]:
    """``loss``, the mean over all steps of held-out episodes, each seen once.

    Nats per component, of a mixture those of its density with the noise of (seed, window).
    """
    total = count = 0.0
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        for number, (window, s, a, s_next, state) in enumerate(_passed(model, sequences)):
            noise = dequantising(stream(seed, 'held-out noise', number), s.shape)
            parts = map(model.send, (s, a, s_next, window.mask, window.reset, noise))
            s, a, s_next, mask, reset, noise = parts
            loss, state.after = model.loss(s, a, s_next, mask, state.before, reset, noise)
            known = int(window.mask.sum())
            total += float(loss.array) * known
            count += known
    return {'loss': total / max(count, 1.0)}


class _Carried:
    """The state between two windows: ``after`` is to be set."""

    def __init__(self, before: Any) -> None:
        self.before, self.after = before, before


def _passed(model: StateModel, sequences: LatentSequences) -> Iterator[tuple]:
    """Windows that show every step once: (window, s, a, s_next, carried state)."""
    whole = sequences.once()
    states = sequences.latents.mu[whole.source]
    actions = sequences.latents.actions[whole.source]
    state = model.initial_state(sequences.batch_size)
    for window in whole.windows():
        lanes = window.rows.shape[1]
        carried = _Carried(type(state)(*(field[:lanes] for field in state)))
        yield (
            window,
            states[window.rows],
            actions[window.rows],
            states[window.following],
            carried,
        )
        state = detach(carried.after)


class Tally(NamedTuple):
    """How many predictions were exact, by component; every field (..., D) int64.

    Fields:
        right, of: among all.
        right_changed, changed: among those whose true value differs from the one of the state
            that the prediction started from.
    """

    right: np.ndarray
    of: np.ndarray
    right_changed: np.ndarray
    changed: np.ndarray

    @classmethod
    def compare(cls, predicted: np.ndarray, truth: np.ndarray, start: np.ndarray) -> Tally:
        """Of states (n, D), with the states that the predictions started from."""
        right, changed = predicted == truth, truth != start
        parts = (right, np.ones_like(right), right & changed, changed)
        return cls(*(part.sum(axis=0) for part in parts))

    def __add__(self, other: Any) -> Tally:
        return Tally(*(one + two for one, two in zip(self, other)))

    def shares(self, chosen: slice = slice(None)) -> dict[str, float | None]:
        """Exact shares of some components: of 'all', 'changed', 'unchanged'; None of nothing."""
        right, of, right_changed, changed = (int(part[..., chosen].sum()) for part in self)
        pairs = {
            'all': (right, of),
            'changed': (right_changed, changed),
            'unchanged': (right - right_changed, of - changed),
        }
        return {name: one / two if two else None for name, (one, two) in pairs.items()}


def one_step(model: StateModel, sequences: LatentSequences, seed: int) -> dict[str, Tally]:
    """What is predicted exactly one step ahead, over held-out episodes.

    Returns:
        'M': the likeliest values; 'M, drawn': a draw, for a mixture the sample rounded; 'copy':
        the state before, again. Fields (D,).
    """
    size = model.state_size
    zero = Tally(*(np.zeros(size, np.int64) for _ in Tally._fields))
    found = {'M': zero, 'M, drawn': zero, 'copy': zero}
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        for number, (window, s, a, s_next, state) in enumerate(_passed(model, sequences)):
            sent, *rest = map(model.send, (s, a, window.reset))
            ys, state.after = model.sequence(sent, rest[0], state.before, rest[1])
            ys = chainer.as_array(ys)
            noise = draw_noise(stream(seed, 'held-out draw', number), s.shape)
            shown = {
                'M': to_integers(model.predict(sent, ys)),
                'M, drawn': to_integers(model.predict(sent, ys, noise)),
                'copy': s,
            }
            here = window.mask
            for name, predicted in shown.items():
                found[name] += Tally.compare(predicted[here], s_next[here], s[here])
    return found


def to_integers(states: Any) -> np.ndarray:
    """Predicted states as int64 on the CPU."""
    return to_cpu(states).astype(np.int64)


def dream(
    model: StateModel,
    states: np.ndarray,
    actions: np.ndarray,
    state: Any,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """M alone: its own predictions take the place of the states.

    Args:
        states: (B, D), the last true ones, not read yet.
        actions: (H, B, A), that are taken from there on.
        state: of M, before it reads ``states``.
        rng: draws the values; None takes the likeliest.

    Returns:
        (H, B, D) int64, predicted for 1 to H steps ahead.
    """
    s, found = model.send(states), []
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        for a in map(model.send, actions):
            y, state = model.core.step(model.inputs(s, a), state)
            state = detach(state)
            noise = None if rng is None else draw_noise(rng, s.shape)
            s = model.predict(s, chainer.as_array(y), noise)
            # what is no value of the game is read as the nearest that is one
            found.append(to_integers(s))
            s = s.clip(0, model.values - 1)
    return np.stack(found)


def open_loop(
    model: StateModel, recorded: RecordedStates, horizon: int, every: int, batch: int = 64
) -> dict[str, Tally]:
    """What is predicted exactly 1 to ``horizon`` steps ahead, without seeing anything between.

    M follows every episode; from every ``every``-th of its steps on it dreams with the true
    actions, as far as the episode goes.

    Args:
        batch: episodes side by side.

    Returns:
        'M' and 'copy' (of the last state seen), fields (horizon, D).
    """
    zero = Tally(*(np.zeros((horizon, model.state_size), np.int64) for _ in Tally._fields))
    found = {'M': zero, 'copy': zero}
    order = np.argsort(-recorded.lengths, kind='stable')
    for first in range(0, len(order), batch):
        chosen = order[first : first + batch]
        for steps, dreamt in _dreams(model, recorded, chosen, horizon, every):
            # (H + 1, n) rows of the episodes' states
            truth = recorded.mu[steps].astype(np.int64)
            shown = {'M': dreamt, 'copy': np.broadcast_to(truth[0], truth[1:].shape)}
            for name, predicted in shown.items():
                tallies = [Tally.compare(p, t, truth[0]) for p, t in zip(predicted, truth[1:])]
                found[name] += Tally(*map(np.stack, zip(*tallies)))
    return found


def _dreams(
    model: StateModel, recorded: RecordedStates, chosen: np.ndarray, horizon: int, every: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows (H + 1, n), dreamt (H, n, D)) of episodes side by side, the longest first."""
    starts, lengths = recorded.starts[chosen], recorded.lengths[chosen]
    state = model.initial_state(len(chosen))
    for t in range(int(lengths[0]) - horizon):
        alive = int((lengths - horizon > t).sum())
        starts, lengths = starts[:alive], lengths[:alive]
        state = type(state)(*(field[:alive] for field in state))
        if t % every == every - 1:
            rows = starts + t + np.arange(horizon + 1)[:, None]
            actions = recorded.actions[rows[:-1]]
            yield rows, dream(model, recorded.mu[rows[0]], actions, state)
        state = follow(model, recorded.mu[starts + t], recorded.actions[starts + t], state)


def follow(model: StateModel, states: np.ndarray, actions: np.ndarray, state: Any) -> Any:
    """M's state after it read true states (B, D) and actions (B, A)."""
    s, a = map(model.send, (states, actions))
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        return detach(model.core.step(model.inputs(s, a), state)[1])


def in_groups(
    tally: Tally, groups: Sequence[tuple[str, int]]
) -> dict[str, dict[str, float | None]]:
    """``Tally.shares`` of every group of components, by name, those of one name after another.

    Args:
        groups: name and number of components, in order.
    """
    found, first = {}, 0
    for name, size in groups:
        found[name] = tally.shares(slice(first, first + size))
        first += size
    return found
