"""What V and M make of one recorded episode: reconstructions, predictions, memory, dreams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_wm.functions.mixture import draw_noise, mixture_mean, mixture_nll
from chainer_wm.inspector import folders
from chainer_wm.inspector.trained import Models, Trained, encoded
from chainer_wm.links.conv_vae import decoded
from chainer_wm.links.mdn_rnn import MDNRNN, p_done
from chainer_wm.links.recurrent import detach
from chainer_wm.rollouts import Rollout

PIECE = 64  # steps that the worker takes at once
LARGEST_LINK = 128  # slots; a link of more is not sent
#: Of a DNC, kept of every step: (T, ...) each.
KEPT = ('usage', 'write_weights', 'read_weights', 'allocation_gate', 'write_gate', 'free_gates')
MODES = ('backward', 'content', 'forward')  # of a read head, in the order of pi


class Trace(NamedTuple):
    """Along an episode of T steps. M at step t has consumed z_t and a_t.

    Fields:
        z: (T, Z), V's means.
        one_step: (T, Z): row t is what M expected at t - 1; row 0 is z_0.
        nats: (T,), -ln p(z_t | past), summed over Z; NaN at 0.
        p_done: (T,), or None where M predicts no end.
        reward: (T,) that M predicts of the step, or None.
        h: (T, H), M's output at t.
        memory: by name of `KEPT`, and 'read_modes', each (T, ...); empty for an LSTM.
        states: of M before steps 0, PIECE, 2 PIECE, ...
        inputs: (T, 1, X), what M's core read.
    """

    z: np.ndarray
    one_step: np.ndarray
    nats: np.ndarray
    p_done: np.ndarray | None
    reward: np.ndarray | None
    h: np.ndarray
    memory: dict[str, np.ndarray]
    states: list[Any]
    inputs: np.ndarray


class Dreamt(NamedTuple):
    """An episode dreamt on from a step of a recording, with its actions.

    Fields:
        z: (T, Z): the recorded ones before ``context``, then M's own.
        p_done: (T,), NaN before the dream; or None where M predicts no end.
    """

    z: np.ndarray
    p_done: np.ndarray | None


def latents_of(models: Models, trained: Trained, rollout: Rollout) -> np.ndarray:
    """V's means of an episode's frames, (T, Z)."""
    stops = models.stops
    parts = []
    for at in range(0, len(rollout), PIECE):
        models.check(stops)
        parts.append(models.run(encoded, trained.vision, rollout.observations[at : at + PIECE]))
    return np.concatenate(parts)


def trace(models: Models, trained: Trained, rollout: Rollout) -> Trace:
    """Follow an episode with V and M.

    Raises:
        InspectorError: M takes other actions, or there is no M.
    """
    z = latents_of(models, trained, rollout)
    model = _model_for(trained, rollout)
    restart = np.zeros((len(z), 1), model.dtype)
    restart[0] = 1
    z, actions = (np.asarray(part, model.dtype) for part in (z, rollout.actions))
    xs = models.run(model.inputs, z[:, None], actions[:, None], restart)
    inputs = chainer.as_array(xs)
    states, found, stops = [model.initial_state(1)], [], models.stops
    for at in range(0, len(z), PIECE):
        models.check(stops)
        state, piece = models.run(_follow, model, inputs[at : at + PIECE], states[-1], z, at)
        states.append(state)
        found.append(piece)
    whole = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    one_step = np.concatenate([z[:1], whole.pop('expected')[:-1]])
    nats = np.concatenate([[np.nan], whole.pop('nats')[:-1]])
    parts = {name: whole.pop(name, None) for name in ('p_done', 'reward', 'h')}
    return Trace(z, one_step, nats, **parts, memory=whole, states=states[:-1], inputs=inputs)


def _model_for(trained: Trained, rollout: Rollout) -> MDNRNN:
    model = trained.model
    if model is None:
        raise folders.InspectorError('M is not trained yet: only V can be looked at')
    if model.action_size != rollout.actions.shape[1]:
        raise folders.InspectorError(
            f'the episode has actions of {rollout.actions.shape[1]} numbers but M takes '
            f'{model.action_size}: is it of another game?'
        )
    return model


def _follow(model: MDNRNN, xs: np.ndarray, state: Any, z: np.ndarray, at: int):
    """Some steps of M: the state after them, and what it said, by name."""
    ys, after = model.core.sequence(xs, state)
    said = model.predict(ys)
    found = {
        'expected': mixture_mean(said.mixture)[:, 0],  # E z_{t+1}
        'nats': _nats(said.mixture, z[at + 1 : at + 1 + len(xs)]),
    }
    if said.done_logit is not None:
        found['p_done'] = p_done(said.done_logit)[:, 0]
    if said.reward is not None:
        found['reward'] = chainer.as_array(said.reward)[:, 0]
    width = chainer.as_array(state.h).shape[1]
    found['h'] = chainer.as_array(ys)[:, 0, :width]
    if hasattr(model.core, 'trace'):
        names = (*KEPT, 'read_modes')
        traced = model.core.trace(xs, state, engine='fused', names=names)
        found |= {name: each[:, 0] for name, each in traced.items()}
    return detach(after), found


def _nats(mixture: Any, following: np.ndarray) -> np.ndarray:
    """-ln p(z_{t+1}) of each step, (steps,); NaN where there is no next frame."""
    missing = len(mixture.mu) - len(following)
    padded = np.concatenate([following, np.zeros((missing, following.shape[1]), following.dtype)])
    nats = chainer.as_array(mixture_nll(padded[:, None], mixture)).sum(axis=(1, 2))
    nats = nats.astype(np.float64)
    nats[len(following) :] = np.nan
    return nats


def state_before(model: MDNRNN, found: Trace, t: int) -> Any:
    """M's state before step t, from the nearest one that is kept."""
    first = t // PIECE
    if first * PIECE == t and first < len(found.states):
        return found.states[first]
    first = min(first, len(found.states) - 1)
    xs = found.inputs[first * PIECE : t]
    return detach(model.core.sequence(xs, found.states[first])[1])


