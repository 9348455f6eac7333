"""Games of several levels: playing, storing and scoring episodes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gym
import numpy as np

from chainer_wm.agents.ppo.policy import NetworkPolicy
from chainer_wm.rollouts import Rollout, RolloutStore
from chainer_wm.seeds import stream
from chainer_wm.training.non_finite import check_reward


@dataclasses.dataclass(frozen=True)
class Game:
    """A game of several levels.

    Attributes:
        name: of the game.
        make: level -> gym environment, with ``shortest`` after a reset, an
            attribute: steps of a shortest way to the end of that episode.
        levels: how many there are.
    """

    name: str
    make: Callable[[int], Any]
    levels: int


@dataclasses.dataclass(frozen=True)
class RandomPolicy:
    """Every action equally likely.

    Attributes:
        actions: how many there are.
    """

    actions: int = 4

    def start(self, rngs: Sequence[np.random.Generator]) -> Any:
        return tuple(rngs)

    def act(self, observations: np.ndarray, state: Any) -> tuple[Any, Any]:
        return np.array([rng.integers(self.actions) for rng in state]), state


def play(
    envs: Sequence[Any],
    policy: Any,
    rngs: Sequence[np.random.Generator],
    exploration: Sequence[float] = (0.0,),
) -> list[Rollout]:
    """One episode in each environment, side by side.

    Args:
        policy: batched (``start``, ``act``), of discrete actions.
        rngs: one per lane: the game's seed and all choices come from it.
        exploration: shares of steps whose action is drawn uniformly; every
            episode draws one of these shares.

    Returns:
        The episodes. Their ``info`` holds 'seed', 'shortest' (steps of a
        shortest way) and 'exploration'.

    Raises:
        NonFiniteError: a reward is not finite; names player, episode, seed.
    """
    lanes = range(len(envs))
    seeds = [int(rng.integers(2**31)) for rng in rngs]
    shares = [exploration[rng.integers(len(exploration))] for rng in rngs]
    seen = [env.reset(seed=seed)[0] for env, seed in zip(envs, seeds)]
    shortest = [int(env.shortest) for env in envs]
    steps: list[list[tuple]] = [[] for _ in lanes]
    state, running = policy.start(rngs), set(lanes)
    while running:
        actions, state = policy.act(np.stack(seen), state)
        for lane in sorted(running):
            action = int(actions[lane])
            if shares[lane] and rngs[lane].random() < shares[lane]:
                action = int(rngs[lane].integers(envs[lane].action_space.n))
            after, reward, terminated, cut, _ = envs[lane].step(action)
            check_reward(*(reward, type(policy).__name__, lane), *(len(steps[lane]), seeds[lane]))
            steps[lane].append((seen[lane], [action], reward, terminated, cut))
            seen[lane] = after
            if terminated or cut:
                running.remove(lane)
    infos = zip(seeds, shortest, shares)
    return [_rollout(rows, *info) for rows, info in zip(steps, infos)]


def _rollout(rows: list[tuple], seed: int, shortest: int, share: float):
    seen, actions, rewards, terminated, cut = zip(*rows)
    return Rollout(
        np.array(seen, np.uint8),
        np.array(actions, np.float32),
        np.array(rewards, np.float32),
        np.array(terminated, np.bool_),
        np.array(cut, np.bool_),
        {'seed': seed, 'shortest': shortest, 'exploration': share},
    )


def collect(
    store: RolloutStore,
    game: Game,
    level: int,
    policy: Any,
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
    game: Game, level: int, policy: Any, episodes: int, seed: int, purpose: str = 'score'
) -> dict[str, Any]:
    """How a policy does in the real game, in episodes nobody learns from.

    Args:
        purpose: 'score' for what decides when a level is left, 'report' for
            what is told of it: other episodes.

    Returns:
        'success' (share of the episodes), 'steps' and 'shortest' (means over
        the successes, None without any), 'return' (mean over all).
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
