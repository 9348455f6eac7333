"""dSprites by index: 737,280 binary images of 64 x 64 pixels, drawn on demand or from the file.

The data set (Matthey et al. 2017, https://github.com/google-deepmind/dsprites-dataset) has one
image for every combination of shape, scale, orientation and position of a white sprite. Without
its file an image is drawn when it is asked for: a pixel is set where its centre is inside the
outline. The outlines were fitted to published images of the data set, because their renderer was
not published. Of 320 frames of the data set's own animation (on which the outlines were fitted)
all 320 come out exactly; of 43 images read back from the figures of its notebook 38 do, and the
other five differ in 6 pixels together.

Differences to the file: the colour, which is always white, is left out, so that five factors
remain; y = 0 is taken to be at the top.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import zipfile
from typing import Any, BinaryIO

import numpy as np

from dnc.kernel_cache import cached_njit, inner_njit

SIZE = 64  # pixels along a side
#: The factors in the order of the index, the last one changing fastest.
FACTORS = ('shape', 'scale', 'orientation', 'x', 'y')
SHAPES = ('square', 'ellipse', 'heart')
COUNTS = (3, 6, 40, 32, 32)  # values of each factor
IMAGES = 737_280
#: What each factor's classes stand for, as the file has them.
VALUES = (
    np.array([1.0, 2.0, 3.0]),
    np.linspace(0.5, 1, 6),
    np.linspace(0, 2 * np.pi, 40),  # the first and the last are one image
    np.linspace(0, 1, 32),
    np.linspace(0, 1, 32),
)

FILE = 'dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz'
SOURCE = f'https://github.com/google-deepmind/dsprites-dataset/raw/master/{FILE}'
#: Published with it by many users; no source was found that gives its SHA-256.
MD5 = '7da33b31b13a06f4b04a70402ce90c2e'
_BLOCK = 4096  # images that are read at a time

HALF_SIDE = 9.598  # of the square at scale 1, in pixels
HALF_AXES = (12.766, 7.2135)  # of the ellipse
HEART_CORNERS = 150


def classes_of(index: Any) -> np.ndarray:
    """The classes of images: index (...) -> (..., 5) int64, in the order of FACTORS.

    Raises:
        ValueError: there is no such image.
    """
    index = np.asarray(index)
    if index.size and not 0 <= index.min() <= index.max() < IMAGES:
        raise ValueError(f'indices are {index.min()} to {index.max()}, expected 0 to {IMAGES - 1}')
    return np.stack(np.unravel_index(index, COUNTS), axis=-1)


def index_of(classes: Any) -> np.ndarray:
    """The index of images: classes (..., 5) -> (...) int64.

    Raises:
        ValueError: not five factors, or there is no such class.
    """
    classes = np.asarray(classes)
    if classes.shape[-1:] != (len(FACTORS),):
        raise ValueError(
            f'classes have shape {classes.shape}, expected (..., {len(FACTORS)}): '
            'is the colour still there?'
        )
    return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(classes, -1, 0)), COUNTS))


def values_of(classes: Any) -> np.ndarray:
    """What the classes stand for: (..., 5) -> (..., 5) float64.

    Shape 1 to 3 (square, ellipse, heart), scale 0.5 to 1, orientation 0 to 2 pi, x and y 0 to 1.
    """
    classes = np.asarray(classes)
    columns = [values[classes[..., column]] for column, values in enumerate(VALUES)]
    return np.stack(columns, axis=-1)


def outline(shape: int) -> np.ndarray:
    """The corners (K, 2) of a square (0) or a heart (2) at scale 1, as (u, v), in pixels.

    The origin is the position; v points down. The ellipse (1) has none: see HALF_AXES.
    """
    if shape == 0:
        return HALF_SIDE * np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    t = 2 * np.pi * np.arange(HEART_CORNERS) / HEART_CORNERS
    lobes = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([9.6 * np.sin(t) ** 3, -1.44 - 0.6624 * lobes], axis=1)


def draw(index: Any) -> np.ndarray:
    """Images by their index: (...) -> (..., 64, 64) uint8 of 0 and 1.

    Raises:
        ValueError: there is no such image.
    """
    classes = classes_of(index)
    values = values_of(classes).reshape(-1, len(FACTORS))
    images = np.zeros((len(values), SIZE, SIZE), np.uint8)
    _draw(values, outline(0), outline(2), images)
    return images.reshape(*classes.shape[:-1], SIZE, SIZE)


class Sprites:
    """The images of dSprites by their index.

    Args:
        path: of the original file; '' draws every image when it is asked for. The images of the
            file are kept in 0.4 GB, a bit per pixel.

    Raises:
        FileNotFoundError: there is no such file. Says where to get it.
        ValueError: it is another file.
    """

    def __init__(self, path: str | os.PathLike = '') -> None:
        self._packed = _read(pathlib.Path(path)) if os.fspath(path) else None

    def images(self, index: Any) -> np.ndarray:
        """(...) -> (..., 64, 64) uint8 of 0 and 1."""
        if self._packed is None:
            return draw(index)
        packed = self._packed[np.asarray(index)]
        return np.unpackbits(packed, axis=-1).reshape(*packed.shape[:-1], SIZE, SIZE)


def _read(path: pathlib.Path) -> np.ndarray:
    """The images of the original file, (737280, 512) uint8 of eight pixels each."""
    if not path.exists():
        raise FileNotFoundError(
            f'{path} is not there: get {FILE} (26 MB) from {SOURCE}, or leave the path out to '
            'have the images drawn'
        )
    with open(path, 'rb') as file:
        digest = hashlib.md5(usedforsecurity=False)
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != MD5:
        raise ValueError(
            f'{path} has MD5 {digest.hexdigest()}, but {FILE} has {MD5}: was it cut off, or is '
            f'it another file? The original is at {SOURCE}'
        )
    return read_file(path)


def read_file(path: str | os.PathLike, counts: tuple[int, ...] = COUNTS) -> np.ndarray:
    """The images of a file in the format of dSprites, a bit per pixel.

    Its entry ``metadata``, a pickle, is not touched.

    Args:
        counts: of the factors' values.

    Returns:
        (images, 512) uint8; ``numpy.unpackbits`` gives the 4,096 pixels of each.

    Raises:
        ValueError: it is in another format, or its images are in another order.
    """
    total = int(np.prod(counts))
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open('latents_classes.npy') as file:
                _expect(path, 'latents_classes', file, (total, 1 + len(counts)), np.int64)
                found = np.frombuffer(file.read(), np.int64).reshape(total, -1)
            order = np.stack(np.unravel_index(np.arange(total), counts), axis=1)
            if found[:, 0].any() or not np.array_equal(found[:, 1:], order):
                raise ValueError(f'{path}: latents_classes are not in the order of dSprites')
            with archive.open('imgs.npy') as file:
                _expect(path, 'imgs', file, (total, SIZE, SIZE), np.uint8)
                return _packed(path, file, total)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f'{path} is no archive in the format of dSprites ({error})') from error


def _expect(path: Any, name: str, file: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Read the header of an array in C order, and see that it is as it should be."""
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f'{path}: {name} is in version {version} of the npy format, expected 1.0')
    found, columns, kind = np.lib.format.read_array_header_1_0(file)
    if (found, columns, kind) != (shape, False, np.dtype(dtype)):
        raise ValueError(
            f'{path}: {name} is {kind} {found}{" in columns" if columns else ""}, expected '
            f'{np.dtype(dtype)} {shape}'
        )


