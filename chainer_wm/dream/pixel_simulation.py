"""From the scores of a class to the class that happens.

The model as the game: a vectorised environment that dreams pictures.
"""

from __future__ import annotations

from typing import Any

import chainer
import gym
import numpy as np
from gym.utils import seeding

from chainer_wm.dream.pixel_curiosity import Curiosity
from chainer_wm.dream.pixel_starts import Starts
from chainer_wm.links.pixel_model import PixelModel
from chainer_wm.links.recurrent import detach

RARE = 0.1
"""What is less likely than this never happens in a simulation."""


def choose(scores: np.ndarray, chance: np.ndarray | float, known: int) -> np.ndarray:
    """Draw a class from each row of scores, rare ones left out.

    The classes whose softmax is at least ``RARE``, and the likeliest in any
    case, divide [0, 1) between them in the order of their numbers; the one in
    whose share ``chance`` falls is taken. So a picture whose pixels all get
    the same chance is of one piece: a door of which the model knows that it
    will be red or yellow becomes all red or all yellow, and what the model is
    nearly sure of is not speckled by the rest.

    Args:
        scores: (..., K).
        chance: in [0, 1), broadcast to (...).
        known: classes from this number on do not exist yet.

    Returns:
        (...) integers.
    """
    scores = scores[..., :known].astype(np.float64)
    top = scores.max(axis=-1, keepdims=True)
    shares = np.exp(scores - top)
    total = shares.sum(axis=-1, keepdims=True)
    shares[(shares < RARE * total) & (scores < top)] = 0
    edges = shares.cumsum(axis=-1)
    at = np.broadcast_to(chance, scores.shape[:-1])[..., None]
    return (at * edges[..., -1:] >= edges[..., :-1]).sum(axis=-1)


class PixelSimulation(gym.vector.VectorEnv):
    """B lanes of a model's own pictures, as a gym vector environment.

    An episode begins at a point of a real one; all that follows is the
    model's: picture, reward and end are drawn by ``choose``, with one chance
    for all pixels, and the picture becomes the next input. As in gym 0.26 a
    lane whose episode ends starts anew in the same call.

    Args:
        model: the simulator.
        starts: where episodes may begin, all equally likely.
        num_envs: B.
        max_steps: episodes are truncated there, as in the game.
        curiosity: ends an episode that began at a ``curious`` start where
            it does what was never tried in the real game; None never does.
    """

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
        lanes = range(self.num_envs)
        seeds = (
            [None] * self.num_envs
            if seed is None
            else [seed + n for n in lanes]
            if isinstance(seed, int)
            else list(seed)
        )
        self._rngs = [
            old if old is not None and one is None else _generator(one)
            for old, one in zip(self._rngs, seeds, strict=True)
        ]
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
        colours, outcome = (chainer.get_device('@numpy').send(field.array) for field in found)
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


def _generator(seed: int | None) -> np.random.Generator:
    return seeding.np_random(seed)[0]
