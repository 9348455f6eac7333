"""Gym's CarRacing-v2, drawn in a third of the time: the same pictures to the last bit."""

from __future__ import annotations

import functools
import os
import threading
from typing import Any

os.environ.setdefault('SDL_VIDEODRIVER', 'dummy')  # before pygame is imported: no display here

import numpy as np
import pygame
from gym.envs.box2d import car_racing as original
from pygame import gfxdraw

_FIELD = original.PLAYFIELD * np.array([[[1], [1]], [[1], [-1]], [[-1], [-1]], [[-1], [1]]], float)
_WINDOW = np.array([original.WINDOW_W, original.WINDOW_H], float)
# Pygame's polygons are filled by way of one table of all threads, and the canvases are shared.
_drawing = threading.Lock()
_MARGIN = 2.0  # pixels; an edge is drawn smooth
_Shift = tuple[float, float]
_STATE = (original.STATE_W, original.STATE_H)


def _grass() -> np.ndarray:
    """(4, 2, 400): the corners of every other square of the field, column by column."""
    low = original.GRASS_DIM * np.arange(-20, 20, 2.0)
    squares = np.stack(np.meshgrid(low, low, indexing='ij')).reshape(2, -1)
    corners = np.array([[1, 0], [0, 0], [0, 1], [1, 1]], float)
    return squares + original.GRASS_DIM * corners[..., None]


@functools.cache
def _canvases() -> tuple[pygame.Surface, pygame.Surface, pygame.font.Font]:
    """Two windows and the score's font, of all games here: a cache holds one pair, not many."""
    pygame.font.init()
    font = pygame.font.Font(pygame.font.get_default_font(), 42)
    return pygame.Surface(_WINDOW), pygame.Surface(_WINDOW), font


class Game(original.CarRacing):
    """Gym's game; its state's picture is drawn by array arithmetic.

    Gym turns every square of grass and every tile of the track to the screen in Python, four
    corners at a time, and draws on a new surface with a new font: nine tenths of a step. Here
    all corners are turned in one go, by the same operations in the same order, what cannot be
    on the screen is left out, and surfaces and font are kept. The pictures are equal, which
    the tests see to.
    """

    surf: Any

    def __init__(self) -> None:
        super().__init__()
        self._drawn, self.surf, self._font = _canvases()

    def _create_track(self) -> bool:
        if not super()._create_track():
            return False
        grass, (road, colours) = _grass(), zip(*self.road_poly, strict=True)
        self._polygons = np.concatenate([grass, np.array(road, float).transpose(1, 2, 0)], -1)
        # a tile's colour is an array that changes when it is reached
        self._colours = [self.grass_color] * grass.shape[-1] + list(colours)
        return True

    def _render(self, mode: str) -> np.ndarray:
        with _drawing:
            return self._picture() if mode == 'state_pixels' else super()._render(mode)

    def _picture(self) -> np.ndarray:
        assert self.car is not None
        angle, zoom, shift = self._camera(self.car.hull)
        reach = np.hypot(_WINDOW[0] / 2, _WINDOW[1] * 3 / 4) / zoom + 1
        inside = np.abs(self.car.hull.position).max() + reach < original.PLAYFIELD
        self._draw_field(inside, angle, zoom, shift)
        self._draw_ground(angle, zoom, shift)
        self.car.draw(self._drawn, zoom, shift, angle, False)
        drawn = pygame.surfarray.pixels2d(self._drawn)
        pygame.surfarray.pixels2d(self.surf)[:] = drawn[:, ::-1]  # the world's y points up
        del drawn  # it locks the surface
        self._render_indicators(*_WINDOW)
        score = self._font.render(f'{int(self.reward):04d}', True, (255, 255, 255), (0, 0, 0))
        self.surf.blit(score, score.get_rect(center=(60, _WINDOW[1] - _WINDOW[1] * 2.5 / 40)))
        return self._create_image_array(self.surf, _STATE)

    def _camera(self, hull: Any) -> tuple[float, float, _Shift]:
        """Its turn, its pixels per unit, which grow in the first second, and its shift."""
        zoomed = original.ZOOM * original.SCALE
        zoom = 0.1 * original.SCALE * max(1 - self.t, 0) + zoomed * min(self.t, 1)
        x, y = -hull.position[0] * zoom, -hull.position[1] * zoom
        x, y = pygame.math.Vector2(x, y).rotate_rad(-hull.angle)
        return -hull.angle, zoom, (_WINDOW[0] / 2 + x, _WINDOW[1] / 4 + y)

    def _draw_field(self, inside: bool, angle: float, zoom: float, shift: _Shift) -> None:
        """What lies under all else; ``inside``: its edges are out of sight."""
        if inside:
            self._drawn.fill(self.bg_color)
            return
        self._drawn.fill((0, 0, 0))
        field = _turned(_FIELD, angle, zoom, shift)[..., 0].tolist()
        _fill(self._drawn, field, self.bg_color)

    def _draw_ground(self, angle: float, zoom: float, shift: _Shift) -> None:
        """Grass and track."""
        polygons = _turned(self._polygons, angle, zoom, shift)
        ends = _WINDOW[:, None]
        seen = (polygons.max(axis=0) >= -_MARGIN) & (polygons.min(axis=0) <= ends + _MARGIN)
        shown = np.flatnonzero(seen.all(axis=0))
        corners = polygons[..., shown].transpose(2, 0, 1).tolist()
        for index, polygon in zip(shown, corners, strict=True):
            _fill(self._drawn, polygon, self._colours[index])


def _fill(surface: pygame.Surface, corners: list, colour: Any) -> None:
    """A polygon with a smooth edge."""
    whole = [int(part) for part in colour]
    gfxdraw.aapolygon(surface, corners, whole)
    gfxdraw.filled_polygon(surface, corners, whole)


def _turned(corners: np.ndarray, angle: float, zoom: float, shift: _Shift) -> np.ndarray:
    """Where corners of the world are on the screen, (4, 2, polygons) as they are."""
    cosine, sine = pygame.math.Vector2(1, 0).rotate_rad(angle)  # what it turns all else by
    x, y = corners[:, 0], corners[:, 1]
    turned = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=1)
    return turned * zoom + np.array(shift)[:, None]
