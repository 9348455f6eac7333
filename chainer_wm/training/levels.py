"""Games of several levels: playing, storing and scoring episodes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gym
import numpy as np

from chainer_wm.agents.policies import Mixed, Policy
from chainer_wm.agents.ppo.policy import NetworkPolicy
from chainer_wm.play.collection import play_rollouts
from chainer_wm.rollouts import Rollout, RolloutStore
from chainer_wm.seeds import stream


@dataclasses.dataclass(frozen=True)
class Game:
    """A game of several levels.

    Attributes:
        name: of the game.
        make: level -> gym environment, with ``shortest`` after a reset, an attribute: steps of a
            shortest way to the end of that episode.
        levels: how many there are.
    """

    name: str
    make: Callable[[int], Any]
    levels: int


def play(
    envs: Sequence[Any],
    policy: Policy,
    rngs: Sequence[np.random.Generator],
    exploration: Sequence[float] = (0.0,),
) -> list[Rollout]:
    """One episode in each environment, side by side.

    Args:
        policy: of discrete actions.
        rngs: one per lane: the game's seed and all choices come from it.
        exploration: shares of steps whose action is drawn uniformly; every episode draws one of
            these shares.

    Returns:
        The episodes. Their ``info`` holds 'seed' and 'shortest' (steps of a shortest way).

    Raises:
        NonFiniteError: a reward is not finite; names player, episode, seed.
    """
    mixed = Mixed(policy, envs[0].action_space.n, tuple(exploration))
    measured = [_Measured(env) for env in envs]
    found = dict(play_rollouts(measured, mixed, rngs, num_envs=len(envs)))
    for lane, env in enumerate(measured):
        found[lane].info['shortest'] = env.shortest
    return [found[lane] for lane in range(len(envs))]


class _Measured(gym.Wrapper):
    """Keeps the length of a shortest way through the episode that it began."""

    shortest = 0

    def reset(self, **options: Any) -> Any:
        answer = self.env.reset(**options)
        self.shortest = int(self.env.shortest)  # type: ignore[attr-defined]
        return answer


def collect(
    store: RolloutStore,
    game: Game,
    level: int,
    policy: Policy,
    numbers: Sequence[int],
    seed: int,
    exploration: Sequence[float],
) -> None:
    """Play these episodes of a level and store what is not there yet."""
    if all(number in store for number in numbers):
        return
    rollouts = play(
        [game.make(level) for _ in numbers],
        policy,
        [stream(seed, 'collect', number) for number in numbers],
        exploration,
    )
    for number, rollout in zip(numbers, rollouts):
        if number not in store:
            rollout.info['level'] = level
            store.add(number, rollout)


def succeeded(rollout: Rollout) -> bool:
    """Whether the game ended with a reward: a goal, and no mistake."""
    return bool(rollout.terminated[-1] and rollout.rewards[-1] > 0)


def score(
    game: Game, level: int, policy: Policy, episodes: int, seed: int, purpose: str = 'score'
) -> dict[str, Any]:
    """How a policy does in the real game, in episodes nobody learns from.

    Args:
        purpose: 'score' for what decides when a level is left, 'report' for what is told of it:
            other episodes.

    Returns:
        'success' (share of the episodes), 'steps' and 'shortest' (means over the successes, None
        without any), 'return' (mean over all).
    """
    rollouts = play(
        [game.make(level) for _ in range(episodes)],
        policy,
        [stream(seed, purpose, level, n) for n in range(episodes)],
    )
    return summary(rollouts)


def summary(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    """See ``score``."""
    good = [rollout for rollout in rollouts if succeeded(rollout)]

    def mean(values: Iterable[float]) -> float | None:
        values = list(values)
        return float(np.mean(values)) if values else None

    return {
        'success': len(good) / len(rollouts),
        'steps': mean(len(rollout) for rollout in good),
        'shortest': mean(rollout.info['shortest'] for rollout in good),
        'return': mean(float(r.rewards.sum()) for r in rollouts),
    }


def scores(
    game: Game, network: Any, episodes: int, seed: int, purpose: str = 'score'
) -> list[dict[str, Any]]:
    """``score`` of a network, as it draws its actions, on every level."""
    space = gym.spaces.Discrete(network.policy_head.b.shape[0])
    player = NetworkPolicy(network, space)
    return [score(game, level, player, episodes, seed, purpose) for level in range(game.levels)]
