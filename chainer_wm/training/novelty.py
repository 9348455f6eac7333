"""How surprised M is by episodes that it has not learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chainer
import numpy as np

from chainer_wm.links.conv_vae import posteriors
from chainer_wm.rollouts import Rollout
from chainer_wm.seeds import stream


def novelty(vision: Any, model: Any, rollouts: Sequence[Rollout], seed: int) -> dict[str, float]:
    """M's mean losses over whole episodes, side by side in one batch.

    Args:
        vision, model: V and M, on one device.
        rollouts: episodes of equal length T > 1.
        seed: of the latents drawn from V's posteriors.

    Returns:
        What ``MDNRNN.loss`` reports: 'loss', 'nll', and 'done_loss' and 'reward_loss' where M
        predicts them.

    Raises:
        ValueError: the episodes differ in length.
    """
    lengths = sorted({len(rollout) for rollout in rollouts})
    if len(lengths) != 1:
        raise ValueError(
            f'episodes have {lengths} steps, but one length is needed to lay them side by side'
        )
    rng = stream(seed, 'novelty')
    columns = []
    for rollout in rollouts:
        mu, ln_var = posteriors(vision, rollout.observations)
        columns.append(mu + np.exp(ln_var / 2) * rng.standard_normal(mu.shape))
    z = np.stack(columns, axis=1)
    actions, rewards = (
        np.stack([getattr(r, name) for r in rollouts], axis=1)[:-1]
        for name in ('actions', 'rewards')
    )
    known = np.ones(rewards.shape)
    start = np.zeros(rewards.shape)
    start[0] = 1
    parts = z[:-1], actions, z[1:], known, rewards, start
    send = model.device.send
    z, a, z_next, mask, reward, reset = (
        send(np.ascontiguousarray(part, model.dtype)) for part in parts
    )
    done = send(np.zeros(rewards.shape, np.int32))
    reporter = chainer.Reporter()
    reporter.add_observer('m', model)
    seen: dict[str, Any] = {}
    with chainer.no_backprop_mode(), chainer.using_config('train', False), reporter.scope(seen):
        model.loss(
            *(z, a, z_next, mask, done, model.initial_state(len(rollouts))),
            *(reset,),
            reward=reward,
        )
    return {
        name.removeprefix('m/'): float(chainer.as_array(value)) for name, value in seen.items()
    }
