"""Pictures of few colours as small integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Palette:
    """Pictures (H, W, 3) uint8 <-> codes (H * W,) uint8, which colour where.

    Colours get their number when they are first seen (``learn``): what a
    network learnt about number 2 stays true when a later game adds a colour.

    Args:
        height, width: of the pictures.
        capacity: how many colours there may ever be.
        colours: those known already, (n, 3).

    Raises:
        ValueError: too many colours.
    """

    def __init__(
        self,
        height: int,
        width: int,
        capacity: int,
        colours: Sequence[Sequence[int]] = (),
    ) -> None:
        self.height, self.width, self.capacity = height, width, capacity
        self._colours = np.zeros((0, 3), np.uint8)
        self._add(np.asarray(colours, np.uint8).reshape(-1, 3))

    @property
    def colours(self) -> list[list[int]]:
        """Those known, by number, each [red, green, blue]."""
        return self._colours.tolist()

    def __len__(self) -> int:
        """How many colours were seen so far."""
        return len(self._colours)

    @property
    def pixels(self) -> int:
        """H * W."""
        return self.height * self.width

    def learn(self, frames: np.ndarray) -> None:
        """Number the colours of (..., H, W, 3) that are new, as they come."""
        self._check(frames)
        flat = np.ascontiguousarray(frames).reshape(-1, 3)
        values, first = np.unique(_packed(flat), return_index=True)
        new = first[~np.isin(values, _packed(self._colours))]
        self._add(flat[np.sort(new)])

    def _add(self, colours: np.ndarray) -> None:
        together = np.concatenate([self._colours, colours])
        if len(together) > self.capacity:
            raise ValueError(
                f'{len(together)} colours, but there is room for '
                f'{self.capacity}: are these pictures of a game of flat '
                'colours, and all of the same one?'
            )
        self._colours = together

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """(..., H, W, 3) uint8 -> (..., H * W) uint8.

        Raises:
            ValueError: a colour that was never learnt.
        """
        self._check(frames)
        packed = _packed(frames).reshape(*frames.shape[:-3], self.pixels)
        codes = np.full(packed.shape, len(self), np.uint8)
        for number, colour in enumerate(_packed(self._colours)):
            codes[packed == colour] = number
        if (codes == len(self)).any():
            raise ValueError(
                f'the pictures hold a colour that is not among the '
                f'{len(self)} known ones: call learn() first'
            )
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """(..., H * W) integers -> (..., H, W, 3) uint8."""
        shape = (*codes.shape[:-1], self.height, self.width, 3)
        return self._colours[codes].reshape(shape)

    def numbers(self, codes: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """(..., H * W) -> (..., H * W * 3): the pixels in [0, 1], white is 0.

        0 for white, because most of these pictures is pale floor.
        """
        table = (255 - self._colours.astype(dtype)) / dtype.type(255)
        return table[codes].reshape(*codes.shape[:-1], -1)

    def _check(self, frames: np.ndarray) -> None:
        wanted = (self.height, self.width, 3)
        if frames.shape[-3:] != wanted or frames.dtype != np.uint8:
            raise ValueError(
                f'pictures are {frames.dtype} {frames.shape}, expected uint8 '
                f'(..., {self.height}, {self.width}, 3)'
            )


def _packed(colours: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> (...) one integer per colour."""
    return colours.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
