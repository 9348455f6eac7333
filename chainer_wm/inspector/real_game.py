"""The game itself, with the player that a run has trained, step by step.

Which game that is, and who plays it where no V, M and C do, only the experiment's script knows:
its ``watch(config, run)`` gives the environment, and a policy or None. It is loaded when a game is
first asked for.
"""

from __future__ import annotations

import functools
import importlib.util
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainer_wm import files
from chainer_wm.agents.controller import Controller
from chainer_wm.agents.policies import Policy
from chainer_wm.agents.world_model import WorldModelAgent
from chainer_wm.inspector import folders
from chainer_wm.inspector.catalog import PACKED
from chainer_wm.inspector.dreamer import Shown
from chainer_wm.inspector.trained import Trained
from chainer_wm.runs.command_line import config_of
from chainer_wm.runs.run_folder import SavedRun

SCRIPTS = pathlib.Path(__file__).parents[2] / 'experiments'
_HOOK = re.compile(r'^def watch\(', re.MULTILINE)
#: What a game may raise that cannot be made here.
CANNOT = (ImportError, OSError, ValueError, LookupError, TypeError, RuntimeError)


def script_of(folder: pathlib.Path) -> pathlib.Path | None:
    """The script that trained a run or a packed agent, if it is here and its game can be watched.

    Args:
        folder: ``data/EXPERIMENT/RUN`` or ``results/EXPERIMENT/agents/CORE``.
    """
    packed = (folder / PACKED).is_file()
    name = folder.parent.parent.name if packed else folder.parent.name
    results = folder / 'results.json'
    if results.is_file():
        said = files.read_json(results)
        name = said.get('experiment', name) if isinstance(said, dict) else name
    found = {each.stem: each for each in SCRIPTS.glob('*.py')}.get(name)
    return found if found and _has_hook(found, found.stat().st_mtime_ns) else None


@functools.lru_cache(maxsize=64)
def _has_hook(script: pathlib.Path, changed: int) -> bool:
    """Whether a script, as it was written at a time, says what its game is."""
    return _HOOK.search(script.read_text()) is not None


def watched(folder: pathlib.Path) -> tuple[Any, Policy | None]:
    """The environment and the policy of a run, as its script gives them.

    Raises:
        InspectorError: there is no such script, or the game cannot be made here.
    """
    script = script_of(folder)
    if script is None:
        raise folders.InspectorError('no script of this run is here that says what its game is')
    try:
        module = _loaded(script)
        saved = folder / 'config.json'
        config = config_of(module.Config, files.read_json(saved) if saved.exists() else {})
        return module.watch(config, SavedRun(folder))
    except CANNOT as error:
        raise folders.InspectorError(f'the game cannot be made: {error}') from error


def arrow_of(arrows: Sequence[tuple[int, int]], keys: np.ndarray) -> int | None:
    """The action whose (right, up) the keys say, of a game that has one for each; or None."""
    said = tuple(int(each) for each in np.sign(keys))
    return arrows.index(said) if said in arrows else None


def _loaded(script: pathlib.Path) -> Any:
    name = f'experiments.{script.stem}'
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, script)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look there
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


class _Hands:
    """C, unless somebody's action is there: then that."""

    def __init__(self, controller: Controller):
        self.controller, self.feature_size = controller, controller.feature_size
        self.action: np.ndarray | None = None

    def act(self, features: Any, theta: Any = None) -> Any:
        """(1, A) for features (1, F)."""
        if self.action is None:
            return self.controller.act(features, theta)
        return self.action[None].astype(np.float32)


class RealGame:
    """A run's game, one lane, with the run's player.

    Args:
        folder: of the run, or of a packed agent.
        trained: its V, M and C, or None.

    Attributes:
        fps: the game's own.
        actions: how many numbers the arrow keys give.
        player: whether somebody plays who was trained.
        temperature: None: a game has none.
        counted: what `Shown.total` is.

    Raises:
        InspectorError: the game is not known, or cannot be made here.
    """

    temperature: float | None = None
    counted = 'return'

    def __init__(self, folder: pathlib.Path, trained: Trained | None):
        self.env, policy = watched(folder)
        self._hands = None
        if trained is not None and trained.model and trained.controller:
            self._hands = _Hands(trained.controller)
            policy = WorldModelAgent(trained.vision, trained.model, self._hands, trained.features)
        self.policy: Policy | None = policy
        self.player = policy is not None
        self.fps = float(self.env.metadata.get('render_fps', 30))
        space = self.env.action_space
        self._arrows = getattr(self.env.unwrapped, 'arrows', None)
        self._keys = getattr(self.env.unwrapped, 'keys', None)
        self.actions = 2 if self._arrows or self._keys else int(np.prod(space.shape))
        self.over, self.steps, self.total = True, 0, 0.0

    def begin(self, seed: int, **_: Any) -> Shown:
        """Start an episode; a game has no other start than its own."""
        rng = np.random.default_rng(seed)
        self._seen, _ = self.env.reset(seed=int(rng.integers(2**31)))  # as play.lanes draws it
        self._state = self.policy.start([rng]) if self.policy else None
        self.over, self.steps, self.total = False, 0, 0.0
        return self._shown(np.zeros(1))

    def step(self, action: np.ndarray | None) -> Shown | None:
        """Take a step with what the arrow keys say, or with the player's action where it is None.

        Returns:
            None where the keys say nothing and the game has no such action: it waits.
        """
        if action is not None and self._arrows:
            arrow = arrow_of(self._arrows, action)
            if arrow is None:
                return None
            action = np.array(arrow)
        elif action is not None and self._keys:
            action = self._keys(action)
        if self._hands:
            self._hands.action = action
        if self.policy:
            chosen, self._state = self.policy.act(np.asarray(self._seen)[None], self._state)
            action = chosen[0] if action is None else action
        assert action is not None  # nobody else plays
        given = int(action) if self._arrows else np.asarray(action, np.float32)
        self._seen, reward, terminated, truncated, _ = self.env.step(given)
        self.steps, self.total = self.steps + 1, self.total + float(reward)
        self.over = bool(terminated or truncated)
        return self._shown(np.atleast_1d(action))

    def close(self) -> None:
        """End the game."""
        self.env.close()

    def _shown(self, action: np.ndarray) -> Shown:
        picture = self.env.render()
        frame = np.asarray(self._seen if picture is None else picture)
        return Shown(frame, self.steps, action, self.over, total=self.total)
