"""What every policy offers, and policies that learn nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import gym
import numpy as np

Generators = Sequence[np.random.Generator]


class Policy(Protocol):
    """Plays B games side by side, one lane each.

    The state goes in and comes out, and lane b draws from its own generator: an episode is the
    same whatever is played beside it. The state is None, or an array or a sequence with one entry
    per lane, or a named tuple of such, so that whoever plays can begin a new episode in one lane.

    A policy with networks may say by an attribute ``lanes`` how many games it always plays
    together.
    """

    def start(self, rngs: Generators) -> Any:
        """The state before the first observations, one lane per generator."""

    def act(self, observations: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """(Actions, new state) for observations (B, *S).

        Actions are what the game takes: (B, A) float32, or (B,) integers.
        """


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

    def start(self, rngs: Generators) -> None:
        """It remembers nothing, and draws nothing."""

    def act(self, observations: np.ndarray, state: None) -> tuple[np.ndarray, None]:
        return np.zeros((len(observations), self.action_size), np.float32), None


@dataclasses.dataclass(frozen=True)
class Pacing:
    """To and fro without looking: 1 for ``period`` steps, then -1, and so on.

    The first leg is half as long, since the player begins in the middle. What this scores, nobody
    needs a model of the world for.

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


class RandomPacingState(NamedTuple):
    """What RandomPacing carries, one lane per row."""

    rngs: Generators
    ways: np.ndarray  # (B,) -1 or 1
    left: np.ndarray  # (B,) steps of this leg to come


@dataclasses.dataclass(frozen=True)
class RandomPacing:
    """To and fro without looking, each leg of another length.

    It lives as long as what is evolved in a dream does, so that what it meets is a late game that
    random actions never see. The first way is drawn too, and its leg is half as long.

    Attributes:
        legs: fewest and most steps between two turns, all lengths between them equally likely.
    """

    legs: tuple[int, ...] = (40, 160)
    action_size: int = 1

    def __post_init__(self) -> None:
        if len(self.legs) != 2 or not 0 < self.legs[0] <= self.legs[1]:
            raise ValueError(f'legs are {self.legs}, but must be the fewest and the most steps')

    def start(self, rngs: Generators) -> RandomPacingState:
        ways = np.array([rng.choice((-1, 1)) for rng in rngs])
        left = np.array([-(-self._leg(rng) // 2) for rng in rngs])
        return RandomPacingState(tuple(rngs), ways, left)

    def _leg(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self.legs[0], self.legs[1] + 1))

    def act(
        self, observations: np.ndarray, state: RandomPacingState
    ) -> tuple[np.ndarray, RandomPacingState]:
        _check_lanes(observations, len(state.rngs))
        ways, left = state.ways.copy(), state.left.copy()
        for lane in np.flatnonzero(left == 0):
            ways[lane] = -ways[lane]
            left[lane] = self._leg(state.rngs[lane])
        actions = np.repeat(ways[:, None].astype(np.float32), self.action_size, 1)
        return actions, state._replace(ways=ways, left=left - 1)


@dataclasses.dataclass(frozen=True)
class Uniform:
    """A new choice at every step, all equally likely.

    Attributes:
        choices: the values of each action dimension: none, left and right.
    """

    choices: tuple[float, ...] = (0.0, -1.0, 1.0)
    action_size: int = 1

    def start(self, rngs: Generators) -> Generators:
        return tuple(rngs)

    def act(self, observations: np.ndarray, state: Generators) -> tuple[np.ndarray, Generators]:
        _check_lanes(observations, len(state))
        chosen = [rng.integers(len(self.choices), size=self.action_size) for rng in state]
        return np.array(self.choices, np.float32)[np.stack(chosen)], state


@dataclasses.dataclass(frozen=True)
class RandomActions:
    """Uniform over an action space: ``Discrete``, or a bounded ``Box``."""

    space: gym.Space

    def start(self, rngs: Generators) -> Generators:
        return tuple(rngs)

    def act(self, observations: np.ndarray, state: Generators) -> tuple[np.ndarray, Generators]:
        _check_lanes(observations, len(state))
        return np.stack([self._draw(rng) for rng in state]), state

    def _draw(self, rng: np.random.Generator) -> Any:
        if isinstance(self.space, gym.spaces.Discrete):
            return rng.integers(self.space.n)
        low, high = self.space.low, self.space.high  # type: ignore
        return rng.uniform(low, high).astype(self.space.dtype)


class MixedState(NamedTuple):
    """What Mixed carries, one lane per row."""

    inner: Any  # the policy's own state
    shares: np.ndarray  # (B,) of random actions in this episode
    rngs: Generators


@dataclasses.dataclass(frozen=True)
class Mixed:
    """A policy of discrete actions, a share of which is drawn uniformly instead.

    Attributes:
        policy: whose actions the others are.
        actions: how many there are.
        shares: every episode draws one of them.
    """

    policy: Policy
    actions: int
    shares: tuple[float, ...] = (0.0,)

    def start(self, rngs: Generators) -> MixedState:
        shares = np.array([self.shares[rng.integers(len(self.shares))] for rng in rngs])
        return MixedState(self.policy.start(rngs), shares, tuple(rngs))

    def act(self, observations: np.ndarray, state: MixedState) -> tuple[np.ndarray, MixedState]:
        actions, inner = self.policy.act(observations, state.inner)
        actions = np.array(actions)
        for lane in np.flatnonzero(state.shares):
            if state.rngs[lane].random() < state.shares[lane]:
                actions[lane] = state.rngs[lane].integers(self.actions)
        return actions, state._replace(inner=inner)


class OneOfState(NamedTuple):
    """What OneOf carries."""

    policy: Policy  # who plays this episode
    inner: Any  # its own state


class OneOf:
    """In every episode another of several policies, drawn with equal chances; one game at a time.

    Args:
        makers: of the policies.
    """

    lanes = 1

    def __init__(self, makers: Sequence[Callable[[], Policy]]) -> None:
        self.policies = tuple(make() for make in makers)

    def start(self, rngs: Generators) -> OneOfState:
        """The state before the first observation.

        Raises:
            ValueError: of more than one game.
        """
        if len(rngs) != 1:
            raise ValueError(f'{len(rngs)} games, but it plays one at a time')
        policy = self.policies[rngs[0].integers(len(self.policies))]
        return OneOfState(policy, policy.start(rngs))

    def act(self, observations: np.ndarray, state: OneOfState) -> tuple[np.ndarray, OneOfState]:
        actions, inner = state.policy.act(observations, state.inner)
        return actions, state._replace(inner=inner)


class HeldState(NamedTuple):
    """What HeldRandom carries, one lane per row."""

    rngs: Generators
    actions: np.ndarray  # (B, A) float32, the actions held
    left: np.ndarray  # (B,) steps for which they are still held
    longest: np.ndarray  # (B,) longest hold in this episode


@dataclasses.dataclass(frozen=True)
class HeldRandom:
    """Uniform in (-1, 1), held for 1 to ``longest`` steps.

    How World Models' rollouts were collected (extract.py of the authors'
    experiments): each action lasts randint(1..10) steps. Ours: of several limits every episode
    draws one, so that some episodes walk up to a wall and stay there, which single steps never do.

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
