"""A stand-in for the package ``ple``: the original's interface, our rules."""

import sys
import types

from chainer_wm.envs.copter import SIZE, STATE_NAMES, Copter


class Pixelcopter:
    """The names that the original offers; it is given ``rng`` from outside."""

    def __init__(self, width, height):
        assert (width, height) == (SIZE, SIZE)
        self.actions = {'up': 119}
        self.copter = Copter()

    @property
    def block_group(self):
        return iter(self.copter.blocks)


class PLE:
    """The original's wrapper: keys in, pictures (x, y, RGB) out."""

    def __init__(self, game, fps, display_screen):
        assert fps == 30 and not display_screen
        self.game = game

    def reset_game(self):
        self.game.copter.reset(self.game.rng)

    def act(self, key):
        assert key in (None, 119)
        return self.game.copter.step(key is not None)

    def game_over(self):
        return self.game.copter.over

    def getGameState(self):
        return dict(zip(STATE_NAMES, self.game.copter.state()))

    def getScreenRGB(self):
        return self.game.copter.frame().transpose(1, 0, 2)


def install(monkeypatch):
    """Let ``import ple`` and ``import pygame`` find it."""
    copter = types.ModuleType('ple.games.pixelcopter')
    copter.Pixelcopter = Pixelcopter
    package = types.ModuleType('ple')
    package.PLE = PLE
    pygame = types.ModuleType('pygame')
    pygame.version = types.SimpleNamespace(ver='stand-in')
    for name, module in {
        'ple': package,
        'ple.games': types.ModuleType('ple.games'),
        'ple.games.pixelcopter': copter,
        'pygame': pygame,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
