"""What a trained policy does: episodes played, curves of the training."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gym
import numpy as np

from chainer_wm import plots
from chainer_wm.agents.policies import Policy
from chainer_wm.seeds import stream
from chainer_wm.training.non_finite import check_reward

MakeEnv = Callable[[], gym.Env]
Rows = Sequence[Mapping[str, Any]]


class Played(NamedTuple):
    """Episodes that were played to their ends.

    Fields:
        returns: sums of rewards, (E,) float64.
        lengths: steps, (E,) int64.
        lasts: the info of each one's last step.
    """

    returns: np.ndarray
    lengths: np.ndarray
    lasts: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class RandomActions:
    """Uniform over an action space: ``Discrete``, or a bounded ``Box``."""

    space: gym.Space

    def start(self, rngs: Sequence[np.random.Generator]) -> Any:
        return tuple(rngs)

    def act(self, observations: np.ndarray, state: Any) -> tuple[Any, Any]:
        return np.stack([self._draw(rng) for rng in state]), state

    def _draw(self, rng: np.random.Generator) -> Any:
        if isinstance(self.space, gym.spaces.Discrete):
            return rng.integers(self.space.n)
        low, high = self.space.low, self.space.high  # type: ignore
        return rng.uniform(low, high).astype(self.space.dtype)


def play(
    policy: Policy,
    make_env: MakeEnv,
    episodes: int,
    seed: int,
    purpose: str = 'evaluate',
    max_steps: int | None = None,
    same: tuple[int, ...] | None = None,
) -> Played:
    """Play episodes side by side, one lane and one environment each.

    Episode e gets the randomness that ``evaluation.play`` gives it.

    Args:
        max_steps: ends what has not ended by then.
        same: every lane plays the one episode that these numbers name.

    Raises:
        NonFiniteError: a reward is not finite; names player, episode, seed.
    """
    rngs = [
        stream(seed, purpose, *((episode,) if same is None else same))
        for episode in range(episodes)
    ]
    envs = [make_env() for _ in rngs]
    seeds = [int(rng.integers(2**31)) for rng in rngs]
    seen = np.stack([env.reset(seed=seed)[0] for env, seed in zip(envs, seeds)])
    state = policy.start(rngs)
    returns = np.zeros(episodes)
    lengths = np.zeros(episodes, np.int64)
    lasts: list[dict[str, Any]] = [{} for _ in envs]
    alive = np.ones(episodes, bool)
    while alive.any() and (max_steps is None or lengths.max() < max_steps):
        actions, state = policy.act(seen, state)
        for lane in np.flatnonzero(alive):
            answer = envs[lane].step(actions[lane])
            seen[lane], reward, terminated, truncated, lasts[lane] = answer
            returns[lane] += check_reward(
                *(reward, type(policy).__name__, int(lane)), *(int(lengths[lane]), seeds[lane])
            )
            lengths[lane] += 1
            alive[lane] = not (terminated or truncated)
    return Played(returns, lengths, lasts)


def film(
    policy: Policy,
    env: gym.Env,
    seed: int,
    purpose: str = 'evaluate',
    episode: int = 0,
    max_steps: int = 1000,
) -> tuple[np.ndarray, float]:
    """One episode as ``env.render()`` shows it.

    Returns:
        Frames (T + 1, H, W, 3) uint8, the first before the first action, and
        the return.
    """
    rng = stream(seed, purpose, episode)
    seen, _ = env.reset(seed=int(rng.integers(2**31)))
    state = policy.start([rng])
    frames: list[Any] = [env.render()]
    total, over = 0.0, False
    while not over and len(frames) <= max_steps:
        actions, state = policy.act(seen[None], state)
        seen, reward, terminated, truncated, _ = env.step(actions[0])
        total += float(reward)
        frames.append(env.render())
        over = terminated or truncated
    return np.stack(frames), total


def binned(log: Rows, name: str, bins: int = 60) -> tuple[Any, Any]:
    """A column of a training's log, averaged over equal parts of it.

    'return', 'length' and 'episode_...' count by episode, all else by update.

    Returns:
        (steps, means), each (bins,) at most: steps at the end of each part;
        NaN where no episode ended.
    """
    steps, means = [], []
    for part in np.array_split(np.arange(len(log)), min(bins, len(log))):
        rows = [log[n] for n in part if log[n][name] is not None]
        values = np.array([row[name] for row in rows], float)
        weights = np.array([row['episodes'] if _per_episode(name) else 1 for row in rows], float)
        steps.append(log[part[-1]]['steps'])
        total = weights.sum()
        means.append((weights * values).sum() / total if total else np.nan)
    return np.array(steps), np.array(means)


def _per_episode(name: str) -> bool:
    return name in ('return', 'length') or name.startswith('episode_')


def reached(log: Rows, goal: float, name: str = 'return', episodes: int = 100) -> int | None:
    """Steps after which the mean of the last episodes first met a goal.

    Args:
        episodes: that the mean is of, at least: whole updates are counted.

    Returns:
        Steps of all environments together; None if it never did.
    """
    ended = [row for row in log if row['episodes']]
    first, count, total = 0, 0, 0.0
    for row in ended:
        count += row['episodes']
        total += row['episodes'] * row[name]
        while count - ended[first]['episodes'] >= episodes:
            count -= ended[first]['episodes']
            total -= ended[first]['episodes'] * ended[first][name]
            first += 1
        if count >= episodes and total / count >= goal:
            return row['steps']
    return None


def draw(
    figures: pathlib.Path,
    log: Rows,
    title: str = '',
    names: Sequence[str] = ('return', 'length', 'entropy'),
) -> None:
    """One chart per column of the log: ``figures/policy_<name>.png``."""
    labels = {
        'return': 'return (mean of the episodes that ended)',
        'length': 'steps per episode',
        'entropy': 'entropy of the policy (nats)',
        'intrinsic': 'intrinsic reward per step',
        'bonus': 'error of the predictor per step',
    }
    for name in names:
        if all(row[name] is None for row in log):
            continue
        plots.training_curves(
            figures / f'policy_{name}.png',
            {'train': binned(log, name, 200)},
            ylabel=labels.get(name, name),
            xlabel='steps of all environments',
            title=title,
            smooth=10,
        )
