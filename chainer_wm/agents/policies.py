"""Fixed policies, and what every policy offers.

A policy plays B games side by side, one lane each. Its state goes in and comes
out, and lane b draws from its own generator, so that an episode is the same
whatever is played beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

Generators = Sequence[np.random.Generator]


class Policy(Protocol):
    """What collection and evaluation ask of a policy."""

    def start(self, rngs: Generators) -> Any:
        """The state before the first frame, one lane per generator."""

    def act(self, observations: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """Actions (B, A) float32 for observations (B, ...), and new state."""


def describe(policy: Any) -> dict[str, Any]:
    """Name and options of a policy, for manifests."""
    options = {}
    if dataclasses.is_dataclass(policy) and not isinstance(policy, type):
        options = dataclasses.asdict(policy)
    return {'name': type(policy).__name__, **options}


def _check_lanes(observations: np.ndarray, lanes: int) -> None:
    if len(observations) != lanes:
        raise ValueError(
            f'{len(observations)} observations but the state has {lanes} '
            'lanes: was it started for another batch?'
        )


@dataclasses.dataclass(frozen=True)
class NoAction:
    """Always zeros: stand still."""

    action_size: int = 1

    def start(self, rngs: Generators) -> int:
        return len(rngs)

    def act(self, observations: np.ndarray, state: int) -> tuple[np.ndarray, int]:
        _check_lanes(observations, state)
        return np.zeros((state, self.action_size), np.float32), state


@dataclasses.dataclass(frozen=True)
class Pacing:
    """To and fro without looking: 1 for ``period`` steps, then -1, and so on.

    The first leg is half as long, since the player begins in the middle. What
    this scores, nobody needs a model of the world for.

    Attributes:
        period: steps between two turns.
    """

    period: int
    action_size: int = 1

    def __post_init__(self) -> None:
        if self.period < 1:
            raise ValueError(f'period is {self.period}, but must be at least 1 step')

    def start(self, rngs: Generators) -> np.ndarray:
        return np.zeros(len(rngs), int)  # steps so far, by lane

    def act(self, observations: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        _check_lanes(observations, len(state))
        odd = (state + self.period // 2) // self.period % 2
        ways = np.where(odd, -1, 1).astype(np.float32)
        return np.repeat(ways[:, None], self.action_size, 1), state + 1


@dataclasses.dataclass(frozen=True)
class Uniform:
    """A new choice at every step, all equally likely: none, left, right.

    Scores 209 +- 104 in Take Cover, the paper's random policy 210 +- 108; the
    paper does not say what its random policy is.

    Attributes:
        choices: the values of each action dimension.
    """

    choices: tuple[float, ...] = (0.0, -1.0, 1.0)
    action_size: int = 1

    def start(self, rngs: Generators) -> Generators:
        return tuple(rngs)

    def act(self, observations: np.ndarray, state: Generators) -> tuple[np.ndarray, Generators]:
        _check_lanes(observations, len(state))
        chosen = [rng.integers(len(self.choices), size=self.action_size) for rng in state]
        return np.array(self.choices, np.float32)[np.stack(chosen)], state


class HeldState(NamedTuple):
    """What HeldRandom carries, one lane per row."""

    rngs: Generators
    actions: np.ndarray  # (B, A) float32, the actions held
    left: np.ndarray  # (B,) steps for which they are still held
    longest: np.ndarray  # (B,) longest hold in this episode


@dataclasses.dataclass(frozen=True)
class HeldRandom:
    """Uniform in (-1, 1), held for 1 to ``longest`` steps.

    How World Models' Take Cover rollouts were collected (extract.py of the
    authors' experiments): each action lasts randint(1..10) steps. Ours: of
    several limits every episode draws one, so that some episodes walk up to a
    wall and stay there, which single steps never do.

    Attributes:
        longest: limits of a hold, in steps.
    """

    longest: tuple[int, ...] = (10,)
    action_size: int = 1

    def __post_init__(self) -> None:
        if not self.longest or min(self.longest) < 1:
            raise ValueError(
                f'longest is {self.longest}, but must be at least one number '
                'of steps, each at least 1'
            )

    def start(self, rngs: Generators) -> HeldState:
        lanes = len(rngs)
        return HeldState(
            tuple(rngs),
            np.zeros((lanes, self.action_size), np.float32),
            np.zeros(lanes, np.int64),
            np.array([self._limit(rng) for rng in rngs], np.int64),
        )

    def _limit(self, rng: np.random.Generator) -> int:
        if len(self.longest) == 1:
            return self.longest[0]
        return self.longest[rng.integers(len(self.longest))]

    def act(self, observations: np.ndarray, state: HeldState) -> tuple[np.ndarray, HeldState]:
        _check_lanes(observations, len(state.rngs))
        actions, left = state.actions.copy(), state.left.copy()
        for lane in np.flatnonzero(left == 0):
            rng = state.rngs[lane]
            actions[lane] = rng.uniform(-1, 1, self.action_size)
            left[lane] = rng.integers(1, state.longest[lane] + 1)
        return actions, state._replace(actions=actions, left=left - 1)
