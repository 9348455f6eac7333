"""A dream of a grid's pixel model, for one who plays: one lane, step by step."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from chainer_wm.dream.pixel_dream import PixelDream, starts_at
from chainer_wm.files.archives import load_link
from chainer_wm.inspector import folders
from chainer_wm.inspector.dreamer import Shown
from chainer_wm.inspector.real_game import arrow_of, watched
from chainer_wm.links.pixel_model import PixelModel
from chainer_wm.rollouts import Rollout
from chainer_wm.rollouts.pixel_episodes import PixelEpisodes
from chainer_wm.runs import lifelong_summary
from chainer_wm.runs.lifelong_figures import dream_from

MODEL = 'model/model.npz'  # in the folder of an iteration


def has_pixel_model(folder: pathlib.Path) -> bool:
    """Whether a run has trained a pixel model, level after level."""
    return any(folder.glob(f'level-*/iteration-*/{MODEL}'))


def pixel_model_of(folder: pathlib.Path) -> PixelModel:
    """The model after the last iteration that is complete.

    Raises:
        InspectorError: none is, or a file cannot be read.
    """
    try:
        last = lifelong_summary.after_levels(lifelong_summary.rows(folder))[-1:]
        if not last:
            raise folders.InspectorError('no iteration is complete yet: there is no dream')
        where = lifelong_summary.folder_of(folder, last[0]['level'], last[0]['iteration'])
        return load_link(where / MODEL, PixelModel)
    except folders.InspectorError:
        raise
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise folders.InspectorError(f'the model cannot be loaded: {error}') from error


class PixelDreamer:
    """The last pixel model of a run as the game, with the run's player.

    An episode begins at the first picture of the game's last level, or goes on from a recorded
    one. The temperature divides the scores of the pixels and of what a step brings.

    Args:
        folder: of the run.

    Attributes:
        fps, actions, player, counted: as of `real_game.RealGame`.

    Raises:
        InspectorError: there is no model, or the game is not known.
    """

    counted = 'return'

    def __init__(self, folder: pathlib.Path):
        self.model = pixel_model_of(folder)
        self.env, self.policy = watched(folder)
        self.player = self.policy is not None
        self.temperature, self.fps = 1.0, float(self.env.metadata.get('render_fps', 10))
        self._arrows, self.actions = self.env.unwrapped.arrows, 2
        self.over, self.steps, self.total = True, 0, 0.0

    def begin(self, seed: int, rollout: Rollout | None = None, t: int = 0, **_: Any) -> Shown:
        """Start an episode, at the game's first picture or at step ``t`` of a recorded one.

        Raises:
            InspectorError: the model does not know such pictures.
        """
        rng = np.random.default_rng(seed)
        # as the game of the same seed does
        first = self.env.reset(seed=int(rng.integers(2**31)))[0]
        most = self.env.max_steps
        try:
            self._dream = (
                dream_from(self.model, first, most)
                if rollout is None
                else self._within(rollout, t, max(1, most - t))
            )
        except ValueError as error:
            raise folders.InspectorError(f'a dream cannot begin there: {error}') from error
        seen, _ = self._dream.reset(seed=int(rng.integers(2**31)))
        self._seen = seen[0]
        self._memory = self.policy.start([rng]) if self.policy else None
        for frame in () if rollout is None else rollout.observations[:t]:
            self._choice(frame)  # who remembers has seen the way there
        self.over, self.steps, self.total = False, 0, 0.0
        return self._shown(np.zeros(1))

    def _within(self, rollout: Rollout, t: int, max_steps: int) -> PixelDream:
        episodes = PixelEpisodes([rollout], self.model.palette, self.model.outcomes)
        return PixelDream(
            self.model, starts_at(self.model, episodes, np.array([[0, t]])), 1, max_steps
        )

    def step(self, action: np.ndarray | None) -> Shown | None:
        """Take a step with what the arrow keys say, or with the player's where it is None.

        Returns:
            None where the keys say nothing: a grid waits.
        """
        mine = None if action is None else arrow_of(self._arrows, action)
        if action is not None and mine is None:
            return None
        wished = self._choice(self._seen)
        chosen = wished if mine is None else mine
        assert chosen is not None  # nobody else plays
        self._dream.temperature = self.temperature
        seen, rewards, terminated, truncated, infos = self._dream.step(np.array([chosen]))
        self.over = bool(terminated[0] or truncated[0])
        self._seen = infos['final_observation'][0] if self.over else seen[0]
        self.steps, self.total = self.steps + 1, self.total + float(rewards[0])
        return self._shown(np.array([chosen]))

    def close(self) -> None:
        """End the game whose pictures the dreams began at."""
        self.env.close()

    def _choice(self, frame: np.ndarray) -> int | None:
        """What the player wishes to do; it remembers the frame."""
        if self.policy is None:
            return None
        actions, self._memory = self.policy.act(np.asarray(frame)[None], self._memory)
        return int(actions[0])

    def _shown(self, action: np.ndarray) -> Shown:
        return Shown(self._seen, self.steps, action, self.over, total=self.total)
