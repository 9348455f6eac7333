"""Games side by side, one to a lane, and a policy that plays all lanes at once.

Whoever plays a game plays it here: collection, evaluation, films, PPO's collector and the tests of
levels. ``Lanes`` are the games; ``play`` takes a policy from episode to episode in them.

An agent with networks takes hardly longer for eight frames than for one. The number of lanes is
the policy's own and never changes, resting lanes included: matrix products of another height round
otherwise, and an episode must not depend on what is played beside it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import gym
import numpy as np

from chainer_wm.agents.policies import Policy
from chainer_wm.functions.non_finite import check_reward
from chainer_wm.seeds import stream


class Step(NamedTuple):
    """What B lanes answer to B actions; what a lane that rests says, means nothing.

    Fields:
        observations: (B, *S), what the actions led to: where an episode ended, its last
            observation.
        rewards: (B,) float64.
        terminated, truncated: (B,) bool.
        infos: one dict per lane.
    """

    observations: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    infos: list[dict[str, Any]]


class Lanes(Protocol):
    """B games of one kind. A lane whose episode is over rests until it is restarted."""

    num_envs: int

    @property
    def observation_space(self) -> gym.Space:
        """Of one game."""

    @property
    def action_space(self) -> gym.Space:
        """Of one game."""

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin an episode in the first lanes, one per seed: (B, *S) observations."""

    def restart(self, lane: int, seed: int | None = None) -> np.ndarray:
        """Begin an episode in one lane: its observation (*S).

        Args:
            seed: None lets the game's generator go on from where it is.
        """

    def step(self, actions: np.ndarray) -> Step:
        """Act in every lane: (B,) integers or (B, A) numbers."""