def _packed(path: Any, file: BinaryIO | Any, total: int) -> np.ndarray:
    packed = np.empty((total, SIZE * SIZE // 8), np.uint8)
    for first in range(0, total, _BLOCK):
        rows = packed[first : first + _BLOCK]
        pixels = np.frombuffer(file.read(len(rows) * SIZE * SIZE), np.uint8)
        if pixels.size != len(rows) * SIZE * SIZE or pixels.max() > 1:
            raise ValueError(f'{path}: imgs are cut off, or not of 0 and 1')
        rows[:] = np.packbits(pixels.reshape(len(rows), -1), axis=1)
    return packed


@cached_njit(nogil=True)
def _draw(values, square, heart, images):
    """Set the pixels of each image (B, 64, 64), whose values (B, 5) are in the order of FACTORS.

    The position of a sprite at (x, y) is 16 + 32 x, 16 + 32 y; dx, dy point from there to the
    centre of a pixel, and u = (cos dx - sin dy) / scale, v = (sin dx + cos dy) / scale.
    """
    for b in range(len(values)):
        shape, scale, angle, x, y = values[b]
        cos, sin = np.cos(angle), np.sin(angle)
        x, y = 16 + 32 * x, 16 + 32 * y
        if shape == 2:
            _fill_ellipse(scale, cos, sin, x, y, images[b])
        elif shape == 1:
            _fill_outline(square, scale, cos, sin, x, y, images[b])
        else:
            _fill_outline(heart, scale, cos, sin, x, y, images[b])


@inner_njit(nogil=True)
def _fill_ellipse(scale, cos, sin, x, y, image):
    for i in range(SIZE):
        dy = i + 0.5 - y
        if abs(dy) > scale * HALF_AXES[0]:
            continue
        for j in range(SIZE):
            dx = j + 0.5 - x
            u, v = (cos * dx - sin * dy) / scale, (sin * dx + cos * dy) / scale
            if (u / HALF_AXES[0]) ** 2 + (v / HALF_AXES[1]) ** 2 < 1:
                image[i, j] = 1


@inner_njit(nogil=True)
def _fill_outline(corners, scale, cos, sin, x, y, image):
    """Inside is what an odd number of edges has to its left: toggle there, then sum up rows."""
    u, v = corners[-1]
    x0, y0 = x + scale * (cos * u + sin * v), y + scale * (cos * v - sin * u)
    for corner in range(len(corners)):
        u, v = corners[corner]
        x1, y1 = x + scale * (cos * u + sin * v), y + scale * (cos * v - sin * u)
        # rows whose centre i + 0.5 is in [low, high)
        first = max(0, int(np.ceil(min(y0, y1) - 0.5)))
        last = min(SIZE, int(np.ceil(max(y0, y1) - 0.5)))
        for i in range(first, last):
            crossing = x0 + (i + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            j = max(0, int(np.ceil(crossing - 0.5)))
            if j < SIZE:
                image[i, j] ^= 1
        x0, y0 = x1, y1
    for i in range(SIZE):
        for j in range(1, SIZE):
            image[i, j] ^= image[i, j - 1]