def dream_on(
    models: Models, model: MDNRNN, found: Trace, context: int, temperature: float, seed: int,
    actions: np.ndarray,
) -> Dreamt:  # fmt: skip
    """Let M dream from step ``context`` to the episode's end, with the recorded actions.

    Raises:
        InspectorError: the context or the temperature does not fit.
    """
    steps = len(found.z)
    if not 0 < context < steps or not temperature > 0:
        raise folders.InspectorError(
            f'context {context} must lie between 1 and {steps - 1}, and temperature '
            f'{temperature} above 0'
        )
    rng = np.random.default_rng(seed)
    z, stops = np.array(found.z), models.stops
    ends = None if found.p_done is None else np.full(steps, np.nan)
    state = models.run(state_before, model, found, context - 1)
    step = dream_step(model)
    actions = np.asarray(actions, model.dtype)

    def piece(first: int, state: Any) -> Any:
        for t in range(first, min(first + PIECE, steps - 1)):
            z[t + 1 : t + 2], logit, state = step(
                *(z[t : t + 1], actions[t : t + 1], state, t == 0), rng, temperature
            )
            if ends is not None:
                ends[t] = p_done(logit)[0]
        return state

    for first in range(context - 1, steps - 1, PIECE):
        models.check(stops)
        state = models.run(piece, first, state)
    return Dreamt(z, ends)


def dream_step(model: MDNRNN) -> Callable:
    """One lane's step: (z, a, state, first, rng, temperature) -> (z, logit of the end, state)."""
    sample, stream = model.sampler(), np.zeros(1, np.int64)

    def step(
        z: np.ndarray,
        a: np.ndarray,
        state: Any,
        first: bool,
        rng: np.random.Generator,
        temperature: float,
    ) -> tuple:
        noise = tuple(part.astype(model.dtype) for part in draw_noise(rng, z.shape))
        restart, tau = (np.full(1, each, model.dtype) for each in (first, temperature))
        return sample(z, a, state, restart, noise=noise, stream=stream, temperature=tau)

    return step


def moment(model: MDNRNN, found: Trace, t: int) -> dict[str, Any]:
    """A DNC's memory after step t: M, and its link where that is small."""
    first = t // PIECE
    xs = found.inputs[first * PIECE : t + 1]
    slots = model.core.memory_length
    names = ('memory', 'link') if slots <= LARGEST_LINK else ('memory',)
    traced = model.core.trace(xs, found.states[first], engine='fused', names=names, steps=[-1])
    here = {name: each[0, 0] for name, each in traced.items()}
    return here | {name: each[t] for name, each in found.memory.items()}


def frames_of(trained: Trained, z: np.ndarray) -> np.ndarray:
    """Latents as V draws them, (n, 64, 64, 3) uint8; to be run by the worker."""
    return decoded(trained.vision, z)


def quantised(values: np.ndarray, shares: bool) -> tuple[np.ndarray, float, float]:
    """Values (T, N) as bytes (N, T), and what 0 and 255 stand for.

    Args:
        shares: they lie in [0, 1], and so does their scale: a weighting that is nearly uniform
            must not look full. Else the scale has 0 in its middle.
    """
    top = 1.0 if shares else max(float(np.abs(values).max()), 1e-12)
    low = 0.0 if shares else -top
    scaled = (values.T.clip(low, top) - low) / (top - low) * 255
    return np.rint(scaled).astype(np.uint8), low, top