class Envs:
    """Environments of one kind by lane, made when they are needed.

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


class EnvLanes:
    """Environments of this process, stepped in turn.

    Args:
        envs: gym 0.26 environments with equal spaces: a list, or ``Envs``.
        num_envs: B; a lane that is never begun needs no environment. A list may tell it.
        max_steps: end an episode after so many steps, as truncated.

    Raises:
        ValueError: no lane, or spaces that differ.
    """

    def __init__(
        self,
        envs: Sequence[gym.Env] | Envs,
        num_envs: int | None = None,
        max_steps: int | None = None,
    ) -> None:
        if not isinstance(envs, Envs):
            _check_spaces(envs)
            num_envs = len(envs) if num_envs is None else num_envs
        if not num_envs:
            raise ValueError('no environments: at least one lane is needed')
        self.envs, self.num_envs, self.max_steps = envs, num_envs, max_steps
        self._seen: list[Any] = []  # the last observation of every lane
        self._lengths = [0] * num_envs
        self._resting = [True] * num_envs

    @property
    def observation_space(self) -> gym.Space:
        return self.envs[0].observation_space

    @property
    def action_space(self) -> gym.Space:
        return self.envs[0].action_space

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        if not 0 < len(seeds) <= self.num_envs:
            raise ValueError(f'{len(seeds)} seeds for {self.num_envs} lanes')
        self._seen = [None] * self.num_envs
        self._resting = [True] * self.num_envs
        for lane, seed in enumerate(seeds):
            self.restart(lane, seed)
        idle = np.zeros_like(self._seen[0])
        self._seen[len(seeds) :] = [idle] * (self.num_envs - len(seeds))
        return np.stack(self._seen)

    def restart(self, lane: int, seed: int | None = None) -> np.ndarray:
        self._seen[lane], _ = self.envs[lane].reset(seed=seed)
        self._lengths[lane], self._resting[lane] = 0, False
        return self._seen[lane]

    def step(self, actions: np.ndarray) -> Step:
        if len(actions) != self.num_envs:
            raise ValueError(f'{len(actions)} actions for {self.num_envs} lanes')
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), bool)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for lane, action in enumerate(actions):
            if self._resting[lane]:
                continue
            answer = self.envs[lane].step(action)
            self._seen[lane], rewards[lane], died, cut, infos[lane] = answer
            self._lengths[lane] += 1
            cut = cut or (not died and self._lengths[lane] == self.max_steps)
            terminated[lane], truncated[lane] = died, cut
            self._resting[lane] = bool(died or cut)
        return Step(np.stack(self._seen), rewards, terminated, truncated, infos)


class VectorLanes:
    """A gym vector environment, such as gym's own or a dream's.

    It begins the next episode of a lane in the step that ends one, so a lane is restarted at once
    or never, and without a seed.

    Args:
        env: of gym 0.26, with autoreset and ``final_observation``.
    """

    def __init__(self, env: gym.vector.VectorEnv) -> None:
        self.env, self.num_envs = env, env.num_envs
        self._next: Any = None  # observations to act on, of new episodes too
        self._ended = np.zeros(self.num_envs, bool)  # in the last step

    @property
    def observation_space(self) -> gym.Space:
        return self.env.single_observation_space

    @property
    def action_space(self) -> gym.Space:
        return self.env.single_action_space

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        if len(seeds) != self.num_envs:
            raise ValueError(f'{len(seeds)} seeds for {self.num_envs} lanes')
        self._ended[:] = False
        return self.env.reset(seed=[int(seed) for seed in seeds])[0].copy()

    def restart(self, lane: int, seed: int | None = None) -> np.ndarray:
        if seed is not None or not self._ended[lane]:
            raise ValueError(
                f'lane {lane} with seed {seed}: a vector environment begins anew by itself '
                'where an episode ends, and takes no seed for it'
            )
        return self._next[lane]

    def step(self, actions: np.ndarray) -> Step:
        if len(actions) != self.num_envs:
            raise ValueError(f'{len(actions)} actions for {self.num_envs} lanes')
        seen, rewards, terminated, truncated, infos = self.env.step(actions)
        # the environment may write the next observations into the same array
        observations = self._next = seen.copy()
        self._ended = terminated | truncated
        if self._ended.any():
            observations = self._next.copy()
            for lane in np.flatnonzero(self._ended):
                observations[lane] = infos['final_observation'][lane]
        return Step(
            observations,
            np.array(rewards, np.float64),
            np.array(terminated, bool),
            np.array(truncated, bool),
            [_of_lane(infos, lane) if infos else {} for lane in range(self.num_envs)],
        )


def as_lanes(envs: Any, num_envs: int | None = None, max_steps: int | None = None) -> Lanes:
    """Lanes of a list of environments, of ``Envs`` or of a vector environment.

    Args:
        num_envs, max_steps: see ``EnvLanes``; a vector environment has its own.
    """
    if isinstance(envs, gym.vector.VectorEnv):
        if max_steps is not None:
            raise ValueError(f'max_steps {max_steps}: a vector environment has a limit of its own')
        return VectorLanes(envs)
    return EnvLanes(envs, num_envs, max_steps)


def _check_spaces(envs: Sequence[gym.Env]) -> None:
    spaces = [(env.observation_space, env.action_space) for env in envs]
    for other in spaces[1:]:
        if other != spaces[0]:
            raise ValueError(f'lanes differ: {spaces[0]} and {other}')


def _of_lane(infos: dict[str, Any], lane: int) -> dict[str, Any]:
    """A lane's share of a vector environment's infos."""
    final = infos.get('final_info')
    if final is not None and final[lane] is not None:
        return dict(final[lane])
    return {
        name: value[lane]
        for name, value in infos.items()
        if not name.startswith(('_', 'final_')) and infos.get(f'_{name}', np.zeros(lane + 1))[lane]
    }


class Transition(NamedTuple):
    """A step of one episode. Its arrays are rows of all lanes' arrays: copy what is kept."""

    observation: np.ndarray  # what the action answered
    action: np.ndarray  # (A,), or an integer
    reward: float
    terminated: bool
    truncated: bool
    following: np.ndarray  # what it led to


@dataclasses.dataclass
class Played:
    """An episode that is played, or was.

    Attributes:
        number: of its generator.
        seed: of its game.
        total: return, the sum of rewards so far.
        length: steps so far.
        info: of its last step.
    """

    number: int
    seed: int
    total: float = 0.0
    length: int = 0
    info: dict[str, Any] = dataclasses.field(default_factory=dict)


