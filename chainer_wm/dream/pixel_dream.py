"""The pixel model as the game: where its dreams begin, and how they go on.

A dream begins at a point of a real episode, with the model's memory of the way there. All that
follows is drawn from the model, picture by picture; a curious dream ends where it does what was
never tried in the real game.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import chainer
import gym
import numpy as np

from chainer_wm.devices import to_cpu
from chainer_wm.dream.gym_envs import lane_generators
from chainer_wm.links.pixel_model import PixelModel, choose
from chainer_wm.links.recurrent import detach
from chainer_wm.rollouts.pixel_episodes import PixelEpisodes


class Starts(NamedTuple):
    """n points where an episode may begin.

    Fields:
        codes: (n, H * W) uint8, the picture.
        state: of the model before it sees it, fields (n, ...).
        curious: (n,) bool, whether a dream from here may be ended by ``Curiosity``.
    """

    codes: np.ndarray
    state: Any
    curious: np.ndarray


def draw_points(
    levels: np.ndarray,
    episodes: PixelEpisodes,
    count: int,
    newest: float,
    anywhere: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Points of real episodes to begin at.

    Args:
        levels: (E,), of each episode.
        count: n.
        newest: share of the points in the newest level; the others are
            shared out equally among the earlier ones, if any.
        anywhere: share of the points that are not first steps but any, each picture of a level as
            likely as any other, however often it was seen: real episodes may spend most of their
            time in one place.

    Returns:
        (n, 2) integers: episode and step.
    """
    known = np.unique(levels)
    chances = np.full(len(known), (1 - newest) / max(1, len(known) - 1))
    chances[-1] = newest if len(known) > 1 else 1
    chosen = rng.choice(len(known), size=count, p=chances)
    first = rng.random(count) >= anywhere
    owner = np.repeat(np.arange(len(episodes)), episodes.lengths)
    rows = np.zeros(count, np.int64)
    for number, level in enumerate(known):
        begins = episodes.starts[levels == level]
        here = np.flatnonzero(levels[owner] == level)
        _, kind, seen = np.unique(
            episodes.codes[here], axis=0, return_inverse=True, return_counts=True
        )
        weights = 1 / (seen[kind.reshape(-1)] * len(seen))
        mine = chosen == number
        rows[mine & first] = rng.choice(begins, (mine & first).sum())
        rows[mine & ~first] = rng.choice(here, (mine & ~first).sum(), p=weights)
    return np.stack([owner[rows], rows - episodes.starts[owner[rows]]], 1)


def starts_at(
    model: PixelModel,
    episodes: PixelEpisodes,
    points: np.ndarray,
    curious: np.ndarray | None = None,
) -> Starts:
    """The pictures at these points, and the model's memory of the way there.

    Args:
        points: (n, 2), episode and step.
        curious: (n,) bool, see ``Starts``; None is nowhere.
    """
    if curious is None:
        curious = np.zeros(len(points), bool)
    chosen, lane = np.unique(points[:, 0], return_inverse=True)
    batch = episodes.whole(chosen)
    state = model.initial_state(len(chosen))
    kept = model.initial_state(len(points))
    with chainer.no_backprop_mode(), chainer.using_config('train', False):
        for step in range(points[:, 1].max() + 1):
            here = np.flatnonzero(points[:, 1] == step)
            for field, now in zip(kept, state):
                field[model.device.send(here)] = now[model.device.send(lane[here])]
            _, state = model.step(batch.codes[step], batch.actions[step], state)
            state = detach(state)
    return Starts(batch.codes[points[:, 1], lane], kept, curious)


