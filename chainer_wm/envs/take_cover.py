"""ViZDoom Take Cover: dodge fireballs, one point per tic survived."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import gym
import numpy as np
from PIL import Image

from chainer_wm.envs import vizdoom_engine

SIZE = 64
_THIRD = 1 / 3


@dataclasses.dataclass(frozen=True)
class _Screen:
    """How the game is set up and which part of its screen is seen."""

    resolution: str
    top: float  # rows of the screen: the picture is cut from top to bottom
    bottom: float
    hud: bool = False
    start_tic: int = 1
    timeout: int = 0  # tics, 0 for none


SETTINGS = {
    'paper': _Screen('RES_320X240', 18.0, 219.5, start_tic=14, timeout=2100),
    'paper-640x480': _Screen('RES_640X480', 0, 400, hud=True, start_tic=14, timeout=2100),
    'blog': _Screen('RES_160X120', 0, 120),
    'trial': _Screen('RES_160X120', 9, 109.75, start_tic=14, timeout=150),
}


class _Frame(NamedTuple):
    """One picture of the game."""

    screen: np.ndarray  # as rendered, (H, W, 3) uint8
    small: np.ndarray  # (64, 64, 3) uint8


class TakeCover(gym.Env):
    """ViZDoom's ``take_cover`` as World Models plays it.

    Action: one number in [-1, 1]; below -1/3 moves left, above 1/3 moves
    right, else nothing. Reward: 1 per tic, the dying one included. The episode terminates on death
    and is truncated at the time limit. ViZDoom has no
    frame after the end: the last one is given again.

    Settings:
        'paper': as in World Models (Ha and Schmidhuber 2018): skill 4, starts at tic 14, at most
            2,100 tics, status bar cropped away. There the game is rendered at 640x480, rows 0 to
            399 are kept and resized to 64x64 (PIL, bilinear). The same camera at 320x240 without
            status bar, rows 18 to 219.5, gives a picture that differs by 1.6 grey levels of 255 on
            average (the reference itself differs by 0.8 from one rendered at 1280x960; 160x120
            differs by 3.0, and its walls flicker), at 4.7 times the speed.
        'paper-640x480': that reference.
        'blog': the shipped configuration at 160x120, nothing cropped, no time limit.
        'trial': 'paper' at 160x120 and 150 tics, to see that something runs; no score.

    Args:
        settings: one of those names.
        frame_skip: tics per action; the reward is then the tics survived.
        render_mode: 'rgb_array' for `render`, or None.

    Attributes:
        settings: dict of all of it, for manifests.
        versions: dict of library versions, for manifests.

    Raises:
        ValueError: unknown settings, or a frame skip below 1.
    """

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 35}  # noqa: RUF012

    def __init__(
        self, settings: str = 'paper', frame_skip: int = 1, render_mode: str | None = None
    ):
        if settings not in SETTINGS:
            raise ValueError(
                f'no settings {settings!r} for Take Cover, there are {sorted(SETTINGS)}'
            )
        if frame_skip < 1:
            raise ValueError(f'frame_skip is {frame_skip}, expected 1 or more')
        self._screen = SETTINGS[settings]
        self._frame_skip = frame_skip
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self.settings: dict[str, Any] = {
            'name': settings,
            'frame_skip': frame_skip,
            'skill': 4,
            **dataclasses.asdict(self._screen),
        }
        self._vizdoom = _import_vizdoom()
        self.versions = {'vizdoom': self._vizdoom.__version__}
        self._game: Any = None
        self._end: Any = None
        self._frame: _Frame | None = None
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict]:
        """Begin an episode; the same seed and actions give the same frames.

        Without a seed, one is drawn from the generator that the last seeded reset left.
        """
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        if self._game is None:
            self._game = _configured(self._vizdoom, self._screen)
            self._end = vizdoom_engine.start(self._game, self)
        self._game.set_seed(seed % 2**32)
        self._game.new_episode()
        self._over = False
        self._frame = self._look()
        return self._frame.small, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Hold a button for ``frame_skip`` tics.

        Raises:
            RuntimeError: the episode is over, or was never begun.
            ValueError: the action is not one finite number.
        """
        if self._over:
            raise RuntimeError('the episode is over: call reset() first')
        buttons = buttons_of(action)
        game = self._game
        reward = game.make_action(buttons, self._frame_skip)
        self._over = game.is_episode_finished()
        # a death on the last tic is a death
        terminated = self._over and game.is_player_dead()
        truncated = self._over and not terminated
        if not self._over:
            self._frame = self._look()
        assert self._frame is not None
        return self._frame.small, float(reward), terminated, truncated, {}

    def render(self) -> Any:
        """What is seen, larger: (H, W, 3) uint8, cropped as the observation.

        The 'paper' settings give 202 rows of 320. None without render_mode.
        """
        if self.render_mode is None or self._frame is None:
            return None
        top, bottom = round(self._screen.top), round(self._screen.bottom)
        return self._frame.screen[top:bottom]

    def close(self) -> None:
        """End the game's process."""
        if self._end is not None:
            self._end()
        self._game = self._end = None
        self._over = True

    def _look(self) -> _Frame:
        screen = self._game.get_state().screen_buffer
        box = (0, self._screen.top, screen.shape[1], self._screen.bottom)
        small = Image.fromarray(screen).resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
        return _Frame(screen, np.array(small))


def buttons_of(action: np.ndarray) -> list[bool]:
    """[MOVE_LEFT, MOVE_RIGHT] of one number in [-1, 1], by thirds."""
    value = np.asarray(action, np.float64)
    if value.size != 1 or not np.isfinite(value).all():
        raise ValueError(
            f'the action is {action!r}, expected one finite number: did the '
            'network diverge, or was it made for another game?'
        )
    number = value.item()
    return [number < -_THIRD, number > _THIRD]


def _import_vizdoom() -> Any:
    try:
        import vizdoom
    except ImportError as error:
        raise ImportError(
            'Take Cover needs vizdoom, which is not installed: pip install vizdoom==1.3.2'
        ) from error
    return vizdoom


def _configured(vizdoom: Any, screen: _Screen) -> Any:
    """A DoomGame with the shipped take_cover.cfg and our changes."""
    game = vizdoom.DoomGame()
    game.load_config(f'{vizdoom.scenarios_path}/take_cover.cfg')
    game.set_doom_skill(4)
    game.set_window_visible(False)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_screen_resolution(getattr(vizdoom.ScreenResolution, screen.resolution))
    game.set_render_hud(screen.hud)
    game.set_episode_start_time(screen.start_tic)
    game.set_episode_timeout(screen.timeout)
    return game
