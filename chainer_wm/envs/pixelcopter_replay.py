"""PixelCopter's recordings, played again and compared step by step."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import numpy as np

from chainer_wm.envs.copter import PALETTE, SIZE, STATE_NAMES, Copter
from chainer_wm.envs.pixelcopter_recording import Episode, RecordingError, load


class Difference(Exception):
    """The first thing in which the game differs from the recording."""


class OriginalCopter:
    """The original game, with the methods of ``Copter``.

    Raises:
        ImportError: it is not installed.
    """

    def __init__(self) -> None:
        os.environ.setdefault('SDL_VIDEODRIVER', 'dummy')
        os.environ.setdefault('SDL_AUDIODRIVER', 'dummy')
        os.environ.setdefault('PYGAME_HIDE_SUPPORT_PROMPT', '1')
        try:
            import ple
            import pygame
            from ple.games.pixelcopter import Pixelcopter
        except ImportError as error:
            raise ImportError(
                f'the original PixelCopter is not installed ({error}): put '
                'the source of the PyGame Learning Environment on PYTHONPATH '
                'and install pygame-ce'
            ) from error
        self.versions = {'pygame': pygame.version.ver}
        self._game = Pixelcopter(SIZE, SIZE)
        self._ple = ple.PLE(self._game, fps=30, display_screen=False)
        self._climb = self._game.actions['up']
        self.over = True

    def reset(self, random: np.random.RandomState) -> None:
        self._game.rng = random
        self._ple.reset_game()
        self.over = False

    def step(self, up: bool) -> float:
        if self.over:
            raise RuntimeError('the game is over: call reset() first')
        reward = self._ple.act(self._climb if up else None)
        self.over = bool(self._ple.game_over())
        return float(reward)

    def state(self) -> np.ndarray:
        """(7,) float64; NaN where the original fails to tell."""
        try:
            found = self._ple.getGameState()
        except IndexError:  # it touches no column
            return np.full(len(STATE_NAMES), np.nan)
        return np.array([found[name] for name in STATE_NAMES], np.float64)

    @property
    def blocks(self) -> list:
        """The blocks that are there."""
        return list(self._game.block_group)

    def frame(self) -> np.ndarray:
        """(48, 48, 3) uint8; after a reset, still the last game's end."""
        return self._ple.getScreenRGB().transpose(1, 0, 2)

    def picture(self) -> np.ndarray:
        """``frame`` as indices into ``PALETTE``, (48, 48) uint8."""
        same = (self.frame()[..., None, :] == PALETTE).all(axis=-1)
        return same.argmax(axis=-1).astype(np.uint8)


def replay(game: Any, episode: Episode) -> None:
    """Play an episode again.

    Args:
        game: a ``Copter`` or an ``OriginalCopter``.

    Raises:
        Difference: what differs first; all was equal up to there.
    """
    game.reset(np.random.RandomState(episode.seed))
    _compare_state(game, episode, 0)
    for step, action in enumerate(episode.actions, 1):
        if game.over:
            raise Difference(f'step {step}: recorded, but the game had ended in step {step - 1}')
        reward = game.step(action == 1)
        _compare_number(step, 'reward', episode.rewards[step - 1], reward)
        _compare_number(step, 'end', bool(episode.done[step - 1]), game.over)
        _compare_state(game, episode, step)
        if episode.frames is not None:
            _compare_frame(step, episode.frames[step - 1], game.frame())


def _compare_number(step: int, name: str, recorded: Any, found: Any) -> None:
    if recorded != found:
        raise Difference(f'step {step}, {name}: recorded {recorded}, played {found}')


def _compare_state(game: Any, episode: Episode, step: int) -> None:
    if not episode.known[step]:
        return
    found = game.state()
    for name, a, b in zip(STATE_NAMES, episode.states[step], found):
        _compare_number(step, name, float(a), float(b))


def _compare_frame(step: int, recorded: np.ndarray, found: np.ndarray) -> None:
    differs = (recorded != found).any(axis=2)
    if differs.any():
        row, column = np.argwhere(differs)[0]
        raise Difference(
            f'step {step}, frame: {differs.sum()} pixels differ, the first '
            f'in row {row}, column {column}: recorded '
            f'{recorded[row, column].tolist()}, played '
            f'{found[row, column].tolist()}'
        )


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit status.

    0: all is equal. 1: something differs. 2: the recording cannot be read, or
    the original is not installed.
    """
    parser = argparse.ArgumentParser(
        prog='python -m chainer_wm.envs.pixelcopter',
        description='Play a recording of PixelCopter again and compare '
        'states, rewards, ends and frames.',
    )
    parser.add_argument('--replay', metavar='FILE', required=True)
    parser.add_argument(
        '--original',
        action='store_true',
        help='with the original game (package ple), not with ours',
    )
    options = parser.parse_args(arguments)
    try:
        game = OriginalCopter() if options.original else Copter()
        episodes = load(options.replay)
    except (RecordingError, ImportError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    steps = frames = 0
    for number, episode in enumerate(episodes):
        try:
            replay(game, episode)
        except Difference as difference:
            print(f'DIFFERENT: episode {number} (seed {episode.seed}), {difference}')
            print(f'equal before: {number} episodes, {steps} steps')
            return 1
        steps += len(episode.actions)
        if episode.frames is not None:
            frames += len(episode.frames)
    print(
        f'equal: {len(episodes)} episodes, {steps} steps (states, rewards, ends), {frames} frames'
    )
    return 0
