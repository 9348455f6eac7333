"""How well M sees ahead: one step, open loop, and the end of an episode."""

from __future__ import annotations

from typing import Any, NamedTuple

import chainer
import numpy as np

from chainer_wm.mixture import sample_mixture


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
        rng: of the dream's samples. One-step predictions are the mixtures'
            means, which blur; the dream is one sample, which does not.
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
            ends[:, t] = _p_done(prediction), _p_done(other)
            if t + 1 < len(z):
                one_step[t + 1] = _mean(prediction.mixture)
                if t + 1 >= context:
                    dreamed[t + 1] = _on_cpu(
                        sample_mixture(other.mixture, rng, temperature)
                    )[0]
    return Foresight(one_step, dreamed, ends[0], ends[1])


def _step(model, z, action, state, restart):
    send = model.device.send
    prediction, state = model.step(
        send(np.asarray(z, model.dtype)[None]),
        send(np.asarray(action, model.dtype)[None]),
        state,
        send(restart),
    )
    return prediction, type(state)(*map(chainer.as_array, state))


def _mean(mixture) -> np.ndarray:
    logits, mu = (_on_cpu(part)[0] for part in (mixture.logits, mixture.mu))
    weights = np.exp(logits - logits.max(axis=0))
    return (weights * mu).sum(axis=0) / weights.sum(axis=0)


def _p_done(prediction) -> float:
    if prediction.done_logit is None:
        return 0.0
    return float(1 / (1 + np.exp(-_on_cpu(prediction.done_logit)[0])))


def _on_cpu(value) -> np.ndarray:
    return chainer.get_device('@numpy').send(chainer.as_array(value))
