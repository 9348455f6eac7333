"""The dream as gym environments, one lane or a batch with autoreset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gym
import numpy as np
from gym.utils import seeding

from chainer_wm.devices import to_cpu
from chainer_wm.dream.simulator import FEATURES, Dream
from chainer_wm.links.conv_vae import ConvVAE, decoded


def lane_generators(
    old: Sequence[np.random.Generator | None], seed: int | Sequence[int | None] | None
) -> list[np.random.Generator]:
    """A generator per lane of a vector environment, at its reset.

    Args:
        old: those of the lanes so far, None where there is none yet.
        seed: an integer (lane n gets seed + n), one integer or None per lane, or None: a lane
            without a seed goes on with its old generator.

    Raises:
        ValueError: as many seeds as lanes are needed.
    """
    if seed is None:
        seeds: list[int | None] = [None] * len(old)
    elif isinstance(seed, int):
        seeds = [seed + n for n in range(len(old))]
    else:
        seeds = list(seed)
    if len(seeds) != len(old):
        raise ValueError(f'{len(seeds)} seeds for {len(old)} lanes')
    return [
        rng if rng is not None and one is None else seeding.np_random(one)[0]
        for rng, one in zip(old, seeds)
    ]


def _spaces(dream: Dream, features: Sequence[str]):
    sizes = dream.model.feature_sizes
    unknown = set(features) - set(sizes)
    if unknown:
        raise ValueError(
            f'features {sorted(unknown)} are not among those of this model, {sorted(sizes)}'
        )
    width = sum(sizes[name] for name in features)
    limit = np.finfo(np.float32).max  # any finite number
    return (
        gym.spaces.Box(-limit, limit, (width,), np.float32),
        gym.spaces.Box(-1, 1, (dream.model.action_size,), np.float32),
    )


def _observation(dream: Dream, features: Sequence[str]) -> np.ndarray:
    return to_cpu(dream.observe(features)).astype(np.float32)


class DreamEnv(gym.Env):
    """One lane of a dream as a gym environment.

    Args:
        dream: the simulator; the environment takes it over.
        features: what is observed, side by side in this order: 'z' (latent picture), 'c' and 'h'
            (M's state from before it consumes z), 'r' (read vectors of a DNC).
        vision: V, which draws what is dreamt, for ``render``.

    Observations are (F,) float32, actions (A,) float32 in [-1, 1], the reward is 1 per step.
    ``reset(seed=)`` fixes the whole episode.
    """

    metadata: dict = {'render_modes': ['rgb_array']}  # noqa: RUF012  (gym's own name)

    def __init__(
        self, dream: Dream, features: Sequence[str] = FEATURES, vision: ConvVAE | None = None
    ) -> None:
        self.dream, self.vision = dream, vision
        self.render_mode = None if vision is None else 'rgb_array'
        self.features = tuple(features)
        self.observation_space, self.action_space = _spaces(dream, features)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """Start an episode: (observation, {})."""
        super().reset(seed=seed)
        self.dream.reset(1, [self.np_random])
        return _observation(self.dream, self.features)[0], {}

    def step(self, action):
        """(observation, reward, terminated, truncated, {})."""
        result = self.dream.step(np.asarray(action)[None])
        return (
            _observation(self.dream, self.features)[0],
            float(result.reward[0]),
            bool(result.terminated[0]),
            bool(result.truncated[0]),
            {},
        )

    def render(self) -> Any:
        """What is dreamt now, as V draws it: (64, 64, 3) uint8. None without V."""
        if self.vision is None:
            return None
        return decoded(self.vision, to_cpu(self.dream.features()['z']))[0]


class DreamVectorEnv(gym.vector.VectorEnv):
    """B lanes of a dream as a gym vector environment with autoreset.

    As in gym 0.26: a lane whose episode ends starts anew in the same call; the observation is then
    of the new episode, and the last one of the old is in ``infos['final_observation'][lane]``,
    valid where ``infos['_final_observation']`` is true.

    Args:
        dream: the simulator; the environment takes it over.
        num_envs: B.
        features: as for ``DreamEnv``.
    """

    def __init__(self, dream: Dream, num_envs: int, features: Sequence[str] = FEATURES) -> None:
        super().__init__(num_envs, *_spaces(dream, features))
        self.dream = dream
        self.features = tuple(features)
        self._rngs: list | None = None
        self._actions: np.ndarray | None = None

    def reset_wait(self, seed=None, options=None):
        """Start an episode in every lane: (observations (B, F), {}).

        Args:
            seed: an integer (lane n gets seed + n), a list of B integers or Nones, or None: the
                lanes' generators go on.
            options: ignored.
        """
        self._rngs = lane_generators(self._rngs or [None] * self.num_envs, seed)
        self.dream.reset(self.num_envs, self._rngs)
        return self._see(), {}

    def _see(self) -> np.ndarray:
        return _observation(self.dream, self.features)

    def step_async(self, actions) -> None:
        """Take the actions (B, A) of the next ``step_wait``."""
        self._actions = np.asarray(actions)

    def step_wait(self, **kwargs):
        """(observations, rewards, terminated, truncated, infos)."""
        result = self.dream.step(self._actions)
        seen = self._see()
        infos: dict = {}
        ended = np.flatnonzero(result.done)
        if len(ended):
            for lane in ended:
                self._add_info(
                    infos, {'final_observation': seen[lane].copy(), 'final_info': {}}, lane
                )
            self.dream.restart(ended)
            seen[ended] = self._see()[ended]
        return seen, result.reward, result.terminated, result.truncated, infos


class ChoiceVectorEnv(DreamVectorEnv):
    """B lanes of a dream for whoever chooses one of a few actions, as a policy of PPO does.

    Args:
        dream, num_envs, features: as for ``DreamVectorEnv``.
        choices: (n, A), the action that each of the n integers stands for.
        unit: (F,), what each feature is divided by.
        step_reward, death_reward: of every step, and what an episode's end adds to its last one;
            a cut adds nothing. They take the place of the dream's own rewards.
    """

    def __init__(
        self,
        dream: Dream,
        num_envs: int,
        features: Sequence[str],
        choices: Sequence[Sequence[float]],
        unit: np.ndarray,
        step_reward: float = 0.0,
        death_reward: float = -1.0,
    ) -> None:
        super().__init__(dream, num_envs, features)
        self._choices = np.asarray(choices, dream.model.dtype)
        self._unit = np.asarray(unit, dream.model.dtype)
        self._rewards = step_reward, death_reward
        self._rng: np.random.Generator | None = None
        self.single_action_space = gym.spaces.Discrete(len(self._choices))
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, num_envs)

    def reset_wait(self, seed=None, options=None):
        """Start an episode in every lane: (observations (B, F), {}).

        One generator serves all lanes, which is quicker than one for each: what a lane dreams then
        depends on the others.

        Args:
            seed: as for ``DreamVectorEnv``; all of them together seed that generator.
            options: ignored.
        """
        if seed is not None or self._rng is None:
            self._rng = np.random.default_rng(seed)
        self.dream.reset(self.num_envs, self._rng)
        return self._see(), {}

    def step_async(self, actions) -> None:
        """Take the integers (B,) of the next ``step_wait``."""
        super().step_async(self._choices[np.asarray(actions)])

    def step_wait(self, **kwargs):
        """(observations, rewards, terminated, truncated, infos)."""
        seen, _, terminated, *rest = super().step_wait(**kwargs)
        step, death = self._rewards
        return seen, step + death * terminated, terminated, *rest

    def _see(self) -> np.ndarray:
        return to_cpu(self.dream.observe(self.features)) / self._unit
