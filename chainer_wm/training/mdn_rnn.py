"""Train M on the codes of recorded episodes."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_wm.devices import to_cpu
from chainer_wm.files.archives import read_archive, write_archive
from chainer_wm.links.mdn_rnn import Scale, p_done
from chainer_wm.links.recurrent import detach
from chainer_wm.rollouts.sequences import EpisodePass, LatentSequences, PassWindow
from chainer_wm.seeds import stream
from chainer_wm.training import recurrent
from chainer_wm.training.data_parallel import ALONE, Ranks, together


@together
def train(
    folder: str | os.PathLike,
    model: Any,
    sequences: LatentSequences,
    held_out: LatentSequences,
    *,
    seed: int,
    done_weight: float = 1.0,
    dropout: float = 0.0,
    ranks: Ranks = ALONE,
    **options: Any,
) -> list[dict]:
    """Minimise M's loss, z drawn anew from V's posteriors for every window.

    Args:
        folder, options, ranks: see ``recurrent.minimise``, as for what is returned and raised.
        model: an ``MDNRNN``, on the device to train on.
        sequences, held_out: windows to train on and to judge by.
        done_weight: of a death in the loss, see ``MDNRNN.loss``.
        dropout: rate at which z and h are dropped, by masks that every lane draws anew for a
            window and keeps for all its steps; held-out losses are without.
    """

    def loss(number: int, state: Any, lanes: slice):
        rng = stream(seed, 'model z', number)
        batch = _batch(model, sequences, number, rng, lanes)
        if ranks.size > 1:
            batch['scale'] = _scale(ranks, batch)
        if dropout:
            draw = functools.partial(_uniform, seed, number, sequences.batch_size, lanes)
            batch['masks'] = model.draw_masks(draw, dropout)
        return model.loss(**batch, state=state, done_weight=done_weight)

    def judge():
        return measure(model, held_out, seed, done_weight)

    return recurrent.minimise(folder, model, sequences, loss, judge, ranks=ranks, **options)


def _batch(
    model: Any,
    sequences: LatentSequences,
    number: int,
    rng: np.random.Generator,
    lanes: slice = slice(None),
) -> dict:
    """Some lanes of a window as M's loss takes them, with z drawn from the posteriors."""
    window = sequences.batch(number, lanes)
    steps, _, size = window.mu.shape
    eps = rng.standard_normal((steps, sequences.batch_size, size))[:, lanes]
    z = _moved(window.mu, window.ln_var, eps)
    return _sent(
        model,
        reward=sequences.reward(number, lanes),
        z=z[:-1],
        a=window.actions,
        z_next=z[1:],
        mask=window.mask,
        done=window.done,
        reset=window.reset,
    )


def _scale(ranks: Ranks, batch: dict) -> Scale:
    """By what each mean in the loss over some lanes is multiplied."""
    rewards = batch.get('reward')
    known = 0 if rewards is None else int(np.isfinite(to_cpu(rewards)).sum())
    return Scale(*ranks.scale([int(batch['mask'].sum()), batch['done'].size, known]))


def _uniform(seed: int, number: int, count: int, lanes: slice, size: int) -> np.ndarray:
    return stream(seed, 'model dropout', number).random((count, size))[lanes]


