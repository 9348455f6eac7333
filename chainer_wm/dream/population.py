"""Whole evaluations in a dream: of a population, and of a policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from chainer_wm.dream.simulator import DOOM_FEATURES, Dream


def evaluate_population(
    dream: Dream,
    act: Callable,
    candidates: np.ndarray,
    episodes: int = 16,
    *,
    rng: np.random.Generator,
    features: Sequence[str] = DOOM_FEATURES,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Returns of every candidate controller, all dreamt as one batch.

    Common random numbers: episode e has the same start, temperature and noise
    for every candidate, so that candidates differ by their actions alone.

    Args:
        dream: the simulator; it is reset.
        act: (features (B, F), theta (B, n)) -> actions (B, A), for instance
            ``LinearController.act``.
        candidates: (P, n) parameters.
        episodes: E per candidate.
        rng: made from (seed, stage, generation): the same one gives the same
            returns.
        features: what act sees, in this order.
        progress: called with (steps done, lanes alive) after every step.

    Returns:
        (P, E) float64 returns.
    """
    candidates = np.asarray(candidates)
    population = len(candidates)
    dream.reset(episodes, rng, repeats=population)
    send = dream.model.device.send
    theta = np.repeat(candidates.astype(dream.model.dtype), episodes, axis=0)
    theta = send(theta)
    lane = np.arange(population * episodes)
    alive = np.ones(len(lane), bool)
    returns = np.zeros(len(lane))
    steps = 0
    while alive.any():
        result = dream.step(act(dream.observe(features), theta))
        steps += 1
        returns[lane[alive]] += result.reward[alive]
        alive &= ~result.done
        if progress is not None:
            progress(steps, int(alive.sum()))
        if alive.any() and alive.sum() <= 0.95 * len(alive):
            dream.keep(alive)
            theta = theta[send(alive)]
            lane, alive = lane[alive], alive[alive]
    return returns.reshape(population, episodes)


def rollout(
    dream: Dream,
    policy,
    rngs: Sequence[np.random.Generator],
    features: Sequence[str] = DOOM_FEATURES,
) -> np.ndarray:
    """Lengths of one dreamt episode per generator, played by a policy.

    Args:
        dream: the simulator; it is reset.
        policy: ``start(rngs) -> state`` and ``act(observations, state) ->
            (actions, state)``, both over all lanes.
        rngs: one per lane; the dream and the policy each get a child of it,
            so that every policy meets the same dream.

    Returns:
        (B,) steps until death or the cap.
    """
    children = [rng.spawn(2) for rng in rngs]
    dream.reset(len(rngs), [pair[0] for pair in children])
    state = policy.start([pair[1] for pair in children])
    lengths = np.zeros(len(rngs), np.int64)
    alive = np.ones(len(rngs), bool)
    while alive.any():
        actions, state = policy.act(dream.observe(features), state)
        result = dream.step(actions)
        lengths += alive
        alive &= ~result.done
    return lengths
