"""Observations to features: convolutions, if any, then linear layers."""

from __future__ import annotations

from collections.abc import Sequence

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer import initializers

ACTIVATIONS = {'tanh': F.tanh, 'relu': F.relu}
RND_CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 4, 1))
"""(filters, kernel, stride) of the policy in the code of Random Network
Distillation; its paper has 3 for the last kernel."""

_HIDDEN_SCALE = 2**0.5


class Body(chainer.Chain):
    """Observations to features: convolutions, if any, then linear layers.

    Args:
        shape: of one observation: (H, W, C) where there are convolutions,
            anything otherwise.
        convolutions: (filters, kernel, stride) of each, followed by ReLU.
        hidden: widths of the linear layers.
        activation: after the linear layers, 'tanh' or 'relu'.
        rng: for the orthogonal initial weights (scale sqrt 2, biases 0).

    Bytes (uint8) are divided by 255.
    """

    def __init__(
        self,
        shape: Sequence[int],
        convolutions: Sequence[tuple[int, int, int]],
        hidden: Sequence[int],
        activation: str,
        rng: np.random.RandomState,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(
                f'activation is {activation!r}, but must be one of '
                f'{sorted(ACTIVATIONS)}'
            )
        if convolutions and len(shape) != 3:
            raise ValueError(
                f'convolutions want pictures (H, W, C), but an observation '
                f'is {tuple(shape)}'
            )
        self.shape = tuple(shape)
        self._activation = activation
        self._dtype = np.dtype(chainer.get_dtype())
        width = int(np.prod(shape))
        init = initializers.Orthogonal(_HIDDEN_SCALE, rng=rng)
        with self.init_scope():
            self.convolutions = chainer.ChainList()
            self.layers = chainer.ChainList()
        if convolutions:
            width = self._add_convolutions(convolutions, init)
        for units in hidden:
            self.layers.append(L.Linear(width, units, initialW=init))
            width = units
        self.output_size = width

    def _add_convolutions(self, convolutions, init) -> int:
        """Append them; returns how many numbers they leave."""
        height, width, channels = self.shape
        for filters, kernel, stride in convolutions:
            self.convolutions.append(
                L.Convolution2D(
                    channels, filters, kernel, stride, initialW=init
                )
            )
            height = (height - kernel) // stride + 1
            width = (width - kernel) // stride + 1
            channels = filters
            if height < 1 or width < 1:
                raise ValueError(
                    f'pictures of {self.shape[0]}x{self.shape[1]} are too '
                    f'small for the convolutions {tuple(convolutions)}'
                )
        return height * width * channels

    def forward(self, x):
        """(N, *shape) of bytes or floats -> (N, output_size)."""
        scale = 255 if x.dtype == np.uint8 else 1
        x = x.astype(self._dtype) / self._dtype.type(scale)
        if len(self.convolutions):
            x = self.xp.ascontiguousarray(x.transpose(0, 3, 1, 2))
            for convolution in self.convolutions:
                x = F.relu(convolution(x))
        x = F.reshape(x, (len(x), -1))
        activation = ACTIVATIONS[self._activation]
        for layer in self.layers:
            x = activation(layer(x))
        return x
