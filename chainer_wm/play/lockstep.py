"""Episodes of a game played side by side, a fixed number of lanes at a time.

An agent with networks takes hardly longer for eight frames than for one. The
number of lanes is the policy's own and never changes, idle lanes included:
matrix products of another height round otherwise, and an episode must not
depend on what is played beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import gym
import numpy as np

from chainer_wm.seeds import stream
from chainer_wm.training.non_finite import check_reward


class Step(NamedTuple):
    """What a step of a game was."""

    observation: np.ndarray  # the frame that the action answered
    action: np.ndarray  # (A,)
    reward: float
    terminated: bool
    truncated: bool


class Ended(NamedTuple):
    """An episode that is over."""

    number: int  # of its generator
    total: float  # sum of rewards
    seed: int  # of its game


Note = Callable[[int, Step], None]


class LockstepPolicy(Protocol):
    """A policy that plays ``lanes`` games together; others play one."""

    lanes: int

    def start(self, rngs: Sequence[np.random.Generator]) -> Any:
        """The state before the first frame, one lane per generator."""

    def act(self, observations: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """Actions (B, A) float32 for observations (B, ...), and new state."""

    def restart(self, state: Any, lane: int, rng: np.random.Generator) -> Any:
        """The state with a new episode in one lane, the others as before."""


class Envs:
    """Games of one kind, made when they are needed.

    Args:
        make: makes one.
    """

    def __init__(self, make: Callable[[], gym.Env]) -> None:
        self._make = make
        self._made: list[gym.Env] = []

    def __getitem__(self, lane: int) -> gym.Env:
        while len(self._made) <= lane:
            self._made.append(self._make())
        return self._made[lane]

    def close(self) -> None:
        """End them all."""
        while self._made:
            self._made.pop().close()


def lanes_of(policy: Any) -> int:
    """How many games a policy plays together; 1 unless it says."""
    return getattr(policy, 'lanes', 1)


class _Games:
    """The lanes: what is seen in each, and which episode is on."""

    def __init__(self, envs: Any, policy: Any) -> None:
        self.envs, self.policy = envs, policy
        self.lanes = lanes_of(policy)
        self.episode: list[int | None] = [None] * self.lanes
        self.seen: list[Any] = [None] * self.lanes
        self.total, self.steps = [0.0] * self.lanes, [0] * self.lanes
        self.seed = [0] * self.lanes
        self._state: Any = None

    def begin(self, lane: int, episode: int, rng: np.random.Generator) -> None:
        """Start an episode; its rng names the game, then what is drawn."""
        seed = int(rng.integers(2**31))
        first, _ = self.envs[lane].reset(seed=seed)
        if self.lanes == 1:
            self._state = self.policy.start([rng])
        else:
            if self._state is None:
                self.seen = [np.zeros_like(first)] * self.lanes
                idle = [stream(0, 'idle', n) for n in range(self.lanes)]
                self._state = self.policy.start(idle)
            self._state = self.policy.restart(self._state, lane, rng)
        self.episode[lane], self.seen[lane] = episode, first
        self.seed[lane] = seed
        self.total[lane], self.steps[lane] = 0.0, 0

    def act(self) -> np.ndarray:
        """Actions of all lanes, (lanes, A)."""
        actions, self._state = self.policy.act(np.stack(self.seen), self._state)
        return actions

    def step(self, lane: int, action: np.ndarray, most: int | None) -> Step:
        """One step of one lane's game, cut off after ``most``."""
        following, reward, terminated, truncated, _ = self.envs[lane].step(action)
        self.total[lane] += check_reward(
            reward,
            type(self.policy).__name__,
            int(self.episode[lane] or 0),
            self.steps[lane],
            self.seed[lane],
        )
        self.steps[lane] += 1
        truncated = truncated or (not terminated and self.steps[lane] == most)
        taken = Step(self.seen[lane], action, reward, terminated, truncated)
        self.seen[lane] = following
        return taken


def play(
    envs: Any,
    policy: Any,
    rngs: Sequence[np.random.Generator],
    max_steps: int | None = None,
    note: Note = lambda number, step: None,
) -> Iterator[Ended]:
    """Play one episode per generator; yield what ended, as it ends.

    A lane whose episode has ended takes the next one.

    Args:
        envs: gym 0.26 environments by lane, ``Envs`` or a list; as many as
            ``policy.lanes`` (1 where it has none) or as there are episodes.
        policy: see ``policies.Policy``, or ``LockstepPolicy``.
        rngs: each gives its game's seed, then the policy's noise.
        max_steps: end an episode after so many steps, as truncated.
        note: called with (number, step) after every step.

    Raises:
        NonFiniteError: a reward is not finite; names player, episode, seed.
    """
    waiting = iter(enumerate(rngs))
    games = _Games(envs, policy)
    for lane, (number, rng) in enumerate(itertools.islice(waiting, games.lanes)):
        games.begin(lane, number, rng)
    while any(number is not None for number in games.episode):
        actions = games.act()
        for lane, episode in enumerate(games.episode):
            if episode is None:
                continue
            taken = games.step(lane, actions[lane], max_steps)
            note(episode, taken)
            if not (taken.terminated or taken.truncated):
                continue
            yield Ended(episode, games.total[lane], games.seed[lane])
            games.episode[lane] = None
            for number, rng in itertools.islice(waiting, 1):
                games.begin(lane, number, rng)


def groups(items: Sequence[int], workers: int, most: int = 32) -> list[tuple[int, ...]]:
    """Items in consecutive groups of about one size, for so many workers.

    Args:
        most: in a group: what is lost when it is interrupted.
    """
    if not len(items):
        return []
    count = max(-(-len(items) // most), min(max(workers, 1), len(items)))
    return [tuple(int(n) for n in part) for part in np.array_split(items, count)]