def _drawn(mu: np.ndarray, ln_var: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """z from V's posteriors: mu + sigma eps, float64."""
    return _moved(mu, ln_var, rng.standard_normal(mu.shape))


def _moved(mu: np.ndarray, ln_var: np.ndarray, eps: np.ndarray) -> np.ndarray:
    return mu + np.exp(ln_var / 2) * eps  # z_t ~ N(mu_t, sigma_t^2)


def _sent(model: Any, reward: np.ndarray | None, **parts: np.ndarray) -> dict:
    """A batch in M's precision, on its device."""
    if reward is not None:
        parts['reward'] = reward
    return {
        name: model.device.send(
            np.ascontiguousarray(part, np.int32 if name == 'done' else model.dtype)
        )
        for name, part in parts.items()
    }


def measure(
    model: Any, sequences: LatentSequences, seed: int, done_weight: float = 1.0
) -> dict[str, float]:
    """M's mean losses over all steps of held-out episodes, each seen once.

    Every step counts as much as any other, so they depend neither on the
    lanes nor on the windows, but for rounding. The z of an episode come from (seed, its number in
    the latents).

    Returns:
        ``nll``, where M predicts them ``done_loss`` (in which a death weighs ``done_weight``) and
        ``reward_loss``, and their sum ``loss``.
    """
    totals: dict[str, float] = {}
    counts: dict[str, int] = {}
    reporter = chainer.Reporter()
    reporter.add_observer('held_out', model)

    def step(window, batch, state):
        seen: dict[str, Any] = {}
        with reporter.scope(seen):
            _, state = model.loss(**batch, state=state, done_weight=done_weight)
        known = {'nll': int(window.mask.sum())}
        known['done_loss'] = int(window.real.sum())
        if 'reward' in batch:
            known['reward_loss'] = int(np.isfinite(batch['reward']).sum())
        for name, count in known.items():
            if (value := seen.get(f'held_out/{name}')) is not None:
                mean = float(chainer.as_array(value))
                totals[name] = totals.get(name, 0.0) + count * mean
                counts[name] = counts.get(name, 0) + count
        return state

    _pass(model, sequences, seed, step)
    means = {name: totals[name] / max(1, counts[name]) for name in totals}
    return {'loss': sum(means.values()), **means}


class Deaths(NamedTuple):
    """P(done) and whether the game ended there, at each of n steps."""

    p_done: np.ndarray  # (n,)
    done: np.ndarray  # (n,) 0 or 1

    def save(self, path: str | os.PathLike) -> None:
        write_archive(path, 'deaths/1', {}, self._asdict())

    @classmethod
    def load(cls, path: str | os.PathLike) -> Deaths:
        return cls(**read_archive(path, 'deaths/1')[1])

    def detection(self, threshold: float = 0.5) -> dict[str, float]:
        """How P(done) meets the deaths.

        Returns:
            ``deaths``, ``caught`` (share of them above the threshold), ``false_alarms`` (per 1,000
            steps without a death) and
            ``expected`` (sum of P(done); a calibrated M's equals ``deaths``, one trained with
            deaths weighted 10 is above).
        """
        alarm, dead = self.p_done > threshold, self.done > 0
        alive = ~dead
        return {
            'steps': len(dead),
            'deaths': int(dead.sum()),
            'caught': float(alarm[dead].mean()) if dead.any() else 0.0,
            'false_alarms': 1000 * float(alarm[alive].mean()) if alive.any() else 0.0,
            'expected': float(self.p_done.sum()),
        }


def deaths(model: Any, sequences: LatentSequences, seed: int) -> Deaths:
    """M's P(done) beside the truth, at every step of held-out episodes.

    In the order of the episodes, whatever the lanes and windows are.
    """
    whole = sequences.once()
    found = np.zeros(whole.steps, model.dtype)

    def step(window, batch, state):
        prediction, state = model.sequence(batch['z'], batch['a'], state, batch['reset'])
        found[window.rows[window.real]] = p_done(prediction.done_logit)[window.real]
        return state

    _pass(model, sequences, seed, step)
    return Deaths(found, whole.done.astype(np.int32))


def _pass(
    model: Any, sequences: LatentSequences, seed: int, step: Callable[[PassWindow, dict, Any], Any]
) -> None:
    """Hand every step of every episode to ``step``, once, in windows.

    Args:
        step: (window, batch as M's loss takes it, state of before it) -> state. Filling has mask
            0, done -1 and a reward that is NaN.
    """
    whole = sequences.once()
    actions = sequences.latents.actions[whole.source]
    z = _held_out_z(sequences, whole, seed).astype(model.dtype)
    state = model.initial_state(sequences.batch_size)
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        for window in whole.windows():
            rows, real = window.rows, window.real
            reward = None
            if sequences.rewards is not None:
                known = sequences.rewards[whole.source[rows]]
                reward = np.where(real, known, np.nan)
            batch = _sent(
                model,
                reward=reward,
                z=z[rows],
                a=actions[rows],
                z_next=z[window.following],
                mask=window.mask,
                done=np.where(real, whole.done[rows], -1),
                reset=window.reset,
            )
            lanes = rows.shape[1]  # the first ones are not over yet
            state = type(state)(*(field[:lanes] for field in state))
            state = detach(step(window, batch, state))


def _held_out_z(sequences: LatentSequences, whole: EpisodePass, seed: int) -> np.ndarray:
    """z of every step of a pass, (S, Z), from (seed, episode)."""
    latents = sequences.latents
    mu, ln_var = latents.mu[whole.source], latents.ln_var[whole.source]
    ends = np.cumsum(whole.lengths)
    return np.concatenate(
        [
            _drawn(mu[here], ln_var[here], stream(seed, 'held-out z', episode))
            for episode, here in zip(
                whole.episodes.tolist(), map(slice, ends - whole.lengths, ends)
            )
        ]
    )