@dataclasses.dataclass(frozen=True)
class Curiosity:
    """What a dream gives for a step that was never tried in the real game.

    A model knows nothing about such a step, so the dream ends there, with a
    reward as good as any: a policy that learns in the dream then goes where the real game may
    teach the model something. As R-max (Brafman and Tennenholtz, 2002), for pairs of picture and
    action that are known once they were tried.

    Attributes:
        tried: the pairs, as bytes.
        reward: for a pair that is not among them.
    """

    tried: frozenset[bytes]
    reward: float

    def surprised(self, codes: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Which lanes do what was never tried, (B,) bool.

        Args:
            codes: (B, H * W) uint8, pictures.
            actions: (B,) integers.
        """
        return np.array([pair not in self.tried for pair in _pairs(codes, actions)])


def curiosity(episodes: PixelEpisodes, reward: float) -> Curiosity:
    """About all that is not in these episodes."""
    tried = frozenset(_pairs(episodes.codes, episodes.actions))
    return Curiosity(tried, reward)


def _pairs(codes: np.ndarray, actions: np.ndarray) -> list[bytes]:
    rows = np.concatenate([codes, actions[:, None].astype(np.uint8)], axis=1)
    return [row.tobytes() for row in rows]


class PixelDream(gym.vector.VectorEnv):
    """B lanes of a model's own pictures, as a gym vector environment.

    An episode begins at a point of a real one; all that follows is the
    model's: picture, reward and end are drawn by ``choose``, with one chance for all pixels, and
    the picture becomes the next input. As in gym 0.26 a lane whose episode ends starts anew in the
    same call.

    Args:
        model: the simulator.
        starts: where episodes may begin, all equally likely.
        num_envs: B.
        max_steps: episodes are truncated there, as in the game.
        curiosity: ends an episode that began at a ``curious`` start where
            it does what was never tried in the real game; None never does.

    Attributes:
        temperature: divides the scores that pictures and outcomes are drawn from; may be changed
            between steps.
    """

    temperature = 1.0

    def __init__(
        self,
        model: PixelModel,
        starts: Starts,
        num_envs: int,
        max_steps: int,
        curiosity: Curiosity | None = None,
    ) -> None:
        palette = model.palette
        super().__init__(
            num_envs,
            gym.spaces.Box(0, 255, (palette.height, palette.width, 3), np.uint8),
            gym.spaces.Discrete(model.actions),
        )
        self.model, self.max_steps = model, max_steps
        self._starts, self._curiosity = starts, curiosity
        self._rngs: list[Any] = [None] * num_envs

    def reset_wait(self, seed: Any = None, options: Any = None):
        """Begin an episode in each lane: (pictures (B, H, W, 3), {}).

        Args:
            seed: an integer (lane n gets seed + n), a list of B, or None:
                the lanes' generators go on.
        """
        self._rngs = lane_generators(self._rngs, seed)
        pixels = self._starts.codes.shape[1]
        self._codes = np.zeros((self.num_envs, pixels), np.uint8)
        self._steps = np.zeros(self.num_envs, np.int64)
        self._curious = np.zeros(self.num_envs, bool)
        self._state = self.model.initial_state(self.num_envs)
        self._begin(np.arange(self.num_envs))
        return self.model.palette.decode(self._codes), {}

    def step_async(self, actions: Any) -> None:
        """Take the actions (B,) of the next ``step_wait``."""
        self._actions = np.asarray(actions)

    def step_wait(self, **kwargs: Any):
        """(pictures, rewards, terminated, truncated, infos)."""
        chance = np.stack([rng.random(2) for rng in self._rngs])
        with chainer.no_backprop_mode(), chainer.using_config('train', False):
            found, state = self.model.step(self._codes, self._actions, self._state)
        colours, outcome = (to_cpu(field) / self.temperature for field in found)
        palette = self.model.palette
        rewards, terminated = self._ending(outcome, chance[:, 1])
        picture = choose(colours, chance[:, :1], len(palette))
        self._codes = picture.astype(np.uint8)
        self._state = detach(state)
        self._steps += 1
        truncated = (self._steps >= self.max_steps) & ~terminated
        infos: dict[str, Any] = {}
        if (over := np.flatnonzero(terminated | truncated)).size:
            last = palette.decode(self._codes[over])
            for n, lane in enumerate(over):
                ended = {'final_observation': last[n], 'final_info': {}}
                self._add_info(infos, ended, lane)
            self._begin(over)
        seen = palette.decode(self._codes)
        return seen, rewards, terminated, truncated, infos

    def _ending(self, scores: np.ndarray, chance: np.ndarray):
        """What the actions bring: rewards and ends, (B,) each."""
        outcomes = self.model.outcomes
        rewards, ends = outcomes.decode(choose(scores, chance, len(outcomes.known)))
        if self._curiosity is None:
            return rewards, ends
        new = self._curiosity.surprised(self._codes, self._actions)
        new &= self._curious
        return np.where(new, self._curiosity.reward, rewards), ends | new

    def _begin(self, lanes: np.ndarray) -> None:
        """Begin an episode in these lanes."""
        count = len(self._starts.codes)
        chosen = np.array([self._rngs[n].integers(count) for n in lanes])
        self._codes[lanes] = self._starts.codes[chosen]
        self._steps[lanes] = 0
        self._curious[lanes] = self._starts.curious[chosen]
        send = self.model.device.send
        for field, start in zip(self._state, self._starts.state):
            field[send(lanes)] = start[send(chosen)]