Note = Callable[[int, Transition], None]


def lanes_of(policy: Any) -> int:
    """How many games a policy plays together; 1 unless it says."""
    return getattr(policy, 'lanes', 1)


def play(
    envs: Any,
    policy: Policy,
    rngs: Sequence[np.random.Generator],
    max_steps: int | None = None,
    note: Note = lambda number, transition: None,
    num_envs: int | None = None,
) -> Iterator[Played]:
    """Play one episode per generator; yield what ended, as it ends.

    A lane whose episode has ended takes the next one.

    Args:
        envs: see ``as_lanes``; as many as there are lanes or episodes.
        policy: what acts.
        rngs: each gives its game's seed, then the policy's noise.
        max_steps: end an episode after so many steps, as truncated.
        note: called with (number, transition) after every step.
        num_envs: lanes, where they are not the policy's own number.

    Raises:
        NonFiniteError: a reward is not finite; names player, episode, seed.
    """
    lanes = as_lanes(envs, num_envs or lanes_of(policy), max_steps)
    # an episode's seed is drawn when it begins
    waiting = ((Played(n, int(rng.integers(2**31))), rng) for n, rng in enumerate(rngs))
    first = list(itertools.islice(waiting, lanes.num_envs))
    if not first:
        return
    seen = lanes.reset([episode.seed for episode, _ in first])
    idle = [stream(0, 'idle', lane) for lane in range(len(first), lanes.num_envs)]
    state = policy.start([*(rng for _, rng in first), *idle])
    playing = {lane: episode for lane, (episode, _) in enumerate(first)}
    while playing:
        actions, state = policy.act(seen, state)
        step = lanes.step(actions)
        ended = _count(playing, step, seen, actions, note, _name_of(policy))
        seen = step.observations.copy() if ended else step.observations
        for lane in ended:
            yield playing.pop(lane)
            for episode, rng in itertools.islice(waiting, 1):
                playing[lane] = episode
                seen[lane] = lanes.restart(lane, episode.seed)
                new = policy.start([rng])
                state = new if lanes.num_envs == 1 else with_lane(state, lane, new)


def _count(
    playing: dict[int, Played],
    step: Step,
    seen: np.ndarray,
    actions: np.ndarray,
    note: Note,
    player: str,
) -> list[int]:
    """Enter a step into the episodes that are on; the lanes of those that ended."""
    ended = []
    for lane, episode in playing.items():
        following = step.observations[lane]
        reward = check_reward(
            step.rewards[lane], player, episode.number, episode.length, episode.seed
        )
        ends = bool(step.terminated[lane]), bool(step.truncated[lane])
        episode.total += reward
        episode.length += 1
        episode.info = step.infos[lane]
        note(episode.number, Transition(seen[lane], actions[lane], reward, *ends, following))
        if any(ends):
            ended.append(lane)
    return ended


def _name_of(policy: Any) -> str:
    """Who plays: of a policy that wraps another one, the other one."""
    while hasattr(policy, 'policy'):
        policy = policy.policy
    return type(policy).__name__


def with_lane(state: Any, lane: int, new: Any) -> Any:
    """A policy's state with another one's only lane in the place of one lane.

    Args:
        state: of B lanes, as ``Policy`` describes it. It is not changed.
        new: of one lane.
    """
    if state is None:
        return None
    if hasattr(state, '_fields'):
        return type(state)(
            *(with_lane(all_lanes, lane, one) for all_lanes, one in zip(state, new))
        )
    if isinstance(state, (tuple, list)):
        return type(state)([*state[:lane], new[0], *state[lane + 1 :]])
    state = state.copy()
    state[lane] = new[0]
    return state


def groups(items: Sequence[int], workers: int, most: int = 32) -> list[tuple[int, ...]]:
    """Items in consecutive groups of about one size, as many for each of so many workers.

    Args:
        most: in a group: what is lost when it is interrupted.
    """
    if not len(items):
        return []
    many = max(workers, 1)
    rounds = -(-len(items) // (most * many))  # that every worker does
    count = min(rounds * many, len(items))
    return [tuple(int(n) for n in part) for part in np.array_split(items, count)]
